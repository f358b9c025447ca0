//! The groups that hold pods by their quality of service: what all pods together may have, and which of them wait for which.

use super::cpus;
use super::host::Host;
use super::plan::resources::weight;
use super::plan::{self, Machine};
use super::spec::{Qos, qos};
use sandbox::Limits;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// After a change: many pods that come and go at once are one change.
const SETTLE: Duration = Duration::from_millis(200);
/// How often CPUs are looked at though nobody came or went: a container may have begun with yesterday's set. Upstream's
/// cpuManagerReconcilePeriod.
const RECONCILE: Duration = Duration::from_secs(10);
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
        share_cpus(&host);
        if machine.cpus.is_used() {
            let _ = tokio::time::timeout(RECONCILE, changes.changed()).await;
        } else if changes.changed().await.is_err() {
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

/// Keeps those who have no CPU for themselves off those that somebody has.
fn share_cpus(host: &Host) {
    let machine = &host.machine;
    if !machine.cpus.is_used() {
        return;
    }
    let shared = cpus::list(&machine.cpus.shared(&host.ledger.all_pinned()));
    let limits = Limits {
        cpus: Some(shared.clone()),
        ..Limits::default()
    };
    ["kubepods/burstable", "kubepods/besteffort"]
        .iter()
        .for_each(|group| limit(host, group, &limits));
    for entry in host.directory.all() {
        let uid = entry.pod.metadata.uid.as_deref().unwrap_or_default();
        let spec = entry.pod.spec.as_ref().filter(|spec| qos(spec) == Qos::Guaranteed);
        let (Some(spec), true) = (spec, entry.sandbox.is_some()) else {
            continue;
        };
        let unpinned = entry
            .running
            .iter()
            .filter(|name| host.ledger.pinned(uid, name).is_none());
        let unpinned = unpinned.filter_map(|name| Some((name, *entry.attempts.get(name)?)));
        for (name, attempt) in unpinned {
            let group = host.sandboxes.group(&plan::cgroup(spec, uid), Some((name, attempt)));
            if let Some(Err(error)) = group.map(|group| group.use_cpus(&shared)) {
                tracing::warn!(%error, "a container may use CPUs that are another's");
            }
        }
    }
}

fn limit(host: &Host, group: &str, limits: &Limits) {
    if let Err(error) = host.sandboxes.limit(Path::new(group), limits) {
        tracing::warn!(%error, "a group of pods is not limited as it should be");
    }
}
