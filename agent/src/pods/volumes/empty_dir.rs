//! A folder, or memory, that begins empty and lives as long as the pod.

use super::mounted;
use super::ownership::Ownership;
use crate::pods::plan::Machine;
use crate::pods::quantity;
use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Upstream's word, alone or with `-` and a size behind it.
const HUGE: &str = "HugePages";

/// What such a folder is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// The machine's disk.
    Disk,
    /// Memory, of at most so many bytes; 0 for half of it.
    Memory(u64),
    /// Memory in pages of so many bytes.
    HugePages(i64),
}

/// Makes it once: what containers do to its permissions later is theirs. `mark` is a file that says that it was made.
pub fn make(path: &Path, mark: &Path, medium: Medium, ownership: Option<Ownership>) -> io::Result<()> {
    if mark.exists() {
        return Ok(());
    }
    match medium {
        Medium::Memory(size) => mounted::tmpfs(path, size)?,
        Medium::HugePages(page) => mounted::hugetlbfs(path, page)?,
        Medium::Disk => fs::create_dir_all(path)?,
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

/// What the volume asks for; an error is one sentence.
pub fn medium(source: &EmptyDirVolumeSource, spec: &PodSpec, machine: &Machine) -> Result<Medium, String> {
    match source.medium.as_deref().unwrap_or_default() {
        "" => Ok(Medium::Disk),
        "Memory" => Ok(Medium::Memory(memory(source, spec, machine))),
        huge if huge.starts_with(HUGE) => page(huge, spec).map(Medium::HugePages),
        other => Err(format!("this node has no storage medium {other:?}")),
    }
}

/// The size of the huge pages that the pod asks for (upstream: pkg/volume/emptydir, getPageSizeMountOption, and its sentences).
fn page(medium: &str, spec: &PodSpec) -> Result<i64, String> {
    let bytes = |size: &str| quantity::whole(&Quantity(size.to_owned()));
    let wanted = medium.strip_prefix(HUGE).and_then(|rest| rest.strip_prefix('-'));
    let wanted = wanted.map(|size| bytes(size).ok_or_else(|| format!("medium {medium} names no size of huge pages")));
    let wanted = wanted.transpose()?;
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let requests = containers.filter_map(|container| container.resources.as_ref());
    let requests = requests.flat_map(|resources| resources.requests.iter().chain(&resources.limits).flatten());
    let sizes = requests.filter_map(|(name, _)| bytes(name.strip_prefix("hugepages-")?));
    let sizes: std::collections::BTreeSet<i64> = sizes
        .filter(|size| wanted.is_none_or(|wanted| wanted == *size))
        .collect();
    match sizes.first() {
        Some(size) if sizes.len() == 1 => Ok(*size),
        Some(_) => Err(format!(
            "medium: {medium} can't be used if container requests multiple huge page sizes"
        )),
        None => Err(format!(
            "medium {medium}: hugePages storage requested, but there is no resource request for huge pages"
        )),
    }
}

/// Bytes that a volume in memory may hold: its limit, the pod's, what the node has, whatever is least
/// (upstream: pkg/volume/emptydir, calculateEmptyDirMemorySize).
fn memory(source: &EmptyDirVolumeSource, spec: &PodSpec, machine: &Machine) -> u64 {
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
    fn huge_pages_are_of_the_size_that_the_pod_asks_for() {
        let spec = |sizes: &[&str]| -> PodSpec {
            let limits: serde_json::Map<_, _> = sizes
                .iter()
                .map(|size| (format!("hugepages-{size}"), json!("4Mi")))
                .collect();
            serde_json::from_value(json!({"containers": [{"name": "a", "resources": {"limits": limits}}]})).unwrap()
        };
        let medium = |word: &str, sizes: &[&str]| {
            let source = serde_json::from_value(json!({"medium": word})).unwrap();
            medium(&source, &spec(sizes), &Machine::default())
        };
        assert_eq!(medium("HugePages", &["2Mi"]), Ok(Medium::HugePages(2 << 20)));
        assert_eq!(medium("HugePages-1Gi", &["2Mi", "1Gi"]), Ok(Medium::HugePages(1 << 30)));
        for (word, sizes, sentence) in [
            (
                "HugePages",
                &["2Mi", "1Gi"][..],
                "can't be used if container requests multiple huge page sizes",
            ),
            ("HugePages-1Gi", &["2Mi"], "there is no resource request for huge pages"),
            ("HugePages", &[], "there is no resource request for huge pages"),
            ("HugePages-x", &[], "names no size of huge pages"),
            ("Tape", &[], "this node has no storage medium \"Tape\""),
        ] {
            let refused = medium(word, sizes).unwrap_err();
            assert!(refused.ends_with(sentence), "{refused}");
        }
    }

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
