//! A pod that fills DATA harms nobody for long: the node stays reachable, and deleting the pod gives the space back.

use crate::{apply, eventually, kubectl, wait_phase};
use qemu::ClusterSpec;
use qemu::testing::{HEALTHY_DEADLINE, cluster};

#[test]
fn a_full_data_disk_is_survived_and_recovers() {
    let cluster = cluster(ClusterSpec::new("full", 1)).unwrap();
    cluster.wait_healthy(HEALTHY_DEADLINE).unwrap();
    let image = qemu::oci_images::reference("demo");
    apply(
        &cluster,
        &format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: filler}}\nspec:\n  restartPolicy: Never\n  terminationGracePeriodSeconds: 1\n  volumes: [{{name: d, emptyDir: {{}}}}]\n  containers:\n  - name: main\n    image: {image}\n    command: [sh, -c, 'fallocate -l 100T /d/x; n=0; while fallocate -l 256M /d/$n; do n=$((n+1)); done; while fallocate -l 1M /d/$n; do n=$((n+1)); done; cat /dev/zero > /d/rest; echo full; exec sleep 3600']\n    volumeMounts: [{{name: d, mountPath: /d}}]\n"
        ),
    );
    wait_phase(&cluster, "filler", "Running");
    eventually(&cluster, &["get", "--raw", "/readyz"], |said| said.contains("ok"));
    // The machine still answers, and what cannot be written is refused, not lost.
    assert!(crate::pintlectl(&cluster, &["info"]).status.success());
    let written = cluster
        .kubectl(&["create", "configmap", "while-full", "--from-literal=a=b"])
        .unwrap();
    kubectl(&cluster, &["delete", "pod", "filler", "--wait=false"]);
    eventually(&cluster, &["get", "pods"], |said| !said.contains("filler"));
    let kept = cluster.kubectl(&["get", "configmap", "while-full"]).unwrap();
    assert_eq!(
        written.status.success(),
        kept.status.success(),
        "an acknowledged write is kept, a refused one is not there"
    );
    eventually(
        &cluster,
        &["create", "configmap", "after", "--from-literal=a=b"],
        |said| said.contains("created"),
    );
    cluster.remove().unwrap();
}
