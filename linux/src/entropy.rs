//! The kernel's random pool: adding a saved seed and counting it as entropy.

use crate::Error;
use std::fs::OpenOptions;
use std::os::fd::AsRawFd;

const RNDADDENTROPY: libc::Ioctl = libc::_IOW::<[libc::c_int; 2]>(b'R' as u32, 3);

/// Mixes `seed` into the pool and counts every bit of it. The caller vouches that nobody else knows the seed and that it
/// is never used twice; needs CAP_SYS_ADMIN.
pub fn credit(seed: &[u8]) -> Result<(), Error> {
    let pool = OpenOptions::new()
        .write(true)
        .open("/dev/urandom")
        .map_err(Error::io("open"))?;
    let length = libc::c_int::try_from(seed.len()).map_err(|_| Error {
        call: "ioctl(RNDADDENTROPY)",
        errno: libc::EINVAL,
    })?;
    // struct rand_pool_info: int entropy_count (bits), int buf_size (bytes), the bytes.
    let mut info = Vec::with_capacity(8 + seed.len());
    info.extend((length.saturating_mul(8)).to_ne_bytes());
    info.extend(length.to_ne_bytes());
    info.extend(seed);
    // SAFETY: the kernel reads two ints and then buf_size bytes, all of which `info` holds.
    let done = unsafe { libc::ioctl(pool.as_raw_fd(), RNDADDENTROPY, info.as_ptr()) };
    if done < 0 {
        Err(Error::last("ioctl(RNDADDENTROPY)"))
    } else {
        Ok(())
    }
}
