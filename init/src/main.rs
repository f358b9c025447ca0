//! `init`: PID 1: initramfs stage, mounts, service table, reaping, shutdown; no async runtime, no network.
//!
//! One program, two stages: the kernel starts it in the initramfs, where it finds and verifies the root; from there it
//! starts itself again as the machine's PID 1. In namespaces on a host there is only the second stage.

mod cgroups;
mod cmdline;
mod console;
mod devices;
mod disk;
mod entropy;
mod initramfs;
mod marks;
mod mounts;
mod pid1;
mod power;
mod provider;
mod supervise;
mod sysctl;

use nix::sys::statfs::{FsType, TMPFS_MAGIC, statfs};
use provider::Provider;
use std::panic;
use std::path::Path;
use std::process::{ExitCode, id};

/// `EX_USAGE` of sysexits(3).
const USAGE: u8 = 64;

fn main() -> ExitCode {
    if id() != 1 {
        eprintln!(
            "init: this is PID 1's program and was started as process {}; boot an image instead",
            id()
        );
        return ExitCode::from(USAGE);
    }
    panic::set_hook(Box::new(|what| console::error(format_args!("panic: {what}"))));
    let provider = Provider::of_this_process();
    if provider == Provider::Machine && is_initramfs() {
        initramfs::run()
    }
    pid1::run(provider)
}

/// From linux/magic.h; a kernel without tmpfs, or with `root=`, keeps its first root in a ramfs.
const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);

/// Whether this is the kernel's first root, and only the initramfs: a whole root tree may also be booted from memory.
fn is_initramfs() -> bool {
    let in_memory = statfs("/").is_ok_and(|root| [RAMFS_MAGIC, TMPFS_MAGIC].contains(&root.filesystem_type()));
    in_memory && !Path::new("/usr/bin/agent").exists()
}
