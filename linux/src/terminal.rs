//! Pseudo terminals, man 7 pty.

use crate::Error;
use rustix::fs::{Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Both ends of a pseudo terminal.
#[derive(Debug)]
pub struct Terminal {
    /// The side of whoever shows it.
    pub main: OwnedFd,
    /// The side of the program.
    pub program: OwnedFd,
}

/// Makes one from the `ptmx` of a devpts that is mounted at `devpts`; EINVAL when something else is there.
pub fn open(devpts: &Path) -> Result<Terminal, Error> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let main = rustix::fs::open(devpts.join("ptmx"), flags, Mode::empty()).map_err(Error::rustix("open(ptmx)"))?;
    let stat = rustix::fs::fstatfs(&main).map_err(Error::rustix("fstatfs"))?;
    if stat.f_type != DEVPTS_SUPER_MAGIC {
        return Err(Error {
            call: "open(ptmx)",
            errno: libc::EINVAL,
        });
    }
    rustix::pty::unlockpt(&main).map_err(Error::rustix("ioctl(TIOCSPTLCK)"))?;
    let program = rustix::pty::ioctl_tiocgptpeer(&main, OpenptFlags::RDWR | OpenptFlags::NOCTTY)
        .map_err(Error::rustix("ioctl(TIOCGPTPEER)"))?;
    Ok(Terminal { main, program })
}

/// include/uapi/linux/magic.h.
const DEVPTS_SUPER_MAGIC: rustix::fs::FsWord = 0x1cd1;

/// Leads a new session, with this as its terminal.
pub fn control(program: impl AsFd) -> Result<(), Error> {
    rustix::process::setsid().map_err(Error::rustix("setsid"))?;
    rustix::process::ioctl_tiocsctty(program).map_err(Error::rustix("ioctl(TIOCSCTTY)"))
}

/// Tells a terminal its size in characters.
pub fn resize(main: impl AsFd, rows: u16, columns: u16) -> Result<(), Error> {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    rustix::termios::tcsetwinsize(main, size).map_err(Error::rustix("ioctl(TIOCSWINSZ)"))
}
