//! The audit log's file: one event a line; a full one is put aside under its time, and the oldest go.

use jiff::Timestamp;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Where events go, and how much of them is kept.
#[derive(Clone, Debug)]
pub struct AuditFile {
    /// The file that is written to.
    pub path: PathBuf,
    /// A file that would grow past this is put aside.
    pub max_bytes: u64,
    /// How many that were put aside are kept.
    pub max_files: usize,
}

/// The open file.
pub(super) struct Log {
    settings: AuditFile,
    open: Mutex<Open>,
}

struct Open {
    file: File,
    bytes: u64,
}

// === impl Log ===

impl Log {
    pub(super) fn open(settings: AuditFile) -> io::Result<Self> {
        if let Some(folder) = settings.path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let open = Mutex::new(Open::at(&settings.path)?);
        Ok(Self { settings, open })
    }

    /// Appends one line. Written at once: an event outlives this process, though not a power cut.
    pub(super) fn append(&self, line: &[u8]) {
        let mut open = self
            .open
            .lock()
            .expect("nobody panics while holding it because writing returns its errors");
        if let Err(cause) = self.write(&mut open, line) {
            let path = self.settings.path.display();
            tracing::error!(%path, %cause, "an audit event could not be written");
        }
    }

    fn write(&self, open: &mut Open, line: &[u8]) -> io::Result<()> {
        let length = line.len() as u64;
        if open.bytes > 0 && open.bytes + length > self.settings.max_bytes {
            let path = &self.settings.path;
            std::fs::rename(path, aside(path))?;
            *open = Open::at(path)?;
            self.forget_oldest()?;
        }
        open.file.write_all(line)?;
        open.bytes += length;
        Ok(())
    }

    fn forget_oldest(&self) -> io::Result<()> {
        let mut kept = set_aside(&self.settings.path)?;
        // Their names are in the order of their times.
        kept.sort();
        let surplus = kept.len().saturating_sub(self.settings.max_files);
        kept.into_iter().take(surplus).try_for_each(std::fs::remove_file)
    }
}

// === impl Open ===

impl Open {
    /// Only its owner may read it: requests are in it.
    fn at(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { file, bytes })
    }
}

/// `audit.log` put aside is `audit-2026-01-31T10-00-00.000000000.log`.
fn aside(path: &Path) -> PathBuf {
    let (stem, end) = parts(path);
    path.with_file_name(format!(
        "{stem}{}{end}",
        Timestamp::now().strftime("%Y-%m-%dT%H-%M-%S.%9f")
    ))
}

fn set_aside(path: &Path) -> io::Result<Vec<PathBuf>> {
    let (stem, end) = parts(path);
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let time = name
            .strip_prefix(stem.as_str())
            .and_then(|rest| rest.strip_suffix(end.as_str()));
        let is_time = |time: &str| time.len() == 29 && time.bytes().all(|b| b.is_ascii_digit() || b"-T.".contains(&b));
        found.extend(time.is_some_and(is_time).then(|| entry.path()));
    }
    Ok(found)
}

fn parts(path: &Path) -> (String, String) {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let end = path.extension().map(|end| format!(".{}", end.to_string_lossy()));
    (format!("{stem}-"), end.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_files_are_put_aside_and_the_oldest_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs/audit.log");
        let settings = AuditFile {
            path: path.clone(),
            max_bytes: 10,
            max_files: 2,
        };
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path.with_file_name("audit-old.log"), "mine").unwrap();
        let log = Log::open(settings.clone()).unwrap();
        for line in ["1234\n", "5678\n", "9\n", "a line that is longer than a file\n", "b\n"] {
            log.append(line.as_bytes());
        }
        drop(log);
        let log = Log::open(settings).unwrap();
        log.append(b"c\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "b\nc\n");
        let mut kept = set_aside(&path).unwrap();
        kept.sort();
        let kept: Vec<String> = kept.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
        assert_eq!(kept, ["9\n", "a line that is longer than a file\n"]);
        assert!(path.with_file_name("audit-old.log").exists());
    }
}
