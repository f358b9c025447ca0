//! From a body to a draft: the kind that the path names, of the right types, defaults filled in.

use crate::body::{self, Decoded};
use crate::call::Call;
use crate::options::{Validation, WriteOptions};
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

/// Reads the object that a create or an update brings.
pub fn draft(call: &Call, options: &WriteOptions, bytes: &[u8]) -> Result<Draft, Status> {
    let decoded = body::decode(body::media_type(&call.headers), bytes)?;
    finish(call, options, decoded)
}

/// Checks and completes an object however it came: from a body or out of a patch.
pub fn finish(call: &Call, options: &WriteOptions, decoded: Decoded) -> Result<Draft, Status> {
    let Decoded {
        value: mut object,
        duplicates,
    } = decoded;
    is_of_kind(call, &mut object)?;
    let warnings = fields(call, options, &object, duplicates)?;
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

/// Refuses values of wrong types; refuses or reports unknown and duplicate fields as asked.
fn fields(call: &Call, options: &WriteOptions, object: &Value, duplicates: Vec<String>) -> Result<Vec<String>, Status> {
    let rules = &call.rules;
    if let Some(why) = schema::decode_error(rules.root(), rules.kind, rules.version, object) {
        return Err(status::bad_request(why));
    }
    if options.validation == Validation::Ignore {
        return Ok(Vec::new());
    }
    let mut sentences = schema::unknown_fields(rules.root(), object);
    sentences.extend(duplicates);
    if options.validation == Validation::Warn || sentences.is_empty() {
        return Ok(sentences);
    }
    let (kind, all) = (rules.kind, sentences.join(", "));
    let version = rules.version;
    Err(status::bad_request(format!(
        "{kind} in version {version:?} cannot be handled as a {kind}: strict decoding error: {all}"
    )))
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
