//! The book of given addresses as a file: one owner a line, its addresses after it, replaced whole and synced.

use super::PodNetworkError;
use super::addresses::Given;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The file.
pub(super) struct Store {
    path: PathBuf,
}

impl Store {
    /// Reads what is there. A line that cannot be read names no owner: its addresses count as free, and whoever has
    /// them is asked for again by the next `keep_only`.
    pub fn open(folder: &Path) -> Result<(Self, Given), PodNetworkError> {
        let path = folder.join("addresses");
        let failed = |cause| PodNetworkError::Store {
            path: path.clone(),
            cause,
        };
        fs::create_dir_all(folder).map_err(failed)?;
        let given = match fs::read_to_string(&path) {
            Ok(text) => text.lines().filter_map(line).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Given::new(),
            Err(error) => return Err(failed(error)),
        };
        Ok((Self { path }, given))
    }

    /// Replaces the file, durably.
    pub fn save(&self, given: &Given) -> Result<(), PodNetworkError> {
        replace(&self.path, given).map_err(|cause| PodNetworkError::Store {
            path: self.path.clone(),
            cause,
        })
    }
}

fn replace(path: &Path, given: &Given) -> io::Result<()> {
    let mut text = String::new();
    for (owner, addresses) in given {
        text.push_str(owner);
        for address in addresses {
            text.push(' ');
            text.push_str(&address.to_string());
        }
        text.push('\n');
    }
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)
}

fn line(line: &str) -> Option<(String, Vec<std::net::IpAddr>)> {
    let mut words = line.split_ascii_whitespace();
    let owner = words.next()?.to_owned();
    let addresses = words.map(str::parse).collect::<Result<Vec<_>, _>>().ok()?;
    Some((owner, addresses))
}
