//! Pod: containers that live and die together on one node.

mod annotations;
mod columns;
mod container;
mod defaults;
mod ephemeral;
mod placement;
mod probe;
mod qos;
mod resize;
mod security;
mod status;
mod update;
mod validate;
mod volume;
mod warnings;

use crate::{
    field::FieldError,
    kind::{Column, Context, Kind, SelectableField, Subresource, Verb},
    read,
};
use jiff::Timestamp;
use serde_json::{Value, json};

pub(super) use annotations::{match_fields, validate as validate_annotations};
pub(super) use container::{container_resource_name, overcommits, resource_amount, resource_name};
pub(super) use defaults::default_spec;
pub(super) use placement::{node_selector, tolerations};
pub(super) use probe::port_or_name;
pub use qos::qos_class;
pub(super) use validate::{Owner, validate_spec};

/// `v1` Pod.
pub struct Pod;

const CONNECT: &[Verb] = &[Verb::Create, Verb::Get];
const CHANGE: &[Verb] = &[Verb::Get, Verb::Patch, Verb::Update];

impl Kind for Pod {
    const KIND: &'static str = "Pod";
    const PLURAL: &'static str = "pods";
    const SINGULAR: &'static str = "pod";
    const SHORT_NAMES: &'static [&'static str] = &["po"];
    const CATEGORIES: &'static [&'static str] = &["all"];
    const SUBRESOURCES: &'static [Subresource] = &[
        Subresource {
            name: "attach",
            group: "",
            version: "v1",
            kind: "PodAttachOptions",
            verbs: CONNECT,
        },
        Subresource {
            name: "binding",
            group: "",
            version: "v1",
            kind: "Binding",
            verbs: &[Verb::Create],
        },
        Subresource {
            name: "ephemeralcontainers",
            group: "",
            version: "v1",
            kind: "Pod",
            verbs: CHANGE,
        },
        Subresource {
            name: "eviction",
            group: "policy",
            version: "v1",
            kind: "Eviction",
            verbs: &[Verb::Create],
        },
        Subresource {
            name: "exec",
            group: "",
            version: "v1",
            kind: "PodExecOptions",
            verbs: CONNECT,
        },
        Subresource {
            name: "log",
            group: "",
            version: "v1",
            kind: "Pod",
            verbs: &[Verb::Get],
        },
        Subresource {
            name: "portforward",
            group: "",
            version: "v1",
            kind: "PodPortForwardOptions",
            verbs: CONNECT,
        },
        Subresource::proxy("PodProxyOptions"),
        Subresource {
            name: "resize",
            group: "",
            version: "v1",
            kind: "Pod",
            verbs: CHANGE,
        },
        Subresource::status("", "v1", "Pod"),
    ];
    const KEY: &'static str = "pods";
    const STATUS_RESETS: &'static [&'static str] = &["spec", "metadata.deletionTimestamp", "metadata.ownerReferences"];
    const GENERATION: bool = true;
    const COLUMNS: &'static [Column] = columns::COLUMNS;
    const FIELDS: &'static [SelectableField] = &[
        SelectableField {
            label: "spec.nodeName",
            read: |pod| read::text(pod, "/spec/nodeName").to_owned(),
        },
        SelectableField {
            label: "spec.restartPolicy",
            read: |pod| read::text(pod, "/spec/restartPolicy").to_owned(),
        },
        SelectableField {
            label: "spec.schedulerName",
            read: |pod| read::text(pod, "/spec/schedulerName").to_owned(),
        },
        SelectableField {
            label: "spec.serviceAccountName",
            read: |pod| read::text(pod, "/spec/serviceAccountName").to_owned(),
        },
        SelectableField {
            label: "spec.hostNetwork",
            read: |pod| read::flag(pod, "/spec/hostNetwork").to_string(),
        },
        SelectableField {
            label: "status.phase",
            read: |pod| read::text(pod, "/status/phase").to_owned(),
        },
        SelectableField {
            label: "status.podIP",
            read: first_ip,
        },
        SelectableField {
            label: "status.podIPs",
            read: first_ip,
        },
        SelectableField {
            label: "status.nominatedNodeName",
            read: |pod| read::text(pod, "/status/nominatedNodeName").to_owned(),
        },
    ];
    type Object = k8s_openapi::api::core::v1::Pod;

    fn default(pod: &mut Value) {
        read::set_default(pod, "spec", json!({}));
        default_spec(&mut pod["spec"]);
        defaults::default_pod(pod);
    }

    fn before_create(pod: &mut Value, context: &Context<'_>) {
        placement::apply_label_keys(pod);
        defaults::grace(pod);
        pod["status"] = json!({ "phase": "Pending", "qosClass": qos_class(&pod["spec"]) });
        if !read::list(pod, "/spec/schedulingGates").is_empty() {
            pod["status"]["conditions"] = json!([{
                "type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "lastProbeTime": null,
                "lastTransitionTime": context.now, "message": "Scheduling is blocked due to non-empty scheduling gates",
            }]);
        }
    }

    fn before_update(new: &mut Value, old: &Value, context: &Context<'_>) {
        defaults::grace(new);
        match context.subresource {
            "ephemeralcontainers" => ephemeral::keep_the_rest(new, old),
            "resize" => resize::keep_the_rest(new, old),
            _ => {}
        }
        if context.subresource == "status" && read::text(new, "/status/qosClass").is_empty() {
            let class = read::text(old, "/status/qosClass").to_owned();
            read::set_default(new, "status", json!({}));
            new["status"]["qosClass"] = class.into();
        }
    }

    fn warnings(pod: &Value) -> Vec<String> {
        warnings::warnings(pod)
    }

    fn validate(pod: &Value) -> Vec<FieldError> {
        validate::validate(pod)
    }

    fn validate_update(new: &Value, old: &Value, subresource: &str) -> Vec<FieldError> {
        match subresource {
            "" => update::validate(new, old),
            "status" => status::validate(new, old),
            "ephemeralcontainers" => ephemeral::validate(new, old),
            "resize" => resize::validate(new, old),
            _ => Vec::new(),
        }
    }

    fn row(pod: &Value, now: Timestamp) -> Vec<Value> {
        columns::row(pod, now)
    }
}

fn first_ip(pod: &Value) -> String {
    let ips = read::list(pod, "/status/podIPs")
        .first()
        .map(|ip| read::text(ip, "/ip"));
    ips.unwrap_or_else(|| read::text(pod, "/status/podIP")).to_owned()
}

/// Whether an init container keeps running beside the others (`restartPolicy: Always`).
pub fn is_sidecar(init_container: &Value) -> bool {
    read::text(init_container, "/restartPolicy") == "Always"
}

/// The condition of that type, or null.
fn condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
    read::list(object, "/status/conditions")
        .iter()
        .find(|c| read::text(c, "/type") == kind)
        .unwrap_or(&Value::Null)
}

/// Whether the pod has ended for good.
pub fn is_finished(pod: &Value) -> bool {
    matches!(read::text(pod, "/status/phase"), "Succeeded" | "Failed")
}
