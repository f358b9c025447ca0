//! What machines boot and what drives them: the products of the image builder, as paths.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Everything that the harness takes from the image builder. Every path names its content, so equal values boot equally.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifacts {
    /// Raw GPT disk image.
    pub disk: PathBuf,
    /// Kernel, for the boot without firmware.
    pub kernel: PathBuf,
    /// Its initramfs.
    pub initramfs: PathBuf,
    /// Its command line.
    pub cmdline: String,
    /// The root file system as a folder.
    pub root_tree: PathBuf,
    /// UEFI firmware code.
    pub ovmf_code: PathBuf,
    /// Template of the firmware's variables.
    pub ovmf_vars: PathBuf,
    /// The tools tree: a Debian root that holds QEMU, the registry and kubectl.
    pub tools: PathBuf,
}

// === impl Artifacts ===

impl Artifacts {
    /// Build what is missing for the checkout that this program was compiled from.
    pub fn build(progress: &image::Progress) -> anyhow::Result<Self> {
        let (tools, built) = image::build(&image::source_dir(), progress)?;
        Ok(Self {
            disk: built.disk,
            kernel: built.kernel,
            initramfs: built.initramfs,
            cmdline: built.cmdline.trim().to_owned(),
            root_tree: built.root_tree,
            ovmf_code: built.ovmf_code,
            ovmf_vars: built.ovmf_vars,
            tools: tools.root,
        })
    }
}
