//! The disk: mkosi makes root, verity and UKI; systemd-repart then lays them into slots of fixed size.
//!
//! Two steps, because the verity tree covers exactly the file system, while a slot must have room for the next one.

use crate::cache::{Inputs, cache_dir, product};
use crate::progress::Progress;
use crate::tools::ToolsTree;
use crate::{cpio, enter};
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The kernel's place in a tree that mkosi understands; the version says nothing, there are no modules.
const KERNEL_FOLDER: &str = "usr/lib/modules/6.12-pintle";
/// Files that depmod would make; mkosi runs depmod inside the image if they are missing, and there is none.
const MODULE_LISTS: [&str; 4] = [
    "modules.dep",
    "modules.dep.bin",
    "modules.symbols",
    "modules.symbols.bin",
];
const EFI_PROGRAMS: [&str; 2] = ["linuxx64.efi.stub", "systemd-bootx64.efi"];
/// Bytes of the whole disk; sparse. STATE and DATA are in it, empty.
const DISK_SIZE: &str = "10G";
/// Where the tools tree sees the work folder.
const INSIDE: &str = "/srv/build";

/// The product folder with disk.raw, pintle.efi, initramfs.cpio.zst, root.erofs and cmdline.
pub fn ensure(
    tools: &ToolsTree,
    kernel: &Path,
    init: &Path,
    root: &Path,
    recipe: &Path,
    progress: &Progress,
) -> Result<PathBuf> {
    let inputs = Inputs::new("disk 1")
        .text(DISK_SIZE)
        .path(kernel)?
        .path(recipe)?
        .text(&root.display().to_string());
    product("disk", inputs, |into| {
        let step = progress.step("image");
        let work = tempfile::Builder::new().prefix("disk-work-").tempdir_in(cache_dir())?;
        let log = cache_dir().join("disk.log");
        fs::write(&log, "").context("empty the image's log")?;
        prepare(tools, kernel, init, &root.join("root"), recipe, work.path())?;
        assemble(tools, work.path(), &log)?;
        let root_hash = root_hash(&work.path().join("out"))?;
        lay_out(tools, &root_hash, work.path(), &log)?;
        take(work.path(), into, &root_hash)?;
        step.done(Some(
            fs::metadata(into.join("pintle.efi"))?.len() + fs::metadata(into.join("root.erofs"))?.len(),
        ));
        Ok(())
    })
}

/// Fills the work folder: recipe, base tree, kernel tree, initramfs.
fn prepare(tools: &ToolsTree, kernel: &Path, init: &Path, root: &Path, recipe: &Path, work: &Path) -> Result<()> {
    copy_tree(recipe, &work.join("mkosi"))?;
    let mkosi = work.join("mkosi");
    copy_tree(root, &mkosi.join("base"))?;
    for folder in ["boot", "usr/lib/systemd/boot/efi"] {
        fs::create_dir_all(mkosi.join("base").join(folder))?;
    }
    for program in EFI_PROGRAMS {
        let from = tools.root.join("usr/lib/systemd/boot/efi").join(program);
        fs::copy(&from, mkosi.join("base/usr/lib/systemd/boot/efi").join(program))
            .with_context(|| format!("copy {}", from.display()))?;
    }
    let modules = mkosi.join("kernel").join(KERNEL_FOLDER);
    fs::create_dir_all(&modules)?;
    fs::copy(kernel, modules.join("vmlinuz")).context("copy the kernel")?;
    for list in MODULE_LISTS {
        fs::write(modules.join(list), "")?;
    }
    let init = fs::read(init).with_context(|| format!("read {}", init.display()))?;
    let archive = zstd::encode_all(cpio::initramfs(&init)?.as_slice(), 19).context("compress the initramfs")?;
    fs::write(mkosi.join("initramfs.cpio.zst"), archive)?;
    fs::create_dir_all(work.join("out"))?;
    Ok(())
}

fn assemble(tools: &ToolsTree, work: &Path, log: &Path) -> Result<()> {
    let mut command = tools.inside(work, "mkosi");
    command.args([
        "--directory",
        "mkosi",
        "--output-directory",
        "../out",
        "--force",
        "build",
    ]);
    enter::run("assemble the image with mkosi", &mut command, log)
}

/// The root hash as the UKI's own command line gives it to the kernel: `roothash=` and 64 hexadecimal digits.
fn root_hash(out: &Path) -> Result<String> {
    let uki = out.join("pintle.efi");
    let bytes = fs::read(&uki).with_context(|| format!("read {}", uki.display()))?;
    find_root_hash(&bytes).with_context(|| format!("{} has no root hash in its command line", uki.display()))
}

fn find_root_hash(uki: &[u8]) -> Option<String> {
    const KEY: &[u8] = b"roothash=";
    let digits = |window: &[u8]| window[KEY.len()..].iter().all(u8::is_ascii_hexdigit);
    let found = uki
        .windows(KEY.len() + 64)
        .find(|window| window.starts_with(KEY) && digits(window))?;
    String::from_utf8(found[KEY.len()..].to_vec()).ok()
}

fn lay_out(tools: &ToolsTree, root_hash: &str, work: &Path, log: &Path) -> Result<()> {
    let definitions = work.join("slots");
    fs::create_dir_all(&definitions)?;
    for entry in fs::read_dir(work.join("mkosi/slots")).context("read mkosi/slots")? {
        let path = entry?.path();
        let text = fs::read_to_string(&path)?;
        let text = text
            .replace("@ROOT_UUID@", &uuid(&root_hash[..32]))
            .replace("@VERITY_UUID@", &uuid(&root_hash[32..]));
        fs::write(definitions.join(path.file_name().unwrap_or_default()), text)?;
    }
    let mut command = tools.inside(work, "systemd-repart");
    command.args([
        "--empty=create",
        "--dry-run=no",
        "--offline=yes",
        "--sector-size=512",
        "--seed=random",
    ]);
    command
        .arg(format!("--size={DISK_SIZE}"))
        .arg(format!("--definitions={INSIDE}/slots"))
        .arg("disk.raw");
    enter::run("lay out the disk with systemd-repart", &mut command, log)
}

/// Half a root hash as a partition UUID (UAPI group, Discoverable Partitions Specification).
fn uuid(half: &str) -> String {
    format!(
        "{}-{}-{}-{}-{}",
        &half[..8],
        &half[8..12],
        &half[12..16],
        &half[16..20],
        &half[20..32]
    )
}

fn take(work: &Path, into: &Path, root_hash: &str) -> Result<()> {
    let moves = [
        ("disk.raw", "disk.raw"),
        ("out/pintle.efi", "pintle.efi"),
        ("out/pintle.root-x86-64.raw", "root.erofs"),
        ("mkosi/initramfs.cpio.zst", "initramfs.cpio.zst"),
    ];
    for (from, to) in moves {
        fs::rename(work.join(from), into.join(to)).with_context(|| format!("take {from} out of the build"))?;
    }
    let recipe = fs::read_to_string(work.join("mkosi/mkosi.conf"))?;
    let line = recipe
        .lines()
        .find_map(|line| line.strip_prefix("KernelCommandLine="))
        .unwrap_or_default();
    fs::write(into.join("cmdline"), format!("{line} roothash={root_hash}"))?;
    Ok(())
}

/// `cp -a`: keeps links, modes and owners.
fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    let status = Command::new("cp")
        .arg("-a")
        .arg(from)
        .arg(to)
        .status()
        .context("start cp")?;
    if !status.success() {
        bail!("copy {} to {}: cp: {status}", from.display(), to.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_hash_is_found_among_other_bytes() {
        let hash = "0123456789abcdef".repeat(4);
        let uki = format!("\0roothash=none\0console=ttyS0 roothash={hash} quiet");
        assert_eq!(find_root_hash(uki.as_bytes()), Some(hash));
        assert_eq!(find_root_hash(b"roothash="), None);
    }

    #[test]
    fn half_a_root_hash_is_a_partition_uuid() {
        assert_eq!(
            uuid("0123456789abcdef0123456789abcdef"),
            "01234567-89ab-cdef-0123-456789abcdef"
        );
    }
}
