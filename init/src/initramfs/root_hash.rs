//! The root hash on the kernel command line and the partitions that it names (Discoverable Partitions Specification).

/// The hash of the top of the root's verity tree: what the whole root is trusted by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootHash {
    hex: String,
}

/// Text that is no root hash.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("roothash={0:?} on the kernel command line is not 64 hexadecimal digits; the image was put together wrongly")]
pub struct NotAHash(pub String);

impl std::str::FromStr for RootHash {
    type Err = NotAHash;

    fn from_str(text: &str) -> Result<Self, NotAHash> {
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NotAHash(text.to_owned()));
        }
        Ok(RootHash {
            hex: text.to_ascii_lowercase(),
        })
    }
}

impl RootHash {
    /// Its 64 digits, lower case.
    pub fn hex(&self) -> &str {
        &self.hex
    }

    /// PARTUUID of the root partition: the hash's first 128 bits.
    pub fn root_partition(&self) -> String {
        uuid(&self.hex[..32])
    }

    /// PARTUUID of the verity partition: its last 128 bits.
    pub fn verity_partition(&self) -> String {
        uuid(&self.hex[32..])
    }
}

fn uuid(hex: &str) -> String {
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_names_its_two_partitions() {
        let hash: RootHash = "00112233445566778899AABBCCDDEEFF0123456789abcdef0123456789abcdef"
            .parse()
            .expect("64 digits");
        assert_eq!(hash.root_partition(), "00112233-4455-6677-8899-aabbccddeeff");
        assert_eq!(hash.verity_partition(), "01234567-89ab-cdef-0123-456789abcdef");
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "abc", &"g".repeat(64), &"a".repeat(63), &"é".repeat(32)] {
            assert_eq!(text.parse::<RootHash>(), Err(NotAHash(text.to_owned())));
        }
    }
}
