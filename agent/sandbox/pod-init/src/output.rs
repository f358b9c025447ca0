//! What a program writes, on its way from a pipe or terminal to the log and to whoever is attached.

use crate::attach::Attachment;
use crate::log::{Lines, Log, Stream};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::SystemTime;

/// The reading end of one stream.
pub struct Output {
    file: File,
    stream: Stream,
    lines: Lines,
}

/// Where it goes.
pub struct Readers<'a> {
    pub log: &'a mut Log,
    pub attached: &'a mut [Attachment],
}

/// A program that writes without pause gets so much of a turn before others have theirs.
const MOST_READS: usize = 16;

impl Output {
    /// `file` does not block.
    pub fn new(file: OwnedFd, stream: Stream) -> Output {
        Output {
            file: file.into(),
            stream,
            lines: Lines::new(stream),
        }
    }

    /// Logs what is there, as far as those who are attached keep up; whether more may come.
    pub fn read(&mut self, to: &mut Readers<'_>) -> bool {
        for _ in 0..MOST_READS {
            if self.is_held_back(to.attached) {
                return true;
            }
            match self.read_once(to) {
                Read1::Some => {}
                Read1::NotNow => return true,
                Read1::End => {
                    self.lines.finish(SystemTime::now(), to.log);
                    return false;
                }
            }
        }
        true
    }

    /// Logs everything up to the end or until nothing more is there; the writers are dead.
    pub fn drain(&mut self, to: &mut Readers<'_>) {
        while self.read_once(to) == Read1::Some {}
        self.lines.finish(SystemTime::now(), to.log);
    }

    /// Whether somebody who is attached has yet to take what came before.
    pub fn is_held_back(&self, attached: &[Attachment]) -> bool {
        attached.iter().any(|attachment| attachment.is_behind(self.stream))
    }

    fn read_once(&mut self, to: &mut Readers<'_>) -> Read1 {
        let mut buffer = [0; 16 << 10];
        match self.file.read(&mut buffer) {
            Ok(0) => Read1::End,
            Ok(length) => {
                self.lines.push(&buffer[..length], SystemTime::now(), to.log);
                for attachment in to.attached.iter_mut() {
                    attachment.offer(self.stream, &buffer[..length]);
                }
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
