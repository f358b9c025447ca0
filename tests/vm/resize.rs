//! Containers that get more or less while they run, and pods that share what they have, on a kernel with cgroup v2; the steps of
//! upstream's tests (test/e2e/common/node/pod_resize.go) that one node can show.

use crate::{apply, eventually, kubectl, shared, wait_phase};
use qemu::Cluster;

#[test]
fn running_containers_are_resized() {
    let cluster = shared();
    let resources = "{requests: {cpu: 100m, memory: 64Mi}, limits: {cpu: 100m, memory: 64Mi}}";
    apply(cluster, &pod("resized", &format!("resources: {resources}"), ""));
    wait_phase(cluster, "resized", "Running");
    assert_eq!(says(cluster, "resized"), "10000 100000\n67108864\n0\n");
    let more = r#"{"requests":{"cpu":"200m"},"limits":{"cpu":"200m"}}"#;
    resize(cluster, "resized", more);
    becomes(cluster, "resized", "20000 100000\n67108864\n0\n");
    for memory in ["96Mi", "80Mi"] {
        resize(
            cluster,
            "resized",
            &format!(r#"{{"requests":{{"memory":"{memory}"}},"limits":{{"memory":"{memory}"}}}}"#),
        );
    }
    becomes(cluster, "resized", "20000 100000\n83886080\n0\n");
    let status = "jsonpath={.status.containerStatuses[0].resources.limits.cpu} {.status.containerStatuses[0].resources.limits.memory} {.status.containerStatuses[0].allocatedResources.cpu} {.status.containerStatuses[0].restartCount} {.status.conditions[?(@.type==\"PodResizeInProgress\")].status}";
    eventually(cluster, &["get", "pod", "resized", "-o", status], |said| {
        said == "200m 80Mi 200m 0 "
    });
    // What the node never has is said to be so, and everything stays.
    resize(
        cluster,
        "resized",
        r#"{"requests":{"cpu":"500"},"limits":{"cpu":"500"}}"#,
    );
    let pending = "jsonpath={.status.conditions[?(@.type==\"PodResizePending\")].reason}: {.status.conditions[?(@.type==\"PodResizePending\")].message}";
    let said = eventually(cluster, &["get", "pod", "resized", "-o", pending], |said| {
        said.starts_with("Infeasible")
    });
    assert!(said.contains("cpu, requested: 500000, capacity: "), "{said}");
    assert_eq!(says(cluster, "resized"), "20000 100000\n83886080\n0\n");
    kubectl(cluster, &["delete", "pod", "resized"]);
}

#[test]
fn a_container_that_wants_it_so_is_restarted_for_its_new_size() {
    let cluster = shared();
    let resources = "resizePolicy: [{resourceName: memory, restartPolicy: RestartContainer}]\n    resources: {limits: {memory: 48Mi}}";
    apply(cluster, &pod("restarted", resources, ""));
    wait_phase(cluster, "restarted", "Running");
    resize(
        cluster,
        "restarted",
        r#"{"requests":{"memory":"64Mi"},"limits":{"memory":"64Mi"}}"#,
    );
    let count =
        "jsonpath={.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].resources.limits.memory}";
    eventually(cluster, &["get", "pod", "restarted", "-o", count], |said| {
        said == "1 64Mi"
    });
    becomes(cluster, "restarted", "max 100000\n67108864\n0\n");
    kubectl(cluster, &["delete", "pod", "restarted"]);
}

#[test]
fn containers_of_a_pod_share_what_the_pod_has() {
    let cluster = shared();
    let of_pod = "  resources: {requests: {cpu: 100m, memory: 64Mi}, limits: {cpu: 200m, memory: 96Mi}}\n";
    let of_pod = format!("{of_pod}  volumes: [{{name: groups, hostPath: {{path: /sys/fs/cgroup}}}}]\n");
    let mount = "volumeMounts: [{name: groups, mountPath: /groups}]";
    apply(cluster, &pod("sharing", mount, &of_pod));
    wait_phase(cluster, "sharing", "Running");
    let class = "jsonpath={.status.qosClass} {.metadata.uid}";
    let said = kubectl(cluster, &["get", "pod", "sharing", "-o", class]);
    let (class, uid) = said.split_once(' ').unwrap();
    assert_eq!(class, "Burstable");
    let script = format!("cd /groups/kubepods/burstable/pod{uid} && cat cpu.max memory.max");
    let group = kubectl(cluster, &["exec", "sharing", "--", "sh", "-c", &script]);
    assert_eq!(group, "20000 100000\n100663296\n");
    kubectl(cluster, &["delete", "pod", "sharing"]);
}

fn pod(name: &str, of_container: &str, of_pod: &str) -> String {
    let image = qemu::oci_images::reference("demo");
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n{of_pod}  terminationGracePeriodSeconds: 1\n  containers:\n  - name: main\n    image: {image}\n    command: [sh, -c, 'exec sleep 100000']\n    {of_container}\n"
    )
}

const FILES: &str = "cd /sys/fs/cgroup && cat cpu.max memory.max memory.swap.max";

/// What the container's own group says.
fn says(cluster: &Cluster, pod: &str) -> String {
    kubectl(cluster, &["exec", pod, "--", "sh", "-c", FILES])
}

fn becomes(cluster: &Cluster, pod: &str, wanted: &str) {
    eventually(cluster, &["exec", pod, "--", "sh", "-c", FILES], |said| said == wanted);
}

fn resize(cluster: &Cluster, pod: &str, resources: &str) {
    let patch = format!(r#"{{"spec":{{"containers":[{{"name":"main","resources":{resources}}}]}}}}"#);
    kubectl(
        cluster,
        &["patch", "pod", pod, "--subresource", "resize", "--patch", &patch],
    );
}
