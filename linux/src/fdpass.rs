//! Open files handed from one process to another over a Unix socket, man 7 unix `SCM_RIGHTS`.

use crate::Error;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Most files in one message.
pub const MOST: usize = 4;

/// Sends what fits of `bytes` and, if any of it was sent, all of `files`; how much.
pub fn send(socket: impl AsFd, bytes: &[u8], files: &[BorrowedFd<'_>]) -> Result<usize, Error> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(files)) {
        return Err(Error {
            call: "sendmsg",
            errno: libc::ETOOMANYREFS,
        });
    }
    let parts = [IoSlice::new(bytes)];
    rustix::io::retry_on_intr(|| rustix::net::sendmsg(&socket, &parts, &mut ancillary, SendFlags::NOSIGNAL))
        .map_err(Error::rustix("sendmsg"))
}

/// Receives some bytes into `buffer` and appends the files that came with them; 0 at the end.
pub fn receive(socket: impl AsFd, buffer: &mut [u8], files: &mut Vec<OwnedFd>) -> Result<usize, Error> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let mut parts = [IoSliceMut::new(buffer)];
        match rustix::net::recvmsg(&socket, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => continue,
            done => break done.map_err(Error::rustix("recvmsg"))?,
        }
    };
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            files.extend(received);
        }
    }
    Ok(received.bytes)
}
