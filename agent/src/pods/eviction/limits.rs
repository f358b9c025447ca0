//! Pods that keep more on disk than they may: volumes, containers, the pod as a whole; pure (upstream: the eviction manager's
//! localStorageEviction).

use super::rank::Used;
use crate::node::face::on_disk::OnDisk;
use crate::pods::plan::requests;
use crate::pods::quantity;
use k8s_openapi::api::core::v1::{Pod, PodSpec};

/// The resource.
const STORAGE: &str = "ephemeral-storage";

/// Whether a pod has any limit that has to be looked after.
pub fn has_any(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let mut volumes = spec.volumes.iter().flatten();
    volumes.any(|volume| {
        volume
            .empty_dir
            .as_ref()
            .is_some_and(|source| source.size_limit.is_some())
    }) || requests::limits(spec).contains_key(STORAGE)
}

/// Why the pod has to go, if it has.
pub fn broken(pod: &Pod, used: &Used) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    volume(spec, used)
        .or_else(|| whole(spec, used))
        .or_else(|| container(spec, used))
}

fn volume(spec: &PodSpec, used: &Used) -> Option<String> {
    spec.volumes.iter().flatten().find_map(|volume| {
        let limit = volume.empty_dir.as_ref()?.size_limit.as_ref()?;
        let most = quantity::whole(limit).filter(|most| *most > 0)?;
        let used = used.volumes.get(&volume.name)?;
        is_over(*used, most).then(|| {
            format!(
                "Usage of EmptyDir volume {:?} exceeds the limit {:?}. ",
                volume.name, limit.0
            )
        })
    })
}

fn whole(spec: &PodSpec, used: &Used) -> Option<String> {
    let most = *requests::limits(spec).get(STORAGE)?;
    let limit = super::signals::Signal::Disk.print(u64::try_from(most).unwrap_or(0));
    is_over(used.disk, most)
        .then(|| format!("Pod ephemeral local storage usage exceeds the total limit of containers {limit}. "))
}

fn container(spec: &PodSpec, used: &Used) -> Option<String> {
    spec.containers.iter().find_map(|container| {
        let limit = container.resources.as_ref()?.limits.as_ref()?.get(STORAGE)?;
        let most = quantity::whole(limit).filter(|most| *most > 0)?;
        let (_, used) = used.containers.get(&container.name)?;
        let name = &container.name;
        is_over(*used, most).then(|| {
            format!(
                "Container {name} exceeded its local ephemeral storage limit {:?}. ",
                limit.0
            )
        })
    })
}

fn is_over(used: OnDisk, most: i64) -> bool {
    i64::try_from(used.bytes).unwrap_or(i64::MAX) > most
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn each_limit_is_kept_and_its_breach_said_in_upstreams_words() {
        let pod = |volume: Value, a: Value, b: Value| -> Pod {
            let limit = |limit: &Value| json!({"limits": limit});
            serde_json::from_value(json!({"spec": {
                "volumes": [{"name": "v", "emptyDir": volume}],
                "containers": [{"name": "a", "resources": limit(&a)}, {"name": "b", "resources": limit(&b)}]}}))
            .unwrap()
        };
        let used = |volume, a, b| {
            let disk = |bytes| OnDisk { bytes, files: 1 };
            Used {
                disk: disk(volume + a + b),
                containers: [("a".to_owned(), (0, disk(a))), ("b".to_owned(), (0, disk(b)))].into(),
                volumes: [("v".to_owned(), disk(volume))].into(),
                ..Used::default()
            }
        };
        let storage = |limit: &str| json!({"ephemeral-storage": limit});
        let none = json!({});
        assert!(!has_any(&pod(none.clone(), none.clone(), none.clone())));
        let limited = pod(json!({"sizeLimit": "1Ki"}), storage("2Ki"), storage("3Ki"));
        assert!(has_any(&limited));
        assert_eq!(broken(&limited, &used(1024, 2048, 2048)), None);
        let cases = [
            (
                used(1025, 0, 0),
                "Usage of EmptyDir volume \"v\" exceeds the limit \"1Ki\". ",
            ),
            (
                used(1024, 2048, 2049),
                "Pod ephemeral local storage usage exceeds the total limit of containers 5Ki. ",
            ),
            (
                used(0, 2049, 0),
                "Container a exceeded its local ephemeral storage limit \"2Ki\". ",
            ),
        ];
        for (used, expected) in cases {
            assert_eq!(broken(&limited, &used).as_deref(), Some(expected));
        }
        // One container without a limit: the others' are the pod's, as upstream sums them.
        let half = pod(none.clone(), storage("1Ki"), none);
        let said = broken(&half, &used(0, 0, 1025));
        assert_eq!(
            said.as_deref(),
            Some("Pod ephemeral local storage usage exceeds the total limit of containers 1Ki. ")
        );
    }
}
