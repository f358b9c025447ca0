//! Leaving the initramfs: the mounts move along, the new root becomes `/`, its init takes over this process.

use linux::Error;
use nix::mount::{MsFlags, mount};
use nix::unistd::{chdir, chroot};
use std::convert::Infallible;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The stage's mounts, which the next stage takes over.
const TRAVELLING: [&str; 4] = ["dev", "proc", "sys", "run"];

/// A step that failed.
#[derive(Debug, thiserror::Error)]
#[error("{step} {}", target.display())]
pub struct SwitchError {
    step: &'static str,
    target: PathBuf,
    #[source]
    cause: Error,
}

impl SwitchError {
    /// For `map_err`.
    pub fn of(step: &'static str, target: &Path) -> impl Fn(Error) -> Self {
        move |cause| SwitchError {
            step,
            target: target.to_owned(),
            cause,
        }
    }
}

/// Makes `root` the root and `program` what this process is; returns only if that fails.
pub fn into(root: &Path, program: &str) -> Result<Infallible, SwitchError> {
    for name in TRAVELLING {
        let target = root.join(name);
        move_mount(&Path::new("/").join(name), &target).map_err(SwitchError::of("move a mount to", &target))?;
    }
    // The memory of the initramfs is this file's; once we are someone else it is free. Where it stays, it stays.
    let _ = fs::remove_file("/init");
    chdir(root)
        .map_err(Error::nix("chdir"))
        .map_err(SwitchError::of("enter", root))?;
    // rootfs cannot be pivoted away (Documentation/filesystems/ramfs-rootfs-initramfs.rst): it is covered instead.
    move_mount(Path::new("."), Path::new("/")).map_err(SwitchError::of("move to / the mount", root))?;
    chroot(".")
        .map_err(Error::nix("chroot"))
        .map_err(SwitchError::of("make / of", root))?;
    chdir("/")
        .map_err(Error::nix("chdir"))
        .map_err(SwitchError::of("enter", Path::new("/")))?;
    let failed = Command::new(program).exec();
    Err(SwitchError::of("execute", Path::new(program))(Error::io("execve")(
        failed,
    )))
}

fn move_mount(from: &Path, to: &Path) -> Result<(), Error> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_MOVE, None::<&str>).map_err(Error::nix("mount(MS_MOVE)"))
}
