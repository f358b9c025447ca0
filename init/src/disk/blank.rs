//! Whether a partition is blank: only zeros, as far as samples tell. A blank partition is the only thing that init formats.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Every file system keeps something in the first and last MiB, and so does whoever wiped only the front.
const EDGE: u64 = 1 << 20;
/// What file systems keep at the front: superblock, group descriptors, tables, the start of a journal.
const FRONT: u64 = 4 << 20;
/// Partitions up to this size are read whole.
const WHOLE: u64 = 16 << 20;
/// Larger ones are sampled this many times, evenly; ext4's backup superblocks come on top. Without hardware
/// virtualization each sample costs a first boot about 2 ms.
const SAMPLES: u64 = 64;
/// Length of a sample.
const BLOCK: u64 = 4096;
/// Blocks per ext4 block group of 4 KiB blocks; backup superblocks stand in groups 1 and powers of 3, 5 and 7.
const GROUP: u64 = 32768 * 4096;
const BACKUPS: [u64; 8] = [1, 3, 5, 7, 9, 25, 27, 49];

/// Whether all samples are zeros.
pub fn is_blank(device: &File, bytes: u64) -> io::Result<bool> {
    let mut buffer = vec![0; EDGE as usize];
    for (at, length) in samples(bytes) {
        let piece = &mut buffer[..length as usize];
        device.read_exact_at(piece, at)?;
        if !is_zero(piece) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Sixteen bytes at a time: this is most of a first boot's time without hardware virtualization.
fn is_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks();
    words.iter().all(|word| u128::from_ne_bytes(*word) == 0) && rest.iter().all(|byte| *byte == 0)
}

/// Offsets and lengths to look at, within `bytes`.
fn samples(bytes: u64) -> Vec<(u64, u64)> {
    let edge = |at: u64| (at, EDGE.min(bytes - at));
    if bytes <= WHOLE {
        return (0..bytes).step_by(EDGE as usize).map(edge).collect();
    }
    let mut found: Vec<(u64, u64)> = (0..FRONT).step_by(EDGE as usize).map(edge).collect();
    let even = (0..SAMPLES).map(|sample| bytes / SAMPLES * sample / BLOCK * BLOCK);
    let backups = BACKUPS.iter().map(|group| group * GROUP);
    found.extend(
        even.chain(backups)
            .filter(|at| at + BLOCK <= bytes)
            .map(|at| (at, BLOCK)),
    );
    found.push(edge(bytes - EDGE));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_stay_within_the_partition() {
        for bytes in [0, 1, 4096, EDGE + 512, WHOLE, WHOLE + 512, 8 << 30] {
            for (at, length) in samples(bytes) {
                assert!(length > 0 && at + length <= bytes, "{at}+{length} of {bytes}");
            }
        }
    }

    #[test]
    fn one_byte_at_an_edge_or_in_a_backup_superblock_is_not_blank() {
        let bytes = 300 << 20;
        for at in [None, Some(0), Some(1024), Some(bytes - 1), Some(GROUP + 56)] {
            let file = tempfile::tempfile().expect("a temporary file can be made");
            file.set_len(bytes)
                .expect("it can be as long as we like because it is sparse");
            if let Some(at) = at {
                file.write_all_at(&[1], at).expect("it can be written");
            }
            assert_eq!(is_blank(&file, bytes).expect("it can be read"), at.is_none(), "{at:?}");
        }
    }
}
