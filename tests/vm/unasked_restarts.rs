//! Restarts that no API call asked for: Ctrl, Alt and Del on the keyboard, and a PID 1 that stands still.

use crate::{apply, eventually, kubectl, shell_pod, wait_phase};
use qemu::testing::{HEALTHY_DEADLINE, cluster};
use qemu::{Cluster, ClusterSpec};
use std::time::Duration;

/// init's watchdog bites after a minute without food, the device may take twice that; the rest is for a busy host.
const WATCHDOG_DEADLINE: Duration = Duration::from_secs(300);

/// Waits for the agent's next start and a healthy cluster in which nothing was lost.
fn comes_back(cluster: &Cluster, since: usize, within: Duration) {
    let machine = cluster.machine(0);
    machine
        .wait_console("init: agent runs as process", since, within)
        .unwrap();
    cluster.wait_healthy(HEALTHY_DEADLINE).unwrap();
    let kept = kubectl(cluster, &["get", "configmap", "kept", "-o", "jsonpath={.data.a}"]);
    assert_eq!(kept, "b");
}

#[test]
fn ctrl_alt_del_restarts_in_order_and_the_watchdog_when_init_stands_still() {
    let mut spec = ClusterSpec::new("unasked", 1);
    spec.machines[0].cpus = crate::REBOOTING_CPUS;
    let cluster = cluster(spec).unwrap();
    cluster.wait_healthy(HEALTHY_DEADLINE).unwrap();
    kubectl(&cluster, &["create", "configmap", "kept", "--from-literal=a=b"]);
    let machine = cluster.machine(0);
    apply(&cluster, &shell_pod("last", "trap 'exit 0' TERM; sleep 100000 & wait"));
    wait_phase(&cluster, "last", "Running");

    let since = machine.console().len();
    machine.ctrl_alt_del().unwrap();
    machine.wait_console("Ctrl-Alt-Del", since, crate::DEADLINE).unwrap();
    comes_back(&cluster, since, crate::DEADLINE);
    // The API heard of its end while there was an API.
    let why = "jsonpath={.status.phase} {.status.reason}: {.status.message}";
    let ended = "Failed Terminated: Pod was terminated in response to imminent node shutdown.";
    eventually(&cluster, &["get", "pod", "last", "-o", why], |said| said == ended);

    let since = machine.console().len();
    let image = qemu::oci_images::reference("demo");
    apply(
        &cluster,
        &format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: freezer}}\nspec:\n  restartPolicy: Never\n  containers:\n  - name: main\n    image: {image}\n    command: [sh, -c, \"echo 1 > /groups/init/cgroup.freeze; sleep 1000\"]\n    securityContext: {{privileged: true}}\n    volumeMounts: [{{name: groups, mountPath: /groups}}]\n  volumes: [{{name: groups, hostPath: {{path: /sys/fs/cgroup}}}}]\n"
        ),
    );
    comes_back(&cluster, since, WATCHDOG_DEADLINE);
    cluster.remove().unwrap();
}
