//! What a child says before it becomes its program: nothing (then the channel closes by exec), its terminal, or what went wrong.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// The parent's end.
pub struct Reports {
    stream: UnixStream,
    text: Vec<u8>,
    files: Vec<OwnedFd>,
}

/// The child's end; closed by exec.
pub struct Reporter(UnixStream);

/// How far a child came.
#[derive(Debug)]
pub enum Outcome {
    /// Not told yet.
    Pending,
    /// It has become its program.
    Executed {
        /// The main side of its terminal, if it was to have one.
        terminal: Option<OwnedFd>,
    },
    /// It could not prepare itself.
    NotPrepared(String),
    /// It could not execute its program.
    NotExecuted(String),
}

/// The first byte of a message.
const TERMINAL: u8 = b'T';
const NOT_PREPARED: u8 = b'P';
const NOT_EXECUTED: u8 = b'E';

/// Both ends.
pub fn channel() -> std::io::Result<(Reports, Reporter)> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let reports = Reports {
        stream: ours,
        text: Vec::new(),
        files: Vec::new(),
    };
    Ok((reports, Reporter(theirs)))
}

// === impl Reporter ===

impl Reporter {
    pub fn terminal(&self, main: BorrowedFd<'_>) -> Result<(), linux::Error> {
        linux::fdpass::send(&self.0, &[TERMINAL], &[main]).map(drop)
    }

    pub fn not_prepared(&self, why: &str) {
        self.say(NOT_PREPARED, why);
    }

    pub fn not_executed(&self, why: &str) {
        self.say(NOT_EXECUTED, why);
    }

    fn say(&self, what: u8, why: &str) {
        let message = [&[what], why.as_bytes()].concat();
        // Without a parent there is nobody to tell.
        let _ = linux::fdpass::send(&self.0, &message, &[]);
    }
}

// === impl Reports ===

impl Reports {
    pub fn read(&mut self) -> Outcome {
        let mut buffer = [0; 1024];
        loop {
            match linux::fdpass::receive(&self.stream, &mut buffer, &mut self.files) {
                Ok(0) => return self.outcome(),
                Ok(length) => self.text.extend_from_slice(&buffer[..length]),
                Err(error) if error.is(libc::EAGAIN) => return Outcome::Pending,
                Err(error) => return Outcome::NotPrepared(format!("it cannot be heard: {error}")),
            }
        }
    }

    fn outcome(&mut self) -> Outcome {
        let text = self.text.strip_prefix(&[TERMINAL]).unwrap_or(&self.text);
        let words = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
        match text.split_first() {
            None => Outcome::Executed {
                terminal: self.files.pop(),
            },
            Some((&NOT_EXECUTED, why)) => Outcome::NotExecuted(words(why)),
            Some((_, why)) => Outcome::NotPrepared(words(why)),
        }
    }
}

impl AsFd for Reports {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
