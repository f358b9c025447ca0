//! ResourceSlice: devices that a driver offers, on one node or on many.

use super::{
    csi_driver,
    device_rules::{self, GROUP},
};
use crate::{
    at::{At, root},
    field::FieldError,
    kind::{Column, Kind, SelectableField},
    metadata, names,
    read::text,
};
use jiff::Timestamp;
use serde_json::Value;

const DEVICES_MAX: usize = 128;
const ATTRIBUTES_MAX: usize = 32;
const TAINTS_MAX: usize = 16;
const VALUE_MAX: usize = 64;

/// `resource.k8s.io/v1` ResourceSlice.
pub struct ResourceSlice;

impl Kind for ResourceSlice {
    const GROUP: &'static str = GROUP;
    const KIND: &'static str = "ResourceSlice";
    const PLURAL: &'static str = "resourceslices";
    const SINGULAR: &'static str = "resourceslice";
    const NAMESPACED: bool = false;
    const KEY: &'static str = "resourceslices";
    const GENERATION: bool = true;
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::narrow("Node", "string", "The node that has the devices."),
        Column::narrow("Driver", "string", "The driver that offers them."),
        Column::narrow("Pool", "string", "The pool that they belong to."),
        Column::AGE,
    ];
    const FIELDS: &'static [SelectableField] = &[
        SelectableField {
            label: "spec.driver",
            read: |slice| text(slice, "/spec/driver").to_owned(),
        },
        SelectableField {
            label: "spec.nodeName",
            read: |slice| text(slice, "/spec/nodeName").to_owned(),
        },
    ];
    type Object = k8s_openapi::api::resource::v1::ResourceSlice;

    fn validate(slice: &Value) -> Vec<FieldError> {
        let spec = root(slice).child("spec");
        let mut errors = csi_driver::name(&spec, "driver");
        let pool = spec.child("pool");
        errors.extend(device_rules::pool_name(&pool, "name"));
        if pool.int("resourceSliceCount") <= 0 {
            let count = pool.int("resourceSliceCount");
            let path = pool.path("resourceSliceCount");
            errors.push(FieldError::invalid(path, count, "must be greater than zero"));
        }
        if pool.int("generation") < 0 {
            errors.extend(pool.invalid("generation", ["must be greater than or equal to zero"]));
        }
        placed(&spec, &mut errors);
        errors.extend(device_rules::set(&spec, "devices", DEVICES_MAX, "name", device));
        errors
    }

    fn validate_update(new: &Value, old: &Value, _subresource: &str) -> Vec<FieldError> {
        let spec = root(new).child("spec");
        let mut errors = Self::validate(new);
        errors.extend(spec.child("pool").immutable(&old["spec"]["pool"], "name"));
        errors.extend(
            ["driver", "nodeName"]
                .iter()
                .filter_map(|key| spec.immutable(&old["spec"], key)),
        );
        errors
    }

    fn row(slice: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            metadata::name(slice).into(),
            text(slice, "/spec/nodeName").into(),
            text(slice, "/spec/driver").into(),
            text(slice, "/spec/pool/name").into(),
            metadata::age(slice, now).into(),
        ]
    }
}

/// Exactly one thing says where the devices are.
fn placed(spec: &At<'_>, errors: &mut Vec<FieldError>) {
    let name = spec.text("nodeName");
    if !name.is_empty() {
        errors.extend(spec.invalid("nodeName", names::dns1123_subdomain(name)));
    }
    if let Some(selector) = spec.some("nodeSelector")
        && selector.items("nodeSelectorTerms").len() != 1
    {
        let why = "must have exactly one node selector term";
        errors.extend(selector.invalid("nodeSelectorTerms", [why]));
    }
    let flag = |member: &str| spec.child(member).value == true;
    let ways = [
        (!name.is_empty(), "`nodeName`"),
        (spec.has("nodeSelector"), "`nodeSelector`"),
        (flag("allNodes"), "`allNodes`"),
        (flag("perDeviceNodeSelection"), "`perDeviceNodeSelection`"),
    ];
    let set: Vec<&str> = ways.iter().filter(|(is, _)| *is).map(|(_, way)| *way).collect();
    let one = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    match set.len() {
        0 => errors.push(spec.required("", one)),
        1 => {}
        _ => {
            let given = format!("{{{}}}", set.join(", "));
            let why = format!("{one}, but multiple fields are set");
            errors.push(FieldError::invalid(spec.path(""), given, why));
        }
    }
}

fn device(at: &At<'_>, errors: &mut Vec<FieldError>) {
    errors.extend(at.invalid_text("name", names::dns1123_label(at.text("name"))));
    let (attributes, capacity) = (at.entries("attributes"), at.entries("capacity"));
    for (name, value) in attributes.iter().chain(&capacity) {
        errors.extend(device_rules::qualified(value, "", name));
    }
    for (_, value) in &attributes {
        attribute(value, errors);
    }
    let count = attributes.len() + capacity.len();
    if count > ATTRIBUTES_MAX {
        let why = format!("the total number of attributes and capacities must not exceed {ATTRIBUTES_MAX}");
        errors.push(FieldError::invalid(at.path(""), count, why));
    }
    errors.extend(device_rules::all(at, "taints", TAINTS_MAX, device_rules::taint));
}

fn attribute(at: &At<'_>, errors: &mut Vec<FieldError>) {
    let set = ["bool", "int", "string", "version"]
        .iter()
        .filter(|member| at.has(member))
        .count();
    for member in ["string", "version"] {
        if at.text(member).len() > VALUE_MAX {
            errors.push(FieldError::too_long(at.path(member), VALUE_MAX));
        }
    }
    if at.has("version") && !is_version(at.text("version")) {
        let why = "must be a string compatible with semver.org spec 2.0.0";
        errors.extend(at.invalid("version", [why]));
    }
    match set {
        0 => errors.push(at.required("", "exactly one value must be specified")),
        1 => {}
        _ => errors.extend(at.invalid("", ["exactly one value must be specified"])),
    }
}

/// `1.2.3`, `1.2.3-alpha.1+build.5`.
fn is_version(text: &str) -> bool {
    let (text, build) = text
        .split_once('+')
        .map_or((text, None), |(text, build)| (text, Some(build)));
    let (core, pre) = text
        .split_once('-')
        .map_or((text, None), |(core, pre)| (core, Some(pre)));
    let number = |part: &str| {
        let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        digits && (part == "0" || !part.starts_with('0'))
    };
    let word = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let release = |part: &str| word(part) && (number(part) || !part.bytes().all(|b| b.is_ascii_digit()));
    let parts: Vec<&str> = core.split('.').collect();
    parts.len() == 3
        && parts.into_iter().all(number)
        && pre.is_none_or(|pre| pre.split('.').all(release))
        && build.is_none_or(|build| build.split('.').all(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn slice(device: Value) -> Value {
        let pool = json!({ "name": "p", "resourceSliceCount": 1, "generation": 1 });
        json!({ "spec": { "driver": "d", "nodeName": "n", "pool": pool, "devices": [device] } })
    }

    #[test]
    fn slices_are_judged_as_upstream() {
        let good = slice(
            json!({ "name": "a", "attributes": { "x.y/model": { "string": "m" }, "v": { "version": "1.2.3-a.1" } } }),
        );
        assert_eq!(ResourceSlice::validate(&good), []);
        for (device, field) in [
            (json!({ "name": "A" }), "spec.devices[0].name"),
            (
                json!({ "name": "a", "attributes": { "m": {} } }),
                "spec.devices[0].attributes[m]",
            ),
            (
                json!({ "name": "a", "attributes": { "m": { "version": "1.2" } } }),
                "spec.devices[0].attributes[m].version",
            ),
            (
                json!({ "name": "a", "attributes": { "1": { "int": 1 } } }),
                "spec.devices[0].attributes[1]",
            ),
        ] {
            let fields: Vec<String> = ResourceSlice::validate(&slice(device))
                .iter()
                .map(|e| e.field.clone())
                .collect();
            assert_eq!(fields, [field]);
        }
        let mut nowhere = good.clone();
        nowhere["spec"]["nodeName"] = Value::Null;
        let errors = ResourceSlice::validate_update(&nowhere, &good, "");
        let fields: Vec<&str> = errors.iter().map(|e| e.field.as_str()).collect();
        assert_eq!(fields, ["spec", "spec.nodeName"]);
    }

    #[test]
    fn versions_are_semantic() {
        for (text, good) in [
            ("1.0.0", true),
            ("1.0.0-rc.1+b", true),
            ("01.0.0", false),
            ("1.0", false),
            ("1.0.0-01", false),
        ] {
            assert_eq!(is_version(text), good, "{text}");
        }
    }
}
