//! The random seed that travels from one boot to the next on STATE.

use crate::console;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// As much as the kernel's pool holds.
const SEED: usize = 32;
const FILE: &str = "/state/random-seed";

/// Gives the kernel the seed of the last boot and at once replaces it: a seed that is used twice is none.
pub fn restore() {
    let old = match fs::read(FILE) {
        Ok(old) => Some(old),
        Err(why) if why.kind() == io::ErrorKind::NotFound => None,
        Err(why) => return console::warn(format_args!("read {FILE}: {why}; no seed from the last boot")),
    };
    if let Err(why) = renew() {
        // Then it must not count: the next boot would count it again.
        return console::warn(format_args!(
            "write {FILE}: {why}; the seed of the last boot is not used"
        ));
    }
    if let Some(old) = old.filter(|old| old.len() == SEED)
        && let Err(error) = linux::entropy::credit(&old)
    {
        console::warn(format_args!("give the kernel the seed of the last boot: {error}"));
    }
}

/// A fresh seed for the next boot, on the disk when this returns.
pub fn renew() -> io::Result<()> {
    let mut seed = [0; SEED];
    File::open("/dev/urandom")?.read_exact(&mut seed)?;
    let new = Path::new(FILE).with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(&seed)?;
    file.sync_all()?;
    fs::rename(new, FILE)
}
