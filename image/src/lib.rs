//! Builds the OS image: tools tree, kernel, programs, root tree, UKI, disk.
//!
//! Each product lies in the cache under the hash of its inputs, so what did not change costs nothing. Nothing of the
//! host is trusted but cargo, git, the shell with util-linux, and a bootstrapper that makes the tools tree.

mod bootstrap;
mod cache;
pub mod clients;
mod cpio;
mod disk;
mod enter;
mod kernel;
mod programs;
mod progress;
mod root;
mod tools;

pub use cache::cache_dir;
pub use programs::cargo;
pub use progress::{Progress, Step};
pub use tools::ToolsTree;

use anyhow::Result;
use std::path::{Path, PathBuf};

/// Everything that boots.
#[derive(Clone, Debug)]
pub struct Built {
    /// Raw GPT disk: ESP with systemd-boot and the UKI, root and verity slots, STATE and DATA; sparse.
    pub disk: PathBuf,
    /// The UKI: kernel, initramfs and command line in one EFI program.
    pub uki: PathBuf,
    /// The kernel alone, for direct boot.
    pub kernel: PathBuf,
    /// The initramfs alone, for direct boot: nothing but `/init`.
    pub initramfs: PathBuf,
    /// The command line inside the UKI: console and root hash.
    pub cmdline: String,
    /// The EROFS root as it lies in its partition.
    pub root_erofs: PathBuf,
    /// The same root as a folder, for machines without a hypervisor.
    pub root_tree: PathBuf,
    /// Firmware code for QEMU.
    pub ovmf_code: PathBuf,
    /// Firmware variables for QEMU, to be copied for each machine.
    pub ovmf_vars: PathBuf,
}

/// Builds what is missing for the checkout at `source`.
pub fn build(source: &Path, progress: &Progress) -> Result<(ToolsTree, Built)> {
    let tools = ToolsTree::ensure(progress)?;
    let kernel = kernel::ensure(&tools, &source.join("kernel-config"), progress)?;
    let programs = programs::build(source, progress)?;
    let root = root::ensure(&tools, &programs, progress)?;
    let disk = disk::ensure(&tools, &kernel, &programs.init, &root, &source.join("mkosi"), progress)?;
    let built = Built {
        disk: disk.join("disk.raw"),
        uki: disk.join("pintle.efi"),
        kernel,
        initramfs: disk.join("initramfs.cpio.zst"),
        cmdline: std::fs::read_to_string(disk.join("cmdline"))?,
        root_erofs: disk.join("root.erofs"),
        root_tree: root.join("root"),
        ovmf_code: tools.root.join("usr/share/OVMF/OVMF_CODE_4M.fd"),
        ovmf_vars: tools.root.join("usr/share/OVMF/OVMF_VARS_4M.fd"),
    };
    Ok((tools, built))
}

/// The checkout that this program was compiled from.
pub fn source_dir() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent()
        .expect("the crate lies in the workspace because cargo compiled it there")
        .to_owned()
}
