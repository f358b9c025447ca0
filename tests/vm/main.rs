//! Behaviour of booted machines, one file each; they share one virtual machine where they can leave it as they found it.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

mod agent_killed;
mod bad_pods;
mod cri;
mod damaged_disk;
mod example;
mod full_data;
mod host_ports;
mod images;
mod kubectl_everyday;
mod machine_api;
mod maintenance;
mod many_pods;
mod nfs;
mod pod_contents;
mod power_cut;
mod pressure;
mod raw_disk;
mod resize;
mod survival;
mod two_nodes;
mod unasked_restarts;

use qemu::{Cluster, wait};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

/// Far above what anything here takes under emulation on a busy host; only a hang reaches it.
const DEADLINE: Duration = Duration::from_secs(120);

/// QEMU without KVM at times resets a machine so that the timer of its second processor never ticks again: the kernel then
/// reports RCU stalls until somebody cuts the power. Seen once in some ten resets on a busy host.
const REBOOTING_CPUS: u32 = 1;

/// The one machine that tests share.
fn shared() -> &'static Cluster {
    qemu::testing::shared().unwrap_or_else(|why| panic!("{why:#}"))
}

/// kubectl's standard output; it must succeed.
fn kubectl(cluster: &Cluster, arguments: &[&str]) -> String {
    let output = cluster.kubectl(arguments).unwrap_or_else(|why| panic!("{why:#}"));
    assert!(
        output.status.success(),
        "kubectl {arguments:?}: {}",
        text(&output.stderr)
    );
    text(&output.stdout)
}

/// `kubectl apply -f -` of a manifest.
fn apply(cluster: &Cluster, manifest: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("manifest.yaml");
    std::fs::write(&file, manifest).unwrap();
    kubectl(cluster, &["apply", "-f", &file.display().to_string()]);
}

/// Waits until `kubectl ARGUMENTS` prints something that `is_it` accepts; gives that.
fn eventually(cluster: &Cluster, arguments: &[&str], is_it: impl Fn(&str) -> bool) -> String {
    let what = format!("kubectl {} to say what is awaited", arguments.join(" "));
    let mut last = String::new();
    let waited = wait::until(&what, DEADLINE, || {
        let output = cluster.kubectl(arguments).map_err(|why| format!("{why:#}"))?;
        last = text(&output.stdout);
        match output.status.success() && is_it(&last) {
            true => Ok(()),
            false => Err(format!("it says {last:?} {}", text(&output.stderr))),
        }
    });
    waited.unwrap_or_else(|why| panic!("{why:#}"));
    last
}

/// Waits until the pod's phase is `phase`.
fn wait_phase(cluster: &Cluster, pod: &str, phase: &str) {
    eventually(
        cluster,
        &["get", "pod", pod, "-o", "jsonpath={.status.phase}"],
        |said| said == phase,
    );
}

/// Claims and the volumes of the same names. Nobody takes the finalizers away yet that protect what is in use.
fn forget_claims(cluster: &Cluster, names: &[&str]) {
    let unprotected = r#"{"metadata":{"finalizers":null}}"#;
    for (kind, name) in names.iter().flat_map(|name| [("pvc", name), ("pv", name)]) {
        kubectl(cluster, &["patch", kind, name, "--patch", unprotected]);
        kubectl(cluster, &["delete", kind, name]);
    }
}

/// A pod of the demo image that runs `script` in a shell.
fn shell_pod(name: &str, script: &str) -> String {
    let image = qemu::oci_images::reference("demo");
    let script = script.replace('\n', "; ");
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  restartPolicy: Never\n  terminationGracePeriodSeconds: 1\n  containers:\n  - name: main\n    image: {image}\n    command: [sh, -c, {script:?}]\n"
    )
}

/// pintlectl of this build, as the cluster's administrator.
fn pintlectl(cluster: &Cluster, arguments: &[&str]) -> Output {
    let mut program = std::env::current_exe().unwrap();
    program.pop();
    program.pop();
    let program: PathBuf = program.join("pintlectl");
    assert!(
        program.exists(),
        "{} is missing: `cargo build -p cli` makes it",
        program.display()
    );
    Command::new(program)
        .env("PINTLE_IDENTITY", cluster.folder().admin())
        .args(arguments)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
