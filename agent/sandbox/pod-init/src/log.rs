//! A container's log file in CRI format, begun anew when it has grown too large.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The file.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
    size: u64,
    largest: u64,
}

/// Where a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What of a stream is not a whole line yet.
#[derive(Debug)]
pub struct Lines {
    stream: Stream,
    rest: Vec<u8>,
}

/// A line longer than this is cut into partial ones, as containerd does (`max_container_log_line_size`).
const LONGEST_LINE: usize = 16 << 10;

// === impl Log ===

impl Log {
    /// Appends to `path`, making the folder that it is in.
    pub fn open(path: &Path, largest: u64) -> io::Result<Log> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let file = append(path)?;
        Ok(Log {
            path: path.to_owned(),
            size: file.metadata()?.len(),
            file,
            largest,
        })
    }

    /// Goes on in the file that has the log's name now, or a new one; the open one stays in use when that fails.
    pub fn reopen(&mut self) -> io::Result<()> {
        *self = Log::open(&self.path, self.largest)?;
        Ok(())
    }

    /// Writes whole records; a full disk loses them, never the container.
    fn write(&mut self, records: &[u8]) {
        if self.size > 0 && self.size + records.len() as u64 > self.largest {
            self.rotate();
        }
        match self.file.write_all(records) {
            Ok(()) => self.size += records.len() as u64,
            Err(_) => self.size = self.file.metadata().map_or(self.size, |meta| meta.len()),
        }
    }

    /// On failure the old file just goes on growing.
    fn rotate(&mut self) {
        let files = sandbox::log_files(&self.path);
        // The oldest first, each over the one that is older still; those that are not there yet cannot be renamed.
        for pair in files.windows(2).rev() {
            let renamed = std::fs::rename(&pair[0], &pair[1]);
            if pair[0] == self.path && renamed.is_err() {
                return;
            }
        }
        if let Ok(file) = append(&self.path) {
            self.file = file;
            self.size = 0;
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o640);
    options.append(true).create(true).open(path)
}

// === impl Lines ===

impl Lines {
    pub fn new(stream: Stream) -> Lines {
        Lines {
            stream,
            rest: Vec::new(),
        }
    }

    /// Takes what the program wrote and logs the lines that are whole.
    pub fn push(&mut self, bytes: &[u8], now: SystemTime, log: &mut Log) {
        let mut records = Vec::new();
        for part in bytes.split_inclusive(|&b| b == b'\n') {
            match part.strip_suffix(b"\n") {
                Some(end) => {
                    self.cut(end, now, &mut records);
                    record(&mut records, now, self.stream, 'F', &self.rest);
                    self.rest.clear();
                }
                None => self.cut(part, now, &mut records),
            }
        }
        if !records.is_empty() {
            log.write(&records);
        }
    }

    /// Appends to the unfinished line; what is too long goes out as partial.
    fn cut(&mut self, mut bytes: &[u8], now: SystemTime, records: &mut Vec<u8>) {
        while self.rest.len() + bytes.len() > LONGEST_LINE {
            let (now_full, later) = bytes.split_at(LONGEST_LINE - self.rest.len());
            self.rest.extend_from_slice(now_full);
            record(records, now, self.stream, 'P', &self.rest);
            self.rest.clear();
            bytes = later;
        }
        self.rest.extend_from_slice(bytes);
    }

    /// The stream has ended: a last line without its end is a partial one, as containerd has it, so that readers add no end to it.
    pub fn finish(&mut self, now: SystemTime, log: &mut Log) {
        if !self.rest.is_empty() {
            let mut records = Vec::new();
            record(&mut records, now, self.stream, 'P', &self.rest);
            self.rest.clear();
            log.write(&records);
        }
    }
}

fn record(records: &mut Vec<u8>, now: SystemTime, stream: Stream, tag: char, line: &[u8]) {
    let stream = match stream {
        Stream::Stdout => "stdout",
        Stream::Stderr => "stderr",
    };
    records.extend_from_slice(format!("{} {stream} {tag} ", rfc3339(now)).as_bytes());
    records.extend_from_slice(line);
    records.push(b'\n');
}

/// RFC 3339 in UTC with nanoseconds. The calendar is Howard Hinnant's `civil_from_days`; a crate would be most of this program.
fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86400, since.as_secs() % 86400);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:09}Z",
        second / 3600,
        second / 60 % 60,
        second % 60,
        since.subsec_nanos()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_are_written_as_cri_wants_them() {
        let table = [
            (0, "1970-01-01T00:00:00.000000007Z"),
            (951_782_400, "2000-02-29T00:00:00.000000007Z"),
            (1_735_689_599, "2024-12-31T23:59:59.000000007Z"),
            (4_102_444_800, "2100-01-01T00:00:00.000000007Z"),
        ];
        for (seconds, text) in table {
            assert_eq!(rfc3339(UNIX_EPOCH + Duration::new(seconds, 7)), text);
        }
    }

    #[test]
    fn lines_are_whole_partial_or_last() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pod/c/0.log");
        let mut log = Log::open(&path, 1 << 20).unwrap();
        let mut lines = Lines::new(Stream::Stderr);
        lines.push(b"one\ntw", UNIX_EPOCH, &mut log);
        lines.push(b"o\n", UNIX_EPOCH, &mut log);
        lines.push(&vec![b'x'; LONGEST_LINE + 3], UNIX_EPOCH, &mut log);
        lines.finish(UNIX_EPOCH, &mut log);

        let text = std::fs::read_to_string(&path).unwrap();
        let tails: Vec<_> = text
            .lines()
            .map(|line| &line["1970-01-01T00:00:00.000000000Z ".len()..])
            .collect();
        assert_eq!(tails[..2], ["stderr F one", "stderr F two"]);
        assert_eq!(tails[2], format!("stderr P {}", "x".repeat(LONGEST_LINE)));
        assert_eq!(tails[3], "stderr P xxx");
    }

    #[test]
    fn a_large_log_is_begun_anew_and_those_before_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let mut log = Log::open(&path, 200).unwrap();
        let mut lines = Lines::new(Stream::Stdout);
        for number in 10..50 {
            lines.push(format!("line {number}\n").as_bytes(), UNIX_EPOCH, &mut log);
        }
        let files = sandbox::log_files(&path);
        let texts: Vec<String> = files
            .iter()
            .rev()
            .map(|file| std::fs::read_to_string(file).unwrap())
            .collect();
        assert!(texts.iter().all(|text| text.len() <= 200 && !text.is_empty()));
        // What is left is the end, without a gap.
        let all = texts.concat();
        let numbers: Vec<usize> = all
            .lines()
            .map(|line| line[line.len() - 2..].parse().unwrap())
            .collect();
        assert_eq!(numbers, (50 - numbers.len()..50).collect::<Vec<_>>());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), sandbox::LOG_FILES);
    }
}
