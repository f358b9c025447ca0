//! Killing the agent with SIGKILL stops no pod; the restarted agent takes them over.

use crate::{apply, eventually, kubectl, pintlectl, shell_pod, text, wait_phase};
use qemu::ClusterSpec;
use qemu::testing::{HEALTHY_DEADLINE, cluster};

#[test]
fn no_pod_stops_when_the_agent_is_killed() {
    // Its own machine: while the agent is away, nobody else could exec or read logs.
    let cluster = &cluster(ClusterSpec::new("killed", 1)).unwrap();
    cluster.wait_healthy(HEALTHY_DEADLINE).unwrap();
    apply(
        cluster,
        &shell_pod("survivor", "n=0; while true; do n=$((n+1)); echo $n; sleep 1; done"),
    );
    wait_phase(cluster, "survivor", "Running");
    eventually(cluster, &["logs", "survivor"], |said| said.contains("2\n"));
    let state = "jsonpath={.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].containerID} {.status.podIP}";
    let before = kubectl(cluster, &["get", "pod", "survivor", "-o", state]);

    let killed = pintlectl(cluster, &["services", "--restart", "agent", "--kill"]);
    assert!(killed.status.success(), "{}", text(&killed.stderr));
    cluster.wait_healthy(crate::DEADLINE).unwrap();

    // The API knows a node as Ready for a while after its agent died: the new one answers when it gives logs.
    let taken_over = eventually(cluster, &["logs", "survivor"], |said| !said.is_empty());
    let now = taken_over.lines().count();
    eventually(cluster, &["logs", "survivor"], |said| said.lines().count() > now);
    // Counted without a gap: it was never stopped nor started anew.
    let all = kubectl(cluster, &["logs", "survivor"]);
    let counted: Vec<usize> = all.lines().filter_map(|line| line.parse().ok()).collect();
    assert_eq!(counted, (1..=counted.len()).collect::<Vec<_>>());
    assert_eq!(kubectl(cluster, &["get", "pod", "survivor", "-o", state]), before);
    let services = text(&pintlectl(cluster, &["services"]).stdout);
    assert!(services.contains("signal 9"), "{services}");
}
