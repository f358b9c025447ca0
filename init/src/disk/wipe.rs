//! Making a partition forget: all of a small one, of a large one what a file system is found by.

use super::pending;
use crate::console;
use linux::block::zero_out;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

/// STATE is smaller and keeps keys, so it is zeroed whole. DATA is larger; zeroing it would hold up the reset for minutes.
const WHOLE: u64 = 1 << 30;
/// Enough for every superblock and partition table, and ext4's group descriptors.
const EDGE: u64 = 16 << 20;

/// Wipes the partition. The note is left first: a power cut on the way must not turn the rest into a riddle.
pub fn wipe(device: &Path, bytes: u64) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(device)?;
    pending::note(&file, bytes)?;
    let end = bytes.saturating_sub(pending::TAIL);
    zero(&file, 0, if bytes <= WHOLE { end } else { EDGE })?;
    file.sync_all()?;
    console::notice(format_args!(
        "{} is wiped; the next boot makes a new file system on it",
        device.display()
    ));
    Ok(())
}

fn zero(file: &File, start: u64, length: u64) -> io::Result<()> {
    zero_out(file, start, length).map_err(|error| io::Error::from_raw_os_error(error.errno))
}
