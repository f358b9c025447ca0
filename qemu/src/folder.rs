//! Where a cluster's files lie, and where products lie that clusters share.

use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};

/// A Unix socket's path may have 107 bytes (man 7 unix); this leaves room for the longest of our names below a folder.
const LONGEST_FOLDER: usize = 70;

/// One cluster's folder: `$XDG_DATA_HOME/pintle/clusters/<name>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterFolder {
    path: PathBuf,
}

// === impl ClusterFolder ===

impl ClusterFolder {
    /// The folder of the cluster of this name, whether it is there or not.
    pub fn of(name: &str) -> Result<Self> {
        let path = clusters()?.join(name);
        ensure!(
            path.as_os_str().len() <= LONGEST_FOLDER,
            "the cluster folder {} is longer than {LONGEST_FOLDER} bytes, too long for the sockets in it: choose a shorter name or XDG_DATA_HOME",
            path.display()
        );
        Ok(Self { path })
    }

    /// Names of all clusters that have a folder.
    pub fn names() -> Result<Vec<String>> {
        let parent = clusters()?;
        if !parent.exists() {
            return Ok(Vec::new());
        }
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&parent).with_context(|| format!("read {}", parent.display()))? {
            names.extend(entry?.file_name().into_string());
        }
        names.sort();
        Ok(names)
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// For kubectl, as the cluster's administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.path.join("kubeconfig")
    }

    /// The administrator's CAs ([`config::Bundle`]).
    pub fn bundle(&self) -> PathBuf {
        self.path.join("bundle.toml")
    }

    /// The administrator's identity towards the machine API ([`machine_client::IdentityFile`]).
    pub fn admin(&self) -> PathBuf {
        self.path.join("admin.toml")
    }

    /// What is wanted, and on which ports it is reached.
    pub fn plan(&self) -> PathBuf {
        self.path.join("plan.json")
    }

    /// Where the supervisor listens.
    pub fn supervisor_socket(&self) -> PathBuf {
        self.path.join("supervisor.sock")
    }

    /// What the supervisor and its children say.
    pub fn supervisor_log(&self) -> PathBuf {
        self.path.join("supervisor.log")
    }

    /// What the container registry says.
    pub fn registry_log(&self) -> PathBuf {
        self.path.join("registry.log")
    }

    /// Everything of one machine.
    pub fn machine(&self, name: &str) -> PathBuf {
        self.path.join("machines").join(name)
    }

    /// A machine's serial console, all boots.
    pub fn console(&self, machine: &str) -> PathBuf {
        self.machine(machine).join("console.log")
    }
}

/// What is built once and shared by all clusters: `$XDG_CACHE_HOME/pintle`.
pub fn caches() -> Result<PathBuf> {
    Ok(home_folder("XDG_CACHE_HOME", ".cache")?.join("pintle"))
}

fn clusters() -> Result<PathBuf> {
    Ok(home_folder("XDG_DATA_HOME", ".local/share")?.join("pintle/clusters"))
}

/// The XDG base directory specification's rule: an absolute path in the variable, else below the home folder.
fn home_folder(variable: &str, below_home: &str) -> Result<PathBuf> {
    let asked = std::env::var_os(variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    match asked {
        Some(path) => Ok(path),
        None => {
            let home = std::env::var_os("HOME").with_context(|| format!("neither {variable} nor HOME is set"))?;
            Ok(PathBuf::from(home).join(below_home))
        }
    }
}
