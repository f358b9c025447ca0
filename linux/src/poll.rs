//! Waiting for many files at once, man 2 poll.

use crate::Error;
use rustix::event::{PollFd, PollFlags, Timespec};
use std::os::fd::BorrowedFd;
use std::time::Duration;

/// What is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Wait<'a> {
    /// The file.
    pub file: BorrowedFd<'a>,
    /// Whether for room to write, too; reading and hanging up are always waited for.
    pub write: bool,
}

/// What of one of them came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// There is something to read, or its end, or an error that reading will tell.
    pub read: bool,
    /// There is room to write.
    pub write: bool,
}

/// Waits until something comes or the time is over; one answer for each, in their order.
pub fn wait(waits: &[Wait<'_>], timeout: Option<Duration>) -> Result<Vec<Ready>, Error> {
    let mut polls: Vec<PollFd<'_>> = waits
        .iter()
        .map(|wait| {
            let writing = if wait.write { PollFlags::OUT } else { PollFlags::empty() };
            PollFd::from_borrowed_fd(wait.file, PollFlags::IN | writing)
        })
        .collect();
    let timeout = timeout.map(|duration| Timespec {
        tv_sec: duration.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    });
    match rustix::event::poll(&mut polls, timeout.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(errno) => return Err(Error::rustix("poll")(errno)),
    }
    let reading = PollFlags::IN | PollFlags::HUP | PollFlags::ERR;
    let ready = polls.iter().map(|poll| Ready {
        read: poll.revents().intersects(reading),
        write: poll.revents().contains(PollFlags::OUT),
    });
    Ok(ready.collect())
}
