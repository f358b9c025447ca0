//! The note at a partition's end that its file system is still to be made: by a reset, or by a format that a power cut
//! interrupted. Without it such a partition would look like somebody's data and never be formatted again.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// The file system leaves this much of the partition's end alone, so that neither overwrites the other.
pub const TAIL: u64 = 1 << 20;

const NOTE: &[u8; 512] = &padded(b"pintle: a file system is to be made here; nothing on this partition is wanted\n");

const fn padded(text: &[u8]) -> [u8; 512] {
    let mut note = [0; 512];
    let mut at = 0;
    while at < text.len() {
        note[at] = text[at];
        at += 1;
    }
    note
}

/// Whether the note is there.
pub fn is_noted(device: &File, bytes: u64) -> io::Result<bool> {
    let Some(at) = bytes.checked_sub(TAIL) else {
        return Ok(false);
    };
    let mut found = [0; 512];
    device.read_exact_at(&mut found, at)?;
    Ok(&found == NOTE)
}

/// Leaves the note, on the disk when this returns.
pub fn note(device: &File, bytes: u64) -> io::Result<()> {
    write(device, bytes, NOTE)
}

/// Takes it away.
pub fn clear(device: &File, bytes: u64) -> io::Result<()> {
    write(device, bytes, &[0; 512])
}

fn write(device: &File, bytes: u64, what: &[u8; 512]) -> io::Result<()> {
    let too_small = || io::Error::new(io::ErrorKind::InvalidInput, "the partition is smaller than 1 MiB");
    device.write_all_at(what, bytes.checked_sub(TAIL).ok_or_else(too_small)?)?;
    device.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_note_comes_and_goes() {
        let file = tempfile::tempfile().expect("a temporary file can be made");
        file.set_len(2 << 20).expect("it can be as long as we like");
        let noted = || is_noted(&file, 2 << 20).expect("it can be read");
        assert!(!noted());
        note(&file, 2 << 20).expect("it can be written");
        assert!(noted());
        clear(&file, 2 << 20).expect("it can be written");
        assert!(!noted());
        assert!(note(&file, 4096).is_err());
    }
}
