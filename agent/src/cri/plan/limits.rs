//! From CRI's resources to a cgroup's limits, and one such list over another.

use crate::pods::plan::{Refusal, resources};
use proto::cri::runtime::v1::LinuxContainerResources;
use sandbox::Limits;

/// Limits of a cgroup; 0 and empty mean that nothing is said.
pub fn limits(wanted: &LinuxContainerResources) -> Result<Limits, Refusal> {
    let some = |value: i64| u64::try_from(value).ok().filter(|value| *value > 0);
    let period = some(wanted.cpu_period).unwrap_or(100_000);
    let hugetlb = wanted
        .hugepage_limits
        .iter()
        .map(|limit| (limit.page_size.clone(), limit.limit));
    let mut limits = Limits {
        // The group's period is always 100 ms; the kernel takes no quota below 1 ms.
        cpu_quota_us: some(wanted.cpu_quota).map(|quota| (quota * 100_000 / period).max(1000)),
        cpu_weight: some(wanted.cpu_shares).map(resources::weight_of_shares),
        memory_max: some(wanted.memory_limit_in_bytes),
        // Said of memory and swap together, as cgroup v1 had it.
        swap_max: some(wanted.memory_swap_limit_in_bytes)
            .map(|both| both.saturating_sub(some(wanted.memory_limit_in_bytes).unwrap_or(0))),
        hugetlb: hugetlb.collect(),
        cpus: Some(wanted.cpuset_cpus.clone()).filter(|cpus| !cpus.is_empty()),
        memory_nodes: Some(wanted.cpuset_mems.clone()).filter(|nodes| !nodes.is_empty()),
        ..Limits::default()
    };
    for (file, value) in &wanted.unified {
        let number = || {
            let number = value.trim().parse::<u64>();
            number.map_err(|_| Refusal(format!("unified resource {file}: {value:?} is no number")))
        };
        match (file.as_str(), value.as_str()) {
            ("memory.oom.group", _) => limits.oom_group = number()? == 1,
            (_, "max") => {}
            ("memory.max", _) => limits.memory_max = Some(number()?),
            ("memory.swap.max", _) => limits.swap_max = Some(number()?),
            ("pids.max", _) => limits.pids_max = Some(number()?),
            ("cpu.weight", _) => limits.cpu_weight = Some(number()?),
            (_, _) => {
                return Err(Refusal(format!(
                    "unified resource {file} is not one that this node sets"
                )));
            }
        }
    }
    Ok(limits)
}

/// Takes over what `wanted` says.
pub fn merge(into: &mut LinuxContainerResources, wanted: &LinuxContainerResources) {
    let pairs = [
        (&mut into.cpu_period, wanted.cpu_period),
        (&mut into.cpu_quota, wanted.cpu_quota),
        (&mut into.cpu_shares, wanted.cpu_shares),
        (&mut into.memory_limit_in_bytes, wanted.memory_limit_in_bytes),
        (&mut into.oom_score_adj, wanted.oom_score_adj),
        (&mut into.memory_swap_limit_in_bytes, wanted.memory_swap_limit_in_bytes),
    ];
    for (old, new) in pairs {
        if new != 0 {
            *old = new;
        }
    }
    for (old, new) in [
        (&mut into.cpuset_cpus, &wanted.cpuset_cpus),
        (&mut into.cpuset_mems, &wanted.cpuset_mems),
    ] {
        if !new.is_empty() {
            old.clone_from(new);
        }
    }
    into.unified.extend(wanted.unified.clone());
    if !wanted.hugepage_limits.is_empty() {
        into.hugepage_limits.clone_from(&wanted.hugepage_limits);
    }
}
