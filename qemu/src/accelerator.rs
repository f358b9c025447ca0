//! What executes the guest's instructions: found by trying, because a /dev/kvm that cannot boot a kernel exists.

use crate::{Artifacts, caches, tools};
use anyhow::{Context, Result};
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// With working KVM our kernel speaks within 300 ms; a broken one never does.
const PROBE_DEADLINE: Duration = Duration::from_secs(5);
/// The kernel's first line (init/version-timestamp.c).
const SIGN_OF_LIFE: &[u8] = b"Linux version";

/// What executes the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// The processor.
    Kvm,
    /// QEMU's translator; every host can do that.
    Tcg,
}

// === impl Accelerator ===

impl Accelerator {
    /// The best one that boots our kernel here. Tried once per boot of this host.
    pub fn choose(artifacts: &Artifacts) -> Result<Self> {
        let memory = answer_file()?;
        match std::fs::read_to_string(&memory).as_deref() {
            Ok("kvm") => return Ok(Accelerator::Kvm),
            Ok("tcg") => return Ok(Accelerator::Tcg),
            Ok(_) | Err(_) => {}
        }
        let (found, word) = match boots_with_kvm(artifacts) {
            true => (Accelerator::Kvm, "kvm"),
            false => (Accelerator::Tcg, "tcg"),
        };
        let parent = memory.parent().context("the cache has no parent folder")?;
        std::fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
        std::fs::write(&memory, word).with_context(|| format!("write {}", memory.display()))?;
        Ok(found)
    }

    /// QEMU's words for it.
    pub fn arguments(self) -> [&'static str; 4] {
        match self {
            Accelerator::Kvm => ["-accel", "kvm", "-cpu", "host"],
            Accelerator::Tcg => ["-accel", "tcg,thread=multi", "-cpu", "max"],
        }
    }
}

/// The answer holds until the host boots anew, with another kernel or on other hardware.
fn answer_file() -> Result<PathBuf> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").context("read this host's boot id")?;
    Ok(caches()?.join(format!("accelerator-{}", boot.trim())))
}

fn boots_with_kvm(artifacts: &Artifacts) -> bool {
    if std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/kvm")
        .is_err()
    {
        return false;
    }
    let probe = tools::command(&artifacts.tools, "qemu-system-x86_64")
        .args([
            "-machine",
            "q35",
            "-accel",
            "kvm",
            "-cpu",
            "host",
            "-m",
            "256",
            "-nodefaults",
            "-display",
            "none",
        ])
        .args([
            "-no-reboot",
            "-serial",
            "stdio",
            "-append",
            "console=ttyS0 panic=-1",
            "-kernel",
        ])
        .arg(&artifacts.kernel)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut probe) = probe else {
        return false;
    };
    let is_alive = speaks(&mut probe);
    // It may have ended by itself.
    let _ = probe.kill();
    let _ = probe.wait();
    is_alive
}

fn speaks(probe: &mut Child) -> bool {
    let Some(mut serial) = probe.stdout.take() else {
        return false;
    };
    let (sender, pieces) = mpsc::channel();
    std::thread::spawn(move || {
        let mut piece = [0; 512];
        while let Ok(length @ 1..) = serial.read(&mut piece) {
            if sender.send(piece[..length].to_vec()).is_err() {
                return;
            }
        }
    });
    let end = Instant::now() + PROBE_DEADLINE;
    let mut heard = Vec::new();
    while let Ok(piece) = pieces.recv_timeout(end.saturating_duration_since(Instant::now())) {
        heard.extend(piece);
        if heard.windows(SIGN_OF_LIFE.len()).any(|window| window == SIGN_OF_LIFE) {
            return true;
        }
    }
    false
}
