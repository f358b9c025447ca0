//! pintlectl against a running machine: what a person looks at, and a reboot.

use crate::{kubectl, pintlectl, shared, text};
use qemu::ClusterSpec;
use qemu::testing::{HEALTHY_DEADLINE, cluster};

fn said(cluster: &qemu::Cluster, arguments: &[&str]) -> String {
    let output = pintlectl(cluster, arguments);
    assert!(
        output.status.success(),
        "pintlectl {arguments:?}: {}",
        text(&output.stderr)
    );
    text(&output.stdout)
}

#[test]
fn what_a_person_looks_at_is_there() {
    let cluster = shared();
    for (arguments, expected) in [
        (&["info"][..], "shared-1"),
        (&["services"], "control"),
        (&["dmesg"], "Linux version"),
        (&["logs", "agent"], "INFO"),
        (&["processes"], "agent"),
        (&["memory"], "agent"),
        (&["mounts"], "erofs"),
        (&["timeline"], "pid1"),
        (&["health"], "healthy"),
        (&["config", "get"], "[machine]"),
    ] {
        let said = said(cluster, arguments);
        assert!(
            said.contains(expected),
            "pintlectl {arguments:?} does not say {expected:?}:\n{said}"
        );
    }
    assert!(!said(cluster, &["config", "get"]).contains("PRIVATE KEY"));
}

#[test]
fn an_ordered_reboot_and_a_reset_of_state_bring_the_node_and_its_objects_back() {
    let mut spec = ClusterSpec::new("again", 1);
    spec.machines[0].cpus = crate::REBOOTING_CPUS;
    let cluster = cluster(spec).unwrap();
    cluster.wait_healthy(HEALTHY_DEADLINE).unwrap();
    kubectl(&cluster, &["create", "configmap", "kept", "--from-literal=a=b"]);
    let machine = cluster.machine(0);
    let before = machine.console().len();
    said(&cluster, &["reboot"]);
    machine
        .wait_console("init: agent runs as process", before, crate::DEADLINE)
        .unwrap();
    cluster.wait_healthy(HEALTHY_DEADLINE).unwrap();
    assert_eq!(
        kubectl(&cluster, &["get", "configmap", "kept", "-o", "jsonpath={.data.a}"]),
        "b"
    );

    // Without STATE the machine is what its firmware says; DATA is another matter.
    let before = machine.console().len();
    said(&cluster, &["reset", "--yes"]);
    let console = machine
        .wait_console("state: a new file system", before, crate::DEADLINE)
        .unwrap();
    assert!(!console[before..].contains("data: a new file system"), "{console}");
    machine
        .wait_console("init: agent runs as process", before, crate::DEADLINE)
        .unwrap();
    cluster.wait_healthy(HEALTHY_DEADLINE).unwrap();
    assert_eq!(
        kubectl(&cluster, &["get", "configmap", "kept", "-o", "jsonpath={.data.a}"]),
        "b"
    );
    cluster.remove().unwrap();
}
