//! `…/scale`: how many, of anything that has replicas, as `autoscaling/v1` Scale (upstream: each kind's `ScaleREST`).

use crate::body;
use crate::call::Call;
use crate::options::WriteOptions;
use crate::verbs::{APPLY, change, existing};
use crate::{manage, reply};
use api::patch::PatchKind;
use api::selector::LabelSelector;
use api::status::{self, Status};
use api::{FieldError, Verb, metadata, read};
use bytes::Bytes;
use client::Body;
use http::Response;
use serde_json::{Value, json};

const API_VERSION: &str = "autoscaling/v1";
const SCHEMA: &str = "io.k8s.api.autoscaling.v1.Scale";

/// Where an object keeps what a Scale shows, as JSON pointers.
struct Places {
    /// The replicas wished for.
    wished: String,
    /// The replicas that there are.
    present: String,
    /// What chooses their pods: a selector, a map of labels, or text; empty for none.
    selector: String,
}

/// Where objects of the call's kind keep it.
fn places(call: &Call) -> Places {
    if let Some(scale) = call.rules.custom_scale() {
        return Places {
            wished: scale.spec_replicas.clone(),
            present: scale.status_replicas.clone(),
            selector: scale.selector.clone(),
        };
    }
    Places {
        wished: "/spec/replicas".to_owned(),
        present: "/status/replicas".to_owned(),
        selector: "/spec/selector".to_owned(),
    }
}

/// GET.
pub(crate) fn get(call: &Call) -> Result<Response<Body>, Status> {
    let object = call.object(&existing(call)?);
    has_replicas(call, &object)?;
    Ok(reply::object(
        200,
        call.accepted.encoding,
        &scale_of(&object, &places(call)),
    ))
}

/// A custom resource may have no replicas where its definition says that they are.
fn has_replicas(call: &Call, object: &Value) -> Result<(), Status> {
    match call.rules.custom_scale() {
        Some(scale) if read::some(object, &scale.spec_replicas).is_none() => {
            let path = scale.spec_replicas.replace('/', ".");
            Err(status::internal(format!(
                "the spec replicas field {path:?} does not exist"
            )))
        }
        Some(_) | None => Ok(()),
    }
}

/// PUT and PATCH.
pub(crate) async fn write(call: &Call, bytes: &Bytes) -> Result<Response<Body>, Status> {
    let patched = call.verb == Verb::Patch;
    if patched && body::media_type(&call.headers) == APPLY {
        return apply(call, bytes).await;
    }
    let options = WriteOptions::of(&call.query, if patched { "PatchOptions" } else { "UpdateOptions" })?;
    let media_type = body::media_type(&call.headers);
    let kind = PatchKind::of_media_type(media_type);
    if patched && kind.is_none() {
        let accepted: Vec<&str> = PatchKind::MEDIA_TYPES.iter().copied().chain([APPLY]).collect();
        return Err(status::unsupported_media_type(&accepted));
    }
    let sent = match kind {
        Some(_) if patched => body::json(bytes)?.value,
        Some(_) | None => body::decode(media_type, bytes)?.value,
    };
    let places = places(call);
    let pinned = !matches!(metadata::resource_version(&sent), "" | "0");
    let changed = change(call, options.dry_run, pinned, |old| {
        let scale = match kind {
            Some(kind) if patched => kind.apply(&scale_of(old, &places), &sent, SCHEMA)?,
            Some(_) | None => sent.clone(),
        };
        check(call, &scale)?;
        let mut new = scaled(old, &scale, &places);
        manage::track(call, &options, Some(old), &mut new);
        Ok(new)
    })
    .await?;
    let object = call.object(changed.entry());
    Ok(reply::object(200, call.accepted.encoding, &scale_of(&object, &places)))
}

/// PATCH by server-side apply: whoever applies a Scale comes to own the object's wish, through this subresource.
async fn apply(call: &Call, bytes: &Bytes) -> Result<Response<Body>, Status> {
    let options = WriteOptions::of_patch(&call.query, true)?;
    let document = body::document(bytes);
    let scale = document.map_err(|cause| status::bad_request(format!("error decoding YAML: {cause}")))?;
    let (scale, places) = (scale.value, places(call));
    check(call, &scale)?;
    let pinned = !matches!(metadata::resource_version(&scale), "" | "0");
    let changed = change(call, options.dry_run, pinned, |old| {
        let config = config_of(call, &scale, &places);
        let new = manage::apply(call, &options, Some(old), &config);
        let mut new = new.map_err(|refusal| of_scale(call, &places, refusal))?;
        if read::some(&new, &places.wished).is_none() {
            put(&mut new, &places.wished, 0.into());
        }
        Ok(new)
    })
    .await?;
    let object = call.object(changed.entry());
    Ok(reply::object(200, call.accepted.encoding, &scale_of(&object, &places)))
}

/// A conflict about the object's wish, in the words of a Scale (apimachinery pkg/util/managedfields/scalehandler.go).
fn of_scale(call: &Call, places: &Places, mut refusal: Status) -> Status {
    let (wished, used) = (places.wished.replace('/', "."), call.rules.api_version());
    let own = |text: String| {
        let text = text.replace(&wished, ".spec.replicas");
        text.replace(&format!(" using {used}"), &format!(" using {API_VERSION}"))
    };
    let causes = refusal.details.get_mut("causes").and_then(Value::as_array_mut);
    for cause in causes.into_iter().flatten().filter_map(Value::as_object_mut) {
        for (_, value) in cause.iter_mut() {
            if let Value::String(text) = value {
                *text = own(std::mem::take(text));
            }
        }
    }
    let message = own(refusal.message);
    Status { message, ..refusal }
}

/// The configuration of the object itself that says what an applied Scale says.
fn config_of(call: &Call, scale: &Value, places: &Places) -> Value {
    let mut config = json!({
        "apiVersion": call.rules.api_version(), "kind": call.rules.kind,
        "metadata": { "name": call.name, "namespace": call.namespace },
    });
    if let Some(wished) = read::some(scale, "/spec/replicas") {
        put(&mut config, &places.wished, wished.clone());
    }
    condition(&mut config, scale);
    config
}

fn scale_of(object: &Value, places: &Places) -> Value {
    let mut about = json!({});
    for member in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = read::some(object, &format!("/metadata/{member}")) {
            about[member] = value.clone();
        }
    }
    let mut scale = json!({
        "kind": "Scale", "apiVersion": API_VERSION, "metadata": about,
        "spec": {}, "status": { "replicas": read::int(object, &places.present) },
    });
    // Go leaves out a wish for none.
    match read::int(object, &places.wished) {
        0 => {}
        wished => scale["spec"]["replicas"] = wished.into(),
    }
    let selector = Some(&places.selector).filter(|place| !place.is_empty());
    let selector = selector_text(selector.and_then(|place| object.pointer(place)).unwrap_or(&Value::Null));
    if !selector.is_empty() {
        scale["status"]["selector"] = selector.into();
    }
    scale
}

/// A selector in the form of the `labelSelector` parameter.
fn selector_text(selector: &Value) -> String {
    let is_object = ["matchLabels", "matchExpressions"]
        .iter()
        .any(|m| selector.get(m).is_some_and(|m| !m.is_string()));
    match selector {
        Value::String(text) => text.clone(),
        Value::Object(_) if is_object => LabelSelector::of_object(selector).map_or_else(String::new, |s| s.to_string()),
        _ => LabelSelector::of_labels(selector).to_string(),
    }
}

/// What is wrong with a Scale that a client sent.
fn check(call: &Call, scale: &Value) -> Result<(), Status> {
    let (kind, version) = (read::text(scale, "/kind"), read::text(scale, "/apiVersion"));
    if !matches!(kind, "" | "Scale") || !matches!(version, "" | API_VERSION) {
        return Err(status::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a Scale of {API_VERSION}"
        )));
    }
    let named = metadata::name(scale);
    if !named.is_empty() && named != call.name {
        return Err(status::bad_request(format!(
            "the name of the object ({named}) does not match the name on the URL ({})",
            call.name
        )));
    }
    let wrong = match scale.pointer("/spec/replicas") {
        Some(Value::Number(number)) if number.as_i64().is_some_and(|n| n > i64::from(i32::MAX)) => {
            return Err(status::bad_request(format!(
                "Scale in version \"v1\" cannot be handled as a Scale: json: cannot unmarshal number {number} into Go struct field ScaleSpec.spec.replicas of type int32"
            )));
        }
        Some(Value::Number(number)) if number.as_i64().is_none_or(|n| n < 0) => {
            let why = "must be greater than or equal to 0";
            FieldError::invalid("spec.replicas", Value::Number(number.clone()), why)
        }
        None | Some(Value::Null | Value::Number(_)) => return Ok(()),
        Some(_) => {
            return Err(status::bad_request(
                "Scale in version \"v1\" cannot be handled as a Scale: json: cannot unmarshal into Go struct field ScaleSpec.spec.replicas of type int32",
            ));
        }
    };
    let mut refusal = status::invalid(&call.rules, &call.name, std::slice::from_ref(&wrong));
    refusal.message = format!("Scale.autoscaling {:?} is invalid: {wrong}", call.name);
    refusal.details.insert("group".to_owned(), "autoscaling".into());
    refusal.details.insert("kind".to_owned(), "Scale".into());
    Err(refusal)
}

/// The object with the Scale's wish, and with the state and incarnation that the client means.
fn scaled(old: &Value, scale: &Value, places: &Places) -> Value {
    let mut new = old.clone();
    put(&mut new, &places.wished, read::int(scale, "/spec/replicas").into());
    condition(&mut new, scale);
    new
}

/// The state and incarnation that a client means are conditions of its write.
fn condition(new: &mut Value, scale: &Value) {
    for (member, sent) in [
        ("resourceVersion", metadata::resource_version(scale)),
        ("uid", metadata::uid(scale)),
    ] {
        if !sent.is_empty() {
            new["metadata"][member] = sent.into();
        }
    }
}

/// Puts a value at a pointer, making the maps on the way.
fn put(object: &mut Value, pointer: &str, value: Value) {
    let mut at = object;
    let mut members = pointer.split('/').skip(1).peekable();
    while let Some(member) = members.next() {
        if members.peek().is_none() {
            if let Some(map) = at.as_object_mut() {
                map.insert(member.to_owned(), value);
            }
            return;
        }
        read::set_default(at, member, json!({}));
        let Some(next) = at.get_mut(member) else { return };
        at = next;
    }
}
