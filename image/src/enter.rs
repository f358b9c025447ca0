//! Running a program inside a root tree, as if that were the machine, without changing the host.

use anyhow::{Context, Result, bail};
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

/// mkosi remounts `/` and so wants it to be a mount: a private mount namespace and pivot_root, not chroot.
/// `$1` is the tree, `$2` the folder that becomes /build, the rest is the command.
const ENTER: &str = r#"
set -e
tree=$1; build=$2; shift 2
mount --bind "$tree" "$tree"
mount -t proc proc "$tree/proc"
mount --rbind /dev "$tree/dev"
mount --rbind /sys "$tree/sys"
mount -t tmpfs tmpfs "$tree/run"
mount -t tmpfs tmpfs "$tree/srv"
mkdir "$tree/srv/build" "$tree/srv/host"
mount --bind "$build" "$tree/srv/build"
cd "$tree"
pivot_root . srv/host
umount -l /srv/host
cd /srv/build
exec "$@"
"#;

/// A command that runs `program` inside `tree` with `build` as its working folder `/srv/build`. Needs root.
pub fn command(tree: &Path, build: &Path, program: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", ENTER, "sh"]);
    command.arg(tree).arg(build).arg(program);
    command.env_clear().envs([
        ("PATH", "/usr/bin:/usr/sbin:/bin:/sbin"),
        ("HOME", "/root"),
        ("LC_ALL", "C.UTF-8"),
    ]);
    command
}

/// Runs `command` to its end with all output in the file `log`.
pub fn run(what: &str, command: &mut Command, log: &Path) -> Result<()> {
    let file = File::options()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("open the log {}", log.display()))?;
    let status = command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .status()
        .with_context(|| format!("{what}: start {}", command.get_program().to_string_lossy()))?;
    if !status.success() {
        let text = std::fs::read_to_string(log).unwrap_or_default();
        let tail: Vec<&str> = text.lines().rev().take(12).collect();
        let tail: Vec<&str> = tail.into_iter().rev().collect();
        bail!(
            "{what}: {status}; the whole log is {}\n{}",
            log.display(),
            tail.join("\n")
        );
    }
    Ok(())
}
