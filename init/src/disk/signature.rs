//! What a partition seems to hold, by the magic numbers that blkid looks at; only to name it, never to act on it.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// Name, offset, magic.
const SIGNATURES: [(&str, u64, &[u8]); 11] = [
    ("ext4", 1080, b"\x53\xef"),
    ("xfs", 0, b"XFSB"),
    ("btrfs", 65600, b"_BHRfS_M"),
    ("EROFS", 1024, b"\xe2\xe1\xf5\xe0"),
    ("squashfs", 0, b"hsqs"),
    ("LUKS", 0, b"LUKS\xba\xbe"),
    ("LVM", 536, b"LVM2 001"),
    ("swap", 4086, b"SWAPSPACE2"),
    ("FAT", 82, b"FAT32   "),
    ("FAT", 54, b"FAT16   "),
    ("NTFS", 3, b"NTFS    "),
];

/// The name of what is there; nothing where no magic fits.
pub fn detect(device: &File) -> Option<&'static str> {
    SIGNATURES
        .iter()
        .find(|(_, offset, magic)| starts_with(device, *offset, magic))
        .map(|(name, _, _)| *name)
}

fn starts_with(device: &File, offset: u64, magic: &[u8]) -> bool {
    let mut bytes = vec![0; magic.len()];
    device.read_exact_at(&mut bytes, offset).is_ok() && bytes == magic
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magic_numbers_are_found_where_they_stand() {
        for (name, offset, magic) in SIGNATURES {
            let file = tempfile::tempfile().expect("a temporary file can be made");
            file.write_all_at(magic, offset).expect("it can be written");
            assert_eq!(detect(&file), Some(name));
        }
        assert_eq!(
            detect(&tempfile::tempfile().expect("a temporary file can be made")),
            None
        );
    }
}
