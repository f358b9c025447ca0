//! The vendors' files of this node, read anew whenever somebody names a device: a file that was just written counts, and one
//! that is broken is in nobody's way but its own devices'.

use super::spec::{Device, Spec};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Most bytes of one file. A machine of eight cards, each in seven parts, has some 100 KiB.
const FILE_BYTES: u64 = 1 << 20;
/// Most bytes of all files.
const BYTES: u64 = 16 << 20;
/// Most files of one folder: drivers of dynamic resources write one for each claim, and a node has 110 pods.
const FILES: usize = 1024;
/// How many causes are told.
const REASONS: usize = 3;

/// What is there.
#[derive(Debug, Default)]
pub struct Found {
    pub specs: Vec<(PathBuf, Spec)>,
    /// By name: the index of the file and that of the device in it, and which of the folders has them.
    devices: BTreeMap<String, (usize, usize, usize)>,
    /// Names that two files of one folder have, and which.
    conflicts: BTreeMap<String, String>,
    /// What could not be read, and why.
    broken: Vec<String>,
}

/// Reads all files of the folders.
pub fn read(folders: &[PathBuf]) -> Found {
    let mut found = Found::default();
    let mut left = BYTES;
    for (rank, folder) in folders.iter().enumerate() {
        let files = match list(folder) {
            Ok(files) => files,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => continue,
            Err(cause) => {
                found
                    .broken
                    .push(format!("failed to read {}: {cause}", folder.display()));
                continue;
            }
        };
        if files.len() > FILES {
            let count = files.len();
            let why = format!("{} has {count} CDI Specs, only {FILES} are read", folder.display());
            found.broken.push(why);
        }
        for file in files.into_iter().take(FILES) {
            match load(&file, &mut left) {
                Ok(spec) => found.add(rank, file, spec),
                Err(why) => found
                    .broken
                    .push(format!("failed to load CDI Spec {}: {why}", file.display())),
            }
        }
    }
    found
}

/// By name; folders inside are passed over.
fn list(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let is_spec = path.extension().is_some_and(|end| end == "json" || end == "yaml");
        if is_spec && !entry.file_type()?.is_dir() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn load(file: &Path, left: &mut u64) -> Result<Spec, String> {
    // Somebody may have put a pipe there: opening it must not wait.
    let opened = File::options()
        .read(true)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(file)
        .map_err(|cause| cause.to_string())?;
    let is_file = opened.metadata().is_ok_and(|metadata| metadata.is_file());
    if !is_file {
        return Err("it is no regular file".to_owned());
    }
    let mut text = String::new();
    let most = FILE_BYTES.min(*left);
    let length = opened.take(most + 1).read_to_string(&mut text);
    let length = length.map_err(|cause| cause.to_string())? as u64;
    if length > most {
        return Err(match most == FILE_BYTES {
            true => format!("it is longer than {FILE_BYTES} bytes"),
            false => format!("all files together are longer than {BYTES} bytes"),
        });
    }
    *left -= length;
    Spec::parse(&text).map_err(|why| why.to_string())
}

// === impl Found ===

impl Found {
    /// Takes a file's devices in, unless a folder of higher rank has them. Two of one folder are in conflict, and neither counts.
    fn add(&mut self, rank: usize, file: PathBuf, spec: Spec) {
        let index = self.specs.len();
        for (place, device) in spec.devices.iter().enumerate() {
            let name = format!("{}={}", spec.kind, device.name);
            match self.devices.get(&name) {
                Some((other, _, of)) if *of == rank => {
                    let (one, two) = (self.specs[*other].0.display(), file.display());
                    let why = format!("conflicting device {name:?} (specs \"{one}\", \"{two}\")");
                    self.conflicts.insert(name, why);
                }
                Some(_) | None => {
                    self.conflicts.remove(&name);
                    self.devices.insert(name, (index, place, rank));
                }
            }
        }
        self.specs.push((file, spec));
    }

    /// A device, with the index of its file.
    pub fn device(&self, name: &str) -> Option<(usize, &Device)> {
        let (index, place, _) = self.devices.get(name)?;
        let is_one = !self.conflicts.contains_key(name);
        is_one.then(|| (*index, &self.specs[*index].1.devices[*place]))
    }

    /// Why devices may be missing: two have the name, or files that cannot be read were to bring them.
    pub fn reasons(&self, names: &[&str]) -> String {
        let conflicts = names.iter().filter_map(|name| self.conflicts.get(*name));
        let all: Vec<&String> = conflicts.chain(&self.broken).collect();
        let mut told: Vec<String> = all.iter().take(REASONS).map(|why| (*why).clone()).collect();
        if all.len() > REASONS {
            told.push(format!("and {} more", all.len() - REASONS));
        }
        told.join("; ")
    }
}
