//! Lists, and what is told to people who ask for more than the status says.

use super::{Cri, status};
use proto::cri::pintle::cri::v1::{Container, Sandbox};
use proto::cri::runtime::v1 as cri;
use serde_json::{Value, json};
use std::collections::HashMap;

impl Cri {
    /// The sandboxes that a filter means, the oldest first.
    pub(super) fn sandbox_items(&self, filter: Option<cri::PodSandboxFilter>) -> Vec<cri::PodSandbox> {
        let mut all = self.sandboxes.all();
        all.retain(|record| status::means_sandbox(filter.as_ref(), record));
        all.sort_by_key(|record| record.created_at);
        all.iter().map(status::sandbox_item).collect()
    }

    /// The containers that a filter means, the oldest first.
    pub(super) fn container_items(&self, filter: Option<cri::ContainerFilter>) -> Vec<cri::Container> {
        let mut all = self.containers.all();
        all.retain(|record| status::means_container(filter.as_ref(), record));
        all.sort_by_key(|record| record.created_at);
        all.iter().map(status::container_item).collect()
    }

    /// More of a sandbox: its supervisor and how it was made.
    pub(super) fn sandbox_info(&self, record: &Sandbox, verbose: bool) -> HashMap<String, String> {
        if !verbose {
            return HashMap::new();
        }
        let pid = self.live().get(&record.id).map(sandbox::Pod::pid);
        let config = record.config.clone().unwrap_or_default();
        let plan = super::plan::sandbox(&record.id, &config).ok();
        info(json!({
            "pid": pid.unwrap_or(0),
            "netns": pid.map(|pid| format!("/proc/{pid}/ns/net")),
            "plan": plan,
        }))
    }

    /// More of a container: its first process and how it was made.
    pub(super) async fn container_info(&self, record: &Container, verbose: bool) -> HashMap<String, String> {
        if !verbose {
            return HashMap::new();
        }
        let pod = self.live().get(&record.sandbox_id).cloned();
        let states = match pod {
            Some(pod) => pod.states().await.unwrap_or_default(),
            None => Vec::new(),
        };
        let mine = states
            .iter()
            .find(|state| state.name == record.id && state.ended.is_none());
        let plan: Value = serde_json::from_str(&record.plan).unwrap_or_default();
        info(json!({
            "sandboxID": record.sandbox_id,
            "pid": mine.map_or(0, |state| state.pid),
            "plan": plan,
        }))
    }

    /// Whether it works, and what it can do.
    pub(super) fn runtime_status(&self, verbose: bool) -> cri::StatusResponse {
        // The pods' network was made before this was served.
        let conditions = ["RuntimeReady", "NetworkReady"].map(|name| cri::RuntimeCondition {
            r#type: name.to_owned(),
            status: true,
            ..cri::RuntimeCondition::default()
        });
        let handlers = status::HANDLERS.map(|name| cri::RuntimeHandler {
            name: name.to_owned(),
            features: Some(cri::RuntimeHandlerFeatures {
                recursive_read_only_mounts: true,
                user_namespaces: crate::pods::users::are_possible(),
            }),
        });
        let paths = &self.host.paths;
        let more = || info(json!({"records": paths.cri, "images": paths.oci, "supervisor": paths.pod_init}));
        cri::StatusResponse {
            status: Some(cri::RuntimeStatus {
                conditions: conditions.to_vec(),
            }),
            info: if verbose { more() } else { HashMap::new() },
            runtime_handlers: handlers.to_vec(),
            features: Some(cri::RuntimeFeatures {
                supplemental_groups_policy: true,
                user_namespaces_host_network: false,
            }),
        }
    }
}

/// Under the one key that `crictl inspect` shows as it is.
fn info(value: Value) -> HashMap<String, String> {
    HashMap::from([("info".to_owned(), value.to_string())])
}
