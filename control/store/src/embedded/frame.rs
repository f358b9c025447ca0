//! Frames: what a log and a checkpoint are made of. No IO.
//!
//! ```text
//! u32 length of what follows the head, u32 CRC-32 of it  |  u64 number, u64 ceiling, changes…
//! change: u64 created, u64 modified (0: deleted), u32 key length, u32 value length, key, value
//! ```
//! Numbers are little endian. The checksum begins with the file's salt, so that no value can hold a frame of its file.

use crate::engine::{Entry, Revision};
use crate::seal::Seals;
use bytes::Bytes;
use std::io;
use std::sync::Arc;

/// Length and checksum.
pub(super) const HEAD: usize = 8;
/// Number and ceiling.
const NUMBERS: usize = 16;
/// A change without its key and value.
const CHANGE: usize = 24;

/// A frame that fits its checksum.
pub(super) struct Frame<'a> {
    /// Which commit, or which part of a checkpoint.
    pub(super) number: u64,
    /// No revision above this was handed out.
    pub(super) ceiling: Revision,
    changes: &'a [u8],
}

/// Begins a frame at the buffer's end; [`seal`] completes it.
pub(super) fn begin(buffer: &mut Vec<u8>, number: u64, ceiling: Revision) -> usize {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; HEAD]);
    buffer.extend_from_slice(&number.to_le_bytes());
    buffer.extend_from_slice(&ceiling.to_le_bytes());
    start
}

/// Adds a key's state, sealed where it is to be; none: it is gone.
pub(super) fn change(buffer: &mut Vec<u8>, seals: &Seals, key: &str, state: Option<&Entry>) {
    let (created, modified) = state.map_or((0, 0), |entry| (entry.created, entry.modified));
    let value = state.map_or_else(Bytes::new, |entry| seals.seal(key, &entry.value));
    buffer.extend_from_slice(&created.to_le_bytes());
    buffer.extend_from_slice(&modified.to_le_bytes());
    // Lengths that do not fit make the whole frame too long, which `seal` refuses.
    buffer.extend_from_slice(&(key.len() as u32).to_le_bytes());
    buffer.extend_from_slice(&(value.len() as u32).to_le_bytes());
    buffer.extend_from_slice(key.as_bytes());
    buffer.extend_from_slice(&value);
}

/// Writes the head of the frame that began at `start`.
pub(super) fn seal(buffer: &mut [u8], start: usize, salt: u32) -> io::Result<()> {
    let (head, body) = buffer[start..].split_at_mut(HEAD);
    let length = u32::try_from(body.len())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a commit of more than 4 GiB"))?;
    head[..4].copy_from_slice(&length.to_le_bytes());
    head[4..].copy_from_slice(&checksum(salt, body).to_le_bytes());
    Ok(())
}

fn checksum(salt: u32, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(salt);
    hasher.update(&(body.len() as u64).to_le_bytes());
    hasher.update(body);
    hasher.finalize()
}

/// How many bytes follow a head; none where no frame begins.
pub(super) fn body_length(head: &[u8]) -> Option<usize> {
    let (length, _) = head.split_first_chunk::<4>()?;
    let length = u32::from_le_bytes(*length) as usize;
    (length >= NUMBERS).then_some(length)
}

/// The frame with that head and body, if it fits its checksum.
pub(super) fn open<'a>(head: &[u8], body: &'a [u8], salt: u32) -> Option<Frame<'a>> {
    let expected = head.get(4..HEAD)?;
    if expected != checksum(salt, body).to_le_bytes() {
        return None;
    }
    let (number, rest) = body.split_first_chunk::<8>()?;
    let (ceiling, changes) = rest.split_first_chunk::<8>()?;
    Some(Frame {
        number: u64::from_le_bytes(*number),
        ceiling: u64::from_le_bytes(*ceiling),
        changes,
    })
}

/// The frame at the beginning of `bytes`, and how long it is.
pub(super) fn first(bytes: &[u8], salt: u32) -> Option<(Frame<'_>, usize)> {
    let end = HEAD.checked_add(body_length(bytes)?)?;
    let body = bytes.get(HEAD..end)?;
    Some((open(&bytes[..HEAD], body, salt)?, end))
}

// === impl Frame ===

impl Frame<'_> {
    /// Its changes in order; a key without an entry is gone. None where lengths do not fit, which no checksum lets happen.
    pub(super) fn changes(&self) -> Option<Vec<(Arc<str>, Option<Entry>)>> {
        let mut rest = self.changes;
        let mut changes = Vec::new();
        while !rest.is_empty() {
            let (head, body) = rest.split_first_chunk::<CHANGE>()?;
            let number = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().unwrap_or_default());
            let length = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap_or_default()) as usize;
            let (key, body) = body.split_at_checked(length(16))?;
            let (value, body) = body.split_at_checked(length(20))?;
            let key: Arc<str> = std::str::from_utf8(key).ok()?.into();
            let entry =
                (number(8) != 0).then(|| Entry::new(key.clone(), Bytes::copy_from_slice(value), number(0), number(8)));
            changes.push((key, entry));
            rest = body;
        }
        Some(changes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(salt: u32) -> Vec<u8> {
        let entry = Entry::new("/pods/a/b", "value".into(), 3, 9);
        let mut buffer = b"before".to_vec();
        let start = begin(&mut buffer, 7, 99);
        change(&mut buffer, &Seals::default(), &entry.key, Some(&entry));
        change(&mut buffer, &Seals::default(), "/gone", None);
        seal(&mut buffer, start, salt).unwrap();
        buffer.split_off(start)
    }

    #[test]
    fn a_frame_comes_back() {
        let bytes = sample(5);
        let (frame, length) = first(&bytes, 5).unwrap();
        assert_eq!((frame.number, frame.ceiling, length), (7, 99, bytes.len()));
        let changes = frame.changes().unwrap();
        assert_eq!(changes[0].1.as_ref().unwrap().value, "value");
        assert_eq!((&*changes[1].0, &changes[1].1), ("/gone", &None));
    }

    #[test]
    fn no_flipped_bit_and_no_other_salt_makes_a_frame() {
        let bytes = sample(5);
        assert!(first(&bytes, 6).is_none());
        assert!(first(&bytes[..bytes.len() - 1], 5).is_none());
        assert!(first(&[0; 64], 5).is_none());
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(first(&flipped, 5).is_none(), "bit {bit}");
        }
    }
}
