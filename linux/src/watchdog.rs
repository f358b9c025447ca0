//! The hardware watchdog (`/dev/watchdog`): armed by opening, fed by ioctl, resets the machine when nobody feeds it.

use crate::Error;
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;

const KEEPALIVE: libc::Ioctl = libc::_IOR::<libc::c_int>(b'W' as u32, 5);
const SET_TIMEOUT: libc::Ioctl = libc::_IOWR::<libc::c_int>(b'W' as u32, 6);

/// An armed watchdog. Dropping it leaves it armed: that is the point.
#[derive(Debug)]
pub struct Watchdog {
    device: File,
}

impl Watchdog {
    /// Opens and thereby arms `/dev/watchdog`; `seconds` is asked for, the device may round it.
    pub fn arm(seconds: u32) -> Result<Self, Error> {
        let device = OpenOptions::new()
            .write(true)
            .open("/dev/watchdog")
            .map_err(Error::io("open"))?;
        let mut timeout = libc::c_int::try_from(seconds).unwrap_or(libc::c_int::MAX);
        // SAFETY: WDIOC_SETTIMEOUT reads and writes one int, and `timeout` outlives the call.
        let done = unsafe { libc::ioctl(device.as_raw_fd(), SET_TIMEOUT, &mut timeout) };
        if done < 0 {
            return Err(Error::last("ioctl(WDIOC_SETTIMEOUT)"));
        }
        Ok(Watchdog { device })
    }

    /// Starts its time anew.
    pub fn feed(&self) -> Result<(), Error> {
        let mut ignored: libc::c_int = 0;
        // SAFETY: WDIOC_KEEPALIVE does not touch its argument in any driver; a valid int is passed all the same.
        let done = unsafe { libc::ioctl(self.device.as_raw_fd(), KEEPALIVE, &mut ignored) };
        if done < 0 {
            Err(Error::last("ioctl(WDIOC_KEEPALIVE)"))
        } else {
            Ok(())
        }
    }
}
