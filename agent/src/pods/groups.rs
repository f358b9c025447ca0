//! The groups that hold pods by their quality of service: what all pods together may have, and which of them wait for which.

use super::host::Host;
use super::plan::Machine;
use super::plan::resources::weight;
use sandbox::Limits;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// After a change: many pods that come and go at once are one change.
const SETTLE: Duration = Duration::from_millis(200);
/// Hundredths of the machine's process IDs that all pods together may have. The rest lets the machine see to a fork bomb.
const PIDS: u64 = 95;

/// Keeps them right for ever.
pub async fn run(host: Arc<Host>) {
    let machine = &host.machine;
    limit(&host, "kubepods", &all(machine));
    // Of those who asked for nothing nobody waits for.
    limit(&host, "kubepods/besteffort", &shared(0));
    let mut changes = host.ledger.follow();
    let mut before = None;
    loop {
        let asked = host.ledger.burstable_cpu();
        if before != Some(asked) {
            limit(&host, "kubepods/burstable", &shared(asked));
            before = Some(asked);
        }
        if changes.changed().await.is_err() {
            return;
        }
        tokio::time::sleep(SETTLE).await;
    }
}

/// Upstream: node allocatable enforcement, pkg/kubelet/cm/node_container_manager_linux.go.
fn all(machine: &Machine) -> Limits {
    let most = |path: &str| -> Option<u64> { std::fs::read_to_string(path).ok()?.trim().parse().ok() };
    let pids = ["/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"];
    Limits {
        cpu_weight: Some(weight(machine.cpu_milli)),
        memory_max: u64::try_from(machine.memory).ok().filter(|bytes| *bytes > 0),
        pids_max: pids.into_iter().filter_map(most).min().map(|pids| pids / 100 * PIDS),
        ..Limits::default()
    }
}

/// Upstream: pkg/kubelet/cm/qos_container_manager_linux.go.
fn shared(cpu_milli: i64) -> Limits {
    Limits {
        cpu_weight: Some(weight(cpu_milli)),
        ..Limits::default()
    }
}

fn limit(host: &Host, group: &str, limits: &Limits) {
    if let Err(error) = host.sandboxes.limit(Path::new(group), limits) {
        tracing::warn!(%error, "a group of pods is not limited as it should be");
    }
}
