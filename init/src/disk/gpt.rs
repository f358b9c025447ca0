//! The unique GUIDs of a disk's partitions, read from its GPT: kernels before 6.13 do not tell them in sysfs.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// The UEFI specification asks for 128 entries; more than this is no table of ours.
const MOST_ENTRIES: u64 = 1024;

/// GUIDs as text, lower case, by partition number less one; an unused entry has an empty text. A disk without a GPT has none.
pub fn unique_guids(disk: &File, block_size: u64) -> io::Result<Vec<String>> {
    let mut header = [0; 92];
    disk.read_exact_at(&mut header, block_size)?;
    let number = |at: usize, length: usize| {
        header[at..at + length]
            .iter()
            .rev()
            .fold(0, |value, byte| value << 8 | u64::from(*byte))
    };
    let (start, count, size) = (number(72, 8), number(80, 4), number(84, 4));
    if &header[..8] != b"EFI PART" || count > MOST_ENTRIES || !(128..=4096).contains(&size) {
        return Ok(Vec::new());
    }
    let mut entries = vec![0; (count * size) as usize];
    let Some(offset) = start.checked_mul(block_size) else {
        return Ok(Vec::new());
    };
    disk.read_exact_at(&mut entries, offset)?;
    Ok(entries
        .chunks_exact(size as usize)
        .map(|entry| guid(&entry[16..32]))
        .collect())
}

/// A GUID's text: its first three groups are stored with the low byte first.
fn guid(bytes: &[u8]) -> String {
    const ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    if bytes.iter().all(|byte| *byte == 0) {
        return String::new();
    }
    let hex: String = ORDER.iter().map(|at| format!("{:02x}", bytes[*at])).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(block_size: usize, signature: &[u8]) -> File {
        let mut bytes = vec![0; block_size * 6];
        let header = block_size;
        bytes[header..header + signature.len()].copy_from_slice(signature);
        bytes[header + 72] = 2;
        bytes[header + 80] = 2;
        bytes[header + 84] = 128;
        let second = 2 * block_size + 128;
        let guid: Vec<u8> = (0..16).collect();
        bytes[second + 16..second + 32].copy_from_slice(&guid);
        let file = tempfile::tempfile().expect("a temporary file can be made");
        file.write_all_at(&bytes, 0).expect("it can be written");
        file
    }

    #[test]
    fn guids_come_by_number() {
        for block_size in [512, 4096] {
            let found = unique_guids(&disk(block_size, b"EFI PART"), block_size as u64).expect("it can be read");
            assert_eq!(found, ["", "03020100-0504-0706-0809-0a0b0c0d0e0f"]);
        }
    }

    #[test]
    fn a_disk_without_a_table_has_none() {
        assert!(
            unique_guids(&disk(512, b"nothing!"), 512)
                .expect("it can be read")
                .is_empty()
        );
    }
}
