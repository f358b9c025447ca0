//! The Node object: made once, kept true, its status sent when something changed and at least every five minutes.

use super::facts::Facts;
use super::readiness::Readiness;
use super::{NodeContext, chain};
use crate::pods::users;
use client::{Api, Backoff, Patch, Transport};
use config::Role;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How often the status is computed; it is sent when it differs.
const LOOK: Duration = Duration::from_secs(10);
/// How often it is sent even if it does not differ: upstream's nodeStatusReportFrequency.
const REPORT: Duration = Duration::from_secs(300);

/// Makes the Node or brings its labels up to date, trying for ever. Returns it as the API has it.
pub async fn register(context: &NodeContext, transport: &Arc<dyn Transport>, facts: &Facts) -> Node {
    let api = Api::<Node>::all(transport.clone());
    let name = &context.config.machine.name;
    let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
    loop {
        match try_register(&api, context, facts).await {
            Ok(node) => return node,
            Err(error) => {
                tracing::warn!(node = %name, error = %chain(&error), "node not registered yet, trying again");
                tokio::time::sleep(backoff.fail()).await;
            }
        }
    }
}

async fn try_register(api: &Api<Node>, context: &NodeContext, facts: &Facts) -> Result<Node, client::Error> {
    let name = &context.config.machine.name;
    let labels = labels(context, facts);
    match api.get(name).await {
        Ok(_) => {
            api.patch(
                name,
                &Patch::Strategic(json!({"metadata": {"labels": labels, "annotations": annotations()}})),
            )
            .await
        }
        Err(error) if error.is_not_found() => {
            let object = json!({
                "apiVersion": "v1", "kind": "Node",
                "metadata": {"name": name, "labels": labels, "annotations": annotations()},
                "spec": {"taints": taints(context)},
            });
            let node: Node =
                serde_json::from_value(object).expect("the object is a Node because it was just written as one");
            api.create(&node).await
        }
        Err(error) => Err(error),
    }
}

/// Labels that upstream's kubelet gives, the roles, and what the machine config says.
fn labels(context: &NodeContext, facts: &Facts) -> BTreeMap<String, String> {
    let mut labels = context.config.machine.labels.clone();
    let mut set = |name: &str, value: &str| drop(labels.insert(name.to_owned(), value.to_owned()));
    for prefix in ["kubernetes.io", "beta.kubernetes.io"] {
        set(&format!("{prefix}/os"), "linux");
        set(&format!("{prefix}/arch"), facts.architecture);
    }
    set("kubernetes.io/hostname", &context.config.machine.name);
    if context.config.machine.roles.contains(&Role::ControlPlane) {
        set("node-role.kubernetes.io/control-plane", "");
    }
    labels
}

/// Volumes are attached to this node by the cluster's controller and never by the node itself.
fn annotations() -> Value {
    json!({"volumes.kubernetes.io/controller-managed-attach-detach": "true"})
}

/// A control plane takes pods only if it is a worker too, and not if the config says that it is to be kept free.
fn taints(context: &NodeContext) -> Value {
    let roles = &context.config.machine.roles;
    let kept_free = context
        .config
        .control_plane
        .as_ref()
        .is_some_and(|control_plane| control_plane.taint);
    let tainted = roles.contains(&Role::ControlPlane) && (kept_free || !roles.contains(&Role::Worker));
    if tainted {
        json!([{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}])
    } else {
        Value::Null
    }
}

/// Sends the status whenever it changed, for ever; `first` is called when the API took the first Ready one.
pub async fn report(context: NodeContext, transport: Arc<dyn Transport>, first: impl FnOnce()) -> ! {
    let api = Api::<Node>::all(transport);
    let name = context.config.machine.name.clone();
    let mut readiness = context.readiness.subscribe();
    let mut first = Some(first);
    let mut sent: Option<(Value, tokio::time::Instant)> = None;
    let mut conditions: BTreeMap<&'static str, (String, Timestamp)> = BTreeMap::new();
    loop {
        let now = readiness.borrow_and_update().clone();
        let facts = Facts::gather(&context).await;
        let ready = now.obstacle().is_none();
        let images = images(&context).await;
        let status = status(&context, &facts, &images, &now);
        let due = sent
            .as_ref()
            .is_none_or(|(value, at)| *value != status || at.elapsed() >= REPORT);
        if due || overruled(&context, &api, &status, &mut conditions).await {
            let patch = json!({"status": with_times(status.clone(), &mut conditions, Timestamp::now())});
            match api.patch_status(&name, &Patch::Strategic(patch)).await {
                Ok(node) => {
                    context.node.send_replace(Some(Arc::new(node)));
                    sent = Some((status, tokio::time::Instant::now()));
                    if let (true, Some(first)) = (ready, first.take_if(|_| ready)) {
                        first();
                    }
                }
                Err(error) => {
                    tracing::warn!(node = %name, error = %chain(&error), "node status not taken, trying again")
                }
            }
        }
        let pause = if sent.is_some() { LOOK } else { Duration::from_secs(1) };
        // A change of readiness is not kept waiting; its sender lives as long as the node.
        let _ = tokio::time::timeout(pause, readiness.changed()).await;
    }
}

/// Whether the API has other conditions than this node sent, whose times then begin anew: of a node that was silent for
/// long, the control plane says that it is Unknown, until the node speaks again.
async fn overruled(
    context: &NodeContext,
    api: &Api<Node>,
    status: &Value,
    known: &mut BTreeMap<&'static str, (String, Timestamp)>,
) -> bool {
    // An API that does not answer has nothing to compare with.
    let Ok(node) = api.get(&context.config.machine.name).await else {
        return false;
    };
    context.node.send_replace(Some(Arc::new(node.clone())));
    let present = node.status.and_then(|status| status.conditions).unwrap_or_default();
    let before = known.len();
    known.retain(|kind, _| {
        let sent = status["conditions"].as_array().into_iter().flatten();
        let sent = sent.filter(|sent| sent["type"] == *kind).map(|sent| &sent["status"]);
        let present = present.iter().filter(|present| present.type_ == *kind);
        sent.eq(present.map(|present| &present.status))
    });
    known.len() < before
}

/// The largest of the images that are here: so many, each with so many names (upstream's nodeStatusMaxImages and
/// MaxNamesPerImageInNodeStatus). None while they cannot be read.
async fn images(context: &NodeContext) -> Value {
    let images = context.images.clone();
    let listed = tokio::task::spawn_blocking(move || images.store().and_then(|store| store.list()).ok()).await;
    largest(listed.ok().flatten().unwrap_or_default())
}

fn largest(mut images: Vec<oci::Image>) -> Value {
    const MOST_IMAGES: usize = 50;
    const MOST_NAMES: usize = 5;
    images.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.id.cmp(&b.id)));
    let one = |image: &oci::Image| {
        let mut names: Vec<String> = Vec::new();
        for name in &image.names {
            let Ok(reference) = name.parse::<oci::Reference>() else {
                continue;
            };
            let by_digest = format!("{}/{}@{}", reference.registry, reference.repository, image.digest);
            if !names.contains(&by_digest) {
                names.push(by_digest);
            }
        }
        names.extend(image.names.iter().filter(|name| !name.contains('@')).cloned());
        names.truncate(MOST_NAMES);
        json!({"names": names, "sizeBytes": image.size})
    };
    images.iter().take(MOST_IMAGES).map(one).collect()
}

/// The status without times: what is compared to know whether anything changed.
fn status(context: &NodeContext, facts: &Facts, images: &Value, now: &Readiness) -> Value {
    let condition = |kind: &str, status: bool, reason: &str, message: &str| {
        let status = if status { "True" } else { "False" };
        json!({"type": kind, "status": status, "reason": reason, "message": message})
    };
    let pressure = |kind, is: bool, no: (&str, &str), yes: (&str, &str)| {
        let (reason, message) = if is { yes } else { no };
        condition(kind, is, reason, message)
    };
    let pressures = now.pressures;
    let ready = match now.obstacle() {
        None => condition("Ready", true, "KubeletReady", "kubelet is posting ready status"),
        Some(why) => condition("Ready", false, "KubeletNotReady", why),
    };
    json!({
        "capacity": with(facts.capacity(), &context.devices.amounts(), |amount| amount.1),
        "allocatable": with(facts.allocatable(), &context.devices.amounts(), |amount| amount.2),
        "addresses": facts.addresses(),
        "daemonEndpoints": {"kubeletEndpoint": {"Port": context.face_port}},
        "nodeInfo": facts.node_info(),
        "images": images,
        "volumesInUse": context.drivers.in_use(),
        "features": {"supplementalGroupsPolicy": true},
        "runtimeHandlers": [{"name": "", "features": {"recursiveReadOnlyMounts": true, "userNamespaces": users::are_possible()}}],
        "conditions": [
            pressure("MemoryPressure", pressures.memory,
                ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
                ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available")),
            pressure("DiskPressure", pressures.disk,
                ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
                ("KubeletHasDiskPressure", "kubelet has disk pressure")),
            pressure("PIDPressure", pressures.pids,
                ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
                ("KubeletHasInsufficientPID", "kubelet has insufficient PID available")),
            ready,
        ],
    })
}

/// Adds what device plugins have brought.
fn with(mut resources: Value, devices: &[(String, usize, usize)], of: fn(&(String, usize, usize)) -> usize) -> Value {
    for amount in devices {
        resources[amount.0.as_str()] = of(amount).to_string().into();
    }
    resources
}

/// Adds when each condition was looked at, and when it last changed.
fn with_times(mut status: Value, known: &mut BTreeMap<&'static str, (String, Timestamp)>, now: Timestamp) -> Value {
    for condition in status["conditions"].as_array_mut().into_iter().flatten() {
        let state = condition["status"].as_str().unwrap_or_default().to_owned();
        let kind = KINDS.iter().find(|kind| condition["type"].as_str() == Some(kind));
        let Some(kind) = kind else { continue };
        let entry = known.entry(kind).or_insert_with(|| (state.clone(), now));
        if entry.0 != state {
            *entry = (state, now);
        }
        let text = |time: Timestamp| json!(time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        condition["lastHeartbeatTime"] = text(now);
        condition["lastTransitionTime"] = text(entry.1);
    }
    status
}

const KINDS: [&str; 4] = ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_images_are_named_by_digest_first() {
        let image = |size: u64, names: &[&str]| oci::Image {
            id: format!("sha256:{size}"),
            digest: "sha256:d".to_owned(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            layers: Vec::new(),
            size,
            config: oci::Config::default(),
        };
        let mut images: Vec<_> = (0..60).map(|size| image(size, &[])).collect();
        images.push(image(100, &["r.test/a:1", "r.test/a:2", "r.test/b:1"]));
        let listed = largest(images);
        let listed = listed.as_array().unwrap();
        assert_eq!(listed.len(), 50);
        let names = [
            "r.test/a@sha256:d",
            "r.test/b@sha256:d",
            "r.test/a:1",
            "r.test/a:2",
            "r.test/b:1",
        ];
        assert_eq!(listed[0], json!({"names": names, "sizeBytes": 100}));
        assert_eq!(listed[49]["sizeBytes"], 11);
    }
}
