//! One log file: frames after each other in space that was filled with zeros before, so that an fdatasync writes data only.

use super::{private, sync};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// What every log begins with, before its salt.
const MAGIC: &[u8; 12] = b"pintle log 1";
/// Magic and salt.
pub(super) const BEGINNING: usize = MAGIC.len() + 4;
/// The file grows in steps of this: a large one is no cost, a small cluster's log stays small.
const STEP: u64 = 1 << 20;
/// Zeros to write from.
static ZEROS: [u8; 1 << 16] = [0; 1 << 16];

/// The log that is written to.
pub(super) struct Log {
    path: PathBuf,
    file: File,
    salt: u32,
    /// Where the next frame goes.
    end: u64,
    /// Up to here the file is there, as zeros after `end`.
    filled: u64,
}

/// The name of the log that begins with commit `number`.
pub(super) fn name(number: u64) -> String {
    format!("log.{number:016x}")
}

/// The salt of a log's bytes; none where it is no log.
pub(super) fn salt(bytes: &[u8]) -> Option<u32> {
    let salt = bytes.strip_prefix(MAGIC)?.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*salt))
}

// === impl Log ===

impl Log {
    /// A new, empty log, durable with its name. One of the same name has no whole commit and is replaced.
    pub(super) fn begin(dir: &Path, number: u64) -> io::Result<Log> {
        let salt = getrandom::u32().map_err(|cause| io::Error::other(cause.to_string()))?;
        let (path, draft) = (dir.join(name(number)), dir.join("log.new"));
        let file = private().create(true).truncate(true).open(&draft)?;
        let mut log = Log {
            path,
            file,
            salt,
            end: BEGINNING as u64,
            filled: 0,
        };
        log.fill(STEP)?;
        let beginning = [MAGIC.as_slice(), &salt.to_le_bytes()].concat();
        log.file.write_all_at(&beginning, 0)?;
        log.file.sync_all()?;
        std::fs::rename(&draft, &log.path)?;
        sync(dir)?;
        Ok(log)
    }

    /// Its file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What its checksums begin with.
    pub(super) fn salt(&self) -> u32 {
        self.salt
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> u64 {
        self.end
    }

    /// Appends a frame and waits until it is on disk. After an error the next one takes its place.
    pub(super) fn append(&mut self, frame: &[u8]) -> io::Result<()> {
        let end = self.end + frame.len() as u64;
        let written = self
            .fill(end)
            .and_then(|()| self.file.write_all_at(frame, self.end))
            .and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => self.end = end,
            // What is left of a long frame must not stand behind a shorter one. If this fails too, a start finds
            // bytes after the last commit that are no frame, which is what a power cut leaves as well.
            Err(_) => drop(self.wipe(end)),
        }
        written
    }

    /// Fills the file with zeros at least up to `end`.
    fn fill(&mut self, end: u64) -> io::Result<()> {
        while self.filled < end {
            let goal = self.filled + STEP;
            let mut at = self.filled;
            while at < goal {
                let most = (goal - at).min(ZEROS.len() as u64) as usize;
                if let Err(full) = self.file.write_all_at(&ZEROS[..most], at) {
                    // Half a step is given back: on a full disk every block counts.
                    let _ = self.file.set_len(self.filled);
                    return Err(full);
                }
                at += most as u64;
            }
            self.filled = goal;
        }
        Ok(())
    }

    fn wipe(&self, end: u64) -> io::Result<()> {
        let mut at = self.end;
        let end = end.min(self.filled);
        while at < end {
            let most = (end - at).min(ZEROS.len() as u64) as usize;
            self.file.write_all_at(&ZEROS[..most], at)?;
            at += most as u64;
        }
        Ok(())
    }
}
