//! A container image as the rest of the node sees it.

use serde::{Deserialize, Serialize};
use std::fs;
use std::path::PathBuf;

/// An image whose layers are all unpacked on this node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// Digest of its config, `sha256:…`: what Kubernetes calls the image ID.
    pub id: String,
    /// Digest of its manifest, `sha256:…`.
    pub digest: String,
    /// Names by which it was pulled or imported, fully qualified.
    pub names: Vec<String>,
    /// Unpacked layers, topmost first, ready for overlayfs.
    pub layers: Vec<PathBuf>,
    /// Bytes of all layers, unpacked.
    pub size: u64,
    /// What it wants to run.
    pub config: Config,
}

/// The part of an image's config that a container start needs (OCI image spec, "config").
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Config {
    /// `uid`, `uid:gid`, or names looked up in the image's /etc/passwd.
    pub user: String,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Program and first arguments.
    pub entrypoint: Vec<String>,
    /// Default arguments.
    pub cmd: Vec<String>,
    /// Folder to start in; empty means `/`.
    pub working_dir: String,
    /// Signal that asks it to stop, e.g. `SIGTERM`; empty means that.
    pub stop_signal: String,
}

// === impl Image ===

impl Image {
    /// A file of the image as text, from the topmost layer that says anything about it; empty where there is none.
    pub fn text(&self, path: &str) -> String {
        for layer in &self.layers {
            let file = layer.join(path);
            // A link could lead out of the image, and a device marks a file that an upper layer deleted.
            match fs::symlink_metadata(&file) {
                Ok(found) if found.is_file() => return fs::read_to_string(&file).unwrap_or_default(),
                Ok(_) => return String::new(),
                Err(_) => {}
            }
        }
        String::new()
    }
}
