//! `/scale` of custom resources: their replicas, wherever their definition says that they are, as an `autoscaling/v1` Scale.

use crate::body;
use crate::call::Call;
use crate::options::WriteOptions;
use crate::verbs::{change, existing};
use crate::{manage, reply};
use api::custom::Scale;
use api::patch::PatchKind;
use api::status::{self, Status};
use api::{FieldError, Verb, metadata, read};
use client::Body;
use http::Response;
use serde_json::{Value, json};

/// Whether a call is for this.
pub(crate) fn serves(call: &Call) -> bool {
    call.subresource == "scale" && call.rules.custom_scale().is_some()
}

/// GET.
pub(crate) fn get(call: &Call) -> Result<Response<Body>, Status> {
    let object = call.object(&existing(call)?);
    Ok(reply::object(200, call.accepted.encoding, &scale_of(call, &object)?))
}

/// PUT and PATCH.
pub(crate) async fn write(call: &Call, bytes: &[u8]) -> Result<Response<Body>, Status> {
    let patches = call.verb == Verb::Patch;
    let options = if patches {
        WriteOptions::of_patch(&call.query, false)?
    } else {
        WriteOptions::of(&call.query, "UpdateOptions")?
    };
    let media_type = body::media_type(&call.headers);
    let (patch, decoded) = if patches {
        let kind = PatchKind::of_media_type(media_type)
            .ok_or_else(|| status::unsupported_media_type(PatchKind::MEDIA_TYPES))?;
        (Some(kind), body::json(bytes)?)
    } else {
        (None, body::decode(media_type, bytes)?)
    };
    let changed = change(call, options.dry_run, false, |old| {
        let present = scale_of(call, old)?;
        let wished = match patch {
            Some(kind) => kind.apply(&present, &decoded.value, "io.k8s.api.autoscaling.v1.Scale")?,
            None => decoded.value.clone(),
        };
        let mut new = scaled(call, old, &wished)?;
        manage::track(call, &options, Some(old), &mut new);
        Ok(new)
    })
    .await?;
    let object = call.object(changed.entry());
    Ok(reply::object(200, call.accepted.encoding, &scale_of(call, &object)?))
}

/// The object with the wished replicas.
fn scaled(call: &Call, old: &Value, wished: &Value) -> Result<Value, Status> {
    let name = metadata::name(wished);
    if !name.is_empty() && name != call.name {
        return Err(status::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            call.name
        )));
    }
    let replicas = read::int(wished, "/spec/replicas");
    if replicas < 0 {
        let error = FieldError::invalid("spec.replicas", replicas, "must be greater than or equal to 0");
        let refusal = status::invalid(&call.rules, &call.name, std::slice::from_ref(&error));
        let message = format!("Scale.autoscaling {:?} is invalid: {error}", call.name);
        return Err(Status { message, ..refusal });
    }
    let mut new = old.clone();
    for member in ["uid", "resourceVersion"] {
        let given = read::text(wished, &format!("/metadata/{member}"));
        if !given.is_empty() {
            new["metadata"][member] = given.into();
        }
    }
    let Some(scale) = call.rules.custom_scale() else {
        return Err(status::no_such_path());
    };
    set(&mut new, &scale.spec_replicas, replicas.into());
    Ok(new)
}

fn set(object: &mut Value, path: &[String], value: Value) {
    match path {
        [] => *object = value,
        [first, rest @ ..] => {
            if !object.is_object() {
                *object = json!({});
            }
            set(&mut object[first.as_str()], rest, value);
        }
    }
}

fn scale_of(call: &Call, object: &Value) -> Result<Value, Status> {
    let Some(paths) = call.rules.custom_scale() else {
        return Err(status::no_such_path());
    };
    let Some(replicas) = at(object, &paths.spec_replicas).and_then(Value::as_i64) else {
        let why = format!("the spec replicas field {:?} does not exist", paths.spec_replicas_path);
        return Err(status::internal(why));
    };
    Ok(scale(object, paths, replicas))
}

fn scale(object: &Value, paths: &Scale, replicas: i64) -> Value {
    let mut metadata = json!({});
    for member in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object["metadata"].get(member) {
            metadata[member] = value.clone();
        }
    }
    let present = at(object, &paths.status_replicas).and_then(Value::as_i64).unwrap_or(0);
    let mut scale = json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
        "spec": { "replicas": replicas }, "status": { "replicas": present },
    });
    let selector = at(object, &paths.selector).and_then(Value::as_str).unwrap_or_default();
    if !paths.selector.is_empty() && !selector.is_empty() {
        scale["status"]["selector"] = selector.into();
    }
    scale
}

fn at<'a>(object: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(object, |value, name| value.get(name))
}
