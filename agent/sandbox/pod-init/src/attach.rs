//! Callers that read along what a container writes: a copy of each output, through a pipe of the caller's own.
//!
//! The log comes first and needs no caller. A caller that does not read holds its container back as a slow terminal would,
//! instead of filling our memory: while something waits for it, the output that it came from is not read.

use crate::log::Stream;
use crate::peer::PeerId;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// One caller.
pub struct Attachment {
    pub peer: PeerId,
    /// Whether it was given the container's input.
    pub has_stdin: bool,
    copies: Vec<Copied>,
}

/// What a caller asks for.
#[derive(Clone, Copy)]
pub struct Wanted {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
}

/// One output on its way to one caller.
struct Copied {
    stream: Stream,
    pipe: File,
    waiting: Vec<u8>,
}

// === impl Attachment ===

impl Attachment {
    /// With the reading ends of its pipes, in the order of `streams`.
    pub fn new(peer: PeerId, has_stdin: bool, streams: &[Stream]) -> std::io::Result<(Attachment, Vec<OwnedFd>)> {
        let mut attachment = Attachment {
            peer,
            has_stdin,
            copies: Vec::new(),
        };
        let mut ends = Vec::new();
        for &stream in streams {
            let (read, write) = std::io::pipe()?;
            let pipe = OwnedFd::from(write);
            rustix::io::ioctl_fionbio(&pipe, true)?;
            ends.push(read.into());
            attachment.copies.push(Copied {
                stream,
                pipe: pipe.into(),
                waiting: Vec::new(),
            });
        }
        Ok((attachment, ends))
    }

    /// Gives it what the container has written.
    pub fn offer(&mut self, stream: Stream, bytes: &[u8]) {
        for copy in self.copies.iter_mut().filter(|copy| copy.stream == stream) {
            copy.waiting.extend_from_slice(bytes);
        }
        self.flush();
    }

    /// Whether it has yet to take what came from `stream` before.
    pub fn is_behind(&self, stream: Stream) -> bool {
        let mut copies = self.copies.iter();
        copies.any(|copy| copy.stream == stream && !copy.waiting.is_empty())
    }

    /// What to wait for room in.
    pub fn full(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let full = self.copies.iter().filter(|copy| !copy.waiting.is_empty());
        full.map(|copy| copy.pipe.as_fd())
    }

    /// Writes what there is room for; forgets pipes that nobody reads.
    pub fn flush(&mut self) {
        self.copies.retain_mut(Copied::flush);
    }

    /// Closes the pipes that are empty: nothing more will come.
    pub fn finish(&mut self) {
        self.flush();
        self.copies.retain(|copy| !copy.waiting.is_empty());
    }
}

// === impl Copied ===

impl Copied {
    /// Whether somebody still reads it.
    fn flush(&mut self) -> bool {
        while !self.waiting.is_empty() {
            match self.pipe.write(&self.waiting) {
                Ok(length) => drop(self.waiting.drain(..length)),
                Err(cause) if cause.kind() == ErrorKind::WouldBlock => return true,
                Err(cause) if cause.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn what_a_caller_does_not_take_waits_and_is_not_lost() {
        let (mut attachment, mut ends) = Attachment::new(1, false, &[Stream::Stdout]).unwrap();
        let much = vec![b'x'; 100 << 10];
        attachment.offer(Stream::Stdout, &much);
        attachment.offer(Stream::Stderr, b"not asked for");
        assert!(attachment.is_behind(Stream::Stdout));
        assert_eq!(attachment.full().count(), 1);
        let mut reader = File::from(ends.remove(0));
        let mut taken = vec![0; 80 << 10];
        reader.read_exact(&mut taken[..60 << 10]).unwrap();
        attachment.finish();
        assert!(!attachment.is_behind(Stream::Stdout));
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).unwrap();
        assert_eq!(rest.len(), 40 << 10);
    }

    #[test]
    fn a_caller_that_is_gone_holds_nothing_back() {
        // As pod-init has it: writing to nobody is an error, not the end.
        linux::signals::ignore(&[linux::signals::Number::SIGPIPE]).unwrap();
        let (mut attachment, ends) = Attachment::new(1, false, &[Stream::Stdout]).unwrap();
        drop(ends);
        attachment.offer(Stream::Stdout, b"x");
        assert!(!attachment.is_behind(Stream::Stdout));
    }
}
