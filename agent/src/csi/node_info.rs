//! What the cluster is told of a node's drivers: the CSINode, and the Node's annotation and topology labels (upstream:
//! pkg/volume/csi/nodeinfomanager).

use super::Drivers;
use crate::node::chain;
use client::{Api, Error, Patch, Transport};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::storage::v1::{CSINode, CSINodeDriver, CSINodeSpec, VolumeNodeResources};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use proto::csi::v1::NodeGetInfoResponse;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Driver to what it calls this node, as one JSON document.
const ANNOTATION: &str = "csi.volume.kubernetes.io/nodeid";
/// How often somebody else may have changed the object meanwhile.
const ATTEMPTS: usize = 8;

/// Whom to tell about which node.
#[derive(Clone)]
pub(super) struct Cluster {
    pub(super) transport: Arc<dyn Transport>,
    pub(super) node: String,
}

impl Drivers {
    /// Has a CSINode there, with or without drivers: the scheduler waits for it.
    pub(super) async fn begin(&self, cluster: &Cluster) -> Result<(), String> {
        let _one = self.shared.writing.lock().await;
        cluster.csi_node().await.map(drop).map_err(|error| chain(&error))
    }

    /// Tells of a driver that has registered.
    pub(super) async fn introduce(
        &self,
        cluster: &Cluster,
        driver: &str,
        info: &NodeGetInfoResponse,
    ) -> Result<(), String> {
        let topology: BTreeMap<String, String> = info
            .accessible_topology
            .iter()
            .flat_map(|topology| &topology.segments)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let _one = self.shared.writing.lock().await;
        cluster
            .annotate(driver, Some(&info.node_id), &topology)
            .await
            .map_err(|why| format!("error updating Node object with CSI driver node info: {why}"))?;
        let count = i32::try_from(info.max_volumes_per_node.min(i32::MAX.into())).unwrap_or(0);
        let entry = CSINodeDriver {
            name: driver.to_owned(),
            node_id: info.node_id.clone(),
            topology_keys: Some(topology.into_keys().collect()),
            allocatable: (count > 0).then_some(VolumeNodeResources { count: Some(count) }),
        };
        cluster.list(driver, Some(entry)).await.map_err(|error| {
            format!(
                "error updating CSINode object with CSI driver node info: {}",
                chain(&error)
            )
        })
    }

    /// Tells that a driver has gone, unless it is here again.
    pub(super) async fn take_leave(&self, cluster: &Cluster, driver: &str) -> Result<(), String> {
        let _one = self.shared.writing.lock().await;
        if self.lock().drivers.contains_key(driver) {
            return Ok(());
        }
        cluster.list(driver, None).await.map_err(|error| chain(&error))?;
        cluster.annotate(driver, None, &BTreeMap::new()).await
    }
}

// === impl Cluster ===

impl Cluster {
    /// The CSINode of this node, made if there is none.
    async fn csi_node(&self) -> Result<CSINode, Error> {
        let api = Api::<CSINode>::all(self.transport.clone());
        match api.get(&self.node).await {
            Err(error) if error.is_not_found() => {}
            found => return found,
        }
        let node = Api::<Node>::all(self.transport.clone()).get(&self.node).await?;
        let owner = OwnerReference {
            api_version: "v1".to_owned(),
            kind: "Node".to_owned(),
            name: self.node.clone(),
            uid: node.metadata.uid.unwrap_or_default(),
            ..OwnerReference::default()
        };
        let made = CSINode {
            metadata: ObjectMeta {
                name: Some(self.node.clone()),
                owner_references: Some(vec![owner]),
                ..ObjectMeta::default()
            },
            spec: CSINodeSpec { drivers: Vec::new() },
        };
        api.create(&made).await
    }

    /// Lists a driver, or lists it no more.
    async fn list(&self, driver: &str, entry: Option<CSINodeDriver>) -> Result<(), Error> {
        let api = Api::<CSINode>::all(self.transport.clone());
        let mut attempt = 0;
        loop {
            let mut object = self.csi_node().await?;
            let before = object.spec.drivers.clone();
            object.spec.drivers.retain(|known| known.name != driver);
            object.spec.drivers.extend(entry.clone());
            if object.spec.drivers == before {
                return Ok(());
            }
            attempt += 1;
            match api.replace(&self.node, &object).await {
                Err(error) if error.is_conflict() && attempt < ATTEMPTS => {}
                done => return done.map(drop),
            }
        }
    }

    /// What the driver calls this node, and where it says that the node is.
    async fn annotate(
        &self,
        driver: &str,
        id: Option<&str>,
        topology: &BTreeMap<String, String>,
    ) -> Result<(), String> {
        let api = Api::<Node>::all(self.transport.clone());
        let node = api.get(&self.node).await.map_err(|error| chain(&error))?;
        let labels = node.metadata.labels.unwrap_or_default();
        for (key, value) in topology {
            if let Some(present) = labels.get(key).filter(|present| *present != value) {
                return Err(format!(
                    "detected topology value collision: driver reported {key:?}:{value:?} but existing label is {key:?}:{present:?}"
                ));
            }
        }
        let present = node.metadata.annotations.unwrap_or_default();
        let present = present.get(ANNOTATION).map(String::as_str).unwrap_or("{}");
        let before: BTreeMap<String, String> = serde_json::from_str(present).unwrap_or_default();
        let mut ids = before.clone();
        match id {
            Some(id) => drop(ids.insert(driver.to_owned(), id.to_owned())),
            None => drop(ids.remove(driver)),
        }
        let has_labels = topology.keys().all(|key| labels.contains_key(key));
        if ids == before && has_labels {
            return Ok(());
        }
        let annotation = (!ids.is_empty()).then(|| json!(ids).to_string());
        let patch = json!({"metadata": {"annotations": {ANNOTATION: annotation}, "labels": topology}});
        let written = api.patch(&self.node, &Patch::Merge(patch)).await;
        written.map(drop).map_err(|error| chain(&error))
    }
}
