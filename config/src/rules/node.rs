//! Rules of `[node]`.

use crate::machine::{MachineConfig, Role};
use crate::node::{CpuPolicy, Node};
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
    let percent = [
        ("disk-percent", node.eviction.disk_percent),
        ("inodes-percent", node.eviction.inodes_percent),
        ("images-percent", node.eviction.images_percent),
        ("pids-percent", node.eviction.pids_percent),
    ];
    for (key, value) in percent.into_iter().filter(|(_, value)| *value >= 100) {
        let key = format!("node.eviction.{key}");
        refuse(&key, format!("`{key}` is {value}; write less than 100"));
    }
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
    broken
}

/// An hour: who waits longer than this for a machine to go down believes that it hangs.
const MOST_GRACE: u32 = 3600;
