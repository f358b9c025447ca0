//! STATE: the machine config and its secrets, replaced both or not at all, whatever moment the power goes.
//!
//! New files are written beside the old ones; a file `commit` makes them valid. Whoever finds `commit` finishes the
//! renames, whoever finds none drops what is left over.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

const CONFIG: &str = "config.toml";
const SECRETS: &str = "secrets.toml";
const COMMIT: &str = "commit";

/// What STATE holds, unchecked.
pub struct Stored {
    /// The machine config's text.
    pub config: String,
    /// The secrets' text; empty where the file is missing.
    pub secrets: String,
}

/// Why STATE could not be used.
#[derive(Debug, thiserror::Error)]
#[error("{verb} {}: {cause}", path.display())]
pub struct StateError {
    verb: &'static str,
    path: PathBuf,
    cause: io::Error,
}

/// What was stored last; `None` where nothing was.
pub fn load(state: &Path) -> Result<Option<Stored>, StateError> {
    finish(state)?;
    let read = |name: &str| match fs::read_to_string(state.join(name)) {
        Ok(text) => Ok(Some(text)),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(StateError {
            verb: "read",
            path: state.join(name),
            cause,
        }),
    };
    let secrets = read(SECRETS)?.unwrap_or_default();
    Ok(read(CONFIG)?.map(|config| Stored { config, secrets }))
}

/// Replaces both files; on disk when this returns.
pub fn store(state: &Path, config: &str, secrets: &str) -> Result<(), StateError> {
    finish(state)?;
    write(&new(state, CONFIG), config)?;
    write(&new(state, SECRETS), secrets)?;
    sync_folder(state)?;
    write(&state.join(COMMIT), "")?;
    sync_folder(state)?;
    finish(state)
}

/// Replaces one file of `folder`; on disk when this returns.
pub fn replace(folder: &Path, name: &str, text: &str) -> Result<(), StateError> {
    write(&new(folder, name), text)?;
    rename(folder, &format!("{name}.new"), name)
}

/// Renames within `folder`; on disk when this returns.
pub fn rename(folder: &Path, from: &str, to: &str) -> Result<(), StateError> {
    let path = folder.join(from);
    fs::rename(&path, folder.join(to)).map_err(|cause| StateError {
        verb: "rename",
        path,
        cause,
    })?;
    sync_folder(folder)
}

/// Removes a file; one that is not there is gone too.
pub fn remove(path: &Path) -> Result<(), StateError> {
    match fs::remove_file(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(StateError {
            verb: "remove",
            path: path.to_owned(),
            cause,
        }),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Brings an interrupted [`store`] to its end, or undoes it.
fn finish(state: &Path) -> Result<(), StateError> {
    let commit = state.join(COMMIT);
    let committed = commit.exists();
    for name in [SECRETS, CONFIG] {
        let path = new(state, name);
        let done = if committed {
            fs::rename(&path, state.join(name))
        } else {
            fs::remove_file(&path)
        };
        match done {
            Ok(()) => {}
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {}
            Err(cause) => {
                return Err(StateError {
                    verb: "finish storing",
                    path,
                    cause,
                });
            }
        }
    }
    if committed {
        sync_folder(state)?;
        fs::remove_file(&commit).map_err(|cause| StateError {
            verb: "remove",
            path: commit,
            cause,
        })?;
    }
    Ok(())
}

fn new(state: &Path, name: &str) -> PathBuf {
    state.join(format!("{name}.new"))
}

fn write(path: &Path, text: &str) -> Result<(), StateError> {
    let failed = |cause| StateError {
        verb: "write",
        path: path.to_owned(),
        cause,
    };
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    // A file that was there keeps its mode otherwise.
    file.set_permissions(Permissions::from_mode(0o600)).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)
}

fn sync_folder(state: &Path) -> Result<(), StateError> {
    let failed = |cause| StateError {
        verb: "sync",
        path: state.to_owned(),
        cause,
    };
    File::open(state).map_err(failed)?.sync_all().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(state: &Path) -> (String, String) {
        let stored = load(state).unwrap().unwrap();
        (stored.config, stored.secrets)
    }

    #[test]
    fn what_was_stored_is_found_and_only_root_reads_it() {
        let state = tempfile::tempdir().unwrap();
        assert!(load(state.path()).unwrap().is_none());
        store(state.path(), "c1", "s1").unwrap();
        assert_eq!(texts(state.path()), ("c1".into(), "s1".into()));
        let mode = fs::metadata(state.path().join(SECRETS)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_power_cut_leaves_both_old_or_both_new() {
        let state = tempfile::tempdir().unwrap();
        let at = |name: &str| state.path().join(name);
        store(state.path(), "c1", "s1").unwrap();
        // Before the commit: the new ones go.
        fs::write(at("config.toml.new"), "c2").unwrap();
        fs::write(at("secrets.toml.new"), "s").unwrap();
        assert_eq!(texts(state.path()), ("c1".into(), "s1".into()));
        // After the commit, one rename done: the other one follows.
        fs::write(at(SECRETS), "s2").unwrap();
        fs::write(at("config.toml.new"), "c2").unwrap();
        fs::write(at(COMMIT), "").unwrap();
        assert_eq!(texts(state.path()), ("c2".into(), "s2".into()));
        assert!(!at(COMMIT).exists());
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        let said = store(Path::new("/proc/1/none"), "c", "s").unwrap_err().to_string();
        assert!(said.contains("/proc/1/none"), "{said}");
    }
}
