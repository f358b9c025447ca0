//! A node that runs short of memory, of disk, of process IDs: it says so, keeps others away, evicts the pod whose fault it is with
//! upstream's words, and takes pods again afterwards.

use crate::{apply, eventually, kubectl, wait_phase};
use qemu::testing::{HEALTHY_DEADLINE, cluster};
use qemu::{Cluster, ClusterSpec};

/// So that it is short soon and not dead soon: the machine has 1024 MiB, and its own programs use some 200 of them.
const MEMORY_MIB: u32 = 350;
/// Percent of the disk; a pod fills the rest in moments.
const DISK_PERCENT: u32 = 60;
/// Percent of the process IDs: a thousand programs are started before so few are left.
const PIDS_PERCENT: u32 = 88;

#[test]
fn pressure_is_said_relieved_and_forgotten() {
    let mut spec = ClusterSpec::new("pressure", 1);
    let eviction = &mut spec.machines[0].node.eviction;
    eviction.memory_mib = Some(MEMORY_MIB);
    eviction.disk_percent = DISK_PERCENT;
    eviction.images_percent = 1;
    eviction.pids_percent = PIDS_PERCENT;
    eviction.pressure_seconds = 45;
    let cluster = cluster(spec).unwrap();
    cluster.wait_healthy(HEALTHY_DEADLINE).unwrap();
    apply(
        &cluster,
        &pod("modest", "{requests: {cpu: 10m, memory: 32Mi}}", "exec sleep 100000"),
    );
    wait_phase(&cluster, "modest", "Running");
    memory(&cluster);
    disk(&cluster);
    process_ids(&cluster);
    // Whoever did nothing has seen nothing of it.
    let restarts = "jsonpath={.status.phase} {.status.containerStatuses[0].restartCount}";
    assert_eq!(
        kubectl(&cluster, &["get", "pod", "modest", "-o", restarts]),
        "Running 0"
    );
    cluster.remove().unwrap();
}

fn pod(name: &str, resources: &str, script: &str) -> String {
    let image = qemu::oci_images::reference("demo");
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  restartPolicy: Never\n  terminationGracePeriodSeconds: 1\n  volumes:\n  - {{name: memory, emptyDir: {{medium: Memory}}}}\n  - {{name: disk, emptyDir: {{}}}}\n  containers:\n  - name: main\n    image: {image}\n    command: [sh, -c, {script:?}]\n    resources: {resources}\n    volumeMounts:\n    - {{name: memory, mountPath: /memory}}\n    - {{name: disk, mountPath: /disk}}\n"
    )
}

/// What a condition of the node is.
fn condition(cluster: &Cluster, kind: &str, wanted: &str) {
    let path = format!("jsonpath={{.items[0].status.conditions[?(@.type==\"{kind}\")].status}}");
    eventually(cluster, &["get", "nodes", "-o", &path], |said| said == wanted);
}

fn has_taint(cluster: &Cluster, key: &str, wanted: bool) {
    let path = "jsonpath={.items[0].spec.taints[*].key}";
    eventually(cluster, &["get", "nodes", "-o", path], |said| {
        said.split(' ').any(|word| word == key) == wanted
    });
}

/// Waits until the pod is evicted; its message.
fn evicted(cluster: &Cluster, name: &str) -> String {
    let path = "jsonpath={.status.phase} {.status.reason}: {.status.message}";
    let said = eventually(cluster, &["get", "pod", name, "-o", path], |said| {
        said.starts_with("Failed Evicted: ")
    });
    said.trim_start_matches("Failed Evicted: ").to_owned()
}

/// The node says what it lacks, by condition and by taint, and after a while that it does not any more.
fn is_said_and_forgotten(cluster: &Cluster, kind: &str, taint: &str, while_short: impl FnOnce()) {
    condition(cluster, kind, "True");
    has_taint(cluster, taint, true);
    while_short();
    condition(cluster, kind, "False");
    has_taint(cluster, taint, false);
}

fn remove(cluster: &Cluster, name: &str) {
    kubectl(cluster, &["delete", "pod", name, "--wait=true"]);
}

fn memory(cluster: &Cluster) {
    // Bounded: it never gets so far as to have the kernel choose a victim.
    let eats = "n=0; while [ $n -lt 60 ]; do dd if=/dev/zero of=/memory/$n bs=1M count=10 2>/dev/null; n=$((n+1)); sleep 0.3; done; exec sleep 100000";
    apply(cluster, &pod("greedy", "{}", eats));
    is_said_and_forgotten(cluster, "MemoryPressure", "node.kubernetes.io/memory-pressure", || {
        let message = evicted(cluster, "greedy");
        let low = format!("The node was low on resource: memory. Threshold quantity: {MEMORY_MIB}Mi, available: ");
        assert!(message.starts_with(&low), "{message}");
        assert!(
            message.contains("Container main was using ")
                && message.contains(", request is 0, has larger consumption of memory. "),
            "{message}"
        );
        // Bound past the scheduler, which heeds the taint: a pod without requests is not taken.
        let node = kubectl(cluster, &["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"]);
        let late = pod("late", "{}", "exec sleep 100000").replace("spec:\n", &format!("spec:\n  nodeName: {node}\n"));
        apply(cluster, &late);
        assert_eq!(
            evicted(cluster, "late"),
            "Pod was rejected: The node had condition: [MemoryPressure]. "
        );
    });
    let disruption = "jsonpath={.status.conditions[?(@.type==\"DisruptionTarget\")].reason}";
    assert_eq!(
        kubectl(cluster, &["get", "pod", "greedy", "-o", disruption]),
        "TerminationByKubelet"
    );
    ["greedy", "late"].iter().for_each(|name| remove(cluster, name));
}

fn disk(cluster: &Cluster) {
    let fills =
        "n=0; while [ $n -lt 100 ] && fallocate -l 128M /disk/$n; do n=$((n+1)); sleep 0.3; done; exec sleep 100000";
    apply(cluster, &pod("hoarder", "{}", fills));
    is_said_and_forgotten(cluster, "DiskPressure", "node.kubernetes.io/disk-pressure", || {
        let message = evicted(cluster, "hoarder");
        let low = "The node was low on resource: ephemeral-storage. Threshold quantity: ";
        assert!(message.starts_with(low), "{message}");
        remove(cluster, "hoarder");
    });
}

fn process_ids(cluster: &Cluster) {
    let forks = "n=0; while [ $n -lt 1100 ]; do sleep 100000 & n=$((n+1)); done; wait";
    apply(cluster, &pod("breeder", "{}", forks));
    is_said_and_forgotten(cluster, "PIDPressure", "node.kubernetes.io/pid-pressure", || {
        let message = evicted(cluster, "breeder");
        assert!(
            message.starts_with("The node was low on resource: pids. Threshold quantity: "),
            "{message}"
        );
    });
    remove(cluster, "breeder");
}
