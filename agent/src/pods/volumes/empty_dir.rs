//! A folder, or memory, that begins empty and lives as long as the pod.

use super::mounted;
use super::ownership::Ownership;
use crate::pods::plan::Machine;
use crate::pods::quantity;
use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, PodSpec};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Makes it once: what containers do to its permissions later is theirs. `mark` is a file that says that it was made.
pub fn make(path: &Path, mark: &Path, size: u64, in_memory: bool, ownership: Option<Ownership>) -> io::Result<()> {
    if mark.exists() {
        return Ok(());
    }
    if in_memory {
        mounted::tmpfs(path, size)?;
    } else {
        fs::create_dir_all(path)?;
    }
    // World-writable as upstream makes them.
    fs::set_permissions(path, fs::Permissions::from_mode(0o777))?;
    if let Some(ownership) = ownership {
        ownership.apply(path)?;
    }
    if let Some(folder) = mark.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(mark, "")
}

/// Bytes that a volume in memory may hold: its limit, the pod's, what the node has, whatever is least
/// (upstream: pkg/volume/emptydir, calculateEmptyDirMemorySize).
pub fn memory(source: &EmptyDirVolumeSource, spec: &PodSpec, machine: &Machine) -> u64 {
    let own = source.size_limit.as_ref().and_then(quantity::whole);
    let limit_of = |container: &k8s_openapi::api::core::v1::Container| {
        let limits = container.resources.as_ref()?.limits.as_ref()?;
        limits.get("memory").and_then(quantity::whole)
    };
    let limits: Option<Vec<i64>> = spec.containers.iter().map(limit_of).collect();
    let pods = limits.map(|limits| limits.iter().fold(0_i64, |sum, limit| sum.saturating_add(*limit)));
    let all = [own, pods, Some(machine.memory)];
    let least = all.into_iter().flatten().filter(|size| *size > 0).min();
    least.and_then(|size| u64::try_from(size).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn memory_is_bounded_by_whatever_is_least() {
        let machine = Machine {
            memory: 1 << 30,
            ..Machine::default()
        };
        let limited = json!([{"name": "a", "resources": {"limits": {"memory": "64Mi"}}},
            {"name": "b", "resources": {"limits": {"memory": "64Mi"}}}]);
        let cases = [
            (json!({"medium": "Memory"}), json!([{"name": "a"}]), 1 << 30),
            (json!({"sizeLimit": "1Mi"}), json!([{"name": "a"}]), 1 << 20),
            (json!({}), limited.clone(), 128 << 20),
            (json!({"sizeLimit": "1Gi"}), limited, 128 << 20),
        ];
        for (source, containers, expected) in cases {
            let spec = serde_json::from_value(json!({"containers": containers})).unwrap();
            let source = serde_json::from_value(source).unwrap();
            assert_eq!(memory(&source, &spec, &machine), expected);
        }
    }
}
