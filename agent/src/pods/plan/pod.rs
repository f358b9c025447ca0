//! The plan of a pod: what its containers share.

use super::super::spec;
use super::{Machine, resources};
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use sandbox::{Ipc, Network, PodPlan, Users};
use std::collections::BTreeMap;

/// Labels by which a restarted agent knows whose sandbox it found; upstream's runtime labels.
pub const LABEL_NAME: &str = "io.kubernetes.pod.name";
/// See [`LABEL_NAME`].
pub const LABEL_NAMESPACE: &str = "io.kubernetes.pod.namespace";
/// See [`LABEL_NAME`].
pub const LABEL_UID: &str = "io.kubernetes.pod.uid";

/// Plans the `attempt`th sandbox of a pod, which the kernel is to call `hostname`, with users of its own if it has some.
pub fn pod(
    pod: &Pod,
    spec: &PodSpec,
    hostname: String,
    attempt: u32,
    users: Option<Users>,
    machine: &Machine,
) -> PodPlan {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let meta = &pod.metadata;
    let uid = text(&meta.uid);
    let labels = BTreeMap::from([
        (LABEL_NAME.to_owned(), text(&meta.name)),
        (LABEL_NAMESPACE.to_owned(), text(&meta.namespace)),
        (LABEL_UID.to_owned(), uid.clone()),
    ]);
    let sysctls = spec
        .security_context
        .iter()
        .flat_map(|context| context.sysctls.iter().flatten());
    PodPlan {
        id: if attempt == 0 {
            uid.clone()
        } else {
            format!("{uid}.{attempt}")
        },
        hostname,
        network: if spec::host_network(pod) {
            Network::Host
        } else {
            Network::Own
        },
        ipc: if spec.host_ipc == Some(true) {
            Ipc::Host
        } else {
            Ipc::Own
        },
        users,
        cgroup: resources::cgroup(spec, &uid),
        limits: resources::pod(spec, machine),
        sysctls: sysctls
            .map(|sysctl| (sysctl.name.clone(), sysctl.value.clone()))
            .collect(),
        labels,
    }
}
