//! An OCI runtime's program, driven as containerd's shim drives it: create, start, wait for the end, delete.

use super::{Asked, CAPABILITIES, CPU_WEIGHT, MASKED, MEMORY_MAX, PIDS_MAX, READONLY};
use crate::latency::Latencies;
use crate::report::Report;
use crate::target::progress;
use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A program that does nothing ends before anybody looks; this is for a machine that stands still.
const END: Duration = Duration::from_secs(20);

pub fn measure(asked: &Asked, program: &Path, folder: &Path, report: &mut Report) -> anyhow::Result<()> {
    let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let bundle = folder.join(&name);
    std::fs::create_dir_all(&bundle)?;
    let limits = asked.cgroups.join("cgroup.controllers").exists();
    std::fs::write(bundle.join("config.json"), config(asked, limits)?.to_string()).context("write the bundle")?;
    let state = folder.join(format!("{name}-state"));
    let bar = progress(&format!("containers by {name}"), asked.rounds as u64);
    let mut latencies = Latencies::default();
    let begun = Instant::now();
    for round in 0..asked.rounds {
        let runtime = Runtime {
            program,
            state: &state,
            options: &asked.peer_option,
            id: format!("bench-{round}"),
        };
        let started = Instant::now();
        runtime.run(&bundle)?;
        latencies.push(started.elapsed());
        bar.inc(1);
    }
    let elapsed = begun.elapsed();
    bar.finish_and_clear();
    latencies.report(&format!("{name}: container"), elapsed, report);
    Ok(())
}

struct Runtime<'a> {
    program: &'a Path,
    state: &'a Path,
    options: &'a [String],
    id: String,
}

// === impl Runtime ===

impl Runtime<'_> {
    fn run(&self, bundle: &Path) -> anyhow::Result<()> {
        let bundle = bundle.display().to_string();
        self.call(&["create", "--bundle", &bundle, &self.id])?;
        self.call(&["start", &self.id])?;
        self.wait_for_end()?;
        self.call(&["delete", &self.id])
    }

    /// Both know the state "stopped"; asking is what a shim without a handle on the process would do, and is cheap beside the rest.
    fn wait_for_end(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + END;
        while Instant::now() < deadline {
            let output = self.output(&["state", &self.id], Stdio::piped())?;
            let state: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            if state["status"] == "stopped" {
                return Ok(());
            }
        }
        bail!("{} {} has not ended after {END:?}", self.program.display(), self.id)
    }

    fn call(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let output = self.output(arguments, Stdio::null())?;
        ensure!(
            output.status.success(),
            "{} {}: {}",
            self.program.display(),
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(())
    }

    /// The container inherits these streams: a pipe would be read until its end.
    fn output(&self, arguments: &[&str], stdout: Stdio) -> anyhow::Result<Output> {
        let errors = tempfile::tempfile().context("make a file for errors")?;
        let child = Command::new(self.program)
            .arg("--root")
            .arg(self.state)
            .args(self.options)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(errors.try_clone()?)
            .spawn()
            .with_context(|| format!("start {}", self.program.display()))?;
        let mut output = child.wait_with_output()?;
        std::io::Read::read_to_end(&mut Rewound::new(errors)?, &mut output.stderr)?;
        Ok(output)
    }
}

/// A file read from its beginning.
struct Rewound(std::fs::File);

// === impl Rewound ===

impl Rewound {
    fn new(mut file: std::fs::File) -> std::io::Result<Self> {
        std::io::Seek::rewind(&mut file)?;
        Ok(Self(file))
    }
}

impl std::io::Read for Rewound {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

/// A filter with the calls that Pintle's default filter allows everybody; what it does by arguments and capabilities is left out.
fn seccomp() -> anyhow::Result<Value> {
    const CALLS: &str = include_str!("../../../agent/sandbox/pod-init/src/seccomp/list.rs");
    let always = CALLS.split("pub const ALWAYS").nth(1).unwrap_or_default();
    let always = always.split("];").next().unwrap_or_default();
    let names: Vec<String> = always
        .split([' ', ',', '\n'])
        .filter_map(|word| word.strip_prefix("SYS_"))
        .map(str::to_lowercase)
        .collect();
    ensure!(!names.is_empty(), "the list of allowed calls is not written as it was");
    Ok(json!({
        "defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": names, "action": "SCMP_ACT_ALLOW"}],
    }))
}

/// A bundle's config (OCI runtime spec 1.0) of the same container that Pintle runs.
fn config(asked: &Asked, limits: bool) -> anyhow::Result<Value> {
    let mount = |at: &str, kind: &str, options: &[&str]| json!({"destination": at, "type": kind, "source": kind, "options": options});
    let namespaces = ["pid", "mount", "network", "ipc", "uts"].map(|kind| json!({"type": kind}));
    let resources = match limits {
        true => json!({
            "memory": {"limit": MEMORY_MAX}, "pids": {"limit": PIDS_MAX}, "unified": {"cpu.weight": CPU_WEIGHT.to_string()},
        }),
        false => json!({}),
    };
    Ok(json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": 0, "gid": 0}, "args": ["/bin/true"], "env": ["PATH=/bin"], "cwd": "/", "noNewPrivileges": true,
            "capabilities": {"bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES},
        },
        "root": {"path": asked.rootfs, "readonly": true},
        "hostname": "bench",
        "mounts": [
            mount("/proc", "proc", &["nosuid", "noexec", "nodev"]),
            mount("/dev", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
            mount("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]),
            mount("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            mount("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        ],
        "linux": {
            "namespaces": namespaces, "seccomp": seccomp()?, "maskedPaths": MASKED, "readonlyPaths": READONLY,
            "cgroupsPath": "/pintle-bench-peer", "resources": resources,
        },
    }))
}
