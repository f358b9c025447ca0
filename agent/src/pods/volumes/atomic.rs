//! A folder whose files change all at once: `key -> ..data/key`, `..data -> ..<version>`, and one rename moves `..data`
//! (upstream: pkg/volume/util/atomic_writer.go; programs watch `..data`, so the names are part of the contract).

use super::payload::{File, Files};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

const DATA: &str = "..data";
const DATA_NEW: &str = "..data_tmp";

/// Makes `folder` show exactly `files`; does nothing when it does already.
pub fn write(folder: &Path, files: &Files, group: Option<u32>) -> io::Result<()> {
    let old = fs::read_link(folder.join(DATA)).ok();
    if let Some(old) = &old
        && shows(&folder.join(old), files, group)
    {
        return Ok(());
    }
    let version = version();
    let fresh = folder.join(&version);
    fs::DirBuilder::new().mode(0o755).create(&fresh)?;
    for (path, file) in files {
        put(&fresh, path, file, group)?;
    }
    if let Some(group) = group {
        own_folders(&fresh, group)?;
    }
    let link = folder.join(DATA_NEW);
    let _ = fs::remove_file(&link);
    symlink(&version, &link)?;
    fs::rename(&link, folder.join(DATA))?;
    let names = first_parts(files);
    for name in &names {
        let visible = folder.join(name);
        if fs::symlink_metadata(&visible).is_err() {
            symlink(Path::new(DATA).join(name), &visible)?;
        }
    }
    remove_stale(folder, &names, &version)
}

fn put(fresh: &Path, path: &str, file: &File, group: Option<u32>) -> io::Result<()> {
    let target = fresh.join(path);
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut open = fs::OpenOptions::new();
    let mut opened = open.write(true).create_new(true).mode(0o600).open(&target)?;
    io::Write::write_all(&mut opened, &file.bytes)?;
    if group.is_some() || file.owner.is_some() {
        std::os::unix::fs::fchown(&opened, file.owner, group)?;
    }
    opened.set_permissions(fs::Permissions::from_mode(mode(file, group)))
}

/// A group for the whole pod must be able to read what it owns.
fn mode(file: &File, group: Option<u32>) -> u32 {
    if group.is_some() { file.mode | 0o440 } else { file.mode }
}

/// Folders that the group can enter (upstream's SetVolumeOwnership of a read-only volume).
fn own_folders(folder: &Path, group: u32) -> io::Result<()> {
    for entry in fs::read_dir(folder)?.flatten() {
        if entry.file_type()?.is_dir() {
            own_folders(&entry.path(), group)?;
        }
    }
    std::os::unix::fs::chown(folder, None, Some(group))?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o2755))
}

fn shows(version: &Path, files: &Files, group: Option<u32>) -> bool {
    let same = |(path, file): (&String, &File)| {
        let path = version.join(path);
        let found = fs::metadata(&path).map(|found| found.permissions().mode() & 0o7777);
        fs::read(&path).is_ok_and(|bytes| bytes == file.bytes) && found.is_ok_and(|found| found == mode(file, group))
    };
    files.iter().all(same) && count(version) == files.len()
}

fn count(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| if entry.path().is_dir() { count(&entry.path()) } else { 1 })
        .sum()
}

fn first_parts(files: &Files) -> BTreeSet<PathBuf> {
    let first = |path: &String| match Path::new(path).components().next() {
        Some(Component::Normal(name)) => Some(PathBuf::from(name)),
        Some(_) | None => None,
    };
    files.keys().filter_map(first).collect()
}

/// Links to what is no more, and all versions but the present one.
fn remove_stale(folder: &Path, names: &BTreeSet<PathBuf>, version: &str) -> io::Result<()> {
    for entry in fs::read_dir(folder)?.flatten() {
        let name = PathBuf::from(entry.file_name());
        let text = name.to_string_lossy();
        if text == DATA || text == version || names.contains(&name) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn version() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("..{}_{:09}", now.as_secs(), now.subsec_nanos())
}
