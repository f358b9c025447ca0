//! A book of who has what as a file: one owner a line, its things after it, replaced whole.
//!
//! It outlives this process and not the machine, as pods do, so nothing waits for a disk.

use super::PodNetworkError;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The file.
pub(super) struct Store {
    path: PathBuf,
}

impl Store {
    /// Reads what is there. A line that cannot be read names no owner: its things count as free, and whoever has
    /// them is asked for again by the next `keep_only`.
    pub fn open<T: FromStr>(folder: &Path, name: &str) -> Result<(Self, BTreeMap<String, Vec<T>>), PodNetworkError> {
        let path = folder.join(name);
        let failed = |cause| PodNetworkError::Store {
            path: path.clone(),
            cause,
        };
        fs::create_dir_all(folder).map_err(failed)?;
        let given = match fs::read_to_string(&path) {
            Ok(text) => text.lines().filter_map(line).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(failed(error)),
        };
        Ok((Self { path }, given))
    }

    /// Replaces the file.
    pub fn save<T: Display>(&self, given: &BTreeMap<String, Vec<T>>) -> Result<(), PodNetworkError> {
        replace(&self.path, given).map_err(|cause| PodNetworkError::Store {
            path: self.path.clone(),
            cause,
        })
    }
}

fn replace<T: Display>(path: &Path, given: &BTreeMap<String, Vec<T>>) -> io::Result<()> {
    let mut text = String::new();
    for (owner, things) in given {
        text.push_str(owner);
        for thing in things {
            text.push(' ');
            text.push_str(&thing.to_string());
        }
        text.push('\n');
    }
    let new = path.with_extension("new");
    fs::write(&new, text)?;
    fs::rename(&new, path)
}

fn line<T: FromStr>(line: &str) -> Option<(String, Vec<T>)> {
    let mut words = line.split_ascii_whitespace();
    let owner = words.next()?.to_owned();
    let things = words.map(str::parse).collect::<Result<Vec<T>, _>>().ok()?;
    Some((owner, things))
}
