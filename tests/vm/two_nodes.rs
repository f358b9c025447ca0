//! Two machines on the harness's own network make one cluster, the second a pure worker.

use crate::{apply, eventually, kubectl};
use qemu::ClusterSpec;
use qemu::testing::{HEALTHY_DEADLINE, cluster};

#[test]
fn a_pure_worker_joins_and_runs_a_pod() {
    let cluster = cluster(ClusterSpec::new("two", 2)).unwrap();
    cluster.wait_healthy(HEALTHY_DEADLINE).unwrap();
    let roles = kubectl(&cluster, &["get", "nodes"]);
    let worker = roles
        .lines()
        .find(|line| line.starts_with("two-2"))
        .unwrap_or_else(|| panic!("{roles}"));
    assert!(worker.contains("Ready") && !worker.contains("control-plane"), "{roles}");

    let image = qemu::oci_images::reference("demo");
    apply(
        &cluster,
        &format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: there}}\nspec:\n  nodeSelector: {{kubernetes.io/hostname: two-2}}\n  terminationGracePeriodSeconds: 1\n  containers: [{{name: main, image: {image}}}]\n"
        ),
    );
    // Logs and exec cross the network between the machines.
    eventually(&cluster, &["logs", "there"], |said| {
        said.contains("hello from there, line 1")
    });
    assert_eq!(kubectl(&cluster, &["exec", "there", "--", "hostname"]), "there\n");
    cluster.remove().unwrap();
}
