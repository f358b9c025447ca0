//! The file system of a machine in namespaces: the root tree, read-only, with its own STATE and DATA folders.

use crate::MachinePlan;
use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{chdir, pivot_root};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const NONE: Option<&str> = None;

/// Put config and secrets onto STATE, where a machine without firmware finds them; what is there already stays.
pub fn place_config(plan: &MachinePlan) -> Result<()> {
    let state = state(plan);
    for folder in [&state, &data(plan)] {
        std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    if !plan.spec.is_configured {
        return Ok(());
    }
    for name in ["config.toml", "secrets.toml"] {
        let target = state.join(name);
        if !target.exists() {
            let copied = std::fs::copy(plan.folder.join(name), &target);
            copied.with_context(|| format!("write {}", target.display()))?;
            std::fs::set_permissions(&target, PermissionsExt::from_mode(0o600))?;
        }
    }
    Ok(())
}

/// Make the machine's root the calling thread's. The thread must be in a mount namespace of its own.
pub fn enter(plan: &MachinePlan) -> Result<()> {
    // Nothing that is mounted from here on shows on the host.
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(NONE, "/", NONE, private, NONE).context("keep mounts from the host")?;
    let root = plan.folder.join("root");
    std::fs::create_dir_all(&root).with_context(|| format!("make {}", root.display()))?;
    bind(&plan.artifacts.root_tree, &root)?;
    bind(&state(plan), &root.join("state"))?;
    bind(&data(plan), &root.join("var"))?;
    let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    mount(NONE, &root, NONE, read_only, NONE).with_context(|| format!("make {} read-only", root.display()))?;
    // Onto itself: the old root comes to lie on top of the new one, and is then taken off (man 2 pivot_root).
    chdir(&root).with_context(|| format!("enter {}", root.display()))?;
    pivot_root(".", ".").with_context(|| format!("make {} the root", root.display()))?;
    umount2(".", MntFlags::MNT_DETACH).context("let go of the host's root")?;
    chdir("/").context("enter the new root")
}

fn bind(from: &Path, to: &Path) -> Result<()> {
    let flags = MsFlags::MS_BIND;
    mount(Some(from), to, NONE, flags, NONE).with_context(|| format!("mount {} on {}", from.display(), to.display()))
}

fn state(plan: &MachinePlan) -> PathBuf {
    plan.folder.join("state")
}

fn data(plan: &MachinePlan) -> PathBuf {
    plan.folder.join("var")
}
