//! Device-mapper by its ioctls (`/dev/mapper/control`): create a device, load one target into it, resume it, remove it.
//!
//! Layout from `linux/dm-ioctl.h`; the buffers are bytes written field by field, so no C struct has to be kept in step.

use crate::Error;
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;

/// `sizeof(struct dm_ioctl)`.
const HEADER: usize = 312;
/// `sizeof(struct dm_target_spec)`.
const TARGET: usize = 40;
/// Where name and UUID stand in the header, and how long they may be with their final NUL.
const NAME: (usize, usize) = (48, 128);
const UUID: (usize, usize) = (176, 129);

const READ_ONLY: u32 = 1;
const CREATE: u8 = 3;
const REMOVE: u8 = 4;
/// Suspends with the suspend flag, resumes without.
const SUSPEND: u8 = 6;
const LOAD: u8 = 9;

/// The kernel's device-mapper.
#[derive(Debug)]
pub struct DeviceMapper {
    control: File,
}

/// A device that device-mapper made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its minor number: the kernel calls it `dm-<minor>`.
    pub minor: u32,
}

/// One target over the whole device.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Length in 512-byte sectors.
    pub sectors: u64,
    /// Target type, e.g. `verity`; at most 15 bytes.
    pub kind: &'a str,
    /// The target's own parameters, see the kernel's `admin-guide/device-mapper`.
    pub parameters: &'a str,
}

// === impl DeviceMapper ===

impl DeviceMapper {
    /// Opens `/dev/mapper/control`.
    pub fn open() -> Result<Self, Error> {
        let control = OpenOptions::new().read(true).write(true).open("/dev/mapper/control");
        control
            .map(|control| DeviceMapper { control })
            .map_err(Error::io("open"))
    }

    /// Makes an empty, suspended device.
    pub fn create(&self, name: &str, uuid: &str) -> Result<Device, Error> {
        let mut request = header(HEADER, name, 0, 0);
        put_text(&mut request, UUID, uuid);
        self.ask(CREATE, &mut request)?;
        let mut dev = [0; 8];
        dev.copy_from_slice(&request[40..48]);
        Ok(Device {
            minor: libc::minor(u64::from_ne_bytes(dev)),
        })
    }

    /// Loads `target` as the device's whole table, read-only.
    pub fn load_read_only(&self, name: &str, target: Target<'_>) -> Result<(), Error> {
        let length = (TARGET + target.parameters.len() + 1).next_multiple_of(8);
        let mut request = header(HEADER + length, name, 1, READ_ONLY);
        let mut spec = vec![0; length];
        spec[8..16].copy_from_slice(&target.sectors.to_ne_bytes());
        spec[20..24].copy_from_slice(&(length as u32).to_ne_bytes());
        put_text(&mut spec, (24, 16), target.kind);
        let parameters = target.parameters.as_bytes();
        spec[TARGET..TARGET + parameters.len()].copy_from_slice(parameters);
        request.extend(spec);
        self.ask(LOAD, &mut request)
    }

    /// Makes the loaded table live.
    pub fn resume_read_only(&self, name: &str) -> Result<(), Error> {
        self.ask(SUSPEND, &mut header(HEADER, name, 0, READ_ONLY))
    }

    /// Removes a device that nobody has open.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        self.ask(REMOVE, &mut header(HEADER, name, 0, 0))
    }

    fn ask(&self, command: u8, request: &mut [u8]) -> Result<(), Error> {
        let number = libc::_IOWR::<[u8; HEADER]>(0xfd, u32::from(command));
        // SAFETY: `request` is a whole dm_ioctl whose data_size field is its length, and the kernel writes no further than that.
        let done = unsafe { libc::ioctl(self.control.as_raw_fd(), number, request.as_mut_ptr()) };
        if done < 0 {
            Err(Error::last("ioctl(device-mapper)"))
        } else {
            Ok(())
        }
    }
}

/// A request of `size` bytes in all, of which this returns the header; the rest is for the caller to append.
fn header(size: usize, name: &str, targets: u32, flags: u32) -> Vec<u8> {
    let mut bytes = vec![0; HEADER];
    // Version 4.0.0: all that is used here has been there since device-mapper's interface 4 began.
    bytes[0..4].copy_from_slice(&4_u32.to_ne_bytes());
    bytes[12..16].copy_from_slice(&(size as u32).to_ne_bytes());
    bytes[16..20].copy_from_slice(&(HEADER as u32).to_ne_bytes());
    bytes[20..24].copy_from_slice(&targets.to_ne_bytes());
    bytes[28..32].copy_from_slice(&flags.to_ne_bytes());
    put_text(&mut bytes, NAME, name);
    bytes
}

/// Writes `text` at `offset`, cut so that the NUL after it stays within `room` bytes.
fn put_text(bytes: &mut [u8], (offset, room): (usize, usize), text: &str) {
    let length = text.len().min(room - 1);
    bytes[offset..offset + length].copy_from_slice(&text.as_bytes()[..length]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_stands_as_the_kernel_reads_it() {
        let bytes = header(400, "root", 1, READ_ONLY);
        assert_eq!(bytes.len(), HEADER);
        assert_eq!(bytes[0], 4);
        assert_eq!(u32::from_ne_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]), 400);
        assert_eq!(
            u32::from_ne_bytes([bytes[28], bytes[29], bytes[30], bytes[31]]),
            READ_ONLY
        );
        assert_eq!(&bytes[48..53], b"root\0");
    }

    #[test]
    fn text_that_is_too_long_keeps_its_nul() {
        let mut bytes = [0xff; 8];
        bytes[3] = 0;
        put_text(&mut bytes, (0, 4), "abcdef");
        assert_eq!(&bytes[..4], b"abc\0");
    }
}
