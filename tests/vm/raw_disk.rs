//! Persistent volumes that are raw disks of a machine: an empty one gets a file system, and keeps what pods put there; one with
//! anything else on it stays as it is.

use crate::{apply, eventually, forget_claims, kubectl, shared, shell_pod, wait_phase};
use qemu::Cluster;

#[test]
fn an_empty_disk_is_formatted_and_no_other_is() {
    let cluster = shared();
    let make = "for disk in 6 7; do truncate -s 64M /host/$disk && losetup /dev/loop$disk /host/$disk; done\necho precious > /dev/loop6";
    on_machine(cluster, "disks", make);
    let node = kubectl(cluster, &["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"]);
    ["loop6", "loop7"].iter().for_each(|disk| claim(cluster, &node, disk));

    apply(cluster, &pod("first", "loop7", "echo here to stay > /data/note"));
    wait_phase(cluster, "first", "Succeeded");
    kubectl(cluster, &["delete", "pod", "first"]);
    apply(
        cluster,
        &pod("second", "loop7", "cat /data/note\ngrep ' /data ' /proc/mounts"),
    );
    wait_phase(cluster, "second", "Succeeded");
    let said = kubectl(cluster, &["logs", "second"]);
    assert!(said.starts_with("here to stay\n/dev/loop7 /data ext4 "), "{said}");

    apply(cluster, &pod("greedy", "loop6", "echo mine > /data/note"));
    let events = "involvedObject.name=greedy,reason=FailedMount";
    let arguments = [
        "get",
        "events",
        "--field-selector",
        events,
        "-o",
        "jsonpath={.items[*].message}",
    ];
    let said = eventually(cluster, &arguments, |said| said.contains("it is not formatted either"));
    assert!(
        said.starts_with("MountVolume.SetUp failed for volume \"loop6\" : "),
        "{said}"
    );
    kubectl(cluster, &["delete", "pod", "second", "greedy"]);
    forget_claims(cluster, &["loop6", "loop7"]);

    let unmake = "head -n 1 /dev/loop6\nfor disk in 6 7; do losetup -d /dev/loop$disk && rm /host/$disk; done";
    assert_eq!(on_machine(cluster, "no-disks", unmake), "precious\n");
}

/// Runs a script that sees the machine's devices, and a folder of its disk at /host; what it says.
fn on_machine(cluster: &Cluster, name: &str, script: &str) -> String {
    let pod = shell_pod(name, script);
    let rest = "    securityContext: {privileged: true}\n    volumeMounts: [{name: host, mountPath: /host}]\n  volumes:\n  \
                - name: host\n    hostPath: {path: /var/lib/raw-disks, type: DirectoryOrCreate}\n";
    apply(cluster, &format!("{pod}{rest}"));
    wait_phase(cluster, name, "Succeeded");
    let said = kubectl(cluster, &["logs", name]);
    kubectl(cluster, &["delete", "pod", name]);
    said
}

/// A disk as a persistent volume of its name, and its claim.
fn claim(cluster: &Cluster, node: &str, disk: &str) {
    let of_both = "accessModes: [ReadWriteOnce]\n  storageClassName: \"\"\n";
    let here = format!("{{key: kubernetes.io/hostname, operator: In, values: [{node}]}}");
    apply(
        cluster,
        &format!(
            "apiVersion: v1\nkind: PersistentVolume\nmetadata: {{name: {disk}}}\nspec:\n  {of_both}  capacity: {{storage: 1Mi}}\n  \
             local: {{path: /dev/{disk}}}\n  nodeAffinity: {{required: {{nodeSelectorTerms: [{{matchExpressions: [{here}]}}]}}}}\n---\n\
             apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {{name: {disk}}}\nspec:\n  {of_both}  volumeName: {disk}\n  \
             resources: {{requests: {{storage: 1Mi}}}}\n"
        ),
    );
    // Nobody binds claims yet.
    let bound = r#"{"status":{"phase":"Bound"}}"#;
    kubectl(
        cluster,
        &["patch", "pvc", disk, "--subresource", "status", "--patch", bound],
    );
}

fn pod(name: &str, claim: &str, script: &str) -> String {
    let pod = shell_pod(name, script);
    format!(
        "{pod}    volumeMounts: [{{name: data, mountPath: /data}}]\n  volumes:\n  - name: data\n    persistentVolumeClaim: {{claimName: {claim}}}\n"
    )
}
