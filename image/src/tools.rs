//! The tools tree: a Debian trixie root that holds every program that building and testing need, at known versions.

use crate::bootstrap;
use crate::cache::{Inputs, product};
use crate::enter;
use crate::progress::Progress;
use anyhow::Result;
use std::path::{Path, PathBuf};
use std::process::Command;

const SUITE: &str = "trixie";

/// What the tree holds besides Debian's essential packages, each line with its reader.
const PACKAGES: &[&str] = &[
    // image: disk, UKI, verity, file systems
    "mkosi",
    "systemd-ukify",
    "systemd-repart",
    "systemd-boot-efi",
    "erofs-utils",
    "cryptsetup-bin",
    "dosfstools",
    "mtools",
    "sbsigntool",
    "cpio",
    "zstd",
    "kmod",
    "python3-cryptography",
    "e2fsprogs",
    // kernel
    "linux-source-6.12",
    "gcc",
    "make",
    "flex",
    "bison",
    "bc",
    "libelf-dev",
    "libssl-dev",
    "rsync",
    "xz-utils",
    // machines
    "qemu-system-x86",
    "qemu-utils",
    "ovmf",
    "swtpm",
    // clusters: registry, image tools, client, store engine
    "docker-registry",
    "skopeo",
    "umoci",
    "kubernetes-client",
    "busybox-static",
    "etcd-server",
    "etcd-client",
    "ca-certificates",
    // tests of volumes: an NFS server that runs as a program and keeps its files in memory
    "nfs-ganesha-mem",
    // bench: other runtimes to be measured beside
    "crun",
    "runc",
];

/// A tools tree on this machine.
#[derive(Clone, Debug)]
pub struct ToolsTree {
    /// Its root folder.
    pub root: PathBuf,
}

impl ToolsTree {
    /// The tree for this list of packages, made by `mmdebstrap` or `debootstrap` if it is not there yet.
    pub fn ensure(progress: &Progress) -> Result<ToolsTree> {
        let inputs = Inputs::new("tools tree 1").text(SUITE).text(&PACKAGES.join(","));
        let folder = product("tools", inputs, |into| make(into, progress))?;
        Ok(ToolsTree {
            root: folder.join("root"),
        })
    }

    /// Runs a program of the tree on the host, with the tree's own libraries; needs no root.
    ///
    /// Works for programs that find their data by argument or environment, not for those that expect it under /usr.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.root.join("lib64/ld-linux-x86-64.so.2"));
        command.arg("--library-path").arg(self.library_path());
        command.arg(self.program(program));
        command
    }

    /// Runs a program inside the tree; `build` is its working folder there. Needs root.
    pub fn inside(&self, build: &Path, program: &str) -> Command {
        enter::command(&self.root, build, program)
    }

    /// The file of a program.
    pub fn program(&self, program: &str) -> PathBuf {
        let places = ["usr/bin", "usr/sbin", "usr/lib/systemd"].map(|place| self.root.join(place).join(program));
        places.iter().find(|path| path.exists()).unwrap_or(&places[0]).clone()
    }

    fn library_path(&self) -> String {
        [
            "usr/lib/x86_64-linux-gnu",
            "usr/lib/x86_64-linux-gnu/systemd",
            "usr/lib",
        ]
        .map(|folder| self.root.join(folder).display().to_string())
        .join(":")
    }
}

fn make(into: &Path, progress: &Progress) -> Result<()> {
    let step = progress.step("tools tree");
    let root = into.join("root");
    bootstrap::run(&root, SUITE, PACKAGES)?;
    let size = folder_size(&root);
    step.done(Some(size));
    Ok(())
}

fn folder_size(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => folder_size(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}
