//! ResourceSlice: devices that a driver offers, on one node or on many.

use super::{
    device_rules::{self, GROUP},
    pod, volume_source,
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
/// Of devices with taints or counters.
const RICH_DEVICES_MAX: usize = 64;
const SETS_MAX: usize = 8;
const CONSUMED_MAX: usize = 2;
const COUNTERS_MAX: usize = 32;
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
        let mut errors = volume_source::csi_driver(&spec, "driver");
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
        if spec.has("sharedCounters") && spec.has("devices") {
            let why = "only one of `sharedCounters` or `devices` is allowed";
            errors.push(FieldError::invalid("spec", "", why));
        }
        let rich = |device: &At<'_>| !device.list("taints").is_empty() || !device.list("consumesCounters").is_empty();
        let most = if spec.items("devices").iter().any(rich) {
            RICH_DEVICES_MAX
        } else {
            DEVICES_MAX
        };
        let of_devices = spec.flag("perDeviceNodeSelection");
        errors.extend(device_rules::set(&spec, "devices", most, "name", |at, errors| {
            device(at, of_devices, errors);
        }));
        errors.extend(device_rules::set(
            &spec,
            "sharedCounters",
            SETS_MAX,
            "name",
            |set, errors| {
                counters(set, "name", errors);
            },
        ));
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
    let set = ways(
        spec,
        &["allNodes", "perDeviceNodeSelection"],
        "must be either unset or set to a non-empty string",
        errors,
    );
    if let Some(selector) = spec.some("nodeSelector")
        && selector.items("nodeSelectorTerms").len() != 1
    {
        let why = "must have exactly one node selector term";
        errors.extend(selector.invalid("nodeSelectorTerms", [why]));
    }
    let one = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    just_one(spec, &set, one, &format!("{one}, but multiple fields are set"), errors);
}

/// The same of one device, which may only say so where the slice leaves it to devices.
fn device_placed(at: &At<'_>, of_devices: bool, errors: &mut Vec<FieldError>) {
    if of_devices {
        let set = ways(at, &["allNodes"], "must not be empty", errors);
        let one = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
        just_one(at, &set, one, one, errors);
    } else if ["nodeName", "nodeSelector", "allNodes"]
        .iter()
        .any(|member| at.has(member))
    {
        let why = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
        errors.push(FieldError::invalid(at.path(""), Value::Null, why));
    }
}

/// Which members say where something is, each in backticks.
fn ways(at: &At<'_>, flags: &[&str], empty: &str, errors: &mut Vec<FieldError>) -> Vec<String> {
    let mut set = Vec::new();
    if let Some(name) = at.some("nodeName") {
        if name.as_text().is_empty() {
            errors.extend(name.invalid("", [empty]));
        } else {
            set.push("`nodeName`".to_owned());
            errors.extend(name.invalid("", names::dns1123_subdomain(name.as_text())));
        }
    }
    if let Some(selector) = at.some("nodeSelector") {
        set.push("`nodeSelector`".to_owned());
        errors.extend(pod::node_selector(&selector));
    }
    for member in flags.iter().filter(|member| at.has(member)) {
        if at.flag(member) {
            set.push(format!("`{member}`"));
        } else {
            errors.extend(at.invalid(member, ["must be either unset or set to true"]));
        }
    }
    set
}

fn just_one(at: &At<'_>, set: &[String], none: &str, many: &str, errors: &mut Vec<FieldError>) {
    match set {
        [] => errors.push(at.required("", none)),
        [_] => {}
        _ => {
            let given = format!("{{{}}}", set.join(", "));
            errors.push(FieldError::invalid(at.path(""), given, many));
        }
    }
}

fn device(at: &At<'_>, of_devices: bool, errors: &mut Vec<FieldError>) {
    errors.extend(at.invalid_text("name", names::dns1123_label(at.text("name"))));
    let (attributes, capacity) = (at.entries("attributes"), at.entries("capacity"));
    let count = attributes.len() + capacity.len();
    if count > ATTRIBUTES_MAX {
        let why = format!("the total number of attributes and capacities must not exceed {ATTRIBUTES_MAX}");
        errors.push(FieldError::invalid(at.path(""), count, why));
    }
    for (name, value) in &attributes {
        errors.extend(device_rules::qualified(&at.path("attributes"), name));
        attribute(value, errors);
    }
    for (name, value) in &capacity {
        errors.extend(device_rules::qualified(&at.path("capacity"), name));
        if value.has("requestPolicy") && !at.flag("allowMultipleAllocations") {
            errors.push(value.forbidden("requestPolicy", "allowMultipleAllocations must be true"));
        }
    }
    errors.extend(device_rules::all(at, "taints", TAINTS_MAX, device_rules::taint));
    let consumed = "consumesCounters";
    errors.extend(device_rules::set(
        at,
        consumed,
        CONSUMED_MAX,
        "counterSet",
        |one, errors| {
            counters(one, "counterSet", errors);
        },
    ));
    device_placed(at, of_devices, errors);
}

/// A set of counters, or what a device takes of one.
fn counters(at: &At<'_>, name: &str, errors: &mut Vec<FieldError>) {
    errors.extend(at.need_judged(name, names::dns1123_label));
    let all = at.entries("counters");
    let path = at.path("counters");
    if all.is_empty() {
        errors.push(FieldError::required(path, ""));
    } else if all.len() > COUNTERS_MAX {
        errors.push(FieldError::too_many(path, all.len(), COUNTERS_MAX));
    } else {
        for (name, _) in all {
            let wrong = names::dns1123_label(name).into_iter();
            errors.extend(wrong.map(|why| FieldError::invalid(&path, name, why)));
        }
    }
}

fn attribute(at: &At<'_>, errors: &mut Vec<FieldError>) {
    let set = ["bool", "int", "string", "version"]
        .iter()
        .filter(|member| at.has(member))
        .count();
    if at.text("string").len() > VALUE_MAX {
        errors.push(FieldError::too_long(at.path("string"), VALUE_MAX));
    }
    if at.has("version") && !is_version(at.text("version")) {
        let why = "must be a string compatible with semver.org spec 2.0.0";
        errors.extend(at.invalid("version", [why]));
    }
    if at.text("version").len() > VALUE_MAX {
        errors.push(FieldError::too_long(at.path("version"), VALUE_MAX));
    }
    match set {
        0 => errors.push(FieldError::invalid(
            at.path(""),
            "",
            "exactly one value must be specified",
        )),
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
                "spec.devices[0].attributes",
            ),
            (json!({ "name": "a", "allNodes": true }), "spec.devices[0]"),
            (
                json!({ "name": "a", "consumesCounters": [{ "counterSet": "s" }] }),
                "spec.devices[0].consumesCounters[0].counters",
            ),
            (
                json!({ "name": "a", "capacity": { "m": { "value": "1", "requestPolicy": {} } } }),
                "spec.devices[0].capacity[m].requestPolicy",
            ),
        ] {
            let fields: Vec<String> = ResourceSlice::validate(&slice(device))
                .iter()
                .map(|e| e.field.clone())
                .collect();
            assert_eq!(fields, [field]);
        }
        let mut each = good.clone();
        each["spec"]["nodeName"] = Value::Null;
        each["spec"]["perDeviceNodeSelection"] = true.into();
        let errors = ResourceSlice::validate(&each);
        assert_eq!(errors[0].field, "spec.devices[0]");
        each["spec"]["devices"][0]["nodeName"] = "n".into();
        assert_eq!(ResourceSlice::validate(&each), []);
        each["spec"]["allNodes"] = false.into();
        let errors = ResourceSlice::validate(&each);
        assert_eq!(
            errors[0].to_string(),
            "spec.allNodes: Invalid value: false: must be either unset or set to true"
        );
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
