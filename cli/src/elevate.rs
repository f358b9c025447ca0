//! Becoming root where building needs it, and giving back what root then made.

use anyhow::{Context, Result, bail};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Root must find the same caches, the same cargo and the same clusters as the person who asked.
const KEPT: [&str; 11] = [
    "HOME",
    "PATH",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "CARGO_TARGET_DIR",
    "XDG_CACHE_HOME",
    "XDG_DATA_HOME",
    "RUST_LOG",
    "TERM",
    "http_proxy",
];

/// Run this very command again as root, through sudo, unless this is root already. `why` tells the person.
pub fn ensure_root(why: &str) -> Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    eprintln!("{why}, which needs root: going on with sudo");
    let own = std::env::current_exe().context("find this program's file")?;
    let mut command = Command::new("sudo");
    command.arg("env");
    for name in KEPT {
        if let Some(value) = std::env::var_os(name) {
            let mut pair = std::ffi::OsString::from(format!("{name}="));
            pair.push(value);
            command.arg(pair);
        }
    }
    let error = command.arg(own).args(std::env::args_os().skip(1)).exec();
    bail!("run sudo: {error}; run this command as root instead");
}

/// Give back what cargo, run by root, made: programs, and crates that it downloaded.
pub fn give_back_builds() -> Result<()> {
    let own = std::env::current_exe().context("find this program's file")?;
    let cargo_home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo_home = cargo_home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    for folder in own
        .parent()
        .and_then(Path::parent)
        .into_iter()
        .chain(cargo_home.as_deref())
    {
        give_back(folder)?;
    }
    Ok(())
}

/// Give everything of root's below `folder` to the person who called sudo; nothing without sudo.
pub fn give_back(folder: &Path) -> Result<()> {
    let id = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    let (Some(user), Some(group)) = (id("SUDO_UID"), id("SUDO_GID")) else {
        return Ok(());
    };
    let home = std::env::var_os("HOME").unwrap_or_default();
    let made_on_the_way = folder
        .ancestors()
        .skip(1)
        .take_while(|path| path.starts_with(&home) && *path != home);
    let give = || {
        for path in made_on_the_way {
            chown_if_roots(path, user, group)?;
        }
        chown_below(folder, user, group)
    };
    give().with_context(|| format!("give {} back to its owner", folder.display()))
}

fn chown_below(path: &Path, user: u32, group: u32) -> std::io::Result<()> {
    if !chown_if_roots(path, user, group)? {
        return Ok(());
    }
    for entry in std::fs::read_dir(path)? {
        chown_below(&entry?.path(), user, group)?;
    }
    Ok(())
}

/// Whether it is a folder.
fn chown_if_roots(path: &Path, user: u32, group: u32) -> std::io::Result<bool> {
    let meta = match std::fs::symlink_metadata(path) {
        // Somebody removed it meanwhile, or it was never there.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        meta => meta?,
    };
    if meta.uid() == 0 {
        std::os::unix::fs::lchown(path, Some(user), Some(group))?;
    }
    Ok(meta.is_dir())
}
