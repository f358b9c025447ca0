//! Many pods on one machine: all run, are asked over HTTP whether they are ready, are never restarted, and go without a trace in
//! the API. What they and the node cost is printed.

use crate::{apply, eventually, kubectl, pintlectl, text};
use qemu::testing::{HEALTHY_DEADLINE, cluster};
use qemu::{Cluster, ClusterSpec, wait};
use std::time::{Duration, Instant};

/// How many; `PINTLE_PODS` says another number.
const PODS: usize = 12;
/// Memory of the machine besides the pods', and of a pod: its program, its supervisor, its groups and links.
const MACHINE_MIB: u32 = 1024;
const POD_KIB: usize = 2560;
/// Made at once.
const WAVE: usize = 100;
/// For each pod, under emulation on a busy host.
const POD_DEADLINE: Duration = Duration::from_secs(5);
/// How long the node is watched doing nothing but probing.
const QUIET: Duration = Duration::from_secs(30);

#[test]
fn many_pods_run_on_one_node() {
    let pods = std::env::var("PINTLE_PODS").map_or(PODS, |pods| pods.parse().unwrap());
    let mut spec = ClusterSpec::new("many", 1);
    spec.machines[0].node.max_pods = u32::try_from(pods).unwrap() + 10;
    spec.machines[0].memory_mib = MACHINE_MIB + u32::try_from(pods * POD_KIB / 1024).unwrap();
    let cluster = cluster(spec).unwrap();
    cluster.wait_healthy(HEALTHY_DEADLINE).unwrap();
    apply(&cluster, &observer());
    eventually(&cluster, &["get", "pod", "observer", "-o", READY], |said| {
        said == "True"
    });

    let begun = Instant::now();
    for wave in 0..pods.div_ceil(WAVE) {
        let numbers = wave * WAVE..pods.min((wave + 1) * WAVE);
        let manifests: Vec<String> = numbers.map(|number| pod(number, probed_every(pods))).collect();
        apply(&cluster, &manifests.join("---\n"));
    }
    until_ready(&cluster, pods);
    println!("{pods} pods ready after {:.0} s", begun.elapsed().as_secs_f64());

    let before = spent(&cluster);
    std::thread::sleep(QUIET);
    let after = spent(&cluster);
    println!("CPU time in {QUIET:?}, agent and all pods, in µs: from {before} to {after}");
    let memory = pintlectl(&cluster, &["memory"]);
    assert!(memory.status.success(), "{}", text(&memory.stderr));
    println!("{}", text(&memory.stdout));
    let restarts = "jsonpath={.items[*].status.containerStatuses[*].restartCount}";
    let restarts = kubectl(&cluster, &["get", "pods", "-l", "app=many", "-o", restarts]);
    assert_eq!(restarts.split_whitespace().collect::<Vec<_>>(), vec!["0"; pods]);

    kubectl(&cluster, &["delete", "pods", "-l", "app=many", "--wait=false"]);
    let gone = wait::until("all of them to be gone", deadline(pods), || {
        match count(&cluster, "")? {
            0 => Ok(()),
            left => Err(format!("{left} are left")),
        }
    });
    gone.unwrap_or_else(|why| panic!("{why:#}"));
    cluster.remove().unwrap();
}

const READY: &str = "jsonpath={.status.conditions[?(@.type==\"Ready\")].status}";

fn deadline(pods: usize) -> Duration {
    HEALTHY_DEADLINE + POD_DEADLINE * u32::try_from(pods).unwrap()
}

fn until_ready(cluster: &Cluster, pods: usize) {
    let ready = wait::until("all pods to be ready", deadline(pods), || {
        match count(cluster, "True")? {
            ready if ready == pods => Ok(()),
            ready => Err(format!("{ready} of {pods} are")),
        }
    });
    ready.unwrap_or_else(|why| panic!("{why:#}"));
}

/// How many pods say so of themselves.
fn count(cluster: &Cluster, ready: &str) -> Result<usize, String> {
    let template = "jsonpath={range .items[*]}x{.status.conditions[?(@.type==\"Ready\")].status}{\"\\n\"}{end}";
    let said = cluster
        .kubectl(&["get", "pods", "-l", "app=many", "-o", template])
        .map_err(|why| format!("{why:#}"))?;
    if !said.status.success() {
        return Err(text(&said.stderr));
    }
    let wanted = format!("x{ready}");
    Ok(text(&said.stdout)
        .lines()
        .filter(|line| line.starts_with(&wanted))
        .count())
}

/// CPU time so far of the agent and of all pods.
fn spent(cluster: &Cluster) -> String {
    let script = "for g in system/agent kubepods; do grep usage_usec /groups/$g/cpu.stat | cut -d' ' -f2; done";
    eventually(cluster, &["exec", "observer", "--", "sh", "-c", script], |_| true)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" and ")
}

fn observer() -> String {
    let image = qemu::oci_images::reference("demo");
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: observer}}\nspec:\n  terminationGracePeriodSeconds: 1\n  volumes: [{{name: groups, hostPath: {{path: /sys/fs/cgroup}}}}]\n  containers:\n  - name: main\n    image: {image}\n    command: [sh, -c, 'exec sleep 100000']\n    volumeMounts: [{{name: groups, mountPath: /groups}}]\n"
    )
}

/// Seconds between two probes of a kind of a pod. Upstream's ten, or what lets an emulated machine keep up with more than a
/// hundred: their servers start a process for each request.
fn probed_every(pods: usize) -> usize {
    (pods / 10).max(10)
}

fn pod(number: usize, seconds: usize) -> String {
    let image = qemu::oci_images::reference("httpd");
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: many-{number}, labels: {{app: many}}}}\nspec:\n  terminationGracePeriodSeconds: 1\n  containers:\n  - name: main\n    image: {image}\n    readinessProbe: {{periodSeconds: {seconds}, httpGet: {{port: 8080}}}}\n    livenessProbe: {{periodSeconds: {seconds}, tcpSocket: {{port: 8080}}}}\n"
    )
}
