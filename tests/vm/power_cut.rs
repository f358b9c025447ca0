//! A machine that loses power comes back with every write that it acknowledged, and with the config that its firmware gave it
//! the first time.

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
    let machine = cluster.machine(0);
    machine.power_cut().unwrap();
    // What the firmware has now is no config: the machine must not need it any more.
    for name in ["config.toml", "secrets.toml"] {
        std::fs::write(machine.plan().folder.join(name), "gone").unwrap();
    }
    machine.power_on().unwrap();
    cluster.wait_healthy(HEALTHY_DEADLINE).unwrap();
    for name in acknowledged {
        let output = cluster
            .kubectl(&["get", "configmap", &name, "-o", "jsonpath={.data.a}"])
            .unwrap();
        assert_eq!(text(&output.stdout), "b", "{name}: {}", text(&output.stderr));
    }
    cluster.remove().unwrap();
}
