//! `bench node` inside a virtual machine: Pintle's sandbox beside crun and runc of the tools tree, all with cgroup v2.
//!
//! A machine boots, this very program goes into a container image with the other runtimes, and a privileged pod runs it on the
//! machine's own cgroups. Under emulation its numbers compare with nothing but each other.

use anyhow::{Context, bail, ensure};
use clap::Args;
use qemu::{Artifacts, Cluster, ClusterSpec, oci_images, testing, wait};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// What is asked for.
#[derive(Args)]
pub struct Asked {
    /// How many containers each of the runtimes runs.
    #[arg(long, default_value_t = 100)]
    rounds: usize,
}

const NAME: &str = "bench-node";
const PEERS: [&str; 2] = ["crun", "runc"];
const MEMORY_MIB: u32 = 2048;
/// Where Debian's loader looks by itself: runc starts itself anew without the environment that it was given.
const LIBRARIES: &str = "lib/x86_64-linux-gnu";
/// For a container by the slowest of them, under emulation.
const ROUND: Duration = Duration::from_secs(20);

/// Boots, measures, prints what the pod printed.
pub fn measure(asked: &Asked) -> anyhow::Result<()> {
    let artifacts = testing::artifacts()?;
    let mut spec = ClusterSpec::new("bench", 1);
    spec.machines[0].memory_mib = MEMORY_MIB;
    let cluster = testing::cluster(spec)?;
    let folder = tempfile::tempdir().context("make a folder for the container image")?;
    fill(folder.path(), &artifacts, asked)?;
    oci_images::publish(&artifacts.tools, folder.path(), NAME, cluster.plan().registry_port)?;
    cluster.wait_healthy(testing::HEALTHY_DEADLINE)?;
    let said = run(&cluster, folder.path(), asked)?;
    print!("{said}");
    cluster.remove()
}

/// The image's root: this program, Pintle's supervisor, the peers, whatever libraries those need, and a root for the containers.
fn fill(root: &Path, artifacts: &Artifacts, asked: &Asked) -> anyhow::Result<()> {
    let (programs, inner) = (root.join("bin"), root.join("rootfs"));
    for folder in [
        &programs,
        &root.join(LIBRARIES),
        &root.join("lib64"),
        &root.join("tmp"),
        &inner.join("bin"),
    ] {
        std::fs::create_dir_all(folder)?;
    }
    for folder in ["dev", "proc", "sys"] {
        std::fs::create_dir_all(inner.join(folder))?;
    }
    let busybox = artifacts.tools.join("usr/bin/busybox");
    copy(&busybox, &programs.join("sh"))?;
    copy(&busybox, &inner.join("bin/true"))?;
    copy(
        &artifacts.root_tree.join("usr/bin/pod-init"),
        &programs.join("pod-init"),
    )?;
    let own = std::env::current_exe().context("find this program")?;
    let mut linked = vec![own.clone()];
    copy(&own, &programs.join("bench"))?;
    for peer in PEERS {
        let program = ["usr/bin", "usr/sbin"]
            .map(|place| artifacts.tools.join(place).join(peer))
            .into_iter()
            .find(|path| path.exists())
            .with_context(|| format!("{peer} is missing in the tools tree {}", artifacts.tools.display()))?;
        copy(&program, &programs.join(peer))?;
        linked.push(program);
    }
    for program in &linked {
        for library in libraries(&artifacts.tools, program)? {
            let name = library.file_name().context("a library without a name")?;
            copy(&library, &root.join(LIBRARIES).join(name))?;
        }
    }
    copy(&loader(&artifacts.tools), &root.join("lib64/ld-linux-x86-64.so.2"))?;
    let peers: String = PEERS.map(|peer| format!(" --peer /bin/{peer}")).concat();
    let entry = format!(
        "#!/bin/sh\nexec bench node --rootfs /rootfs --pod-init /bin/pod-init --rounds {}{peers}\n",
        asked.rounds
    );
    std::fs::write(root.join("entry"), entry)?;
    std::fs::set_permissions(root.join("entry"), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    Ok(())
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let copied = std::fs::copy(from, to);
    copied.with_context(|| format!("copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

fn loader(tools: &Path) -> PathBuf {
    tools.join("lib64/ld-linux-x86-64.so.2")
}

/// The libraries of the tools tree that a program is linked with.
fn libraries(tools: &Path, program: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let loader = loader(tools);
    let output = Command::new(&loader)
        .arg("--library-path")
        .arg(tools.join("usr/lib/x86_64-linux-gnu"))
        .arg("--list")
        .arg(program)
        .output()
        .with_context(|| format!("ask {} what {} needs", loader.display(), program.display()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "{} needs libraries that the tools tree has not: {said}",
        program.display()
    );
    let found = said.lines().filter_map(|line| line.split_once("=> "));
    Ok(found
        .filter_map(|(_, place)| place.split_whitespace().next())
        .map(PathBuf::from)
        .filter(|place| place.starts_with(tools))
        .collect())
}

/// Runs the pod to its end; what it said.
fn run(cluster: &Cluster, folder: &Path, asked: &Asked) -> anyhow::Result<String> {
    let manifest = folder.join("pod.yaml");
    std::fs::write(&manifest, pod(&oci_images::reference(NAME)))?;
    kubectl(cluster, &["apply", "-f", &manifest.display().to_string()])?;
    let rounds = u32::try_from(asked.rounds * (PEERS.len() + 2)).context("count the rounds")?;
    let phase = wait::until("the pod to end", testing::HEALTHY_DEADLINE + ROUND * rounds, || {
        let asked = kubectl(cluster, &["get", "pod", NAME, "-o", "jsonpath={.status.phase}"]);
        match asked.map_err(|why| format!("{why:#}"))?.as_str() {
            ended @ ("Succeeded" | "Failed") => Ok(ended.to_owned()),
            phase => Err(format!("it is {phase}")),
        }
    })?;
    let said = kubectl(cluster, &["logs", NAME])?;
    match phase.as_str() {
        "Succeeded" => Ok(said),
        _ => bail!("the pod failed: {said}"),
    }
}

fn kubectl(cluster: &Cluster, arguments: &[&str]) -> anyhow::Result<String> {
    let output = cluster.kubectl(arguments)?;
    ensure!(
        output.status.success(),
        "kubectl {}: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Privileged, with the machine's cgroups where all runtimes look for them, and a disk for roots and logs.
fn pod(image: &str) -> String {
    serde_json::json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": NAME},
        "spec": {
            "restartPolicy": "Never",
            "volumes": [
                {"name": "cgroups", "hostPath": {"path": "/sys/fs/cgroup"}},
                {"name": "scratch", "emptyDir": {}},
            ],
            "containers": [{
                "name": "main", "image": image, "securityContext": {"privileged": true},
                "volumeMounts": [
                    {"name": "cgroups", "mountPath": "/sys/fs/cgroup"},
                    {"name": "scratch", "mountPath": "/tmp"},
                ],
            }],
        },
    })
    .to_string()
}
