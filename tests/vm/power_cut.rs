//! A machine that loses power comes back with every write that it acknowledged.

use crate::{kubectl, text};
use qemu::ClusterSpec;
use qemu::testing::{HEALTHY_DEADLINE, cluster};

#[test]
fn acknowledged_writes_survive_a_power_cut() {
    let cluster = cluster(ClusterSpec::new("cut", 1)).unwrap();
    cluster.wait_healthy(HEALTHY_DEADLINE).unwrap();
    let mut acknowledged = Vec::new();
    for number in 0..8 {
        let name = format!("written-{number}");
        kubectl(&cluster, &["create", "configmap", &name, "--from-literal=a=b"]);
        acknowledged.push(name);
    }
    cluster.machine(0).power_cut().unwrap();
    cluster.machine(0).power_on().unwrap();
    cluster.wait_healthy(HEALTHY_DEADLINE).unwrap();
    for name in acknowledged {
        let output = cluster
            .kubectl(&["get", "configmap", &name, "-o", "jsonpath={.data.a}"])
            .unwrap();
        assert_eq!(text(&output.stdout), "b", "{name}: {}", text(&output.stderr));
    }
    cluster.remove().unwrap();
}
