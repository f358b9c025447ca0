//! Programs of the tools tree, run where they lie: through the tree's own dynamic loader, without root.

use std::path::Path;
use std::process::Command;

/// `program` of the tools tree at `root`, e.g. `qemu-img`.
pub fn command(root: &Path, program: &str) -> Command {
    let libraries = root.join("usr/lib/x86_64-linux-gnu");
    let mut command = Command::new(root.join("lib64/ld-linux-x86-64.so.2"));
    command
        .arg("--library-path")
        .arg(&libraries)
        .arg(root.join("usr/bin").join(program));
    if program.starts_with("qemu-system") {
        command.env("QEMU_MODULE_DIR", libraries.join("qemu"));
        for roms in ["usr/share/qemu", "usr/share/seabios", "usr/lib/ipxe/qemu"] {
            command.arg("-L").arg(root.join(roms));
        }
    }
    command
}
