//! A checkpoint: every live entry, in key order, in frames; written beside the commits, found only when it is whole.

use super::frame;
use super::{Damage, private, sync};
use crate::engine::{Entry, Revision};
use crate::seal::Seals;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What every checkpoint begins with.
const MAGIC: &[u8; 16] = b"pintle entries 1";
/// Bytes in a frame: large enough that its head costs nothing, small enough to be read into a cache.
const FRAME: usize = 256 << 10;
/// The number of the frame that ends a checkpoint; it has no entries.
const END: u64 = u64::MAX;
/// A checkpoint is never appended to, so nobody can make it find a frame that is not one.
const SALT: u32 = 0;

/// What a checkpoint holds.
pub(super) struct Checkpoint {
    pub(super) ceiling: Revision,
    pub(super) entries: Vec<(Arc<str>, Option<Entry>)>,
}

/// Its file, of what was live before commit `number`.
pub(super) fn name(number: u64) -> String {
    format!("checkpoint.{number:016x}")
}

/// Writes one and removes what it makes superfluous; gives the bytes of keys and values.
pub(super) fn write(dir: &Path, number: u64, ceiling: Revision, seals: &Seals, entries: &[Entry]) -> io::Result<u64> {
    let draft = dir.join("checkpoint.new");
    let written = write_draft(&draft, ceiling, seals, entries).and_then(|live| {
        std::fs::rename(&draft, dir.join(name(number)))?;
        sync(dir)?;
        Ok(live)
    });
    if written.is_err() {
        let _ = std::fs::remove_file(&draft);
    }
    let live = written?;
    remove_before(dir, number)?;
    Ok(live)
}

fn write_draft(draft: &Path, ceiling: Revision, seals: &Seals, entries: &[Entry]) -> io::Result<u64> {
    let mut file = private().create(true).truncate(true).open(draft)?;
    file.write_all(MAGIC)?;
    let (mut buffer, mut live, mut part) = (Vec::with_capacity(2 * FRAME), 0, 0);
    let mut rest = entries.iter().peekable();
    while rest.peek().is_some() {
        buffer.clear();
        let start = frame::begin(&mut buffer, part, ceiling);
        while let Some(entry) = rest.next_if(|_| buffer.len() < FRAME) {
            frame::change(&mut buffer, seals, &entry.key, Some(entry));
            live += (entry.key.len() + entry.value.len()) as u64;
        }
        frame::seal(&mut buffer, start, SALT)?;
        file.write_all(&buffer)?;
        part += 1;
    }
    buffer.clear();
    let start = frame::begin(&mut buffer, END, ceiling);
    frame::seal(&mut buffer, start, SALT)?;
    file.write_all(&buffer)?;
    file.sync_all()?;
    Ok(live)
}

/// Removes logs and checkpoints from before `number`. What is left of an interruption the next one removes.
fn remove_before(dir: &Path, number: u64) -> io::Result<()> {
    for (found, path) in numbered(dir, "log")?.into_iter().chain(numbered(dir, "checkpoint")?) {
        if found < number {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// The files `kind.NUMBER` in `dir`, in order.
pub(super) fn numbered(dir: &Path, kind: &str) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let number = path
            .file_name()
            .and_then(|name| name.to_str()?.strip_prefix(kind)?.strip_prefix('.'))
            .and_then(|number| u64::from_str_radix(number, 16).ok());
        found.extend(number.map(|number| (number, path)));
    }
    found.sort();
    Ok(found)
}

/// Reads one. The outer error is the system's, the inner one the file's.
pub(super) fn read(path: &Path) -> io::Result<Result<Checkpoint, Damage>> {
    let mut file = BufReader::with_capacity(FRAME, File::open(path)?);
    let mut magic = [0; MAGIC.len()];
    if !fill(&mut file, &mut magic)? || magic != *MAGIC {
        return Ok(Err(Damage::Foreign));
    }
    let (mut at, mut part, mut entries) = (MAGIC.len() as u64, 0, Vec::new());
    let (mut head, mut body) = ([0; frame::HEAD], Vec::new());
    loop {
        let damaged = Ok(Err(Damage::Changed { at }));
        if !fill(&mut file, &mut head)? {
            return damaged;
        }
        let Some(length) = frame::body_length(&head) else {
            return damaged;
        };
        body.clear();
        if (&mut file).take(length as u64).read_to_end(&mut body)? < length {
            return damaged;
        }
        let Some(frame) = frame::open(&head, &body, SALT) else {
            return damaged;
        };
        if frame.number == END {
            let ceiling = frame.ceiling;
            return Ok(Ok(Checkpoint { ceiling, entries }));
        }
        let Some(changes) = frame.changes().filter(|_| frame.number == part) else {
            return damaged;
        };
        entries.extend(changes);
        part += 1;
        at += (frame::HEAD + length) as u64;
    }
}

/// Whether the buffer could be filled; not at the end of the file.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(end) if end.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(cause) => Err(cause),
    }
}
