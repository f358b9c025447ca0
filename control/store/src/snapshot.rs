//! A snapshot as bytes: every live key with its value at one revision, closed by a count and a digest of all before it.
//!
//! ```text
//! "pintle store 1\n"  { u32 key length, u32 value length, key, value }…  u32 max, u32 0, u64 count, u64 revision, SHA-256
//! ```
//! Numbers are little endian. It is the same for every engine, so a snapshot of one can be restored into another.

use crate::engine::{Revision, Snapshot};
use crate::seal::Seals;
use bytes::{Buf, Bytes, BytesMut};
use ring::digest::{Context, SHA256, SHA256_OUTPUT_LEN};
use std::sync::Arc;

const MAGIC: &[u8] = b"pintle store 1\n";
/// In place of a key's length: the end.
const END: u32 = u32::MAX;
/// Two lengths.
const HEAD: usize = 8;
/// Count, revision, digest.
const TAIL: usize = 16 + SHA256_OUTPUT_LEN;
/// Longer keys and values the store never has: a request's body is at most 3 MiB.
const LONGEST: u32 = 64 << 20;

/// Bytes that are no snapshot, or not a whole one. Nothing of them was restored.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Something else, or of another version.
    #[error("this is not a snapshot of a store that this version reads")]
    Foreign,
    /// It ends before its end.
    #[error("the snapshot is cut off after {entries} objects; take it again, or fetch it again")]
    CutOff {
        /// How many were whole.
        entries: usize,
    },
    /// Its digest, count or lengths do not fit its bytes.
    #[error("the snapshot is damaged after {entries} objects; use another copy")]
    Damaged {
        /// How many were read before that.
        entries: usize,
    },
}

/// The pieces of `snapshot`, to be written one after the other; values are not copied.
pub fn encode(snapshot: Snapshot) -> impl Iterator<Item = Bytes> {
    encode_sealed(snapshot, Arc::default())
}

/// The same, values sealed one after the other as they are asked for.
pub(crate) fn encode_sealed(snapshot: Snapshot, seals: Arc<Seals>) -> impl Iterator<Item = Bytes> {
    let (count, revision) = (snapshot.entries.len() as u64, snapshot.revision);
    let mut digest = Context::new(&SHA256);
    digest.update(MAGIC);
    let mut entries = snapshot.entries.into_iter().map(move |entry| {
        let value = seals.seal(&entry.key, &entry.value);
        let head = [length(entry.key.len()), length(value.len())].concat();
        let head = [&head, entry.key.as_bytes()].concat();
        [Bytes::from(head), value]
    });
    let mut digest = Some(digest);
    let body = std::iter::from_fn(move || {
        let open = digest.as_mut()?;
        if let Some(pieces) = entries.next() {
            pieces.iter().for_each(|piece| open.update(piece));
            return Some(pieces);
        }
        let tail = [
            END.to_le_bytes().as_slice(),
            &0_u32.to_le_bytes(),
            &count.to_le_bytes(),
            &revision.to_le_bytes(),
        ]
        .concat();
        open.update(&tail);
        let seal = digest.take()?.finish();
        Some([Bytes::from(tail), Bytes::copy_from_slice(seal.as_ref())])
    });
    std::iter::once(Bytes::from_static(MAGIC)).chain(body.flatten())
}

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(LONGEST).to_le_bytes()
}

/// Reads a snapshot as its bytes come.
pub struct Reader {
    rest: BytesMut,
    digest: Context,
    begun: bool,
    sealed: bool,
    entries: Vec<(String, Bytes)>,
}

impl Default for Reader {
    fn default() -> Self {
        Self {
            rest: BytesMut::new(),
            digest: Context::new(&SHA256),
            begun: false,
            sealed: false,
            entries: Vec::new(),
        }
    }
}

impl Reader {
    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        self.rest.extend_from_slice(bytes);
        if !self.begun {
            if self.rest.len() < MAGIC.len() {
                return if MAGIC.starts_with(&self.rest) {
                    Ok(())
                } else {
                    Err(SnapshotError::Foreign)
                };
            }
            if self.take(MAGIC.len()) != MAGIC {
                return Err(SnapshotError::Foreign);
            }
            self.begun = true;
        }
        while !self.sealed && self.entry()? {}
        if self.sealed && !self.rest.is_empty() {
            return Err(self.damaged());
        }
        Ok(())
    }

    /// All keys and values, once every byte has come and fits the digest.
    pub fn finish(self) -> Result<Vec<(String, Bytes)>, SnapshotError> {
        match (self.begun, self.sealed) {
            (_, true) => Ok(self.entries),
            (true, false) => Err(SnapshotError::CutOff {
                entries: self.entries.len(),
            }),
            (false, false) => Err(SnapshotError::Foreign),
        }
    }

    /// Takes one entry, or the seal; false when more bytes are needed.
    fn entry(&mut self) -> Result<bool, SnapshotError> {
        let Some(mut head) = self.rest.get(..HEAD) else {
            return Ok(false);
        };
        let (key, value) = (head.get_u32_le(), head.get_u32_le());
        if key == END {
            return self.seal();
        }
        if key > LONGEST || value > LONGEST {
            return Err(self.damaged());
        }
        let (key, value) = (key as usize, value as usize);
        if self.rest.len() < HEAD + key + value {
            return Ok(false);
        }
        self.take(HEAD);
        let key = self.take(key);
        let value = self.take(value);
        let key = String::from_utf8(key.to_vec()).map_err(|_| self.damaged())?;
        self.entries.push((key, value));
        Ok(true)
    }

    fn seal(&mut self) -> Result<bool, SnapshotError> {
        if self.rest.len() < HEAD + TAIL {
            return Ok(false);
        }
        let mut tail = self.take(HEAD + 16).slice(HEAD..);
        let seal = self.digest.clone().finish();
        if tail.get_u64_le() != self.entries.len() as u64 || self.rest[..SHA256_OUTPUT_LEN] != *seal.as_ref() {
            return Err(self.damaged());
        }
        self.rest.advance(SHA256_OUTPUT_LEN);
        self.sealed = true;
        Ok(true)
    }

    fn take(&mut self, bytes: usize) -> Bytes {
        let taken = self.rest.split_to(bytes).freeze();
        self.digest.update(&taken);
        taken
    }

    fn damaged(&self) -> SnapshotError {
        SnapshotError::Damaged {
            entries: self.entries.len(),
        }
    }
}

/// What a restore changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// The revision after it.
    pub revision: Revision,
    /// Keys that were missing or different.
    pub written: usize,
    /// Keys that the snapshot does not have.
    pub deleted: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Entry;

    fn snapshot() -> Snapshot {
        let entry = |number: u64| {
            let value = vec![b'x'; number as usize * 700];
            Entry::new(format!("/pods/a/{number}"), value.into(), number, number)
        };
        Snapshot {
            revision: 9,
            entries: (1..8).map(entry).collect(),
            remaining: 0,
        }
    }

    fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<(String, Bytes)>, SnapshotError> {
        let mut reader = Reader::default();
        for piece in pieces {
            reader.push(piece)?;
        }
        reader.finish()
    }

    #[test]
    fn comes_back_in_whatever_pieces_it_arrives() {
        let expected: Vec<(String, Bytes)> = snapshot()
            .entries
            .into_iter()
            .map(|e| (e.key.to_string(), e.value.clone()))
            .collect();
        let bytes = encode(snapshot()).collect::<Vec<_>>().concat();
        for size in [1, 7, 1000, bytes.len()] {
            assert_eq!(read(bytes.chunks(size)).as_ref(), Ok(&expected));
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let bytes = encode(snapshot()).collect::<Vec<_>>().concat();
        for at in (0..bytes.len()).step_by(97).chain(bytes.len() - 60..bytes.len()) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 4;
            assert!(read([&*flipped]).is_err(), "byte {at}");
            assert!(read([&bytes[..at]]).is_err(), "cut at {at}");
        }
        assert_eq!(read([&b"etcd"[..]]), Err(SnapshotError::Foreign));
        assert_eq!(read([]), Err(SnapshotError::Foreign));
        assert!(read([&*bytes, b"more"]).is_err());
    }
}
