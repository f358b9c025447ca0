//! One connection of the agent: a request comes, replies go.

use linux::fdpass;
use sandbox::protocol::{Reply, Request};
use sandbox::wire::{self, Inbox};
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// A connection, by a number that is never used again.
pub type PeerId = u64;

/// One connection.
pub struct Peer {
    stream: UnixStream,
    inbox: Inbox,
    outbox: VecDeque<Outgoing>,
    /// Whether it wants every change.
    pub subscribed: bool,
}

/// A reply on its way; the files go with its first byte.
struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    files: Vec<OwnedFd>,
}

/// A subscriber that is so many changes behind has stopped reading.
const MOST_WAITING: usize = 4096;

/// The connection is over, by its end or by an error: either way nobody is there any more.
#[derive(Debug)]
pub struct Closed;

// === impl Peer ===

impl Peer {
    pub fn new(stream: UnixStream) -> Peer {
        Peer {
            stream,
            inbox: Inbox::default(),
            outbox: VecDeque::new(),
            subscribed: false,
        }
    }

    pub fn wants_to_write(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// Takes what came; the requests that are complete.
    pub fn receive(&mut self) -> Result<Vec<Request>, Closed> {
        let mut buffer = [0; 8192];
        let mut requests = Vec::new();
        let mut files = Vec::new();
        match fdpass::receive(&self.stream, &mut buffer, &mut files) {
            Ok(0) => return Err(Closed),
            Ok(length) => self.inbox.push(&buffer[..length]),
            Err(error) if error.is(libc::EAGAIN) => {}
            Err(_) => return Err(Closed),
        }
        while let Some(request) = self.inbox.take().map_err(|_| Closed)? {
            requests.push(request);
        }
        Ok(requests)
    }

    /// Sends now what can be sent now.
    pub fn send(&mut self, reply: &Reply, files: Vec<OwnedFd>) -> Result<(), Closed> {
        let bytes = wire::frame(reply).map_err(|_| Closed)?;
        self.outbox.push_back(Outgoing { bytes, sent: 0, files });
        if self.outbox.len() > MOST_WAITING {
            return Err(Closed);
        }
        self.flush()
    }

    pub fn flush(&mut self) -> Result<(), Closed> {
        while let Some(first) = self.outbox.front_mut() {
            let files: Vec<BorrowedFd<'_>> = first.files.iter().map(AsFd::as_fd).collect();
            match fdpass::send(&self.stream, &first.bytes[first.sent..], &files) {
                Ok(sent) => {
                    first.sent += sent;
                    first.files.clear();
                }
                Err(error) if error.is(libc::EAGAIN) => return Ok(()),
                Err(_) => return Err(Closed),
            }
            if first.sent == first.bytes.len() {
                self.outbox.pop_front();
            }
        }
        Ok(())
    }
}

impl AsFd for Peer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
