//! The verity partition's superblock, as `veritysetup format` writes it, and the device-mapper table that follows from it.

use super::root_hash::RootHash;

/// Bytes of the superblock at the start of the verity partition.
pub const SUPERBLOCK: usize = 512;

/// What the superblock says. None of it is trusted: a wrong word leads to another root hash, and the kernel refuses.
#[derive(Debug, PartialEq, Eq)]
pub struct Superblock {
    data_block_size: u32,
    hash_block_size: u32,
    data_blocks: u64,
    salt: Vec<u8>,
}

/// A superblock that cannot belong to an image of ours.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SuperblockError {
    #[error("it does not start with a verity superblock")]
    NotVerity,
    #[error("its superblock asks for {what} {found}, our images have {ours}")]
    Foreign {
        what: &'static str,
        found: String,
        ours: &'static str,
    },
    #[error("its superblock speaks of {said} bytes of root, but the root partition has {there}")]
    TooLong { said: u64, there: u64 },
}

impl Superblock {
    /// From the first bytes of the verity partition; `root_bytes` is the root partition's size.
    pub fn parse(bytes: &[u8; SUPERBLOCK], root_bytes: u64) -> Result<Self, SuperblockError> {
        if &bytes[..8] != b"verity\0\0" {
            return Err(SuperblockError::NotVerity);
        }
        let algorithm = bytes[32..64].split(|byte| *byte == 0).next().unwrap_or_default();
        expect("version", number(&bytes[8..12]), 1, "1")?;
        expect("hash type", number(&bytes[12..16]), 1, "1")?;
        if algorithm != b"sha256" {
            let found = String::from_utf8_lossy(algorithm).into_owned();
            return Err(SuperblockError::Foreign {
                what: "algorithm",
                found,
                ours: "sha256",
            });
        }
        let (data_block_size, hash_block_size) = (number(&bytes[64..68]), number(&bytes[68..72]));
        block_size("data block size", data_block_size)?;
        block_size("hash block size", hash_block_size)?;
        let data_blocks = number(&bytes[72..80]);
        let salt_bytes = number(&bytes[80..82]) as usize;
        let salt = bytes[88..].get(..salt_bytes).filter(|_| salt_bytes <= 256);
        let Some(salt) = salt else {
            let found = salt_bytes.to_string();
            return Err(SuperblockError::Foreign {
                what: "salt length",
                found,
                ours: "at most 256",
            });
        };
        let said = data_blocks.saturating_mul(data_block_size);
        if data_blocks == 0 || said > root_bytes {
            return Err(SuperblockError::TooLong {
                said,
                there: root_bytes,
            });
        }
        let (data_block_size, hash_block_size) = (data_block_size as u32, hash_block_size as u32);
        Ok(Superblock {
            data_block_size,
            hash_block_size,
            data_blocks,
            salt: salt.to_vec(),
        })
    }

    /// Bytes that are verified.
    pub fn data_bytes(&self) -> u64 {
        self.data_blocks * u64::from(self.data_block_size)
    }

    /// Parameters of a `verity` target (kernel: `admin-guide/device-mapper/verity.rst`).
    pub fn table(&self, root_device: &str, verity_device: &str, hash: &RootHash) -> String {
        let Superblock {
            data_block_size,
            hash_block_size,
            data_blocks,
            salt,
        } = self;
        let salt: String = salt.iter().map(|byte| format!("{byte:02x}")).collect();
        let salt = if salt.is_empty() { "-" } else { &salt };
        // The tree begins in the block after the superblock.
        let hash_start = (SUPERBLOCK as u32).div_ceil(*hash_block_size);
        let hash = hash.hex();
        format!(
            "1 {root_device} {verity_device} {data_block_size} {hash_block_size} {data_blocks} {hash_start} sha256 {hash} {salt}"
        )
    }
}

/// Little-endian, as long as it is.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// The sizes that both `veritysetup` and EROFS know. Ours are 4096; 512 is what repart takes unless it is told.
fn block_size(what: &'static str, found: u64) -> Result<(), SuperblockError> {
    let ours = "a power of two from 512 to 4096";
    let fits = found.is_power_of_two() && (512..=4096).contains(&found);
    if fits {
        Ok(())
    } else {
        Err(SuperblockError::Foreign {
            what,
            found: found.to_string(),
            ours,
        })
    }
}

fn expect(what: &'static str, found: u64, wanted: u64, ours: &'static str) -> Result<(), SuperblockError> {
    if found == wanted {
        Ok(())
    } else {
        Err(SuperblockError::Foreign {
            what,
            found: found.to_string(),
            ours,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The start of what `veritysetup format --salt 0102 --uuid …` wrote over two blocks of data.
    fn sample() -> [u8; SUPERBLOCK] {
        let mut bytes = [0; SUPERBLOCK];
        bytes[..8].copy_from_slice(b"verity\0\0");
        bytes[8] = 1;
        bytes[12] = 1;
        bytes[32..38].copy_from_slice(b"sha256");
        bytes[64..68].copy_from_slice(&4096_u32.to_le_bytes());
        bytes[68..72].copy_from_slice(&4096_u32.to_le_bytes());
        bytes[72..80].copy_from_slice(&2_u64.to_le_bytes());
        bytes[80] = 2;
        bytes[88..90].copy_from_slice(&[1, 2]);
        bytes
    }

    #[test]
    fn a_superblock_becomes_a_table() {
        let superblock = Superblock::parse(&sample(), 8192).expect("it is whole");
        assert_eq!(superblock.data_bytes(), 8192);
        let hash = "a".repeat(64).parse().expect("64 digits");
        let table = superblock.table("/dev/vda2", "/dev/vda3", &hash);
        assert_eq!(
            table,
            format!("1 /dev/vda2 /dev/vda3 4096 4096 2 1 sha256 {} 0102", "a".repeat(64))
        );
    }

    #[test]
    fn what_is_not_ours_is_refused_by_name() {
        let cases: [(usize, u8, &str); 6] = [
            (0, b'x', "it does not start with a verity superblock"),
            (8, 2, "its superblock asks for version 2, our images have 1"),
            (
                33,
                b'm',
                "its superblock asks for algorithm sma256, our images have sha256",
            ),
            (
                65,
                0,
                "its superblock asks for data block size 0, our images have a power of two from 512 to 4096",
            ),
            (
                81,
                9,
                "its superblock asks for salt length 2306, our images have at most 256",
            ),
            (
                72,
                3,
                "its superblock speaks of 12288 bytes of root, but the root partition has 8192",
            ),
        ];
        for (at, byte, sentence) in cases {
            let mut bytes = sample();
            bytes[at] = byte;
            let error = Superblock::parse(&bytes, 8192).expect_err(sentence);
            assert_eq!(error.to_string(), sentence);
        }
    }
}
