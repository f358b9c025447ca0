//! Rules of `[node]`.

use crate::machine::{MachineConfig, Role};
use crate::node::{CpuPolicy, Eviction, Node};
use crate::place::Place;

/// Below it not even a shell with a pipe runs.
const FEWEST_PIDS: u64 = 16;

pub(super) fn check(config: &MachineConfig) -> Vec<(Place, String)> {
    let node = &config.node;
    let mut broken = Vec::new();
    let mut refuse = |key: &str, message: String| broken.push((Place::of(key), message));
    if *node != Node::default() && !config.machine.roles.contains(&Role::Worker) {
        let message = "`[node]` stands here, but `machine.roles` lacks worker; add the role or drop the table";
        refuse("node", message.to_owned());
    }
    if node.max_pods == 0 {
        let message = "`node.max-pods` is 0, so no pod could run; write at least 1, or drop the role worker";
        refuse("node.max-pods", message.to_owned());
    }
    if (1..FEWEST_PIDS).contains(&node.pod_pids) {
        let (pids, least) = (node.pod_pids, FEWEST_PIDS);
        refuse(
            "node.pod-pids",
            format!("`node.pod-pids` is {pids}; write at least {least}, or 0 for no limit"),
        );
    }
    if node.cpu_policy == CpuPolicy::Static && node.reserved_cpu_millis == 0 {
        let message =
            "`node.cpu-policy` is static, but `node.reserved-cpu-millis` is 0: some CPU must stay with everybody";
        refuse("node.cpu-policy", message.to_owned());
    }
    eviction(&node.eviction, &mut refuse);
    let shutdown = &node.shutdown;
    if shutdown.critical_seconds > shutdown.grace_seconds {
        let (critical, all) = (shutdown.critical_seconds, shutdown.grace_seconds);
        refuse(
            "node.shutdown.critical-seconds",
            format!(
                "`node.shutdown.critical-seconds` is {critical}, more than the {all} of `grace-seconds`, of which it is a part"
            ),
        );
    }
    if shutdown.grace_seconds > MOST_GRACE {
        let seconds = shutdown.grace_seconds;
        refuse(
            "node.shutdown.grace-seconds",
            format!("`node.shutdown.grace-seconds` is {seconds}; write at most {MOST_GRACE}"),
        );
    }
    broken.extend(static_pods(node));
    broken
}

fn eviction(eviction: &Eviction, refuse: &mut impl FnMut(&str, String)) {
    let soft = &eviction.soft;
    let percent = [
        ("disk-percent", eviction.disk_percent, soft.disk_percent),
        ("inodes-percent", eviction.inodes_percent, soft.inodes_percent),
        ("images-percent", eviction.images_percent, soft.images_percent),
        ("pids-percent", eviction.pids_percent, soft.pids_percent),
    ];
    for (key, hard, soft) in percent {
        for (key, value) in [
            (format!("node.eviction.{key}"), hard),
            (format!("node.eviction.soft.{key}"), soft),
        ] {
            if value >= 100 {
                refuse(&key, format!("`{key}` is {value}; write less than 100"));
            }
        }
    }
    let memory = ("memory-mib", eviction.memory_mib.unwrap_or(0), soft.memory_mib);
    for (key, hard, soft) in percent.into_iter().chain([memory]) {
        if soft > 0 && soft <= hard {
            let key = format!("node.eviction.soft.{key}");
            let message =
                format!("`{key}` is {soft}, but pods go at once already when {hard} is left; write more than that");
            refuse(&key, message);
        }
    }
}

/// What can be known without the API's rules, which its agent knows.
fn static_pods(node: &Node) -> impl Iterator<Item = (Place, String)> {
    let pods = node.static_pods.iter().enumerate();
    let wrong = pods.filter(|(_, pod)| !(pod.manifest.contains("Pod") && pod.manifest.contains("containers")));
    wrong.map(|(nth, _)| {
        let place = Place::of("node.static-pod").index(nth).key("manifest");
        let message = format!("`{place}` is no Pod of v1; write its YAML here, not a file's name");
        (place, message)
    })
}

/// An hour: who waits longer than this for a machine to go down believes that it hangs.
const MOST_GRACE: u32 = 3600;
