//! What a program writes, on its way from a pipe or terminal to the log.

use crate::log::{Lines, Log, Stream};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::SystemTime;

/// The reading end of one stream.
pub struct Output {
    file: File,
    lines: Lines,
}

/// A program that writes without pause gets so much of a turn before others have theirs.
const MOST_READS: usize = 16;

impl Output {
    /// `file` does not block.
    pub fn new(file: OwnedFd, stream: Stream) -> Output {
        Output {
            file: file.into(),
            lines: Lines::new(stream),
        }
    }

    /// Logs what is there; whether more may come.
    pub fn read(&mut self, log: &mut Log) -> bool {
        (0..MOST_READS).all(|_| self.read_once(log) == Read1::Some) || self.last_is_open(log)
    }

    /// Logs everything up to the end or until nothing more is there; the writers are dead.
    pub fn drain(&mut self, log: &mut Log) {
        while self.read_once(log) == Read1::Some {}
        self.lines.finish(SystemTime::now(), log);
    }

    fn last_is_open(&mut self, log: &mut Log) -> bool {
        match self.read_once(log) {
            Read1::Some | Read1::NotNow => true,
            Read1::End => {
                self.lines.finish(SystemTime::now(), log);
                false
            }
        }
    }

    fn read_once(&mut self, log: &mut Log) -> Read1 {
        let mut buffer = [0; 16 << 10];
        match self.file.read(&mut buffer) {
            Ok(0) => Read1::End,
            Ok(length) => {
                self.lines.push(&buffer[..length], SystemTime::now(), log);
                Read1::Some
            }
            Err(cause) if cause.kind() == std::io::ErrorKind::WouldBlock => Read1::NotNow,
            Err(cause) if cause.kind() == std::io::ErrorKind::Interrupted => Read1::Some,
            // EIO of a terminal: its program has gone.
            Err(_) => Read1::End,
        }
    }
}

/// What one read gave.
#[derive(PartialEq, Eq)]
enum Read1 {
    Some,
    NotNow,
    End,
}

impl AsFd for Output {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
