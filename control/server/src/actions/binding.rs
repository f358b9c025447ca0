//! POST pods/NAME/binding, and POST bindings, which names the pod in its body: puts a pod on a node, once (upstream:
//! registry/core/pod/storage `assignPod`).

use crate::call::{Call, timestamp};
use crate::options::WriteOptions;
use crate::verbs::change;
use crate::{body, reply};
use api::status::{self, Status};
use api::{FieldError, metadata, read};
use bytes::Bytes;
use client::Body;
use http::Response;
use jiff::Timestamp;
use serde_json::{Value, json};

/// Binds the pod that the body is named after.
pub(crate) async fn bind_named(call: &Call, bytes: &Bytes) -> Result<Response<Body>, Status> {
    let binding = body::decode(body::media_type(&call.headers), bytes)?.value;
    if metadata::name(&binding).is_empty() {
        return Err(status::bad_request("Name parameter required."));
    }
    let catalog = call.server.catalog();
    let pods = catalog.find("", "v1", "pods").ok_or_else(status::no_such_path)?;
    let mut call = call.of_object(&call.namespace, metadata::name(&binding));
    call.rules = pods.clone();
    call.subresource = "binding".to_owned();
    bind(&call, bytes).await
}

/// Binds the pod that the path names.
pub(crate) async fn bind(call: &Call, bytes: &Bytes) -> Result<Response<Body>, Status> {
    let options = WriteOptions::of(&call.query, "CreateOptions")?;
    let binding = body::decode(body::media_type(&call.headers), bytes)?.value;
    let node = target(call, &binding)?;
    let annotations = binding.pointer("/metadata/annotations").and_then(Value::as_object);
    change(call, options.dry_run, false, |old| {
        assignable(call, &binding, old)?;
        let mut pod = old.clone();
        pod["spec"]["nodeName"] = node.as_str().into();
        if let Some(annotations) = annotations.filter(|annotations| !annotations.is_empty()) {
            let present = read::map_mut(&mut pod, "metadata")
                .and_then(|m| m.entry("annotations").or_insert_with(|| json!({})).as_object_mut());
            present
                .into_iter()
                .for_each(|present| present.extend(annotations.clone()));
        }
        scheduled(&mut pod);
        Ok(pod)
    })
    .await?;
    let success = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201 });
    Ok(reply::object(201, call.accepted.encoding, &success))
}

fn target(call: &Call, binding: &Value) -> Result<String, Status> {
    let named = metadata::name(binding);
    if !named.is_empty() && named != call.name {
        return Err(status::bad_request("name in URL does not match name in Binding object"));
    }
    let (kind, name) = (read::text(binding, "/target/kind"), read::text(binding, "/target/name"));
    let mut errors = Vec::new();
    if !matches!(kind, "" | "Node") {
        errors.push(FieldError::not_supported("target.kind", kind, &["Node", "<empty>"]));
    }
    if name.is_empty() {
        errors.push(FieldError::required("target.name", ""));
    }
    if errors.is_empty() {
        Ok(name.to_owned())
    } else {
        Err(status::invalid(&call.rules, &call.name, &errors))
    }
}

fn assignable(call: &Call, binding: &Value, pod: &Value) -> Result<(), Status> {
    let name = &call.name;
    let (asked, uid) = (metadata::uid(binding), metadata::uid(pod));
    let why = if !asked.is_empty() && asked != uid {
        format!("Precondition failed: UID in precondition: {asked}, UID in object meta: {uid}")
    } else if metadata::is_deleting(pod) {
        format!("pod {name} is being deleted, cannot be assigned to a host")
    } else if !read::text(pod, "/spec/nodeName").is_empty() {
        format!(
            "pod {name} is already assigned to node {:?}",
            read::text(pod, "/spec/nodeName")
        )
    } else if !read::list(pod, "/spec/schedulingGates").is_empty() {
        format!("pod {name} has non-empty .spec.schedulingGates")
    } else {
        return Ok(());
    };
    // As upstream names it (registry/core/pod/storage `assignPod`).
    let mut refusal = status::conflict(&call.rules, name, &why);
    refusal.message = format!("Operation cannot be fulfilled on pods/binding {name:?}: {why}");
    refusal.details.insert("kind".to_owned(), "pods/binding".into());
    Err(refusal)
}

fn scheduled(pod: &mut Value) {
    let condition = json!({
        "type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": timestamp(Timestamp::now()),
    });
    let conditions = read::map_mut(pod, "status").map(|status| status.entry("conditions").or_insert_with(|| json!([])));
    if let Some(Value::Array(conditions)) = conditions {
        conditions.retain(|present| read::text(present, "/type") != "PodScheduled");
        conditions.push(condition);
    }
}
