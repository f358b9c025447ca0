//! Becoming root where building needs it, and giving back what root then made.

use anyhow::{Context, Result, bail};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Root must find the same caches, the same cargo and the same clusters as the person who asked.
const KEPT: [&str; 17] = [
    "HOME",
    "PATH",
    "CARGO",
    "XDG_CACHE_HOME",
    "XDG_DATA_HOME",
    "RUST_LOG",
    "TERM",
    "TMPDIR",
    // The way to mirrors and registries.
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];
/// And all that is cargo's, rustup's and ours.
const KEPT_FAMILIES: [&str; 3] = ["CARGO_", "RUSTUP_", "PINTLE_"];

/// Run this very command again as root, through sudo, unless this is root already. `why` tells the person.
pub fn ensure_root(why: &str) -> Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    eprintln!("{why}, which needs root: going on with sudo");
    let own = std::env::current_exe().context("find this program's file")?;
    let mut command = Command::new("sudo");
    command.arg("env");
    for (name, value) in std::env::vars_os() {
        if is_kept(&name.to_string_lossy()) {
            let mut pair = name;
            pair.push("=");
            pair.push(value);
            command.arg(pair);
        }
    }
    let error = command.arg(own).args(std::env::args_os().skip(1)).exec();
    bail!("run sudo: {error}; run this command as root instead");
}

fn is_kept(name: &str) -> bool {
    KEPT.contains(&name) || KEPT_FAMILIES.iter().any(|family| name.starts_with(family))
}

/// Give back what cargo, run by root, made: programs, and crates that it downloaded. Folders that were not the person's
/// before, a toolchain that all users share say, stay root's, and so does what is in the caches but not the way to them.
pub fn give_back_builds() -> Result<()> {
    let Some(owner) = Owner::who_called_sudo() else {
        return Ok(());
    };
    let own = std::env::current_exe().context("find this program's file")?;
    let cargo_home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo_home = cargo_home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    for folder in own
        .parent()
        .and_then(Path::parent)
        .into_iter()
        .chain(cargo_home.as_deref())
    {
        if std::fs::metadata(folder).is_ok_and(|found| found.uid() == owner.user) {
            give_back(folder)?;
        }
    }
    owner.take_the_way_to(&image::cache_dir())
}

/// Give everything of root's below `folder`, and the folders on the way to it, to the person who called sudo; nothing
/// without sudo.
pub fn give_back(folder: &Path) -> Result<()> {
    let Some(owner) = Owner::who_called_sudo() else {
        return Ok(());
    };
    owner.take_the_way_to(folder)?;
    let given = owner.take_all_below(folder);
    given.with_context(|| format!("give {} back to its owner", folder.display()))
}

/// The person who called sudo.
struct Owner {
    user: u32,
    group: u32,
}

// === impl Owner ===

impl Owner {
    fn who_called_sudo() -> Option<Self> {
        let id = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
        let (user, group) = (id("SUDO_UID")?, id("SUDO_GID")?);
        // Root may call sudo too.
        (user != 0).then_some(Self { user, group })
    }

    /// `folder` itself and those above it, up to the person's home; what lies elsewhere is nobody's to take.
    fn take_the_way_to(&self, folder: &Path) -> Result<()> {
        let home = PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
        let way = folder.ancestors();
        for path in way.take_while(|path| path.starts_with(&home) && *path != home) {
            self.take(path)
                .with_context(|| format!("give {} back to its owner", path.display()))?;
        }
        Ok(())
    }

    fn take_all_below(&self, path: &Path) -> std::io::Result<()> {
        if !self.take(path)? {
            return Ok(());
        }
        for entry in std::fs::read_dir(path)? {
            self.take_all_below(&entry?.path())?;
        }
        Ok(())
    }

    /// Whether it is a folder.
    fn take(&self, path: &Path) -> std::io::Result<bool> {
        let meta = match std::fs::symlink_metadata(path) {
            // Somebody removed it meanwhile, or it was never there.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            meta => meta?,
        };
        if meta.uid() == 0 {
            std::os::unix::fs::lchown(path, Some(self.user), Some(self.group))?;
        }
        Ok(meta.is_dir())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_root_needs_is_kept_and_the_rest_is_not() {
        for (name, kept) in [
            ("HOME", true),
            ("CARGO_TARGET_DIR", true),
            ("RUSTUP_HOME", true),
            ("https_proxy", true),
            ("LD_PRELOAD", false),
            ("SSH_AUTH_SOCK", false),
        ] {
            assert_eq!(is_kept(name), kept, "{name}");
        }
    }
}
