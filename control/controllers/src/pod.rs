//! A pod as the controllers here read it. There are more pods than anything else, and each is kept in memory for as long as it
//! is there: what nobody reads is left out.

use api::tolerations::{LOST, LOST_SECONDS};
use client::{Object, Resource};
use k8s_openapi::api::core::v1::{self as core, Toleration};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use std::sync::LazyLock;

/// The index of pods by the node that they are on.
pub(crate) const BY_NODE: &str = "pods of a node";

/// Of a pod.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Read")]
pub(crate) struct Pod {
    namespace: Box<str>,
    name: Box<str>,
    uid: Box<str>,
    resource_version: Box<str>,
    /// Where it is; empty before it is anywhere.
    pub(crate) node: Box<str>,
    /// Empty before anybody said.
    pub(crate) phase: Box<str>,
    /// It is to end.
    pub(crate) is_ending: bool,
    /// In seconds.
    pub(crate) grace: Option<i64>,
    /// The names of the claims that its volumes are made of, those made for it alone among them.
    pub(crate) claims: Box<[Box<str>]>,
    /// Those that are of use against being evicted.
    pub(crate) tolerations: Tolerations,
}

/// What a pod tolerates while it runs. Nearly all pods have what admission gives to those that say nothing: kept once for all.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) enum Tolerations {
    Usual,
    Own(Box<[Toleration]>),
}

static USUAL: LazyLock<[Toleration; 2]> = LazyLock::new(|| {
    LOST.map(|key| Toleration {
        key: Some(key.into()),
        operator: Some("Exists".into()),
        effect: Some("NoExecute".into()),
        toleration_seconds: Some(LOST_SECONDS),
        value: None,
    })
});

impl Tolerations {
    pub(crate) fn list(&self) -> &[Toleration] {
        match self {
            Tolerations::Usual => &*USUAL,
            Tolerations::Own(own) => own,
        }
    }
}

impl From<Vec<Toleration>> for Tolerations {
    fn from(mut all: Vec<Toleration>) -> Tolerations {
        all.retain(|one| matches!(one.effect.as_deref(), None | Some("" | "NoExecute")));
        if all == *USUAL {
            Tolerations::Usual
        } else {
            Tolerations::Own(all.into())
        }
    }
}

impl Pod {
    /// Where it is.
    pub(crate) fn node(&self) -> Option<&str> {
        Some(&*self.node).filter(|node| !node.is_empty())
    }

    /// Where pods are served.
    pub(crate) fn resource() -> Resource {
        Resource::of::<core::Pod>()
    }
}

impl Object for Pod {
    fn namespace(&self) -> &str {
        &self.namespace
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn uid(&self) -> &str {
        &self.uid
    }

    fn resource_version(&self) -> &str {
        &self.resource_version
    }
}

/// The parts of a pod that are read.
#[derive(Deserialize)]
struct Read {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Metadata {
    namespace: Box<str>,
    name: Box<str>,
    uid: Box<str>,
    resource_version: Box<str>,
    deletion_timestamp: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    node_name: Box<str>,
    termination_grace_period_seconds: Option<i64>,
    volumes: Vec<Volume>,
    tolerations: Option<Vec<Toleration>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    phase: Box<str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Volume {
    name: String,
    persistent_volume_claim: Option<Claim>,
    ephemeral: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Claim {
    claim_name: Box<str>,
}

impl From<Read> for Pod {
    fn from(Read { metadata, spec, status }: Read) -> Pod {
        let name = &metadata.name;
        let claim = |volume: Volume| match (volume.persistent_volume_claim, volume.ephemeral) {
            (Some(source), _) => Some(source.claim_name),
            (None, Some(_)) => Some(format!("{name}-{}", volume.name).into()),
            (None, None) => None,
        };
        Pod {
            claims: spec.volumes.into_iter().filter_map(claim).collect(),
            namespace: metadata.namespace,
            name: metadata.name,
            uid: metadata.uid,
            resource_version: metadata.resource_version,
            node: spec.node_name,
            phase: status.phase,
            is_ending: metadata.deletion_timestamp.is_some(),
            grace: spec.termination_grace_period_seconds,
            tolerations: spec.tolerations.unwrap_or_default().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_uses_claims_by_name_and_those_of_its_own() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "n"},
            "spec": {"containers": [], "volumes": [
                {"name": "a", "persistentVolumeClaim": {"claimName": "c"}},
                {"name": "b", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}},
                {"name": "d", "emptyDir": {}},
            ]},
        }))
        .unwrap();
        assert_eq!(pod.claims.iter().map(|name| &**name).collect::<Vec<_>>(), ["c", "p-b"]);
    }

    #[test]
    fn only_tolerations_that_are_unlike_other_pods_cost_memory() {
        let usual = |key| json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300});
        let usual = || {
            vec![
                usual("node.kubernetes.io/not-ready"),
                usual("node.kubernetes.io/unreachable"),
            ]
        };
        let of = |tolerations: Vec<serde_json::Value>| {
            let pod = json!({"metadata": {"name": "p"}, "spec": {"tolerations": tolerations}});
            serde_json::from_value::<Pod>(pod).unwrap().tolerations
        };
        let scheduling = json!({"key": "gpu", "operator": "Exists", "effect": "NoSchedule"});
        let any = json!({"operator": "Exists"});
        assert_eq!(of(usual()), Tolerations::Usual);
        assert_eq!(of([usual(), vec![scheduling]].concat()), Tolerations::Usual);
        assert_eq!(of([vec![any], usual()].concat()).list().len(), 3);
        assert_eq!(of(vec![]).list(), []);
    }
}
