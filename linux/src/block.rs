//! Block devices: zeroing a range by the device's own means.

use crate::Error;
use std::fs::File;
use std::os::fd::AsRawFd;

/// `BLKZEROOUT`, from `linux/fs.h`.
const BLKZEROOUT: libc::Ioctl = libc::_IO(0x12, 127);

/// Makes `length` bytes from `start` read as zero; both multiples of the logical block size. Where the device cannot
/// zero by itself the kernel writes zeros, so this may take as long as writing that much.
pub fn zero_out(device: &File, start: u64, length: u64) -> Result<(), Error> {
    let range = [start, length];
    // SAFETY: BLKZEROOUT reads two u64 from the pointer, and `range` outlives the call.
    let done = unsafe { libc::ioctl(device.as_raw_fd(), BLKZEROOUT, range.as_ptr()) };
    if done < 0 {
        Err(Error::last("ioctl(BLKZEROOUT)"))
    } else {
        Ok(())
    }
}
