//! From a body to a draft: the kind that the path names, of the right types, defaults filled in.

use crate::body::{self, Decoded, Duplicates};
use crate::call::Call;
use crate::options::{Validation, WriteOptions};
use api::patch::PatchKind;
use api::schema;
use api::status::{self, Status};
use api::{metadata, read};
use serde_json::Value;

/// A decoded and defaulted object, not yet admitted.
pub struct Draft {
    /// The object.
    pub object: Value,
    /// What the client should hear about it.
    pub warnings: Vec<String>,
}

/// Where an object comes from: it decides how its mistakes are told.
#[derive(Clone, Copy)]
pub enum Origin<'a> {
    /// A body.
    Body,
    /// A patch of this form, applied to what was there.
    Patch(PatchKind, &'a Value),
}

/// Reads the object that a create or an update brings.
pub fn draft(call: &Call, options: &WriteOptions, bytes: &[u8]) -> Result<Draft, Status> {
    let media_type = body::media_type(&call.headers);
    if call.rules.is_custom() && media_type.ends_with("protobuf") {
        return Err(status::unsupported_media_type(body::READABLE_AS_TEXT));
    }
    let Decoded { value, duplicates } = body::decode(media_type, bytes)?;
    let said = match (duplicates, options.validation) {
        (Duplicates::None, _) | (_, Validation::Ignore) => Vec::new(),
        // Read again, slowly, so that all mistakes are told in their order.
        (Duplicates::InJson, Validation::Warn | Validation::Strict) => {
            schema::strict_errors(Some(call.rules.root()), bytes)
        }
        (Duplicates::InYaml(lines), Validation::Warn) => lines,
        (Duplicates::InYaml(lines), Validation::Strict) => {
            vec![format!("yaml: unmarshal errors:\n  {}", lines.join("\n  "))]
        }
    };
    finish(call, options, value, said, Origin::Body)
}

/// Checks and completes an object however it came: from a body or out of a patch. `said` is what a strict decoder had
/// against the text already.
pub fn finish(
    call: &Call,
    options: &WriteOptions,
    value: Value,
    said: Vec<String>,
    origin: Origin<'_>,
) -> Result<Draft, Status> {
    let mut object = value;
    is_of_kind(call, &mut object)?;
    let warnings = fields(call, options, &mut object, said, origin)?;
    is_here(call, &mut object)?;
    call.rules.default(&mut object);
    Ok(Draft { object, warnings })
}

/// The body's apiVersion and kind are the path's; where it has none, it gets them.
fn is_of_kind(call: &Call, object: &mut Value) -> Result<(), Status> {
    let rules = &call.rules;
    let (expected, api_version) = (rules.api_version(), read::text(object, "/apiVersion").to_owned());
    if !object.is_object() {
        return Err(status::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): couldn't get version/kind; it is no JSON object",
            rules.kind
        )));
    }
    if !api_version.is_empty() && api_version != expected {
        return Err(status::bad_request(format!(
            "the API version in the data ({api_version}) does not match the expected API version ({expected})"
        )));
    }
    let kind = read::text(object, "/kind");
    if !kind.is_empty() && kind != rules.kind {
        let (version, wanted) = (rules.version, rules.kind);
        return Err(status::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a {wanted}: the kind in the data does not match the path's"
        )));
    }
    object["apiVersion"] = expected.into();
    object["kind"] = rules.kind.into();
    if read::map_mut(object, "metadata").is_none() {
        return Err(status::bad_request(format!(
            "{} in version {:?} cannot be handled as a {}: json: metadata is no object",
            rules.kind, rules.version, rules.kind
        )));
    }
    Ok(())
}

/// Refuses values of wrong types; drops unknown fields, and refuses or reports them as asked.
fn fields(
    call: &Call,
    options: &WriteOptions,
    object: &mut Value,
    mut said: Vec<String>,
    origin: Origin<'_>,
) -> Result<Vec<String>, Status> {
    let (rules, root) = (&call.rules, call.rules.root());
    let refuse = |object: &Value, why: &str| match origin {
        Origin::Body => status::bad_request(why),
        Origin::Patch(kind, patch) => status::invalid_patch(&kind.shown(patch, object), why),
    };
    if let Some(why) = schema::decode_error(root, rules.kind, rules.version, object) {
        return Err(refuse(object, &why));
    }
    let mut unknown = schema::unknown_fields(root, object);
    if unknown.is_empty() && said.is_empty() {
        return Ok(Vec::new());
    }
    unknown.sort();
    unknown.retain(|sentence| !said.contains(sentence));
    said.extend(unknown);
    match options.validation {
        Validation::Ignore => said.clear(),
        Validation::Warn => {}
        Validation::Strict => {
            let why = format!("strict decoding error: {}", said.join(", "));
            return Err(match origin {
                Origin::Body => {
                    let (kind, version) = (rules.kind, rules.version);
                    status::bad_request(format!(
                        "{kind} in version {version:?} cannot be handled as a {kind}: {why}"
                    ))
                }
                Origin::Patch(..) => refuse(object, &why),
            });
        }
    }
    schema::prune(root, object);
    Ok(said)
}

/// The body's name and namespace are the path's; where it has none, it gets them.
fn is_here(call: &Call, object: &mut Value) -> Result<(), Status> {
    let (namespace, name) = (
        metadata::namespace(object).to_owned(),
        metadata::name(object).to_owned(),
    );
    if call.rules.namespaced {
        if !namespace.is_empty() && namespace != call.namespace {
            return Err(status::bad_request(format!(
                "the namespace of the provided object does not match the namespace sent on the request: {namespace:?} is not {:?}",
                call.namespace
            )));
        }
        object["metadata"]["namespace"] = call.namespace.as_str().into();
    }
    if !call.name.is_empty() {
        if !name.is_empty() && name != call.name {
            return Err(status::bad_request(format!(
                "the name of the object ({name}) does not match the name on the URL ({})",
                call.name
            )));
        }
        object["metadata"]["name"] = call.name.as_str().into();
    }
    Ok(())
}
