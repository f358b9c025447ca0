//! Reading the whole verified root once, so that a flipped byte stops the boot and not some program an hour later.

use std::fs::{File, OpenOptions};
use std::io;
use std::num::NonZero;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// Large enough that the disk streams, small enough that four readers fit into the smallest machine.
const CHUNK: u64 = 1 << 20;
/// The largest block that dm-verity checks as a whole; direct reads are aligned to it.
const BLOCK: u64 = 4096;
/// More readers than this wait for the disk, not for a CPU.
const MOST_READERS: usize = 4;

/// The first read that failed.
#[derive(Debug, thiserror::Error)]
#[error("read of bytes {at} to {}", at + BLOCK - 1)]
pub struct CheckError {
    /// Offset of the failing block.
    pub at: u64,
    /// EIO where the block does not hash to what the tree says.
    #[source]
    pub cause: io::Error,
}

/// Reads `bytes` bytes of `device`, by several readers, past the page cache: these pages would only push out better ones.
pub fn read_whole(device: &Path, bytes: u64) -> Result<(), CheckError> {
    let open = || {
        OpenOptions::new()
            .read(true)
            .custom_flags(nix::libc::O_DIRECT)
            .open(device)
    };
    let device = open().map_err(|cause| CheckError { at: 0, cause })?;
    let readers = thread::available_parallelism()
        .map_or(1, NonZero::get)
        .min(MOST_READERS);
    let next = AtomicU64::new(0);
    thread::scope(|scope| {
        let started: Vec<_> = (0..readers)
            .map(|_| scope.spawn(|| read_chunks(&device, bytes, &next)))
            .collect();
        let ends = started.into_iter().map(|reader| match reader.join() {
            Ok(end) => end,
            Err(_) => Err(CheckError {
                at: 0,
                cause: io::Error::other("a reader panicked"),
            }),
        });
        // The lowest offset is the one to name: it stays the same from boot to boot.
        ends.filter_map(Result::err)
            .min_by_key(|error| error.at)
            .map_or(Ok(()), Err)
    })
}

/// One reader: takes the next chunk until none is left or somebody's failed.
fn read_chunks(device: &File, bytes: u64, next: &AtomicU64) -> Result<(), CheckError> {
    let mut memory = vec![0; (CHUNK + BLOCK) as usize];
    let skip = memory.as_ptr().align_offset(BLOCK as usize);
    let buffer = &mut memory[skip..][..CHUNK as usize];
    loop {
        let at = next.fetch_add(CHUNK, Ordering::Relaxed);
        if at >= bytes {
            return Ok(());
        }
        let length = CHUNK.min(bytes - at) as usize;
        if device.read_exact_at(&mut buffer[..length], at).is_err() {
            next.store(bytes, Ordering::Relaxed);
            return find_block(device, buffer, at, length as u64);
        }
    }
}

/// Which block of the chunk it was.
fn find_block(device: &File, buffer: &mut [u8], chunk: u64, length: u64) -> Result<(), CheckError> {
    for at in (chunk..chunk + length).step_by(BLOCK as usize) {
        let block = &mut buffer[..BLOCK.min(chunk + length - at) as usize];
        device
            .read_exact_at(block, at)
            .map_err(|cause| CheckError { at, cause })?;
    }
    Err(CheckError {
        at: chunk,
        cause: io::Error::other("failed once and then did not: the disk is not to be trusted"),
    })
}
