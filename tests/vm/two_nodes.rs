//! Two machines on the harness's own network make one cluster, the second a pure worker, which goes on alone when the
//! network between them is cut.

use crate::{apply, eventually, kubectl};
use qemu::switch::Faults;
use qemu::testing::{HEALTHY_DEADLINE, cluster};
use qemu::{Cluster, ClusterSpec};

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
    a_cut_off_worker_goes_on_and_comes_back(&cluster);
    cluster.remove().unwrap();
}

fn a_cut_off_worker_goes_on_and_comes_back(cluster: &Cluster) {
    let ready = r#"jsonpath={.status.conditions[?(@.type=="Ready")].status}"#;
    let runs = "jsonpath={.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].containerID}";
    let before = kubectl(cluster, &["get", "pod", "there", "-o", runs]);
    cluster.set_faults(Faults::isolate(2)).unwrap();
    eventually(cluster, &["get", "node", "two-2", "-o", ready], |said| {
        said == "Unknown"
    });
    cluster.set_faults(Faults::default()).unwrap();
    eventually(cluster, &["get", "node", "two-2", "-o", ready], |said| said == "True");
    cluster.wait_healthy(HEALTHY_DEADLINE).unwrap();
    eventually(cluster, &["exec", "there", "--", "hostname"], |said| said == "there\n");
    assert_eq!(kubectl(cluster, &["get", "pod", "there", "-o", runs]), before);
}
