//! A glance at an ext4 file system before e2fsck may touch it. `e2fsck -p` clears what it cannot read (a journal, say)
//! before it finds that the rest is beyond it; what is plainly no file system any more must not be written to at all.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const SUPERBLOCK: u64 = 1024;
const HAS_JOURNAL: u64 = 4;
/// `s_state`: unmounted in order, no errors seen.
const VALID: u16 = 1;
/// `s_feature_incompat`: set while mounted.
const NEEDS_RECOVERY: u8 = 4;
const ROOT_INODE: u64 = 2;
const JOURNAL_INODE: u64 = 8;
/// `S_IFMT` and its values for a folder and a file.
const KIND: u64 = 0xf000;
const FOLDER: u64 = 0x4000;
const REGULAR: u64 = 0x8000;

/// What is plainly wrong, if anything is (kernel: filesystems/ext4, "super", "group_descr", "inodes").
pub fn plainly_wrong(device: &File) -> io::Result<Option<&'static str>> {
    let number = |at: u64, length: usize| -> io::Result<u64> {
        let mut bytes = [0; 8];
        device.read_exact_at(&mut bytes[..length], at)?;
        Ok(u64::from_le_bytes(bytes))
    };
    let of_superblock = |at: u64, length: usize| number(SUPERBLOCK + at, length);
    let (blocks, block_bits) = (of_superblock(4, 4)?, of_superblock(24, 4)?);
    let (first_block, inode_size) = (of_superblock(20, 4)?, of_superblock(88, 2)?);
    if block_bits > 6 || blocks == 0 || first_block > 1 || !(128..=4096).contains(&inode_size) {
        return Ok(Some("its superblock makes no sense"));
    }
    let block_size = 1024_u64 << block_bits;
    let descriptor = (first_block + 1) * block_size;
    let inode_table = number(descriptor + 8, 4)?;
    for at in [0, 4, 8] {
        if !(1..blocks).contains(&number(descriptor + at, 4)?) {
            return Ok(Some("its first group descriptor points outside of it"));
        }
    }
    let kind =
        |inode: u64| Ok::<u64, io::Error>(number(inode_table * block_size + (inode - 1) * inode_size, 2)? & KIND);
    if kind(ROOT_INODE)? != FOLDER {
        return Ok(Some("its root is not a folder"));
    }
    if of_superblock(92, 4)? & HAS_JOURNAL != 0 && kind(JOURNAL_INODE)? != REGULAR {
        return Ok(Some("its journal is not a file"));
    }
    Ok(None)
}

/// Whether it was unmounted in order and the kernel met no error in it. `e2fsck -p` would then look at what we looked at
/// and end; starting it costs a clean boot half a second without hardware virtualization.
pub fn was_left_clean(device: &File) -> io::Result<bool> {
    let mut superblock = [0; 100];
    device.read_exact_at(&mut superblock, SUPERBLOCK)?;
    let state = u16::from_le_bytes([superblock[58], superblock[59]]);
    Ok(state == VALID && superblock[96] & NEEDS_RECOVERY == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As little of a file system as the glance looks at: 4 KiB blocks, the inode table in block 10.
    fn sample(change: (u64, u16)) -> File {
        let file = tempfile::tempfile().expect("a temporary file can be made");
        file.set_len(1 << 20).expect("it can be as long as we like");
        let inode = |number: u64| 10 * 4096 + (number - 1) * 256;
        let fields: [(u64, u16); 10] = [
            (SUPERBLOCK + 4, 256),
            (SUPERBLOCK + 24, 2),
            (SUPERBLOCK + 88, 256),
            (SUPERBLOCK + 92, HAS_JOURNAL as u16),
            (4096, 8),
            (4096 + 4, 9),
            (4096 + 8, 10),
            (inode(ROOT_INODE), 0x41ed),
            (inode(JOURNAL_INODE), 0x8180),
            change,
        ];
        for (at, value) in fields {
            file.write_all_at(&value.to_le_bytes(), at).expect("it can be written");
        }
        file
    }

    #[test]
    fn only_an_orderly_end_counts_as_clean() {
        let state = (SUPERBLOCK + 58, VALID);
        let clean = |file: File| was_left_clean(&file).expect("it can be read");
        assert!(clean(sample(state)));
        assert!(!clean(sample((SUPERBLOCK + 58, VALID | 2))), "the kernel saw errors");
        let mounted = sample(state);
        mounted
            .write_all_at(&[NEEDS_RECOVERY], SUPERBLOCK + 96)
            .expect("it can be written");
        assert!(!clean(mounted), "a power cut");
    }

    #[test]
    fn what_is_plainly_wrong_is_named() {
        let nothing = (512, 0);
        let cases = [
            (nothing, None),
            ((SUPERBLOCK + 24, 60), Some("its superblock makes no sense")),
            ((4096, 0xffff), Some("its first group descriptor points outside of it")),
            ((4096 + 8, 0), Some("its first group descriptor points outside of it")),
            ((10 * 4096 + 256, 0x8180), Some("its root is not a folder")),
            ((10 * 4096 + 7 * 256, 0), Some("its journal is not a file")),
        ];
        for (change, wanted) in cases {
            assert_eq!(plainly_wrong(&sample(change)).expect("it can be read"), wanted);
        }
    }
}
