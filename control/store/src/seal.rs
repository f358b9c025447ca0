//! Values that must not lie on a disk as they are: sealed on their way out of memory, opened once on their way in.
//!
//! ```text
//! "k8s:enc:aesgcm:v1:NAME:"  12 bytes of nonce, ciphertext, 16 bytes of tag
//! ```
//! The store's key is authenticated with the value, so that a sealed value is good at its own place only.

use crate::engine::Entry;
use bytes::Bytes;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use std::fmt;

/// What every sealed value begins with, before the name of its key. No value of ours does: those are JSON.
const MARK: &[u8] = b"k8s:enc:aesgcm:v1:";

/// Bytes of a key of AES-256.
pub const SEAL_KEY_BYTES: usize = 32;

/// A sealed value that cannot be read. It stays in the store as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Nobody gave us its key.
    #[error(
        "read {key}: it is sealed with the encryption key {name:?}, which is not among those given; give that one too"
    )]
    UnknownKey {
        /// Where it lies.
        key: String,
        /// What its key is called.
        name: String,
    },
    /// It does not fit its seal.
    #[error(
        "read {key}: it does not fit its seal by the encryption key {name:?}; \
         either that key is another one than then, or somebody changed or moved what is stored"
    )]
    Broken {
        /// Where it lies.
        key: String,
        /// What its key is called.
        name: String,
    },
}

/// A key with the name that sealed values know it by.
pub struct SealKey {
    name: String,
    key: LessSafeKey,
}

/// Which values are sealed, and with what: the first key seals, each of them opens.
#[derive(Default)]
pub struct Seals {
    prefixes: Vec<String>,
    keys: Vec<SealKey>,
}

/// A value out of a file.
pub(crate) struct Opened {
    pub(crate) value: Bytes,
    /// Whether it should be written again: an older key sealed it, or none did.
    pub(crate) stale: bool,
}

// === impl SealKey ===

impl SealKey {
    /// A key of `bytes`, called `name`, which has no colon.
    pub fn new(name: &str, bytes: &[u8; SEAL_KEY_BYTES]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, bytes).expect("a key comes of it because it has the length of one");
        Self {
            name: name.to_owned(),
            key: LessSafeKey::new(key),
        }
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("SealKey")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

// === impl Seals ===

impl Seals {
    /// Values at keys that begin with one of `prefixes` are sealed by the first of `keys`; with no keys none is.
    pub fn new(prefixes: impl IntoIterator<Item = String>, keys: impl IntoIterator<Item = SealKey>) -> Self {
        Self {
            prefixes: prefixes.into_iter().collect(),
            keys: keys.into_iter().collect(),
        }
    }

    /// `value` as it is kept. What could not be opened is kept as it was found.
    pub(crate) fn seal(&self, key: &str, value: &Bytes) -> Bytes {
        match self.sealer(key) {
            Some(sealer) if !value.starts_with(MARK) => sealer.seal(key, value),
            Some(_) | None => value.clone(),
        }
    }

    /// A kept value as it is used.
    pub(crate) fn open(&self, key: &str, value: Bytes) -> Result<Opened, SealError> {
        let sealer = self.sealer(key);
        let Some((name, sealed)) = split(&value) else {
            let stale = sealer.is_some();
            return Ok(Opened { value, stale });
        };
        let named = || (key.to_owned(), name.to_owned());
        let mut known = self.keys.iter().filter(|known| known.name == name).peekable();
        if known.peek().is_none() {
            let (key, name) = named();
            return Err(SealError::UnknownKey { key, name });
        }
        let opened = known.find_map(|known| known.open(key, sealed));
        let stale = sealer.is_none_or(|sealer| sealer.name != name);
        opened.map(|value| Opened { value, stale }).ok_or_else(|| {
            let (key, name) = named();
            SealError::Broken { key, name }
        })
    }

    /// Opens a loaded entry where that can be done; says whether it should be written again.
    pub(crate) fn open_entry(&self, entry: &mut Entry) -> bool {
        match self.open(&entry.key, entry.value.clone()) {
            Ok(opened) => {
                // Bytes that were not sealed come back as they are.
                if opened.value.as_ptr() != entry.value.as_ptr() {
                    *entry = entry.with_value(opened.value);
                }
                opened.stale
            }
            Err(error) => {
                tracing::error!(%error, "an object is kept, but cannot be read");
                false
            }
        }
    }

    fn sealer(&self, key: &str) -> Option<&SealKey> {
        let covered = self.prefixes.iter().any(|prefix| key.starts_with(prefix.as_str()));
        self.keys.first().filter(|_| covered)
    }
}

impl SealKey {
    /// Nonces are drawn: one key is good for 2³² values (NIST SP 800-38D, 8.3), more than a cluster writes in years.
    fn seal(&self, key: &str, value: &[u8]) -> Bytes {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).expect("random bytes come because Linux has them once it has booted");
        let mut secret = value.to_vec();
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(key), &mut secret)
            .expect("it can be sealed because it is far shorter than 64 GiB");
        [MARK, self.name.as_bytes(), b":", &nonce, &secret].concat().into()
    }

    fn open(&self, key: &str, sealed: &[u8]) -> Option<Bytes> {
        let (nonce, secret) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut secret = secret.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self.key.open_in_place(nonce, Aad::from(key), &mut secret).ok()?.len();
        secret.truncate(length);
        Some(secret.into())
    }
}

/// The name of a sealed value's key, and what follows it; none for a value that is not sealed.
fn split(value: &[u8]) -> Option<(&str, &[u8])> {
    let rest = value.strip_prefix(MARK)?;
    let colon = rest.iter().position(|byte| *byte == b':')?;
    Some((std::str::from_utf8(&rest[..colon]).ok()?, &rest[colon + 1..]))
}

// === impl Entry ===

impl Entry {
    /// Refuses an entry whose value could not be opened when it was loaded; its bytes say nothing.
    pub fn readable(&self) -> Result<(), SealError> {
        match split(&self.value) {
            None => Ok(()),
            Some((name, _)) => Err(SealError::Broken {
                key: self.key.to_string(),
                name: name.to_owned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seals(keys: &[(&str, u8)]) -> Seals {
        let keys = keys
            .iter()
            .map(|(name, byte)| SealKey::new(name, &[*byte; SEAL_KEY_BYTES]));
        Seals::new(["secrets/".to_owned()], keys)
    }

    #[test]
    fn what_is_sealed_opens_at_its_own_key_with_any_key_that_is_known() {
        let old = seals(&[("k1", 1)]);
        let value = Bytes::from_static(b"{\"data\":\"hunter2\"}");
        let sealed = old.seal("secrets/a/b", &value);
        assert!(sealed.starts_with(b"k8s:enc:aesgcm:v1:k1:"));
        assert!(!sealed.windows(7).any(|window| window == b"hunter2"));
        let opened = old.open("secrets/a/b", sealed.clone()).unwrap();
        assert_eq!((opened.value, opened.stale), (value.clone(), false));
        let rotated = seals(&[("k2", 2), ("k1", 1)])
            .open("secrets/a/b", sealed.clone())
            .unwrap();
        assert_eq!((rotated.value, rotated.stale), (value.clone(), true));
        assert!(old.open("secrets/a/b", value.clone()).unwrap().stale);
        assert_eq!(old.seal("secrets/a/b", &sealed), sealed);
        assert_eq!(old.seal("pods/a/b", &value), value);
    }

    #[test]
    fn moved_changed_and_foreign_values_do_not_open() {
        let old = seals(&[("k1", 1)]);
        let sealed = old.seal("secrets/a/b", &Bytes::from_static(b"{}"));
        assert!(matches!(
            old.open("secrets/a/c", sealed.clone()),
            Err(SealError::Broken { .. })
        ));
        let other = seals(&[("k1", 7)]).open("secrets/a/b", sealed.clone());
        assert!(matches!(other, Err(SealError::Broken { .. })));
        let unknown = seals(&[("k2", 1)]).open("secrets/a/b", sealed.clone());
        assert!(matches!(unknown, Err(SealError::UnknownKey { .. })));
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let opened = old.open("secrets/a/b", flipped.into());
            assert!(opened.map_or(true, |opened| opened.stale), "bit {bit}");
        }
    }
}
