//! PersistentVolumeClaim: a wish for storage, bound to a volume.

mod source;

use super::amount::is_same;
use crate::{
    at::At,
    field::FieldError,
    kind::{Column, Context, Kind, SelectableField, Subresource},
    metadata, names,
    quantity::Quantity,
    read::{self, list, some, text},
    selector,
};
use jiff::Timestamp;
use serde_json::{Value, json};

/// `v1` PersistentVolumeClaim.
pub struct PersistentVolumeClaim;

/// How far a volume has grown, where it is not done.
const RESIZES: &[&str] = &[
    "ControllerResizeFailed",
    "ControllerResizeInProgress",
    "NodeResizeFailed",
    "NodeResizeInProgress",
    "NodeResizePending",
];

/// The access modes in the order in which they are listed, with what people call them.
const MODES: [(&str, &str); 4] = [
    ("ReadWriteOnce", "RWO"),
    ("ReadOnlyMany", "ROX"),
    ("ReadWriteMany", "RWX"),
    ("ReadWriteOncePod", "RWOP"),
];
/// Where the class stood before it had a field.
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
const FROZEN: &str =
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";

impl Kind for PersistentVolumeClaim {
    const KIND: &'static str = "PersistentVolumeClaim";
    const PLURAL: &'static str = "persistentvolumeclaims";
    const SINGULAR: &'static str = "persistentvolumeclaim";
    const SHORT_NAMES: &'static [&'static str] = &["pvc"];
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::status("", "v1", "PersistentVolumeClaim")];
    const KEY: &'static str = "persistentvolumeclaims";
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::narrow("Status", "string", "Whether it is bound, or waits."),
        Column::narrow("Volume", "string", "The volume that it has."),
        Column::narrow("Capacity", "string", "How much the volume holds."),
        Column::narrow("Access Modes", "string", "How the volume may be mounted."),
        Column::narrow("StorageClass", "string", "Its storage class."),
        Column::narrow("VolumeAttributesClass", "string", "Its volume attributes class."),
        Column::AGE,
        Column::wide("VolumeMode", "string", "Filesystem, or Block."),
    ];
    const FIELDS: &'static [SelectableField] = &[SelectableField {
        label: "name",
        read: |claim| metadata::name(claim).to_owned(),
    }];
    type Object = k8s_openapi::api::core::v1::PersistentVolumeClaim;

    fn default(claim: &mut Value) {
        default_claim(claim);
    }

    fn before_create(claim: &mut Value, _context: &Context<'_>) {
        claim["status"] = json!({ "phase": "Pending" });
        same_source(&mut claim["spec"]);
    }

    fn validate(claim: &Value) -> Vec<FieldError> {
        validate_spec(&At::new(&claim["spec"], "spec"))
    }

    fn validate_update(new: &Value, old: &Value, subresource: &str) -> Vec<FieldError> {
        if subresource == "status" {
            return validate_status(new);
        }
        let mut errors = Self::validate(new);
        errors.extend(validate_change(new, old));
        errors
    }

    fn row(claim: &Value, now: Timestamp) -> Vec<Value> {
        let bound = !text(claim, "/spec/volumeName").is_empty();
        let capacity = claim["status"]["capacity"]
            .get("storage")
            .and_then(Quantity::of)
            .filter(|_| bound);
        let modes = short_modes(list(claim, "/status/accessModes"));
        vec![
            metadata::name(claim).into(),
            phase(claim).into(),
            text(claim, "/spec/volumeName").into(),
            capacity
                .map_or_else(|| if bound { "0".to_owned() } else { String::new() }, |c| c.to_string())
                .into(),
            if bound { modes } else { String::new() }.into(),
            class(claim).into(),
            or_unset(text(claim, "/spec/volumeAttributesClassName")).into(),
            metadata::age(claim, now).into(),
            or_unset(text(claim, "/spec/volumeMode")).into(),
        ]
    }
}

/// Fills in what a claim is made of for a pod.
pub(super) fn default_template(template: &mut Value) {
    read::set_default(template, "spec", json!({}));
    read::set_default_text(&mut template["spec"], "volumeMode", "Filesystem");
    read::set_default(&mut template["spec"], "resources", json!({}));
}

/// Fills in a claim, or one of a StatefulSet's templates.
pub(super) fn default_claim(claim: &mut Value) {
    read::set_default(claim, "metadata", json!({}));
    read::set_default(claim, "spec", json!({}));
    read::set_default_text(&mut claim["spec"], "volumeMode", "Filesystem");
    read::set_default(&mut claim["spec"], "resources", json!({}));
    read::set_default(claim, "status", json!({}));
    read::set_default_text(&mut claim["status"], "phase", "Pending");
}

/// The old and the new name of where the data come from say the same, if the source is in the claim's namespace.
fn same_source(spec: &mut Value) {
    let (old, new) = (
        some(spec, "/dataSource").cloned(),
        some(spec, "/dataSourceRef").cloned(),
    );
    match (old, new) {
        (Some(source), None) => spec["dataSourceRef"] = source,
        (None, Some(source)) if text(&source, "/namespace").is_empty() => spec["dataSource"] = source,
        _ => {}
    }
}

/// What is wrong with the spec of a claim, or of a claim that is made for a pod (core `ValidatePersistentVolumeClaimSpec`).
pub(super) fn validate_spec(spec: &At<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if spec.list("accessModes").is_empty() {
        errors.push(spec.required("accessModes", "at least 1 access mode is required"));
    }
    if let Some(selector) = spec.some("selector") {
        errors.extend(selector::check(&selector));
    }
    errors.extend(validate_modes(spec));
    let field = spec.path("resources[storage]");
    match spec.value.pointer("/resources/requests/storage") {
        None | Some(Value::Null) => errors.push(FieldError::required(field, "")),
        Some(amount) => errors.extend(validate_positive(amount, &field)),
    }
    errors.extend(validate_class(spec));
    errors.extend(source::validate(spec));
    errors
}

/// Access modes: known ones, and the one for a single pod alone.
pub(super) fn validate_modes(spec: &At<'_>) -> Vec<FieldError> {
    let (path, modes) = (spec.path("accessModes"), spec.list("accessModes"));
    let known = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
    let is_known = |mode: &Value| known.iter().any(|k| mode == k);
    let strange = modes.iter().filter(|mode| !is_known(mode));
    let mut errors: Vec<FieldError> = strange
        .map(|mode| FieldError::not_supported(&path, mode.clone(), &known))
        .collect();
    let of_one_pod = |mode: &Value| mode == "ReadWriteOncePod";
    if modes.iter().any(of_one_pod) && modes.iter().any(|mode| is_known(mode) && !of_one_pod(mode)) {
        errors.push(FieldError::forbidden(
            path,
            "may not use ReadWriteOncePod with other access modes",
        ));
    }
    errors
}

/// An amount above zero.
pub(super) fn validate_positive(amount: &Value, path: &str) -> Vec<FieldError> {
    match Quantity::of(amount) {
        Some(amount) if amount.is_negative() || amount.is_zero() => {
            vec![FieldError::invalid(
                path,
                amount.to_string(),
                "must be greater than zero",
            )]
        }
        Some(_) | None => Vec::new(),
    }
}

/// The storage class and the mode of a claim's or a volume's spec.
pub(super) fn validate_class(spec: &At<'_>) -> Vec<FieldError> {
    let mut errors = spec.judge("storageClassName", names::dns1123_subdomain);
    errors.extend(spec.one_of("volumeMode", &["Block", "Filesystem"]));
    errors.extend(spec.judge("volumeAttributesClassName", names::dns1123_subdomain));
    errors
}

fn validate_change(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let bound = text(old, "/status/phase") == "Bound";
    let fixed = |object: &Value| {
        let mut spec = object["spec"].clone();
        let mut drop = |member: &str| spec.as_object_mut().map(|s| s.shift_remove(member));
        // A volume is named once; a class may come late, from the cluster's default.
        if text(old, "/spec/volumeName").is_empty() {
            drop("volumeName");
        }
        if some(old, "/spec/storageClassName").is_none() {
            drop("storageClassName");
        }
        drop("volumeAttributesClassName");
        if bound && let Some(requests) = spec.pointer_mut("/resources/requests").and_then(Value::as_object_mut) {
            requests.shift_remove("storage");
        }
        spec
    };
    let (now, before) = (fixed(new), fixed(old));
    if !is_same(Some(&now), Some(&before)) {
        errors.push(FieldError::forbidden("spec", format!("{FROZEN}\n{before} -> {now}")));
    }
    let wished = |object: &Value| {
        object["spec"]["resources"]["requests"]
            .get("storage")
            .and_then(Quantity::of)
    };
    let has = old["status"]["capacity"].get("storage").and_then(Quantity::of);
    if let (Some(now), Some(before)) = (wished(new), wished(old))
        && now < before
        && has.is_none_or(|has| now <= has)
    {
        let why = "field can not be less than status.capacity";
        errors.push(FieldError::forbidden("spec.resources.requests.storage", why));
    }
    if !is_same(new["spec"].get("volumeMode"), old["spec"].get("volumeMode")) {
        let mode = new["spec"]["volumeMode"].clone();
        errors.push(FieldError::invalid("volumeMode", mode, "field is immutable"));
    }
    errors.extend(validate_attributes(new, old));
    errors
}

/// Attributes may change, and may not go.
fn validate_attributes(new: &Value, old: &Value) -> Option<FieldError> {
    some(old, "/spec/volumeAttributesClassName")?;
    let why = match some(new, "/spec/volumeAttributesClassName").and_then(Value::as_str) {
        None => "update from non-nil value to nil is forbidden",
        Some("") if !text(old, "/spec/volumeAttributesClassName").is_empty() => {
            "update from non-nil value to an empty string is forbidden"
        }
        Some(_) => return None,
    };
    Some(FieldError::forbidden("spec.volumeAttributesClassName", why))
}

fn validate_status(claim: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (resource, state) in read::entries(claim, "/status/allocatedResourceStatuses") {
        let path = "status.allocatedResourceStatus";
        errors.extend(resource_key(resource, path));
        if !RESIZES.iter().any(|known| state == known) {
            errors.push(FieldError::not_supported(path, resource, RESIZES));
        }
    }
    for member in ["capacity", "allocatedResources"] {
        for (resource, amount) in read::entries(claim, &format!("/status/{member}")) {
            if member == "allocatedResources" {
                errors.extend(resource_key(resource, "status.allocatedResources"));
            }
            if let Some(amount) = Quantity::of(amount).filter(|a| a.is_negative()) {
                let (field, why) = (
                    format!("status.{member}[{resource}]"),
                    "must be greater than or equal to 0",
                );
                errors.push(FieldError::invalid(field, amount.to_string(), why));
            }
        }
    }
    errors
}

/// Of Kubernetes' own resources a claim has storage alone.
fn resource_key(resource: &str, path: &str) -> Vec<FieldError> {
    let wrong = names::qualified_name(resource);
    let is_own = resource
        .split_once('/')
        .is_none_or(|(domain, _)| domain.contains("kubernetes.io"));
    if wrong.is_empty() && is_own && resource != "storage" {
        return vec![FieldError::not_supported(path, resource, &["storage"])];
    }
    let wrong = wrong.into_iter();
    wrong.map(|m| FieldError::invalid(path, resource, m)).collect()
}

/// `RWO,ROX`.
pub(super) fn short_modes(modes: &[Value]) -> String {
    let given = MODES.iter().filter(|(mode, _)| modes.iter().any(|m| m == mode));
    given.map(|(_, short)| *short).collect::<Vec<_>>().join(",")
}

/// Its phase, or that it is on its way out.
pub(super) fn phase(object: &Value) -> &str {
    if metadata::is_deleting(object) {
        "Terminating"
    } else {
        text(object, "/status/phase")
    }
}

/// Its storage class, from the field or from the annotation that came before it.
pub(super) fn class(object: &Value) -> &str {
    let annotation = object
        .pointer("/metadata/annotations")
        .and_then(|a| a.get(CLASS_ANNOTATION));
    annotation
        .and_then(Value::as_str)
        .unwrap_or_else(|| text(object, "/spec/storageClassName"))
}

/// What a table shows for a pointer to nothing.
pub(super) fn or_unset(text: &str) -> &str {
    if text.is_empty() { "<unset>" } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(change: Value) -> Value {
        let mut object = json!({
            "metadata": { "name": "c" },
            "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } },
        });
        for (key, value) in change.as_object().into_iter().flatten() {
            object["spec"][key] = value.clone();
        }
        PersistentVolumeClaim::default(&mut object);
        object
    }

    #[test]
    fn a_claim_is_filled_in_and_read() {
        let mut made = claim(json!({ "volumeName": "v" }));
        assert_eq!(PersistentVolumeClaim::validate(&made), []);
        made["status"] =
            json!({ "phase": "Bound", "capacity": { "storage": "2Gi" }, "accessModes": ["ReadWriteOnce"] });
        let cells = json!([
            "c",
            "Bound",
            "v",
            "2Gi",
            "RWO",
            "",
            "<unset>",
            "<unknown>",
            "Filesystem"
        ]);
        assert_eq!(
            Value::from(PersistentVolumeClaim::row(&made, Timestamp::UNIX_EPOCH)),
            cells
        );
    }

    #[test]
    fn mistakes_are_named_as_upstream() {
        for (change, message) in [
            (
                json!({ "accessModes": [] }),
                "spec.accessModes: Required value: at least 1 access mode is required",
            ),
            (
                json!({ "accessModes": ["ReadWriteOncePod", "ReadOnlyMany"] }),
                "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
            ),
            (json!({ "resources": {} }), "spec.resources[storage]: Required value"),
            (
                json!({ "volumeMode": "X" }),
                "spec.volumeMode: Unsupported value: \"X\": supported values: \"Block\", \"Filesystem\"",
            ),
        ] {
            let messages: Vec<String> = PersistentVolumeClaim::validate(&claim(change))
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(messages, [message]);
        }
    }

    #[test]
    fn a_bound_claim_may_only_grow() {
        let mut old = claim(json!({ "volumeName": "v" }));
        let with =
            |storage: &str| claim(json!({ "volumeName": "v", "resources": { "requests": { "storage": storage } } }));
        assert!(
            PersistentVolumeClaim::validate_update(&with("2Gi"), &old, "")[0]
                .to_string()
                .starts_with(&format!("spec: Forbidden: {FROZEN}\n"))
        );
        old["status"] = json!({ "phase": "Bound", "capacity": { "storage": "1Gi" } });
        assert_eq!(PersistentVolumeClaim::validate_update(&with("2Gi"), &old, ""), []);
        assert_eq!(
            PersistentVolumeClaim::validate_update(&with("1Mi"), &old, "")[0].to_string(),
            "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"
        );
        let unbound = claim(json!({}));
        assert_eq!(
            PersistentVolumeClaim::validate_update(&claim(json!({ "volumeName": "v" })), &unbound, ""),
            []
        );
    }
}
