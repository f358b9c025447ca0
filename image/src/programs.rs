//! Our own programs, static, in release mode, by cargo: cargo knows what changed, so there is no cache of ours.

use crate::cache::cache_dir;
use crate::enter;
use crate::progress::Progress;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Always named, so that the flags below reach our programs and not build scripts and macros.
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// The root holds no C library.
const FLAGS: &str = "-C target-feature=+crt-static";

/// The programs that go into the image.
#[derive(Clone, Debug)]
pub struct Programs {
    /// PID 1 and the whole initramfs.
    pub init: PathBuf,
    /// The node agent.
    pub agent: PathBuf,
    /// The control plane.
    pub control: PathBuf,
    /// The supervisor of one pod.
    pub pod_init: PathBuf,
}

impl Programs {
    /// All of them.
    pub fn all(&self) -> [&Path; 4] {
        [&self.init, &self.agent, &self.control, &self.pod_init]
    }
}

/// Compiles what changed.
pub fn build(source: &Path, progress: &Progress) -> Result<Programs> {
    let step = progress.step("programs");
    fs::create_dir_all(cache_dir()).context("make the cache folder")?;
    let log = cache_dir().join("programs.log");
    fs::write(&log, "").context("empty the programs' log")?;
    let mut command = cargo(source);
    command.args(["build", "--release", "--locked", "--target", TARGET]);
    command.args(["-p", "init", "-p", "agent", "-p", "control", "-p", "pod-init"]);
    command
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.replace(' ', "\u{1f}"))
        .env_remove("RUSTFLAGS");
    enter::run("compile the programs", &mut command, &log)?;
    let folder = target_dir(source).join(TARGET).join("release");
    let programs = Programs {
        init: folder.join("init"),
        agent: folder.join("agent"),
        control: folder.join("control"),
        pod_init: folder.join("pod-init"),
    };
    let size = programs
        .all()
        .iter()
        .map(|path| fs::metadata(path).map_or(0, |meta| meta.len()))
        .sum();
    step.done(Some(size));
    Ok(programs)
}

/// cargo at `source`, without what another cargo tells the programs that it starts: build scripts (ring's) look at
/// `CARGO_PKG_*`, and would compile everything anew at each change between `cargo up` and `cargo verify`.
pub fn cargo(source: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    let of_the_caller = [
        "CARGO_PKG_",
        "CARGO_MANIFEST_",
        "CARGO_BIN_",
        "CARGO_CRATE_",
        "CARGO_PRIMARY_",
    ];
    for (name, _) in std::env::vars_os() {
        if of_the_caller
            .iter()
            .any(|prefix| name.to_string_lossy().starts_with(prefix))
        {
            command.env_remove(name);
        }
    }
    command.current_dir(source);
    command
}

fn target_dir(source: &Path) -> PathBuf {
    let named = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    named.map_or_else(|| source.join("target"), |path| source.join(path))
}
