//! The root tree: what a running machine sees as `/`, as a folder.

use crate::cache::{Inputs, product};
use crate::programs::Programs;
use crate::progress::Progress;
use crate::tools::ToolsTree;
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// Debian's programs that make and check file systems; they lie with their libraries in a folder of their own.
const TOOLS: [&str; 2] = ["mke2fs", "e2fsck"];
const LOADER: &str = "ld-linux-x86-64.so.2";

/// Places that are mounted over.
const MOUNT_POINTS: [&str; 9] = ["proc", "sys", "dev", "run", "tmp", "var", "state", "efi", "mnt"];

const OS_RELEASE: &str = concat!(
    "ID=pintle\nNAME=Pintle\nPRETTY_NAME=\"Pintle ",
    env!("CARGO_PKG_VERSION"),
    "\"\nVERSION_ID=",
    env!("CARGO_PKG_VERSION"),
    "\nIMAGE_ID=pintle\nIMAGE_VERSION=",
    env!("CARGO_PKG_VERSION"),
    "\n"
);

/// uid 60: control runs as its own user; 61 is etcd's.
const PASSWD: &str = "root:x:0:0:root:/:/sbin/nologin\ncontrol:x:60:60:control plane:/var/lib/pintle/control:/sbin/nologin\netcd:x:61:61:etcd:/var/lib/pintle/etcd:/sbin/nologin\n";
const GROUP: &str = "root:x:0:\ncontrol:x:60:\netcd:x:61:\n";

/// The product folder whose `root` is the tree.
pub fn ensure(tools: &ToolsTree, programs: &Programs, progress: &Progress) -> Result<PathBuf> {
    let mut inputs = Inputs::new("root 1")
        .text(OS_RELEASE)
        .text(PASSWD)
        .text(GROUP)
        .text(&tools.root.display().to_string());
    for program in programs.all() {
        inputs = inputs.path(program)?;
    }
    product("root", inputs, |into| {
        let step = progress.step("root tree");
        fill(tools, programs, &into.join("root"))?;
        step.done(None);
        Ok(())
    })
}

fn fill(tools: &ToolsTree, programs: &Programs, root: &Path) -> Result<()> {
    for folder in ["usr/bin", "usr/lib/pintle/tools", "etc"].iter().chain(&MOUNT_POINTS) {
        fs::create_dir_all(root.join(folder)).with_context(|| format!("make /{folder} in the root tree"))?;
    }
    for program in programs.all() {
        let name = program.file_name().unwrap_or_default();
        fs::copy(program, root.join("usr/bin").join(name)).with_context(|| format!("copy {}", program.display()))?;
    }
    copy_tools(tools, &root.join("usr/lib/pintle/tools"))?;
    fs::write(root.join("usr/lib/os-release"), OS_RELEASE)?;
    fs::write(root.join("etc/passwd"), PASSWD)?;
    fs::write(root.join("etc/group"), GROUP)?;
    fs::copy(tools.root.join("etc/mke2fs.conf"), root.join("etc/mke2fs.conf")).context("copy mke2fs.conf")?;
    let links = [
        ("usr/bin", "bin"),
        ("usr/bin", "sbin"),
        ("usr/lib", "lib"),
        ("../usr/lib/os-release", "etc/os-release"),
        ("/run/pintle/resolv.conf", "etc/resolv.conf"),
        ("/run/pintle/hosts", "etc/hosts"),
        ("/proc/self/mounts", "etc/mtab"),
    ];
    for (target, link) in links {
        symlink(target, root.join(link)).with_context(|| format!("link /{link} to {target}"))?;
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    Ok(())
}

fn copy_tools(tools: &ToolsTree, into: &Path) -> Result<()> {
    fs::copy(tools.root.join("lib64").join(LOADER), into.join(LOADER)).context("copy the tools' loader")?;
    for tool in TOOLS {
        fs::copy(tools.program(tool), into.join(tool)).with_context(|| format!("copy {tool}"))?;
        for library in libraries(tools, tool)? {
            let name = library.file_name().context("a library has a name")?;
            fs::copy(&library, into.join(name)).with_context(|| format!("copy {}", library.display()))?;
        }
    }
    Ok(())
}

/// The libraries that the loader itself says it would load (man 8 ld.so, `--list`).
fn libraries(tools: &ToolsTree, tool: &str) -> Result<Vec<PathBuf>> {
    let mut command = std::process::Command::new(tools.root.join("lib64").join(LOADER));
    command
        .arg("--library-path")
        .arg(tools.root.join("usr/lib/x86_64-linux-gnu"))
        .arg("--list")
        .arg(tools.program(tool));
    let output = command
        .output()
        .with_context(|| format!("list the libraries of {tool}"))?;
    if !output.status.success() {
        bail!(
            "list the libraries of {tool}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(paths_of(&String::from_utf8_lossy(&output.stdout)))
}

/// From lines like `libc.so.6 => /tree/usr/lib/libc.so.6 (0x…)`, the files but for the loader.
fn paths_of(list: &str) -> Vec<PathBuf> {
    let path = |line: &str| line.split_once("=> ")?.1.split(" (").next().map(PathBuf::from);
    list.lines()
        .filter_map(path)
        .filter(|path| !path.ends_with(LOADER))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loaders_list_gives_files() {
        let list = "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /t/libc.so.6 (0x2)\n\t/lib64/ld-linux-x86-64.so.2 => /t/ld-linux-x86-64.so.2 (0x3)\n";
        assert_eq!(paths_of(list), [PathBuf::from("/t/libc.so.6")]);
    }
}
