//! PersistentVolume: a piece of storage of the cluster, bound to a claim.

use super::{amount::is_same, persistent_volume_claim as claim, pod, volume_source};
use crate::{
    at::At,
    field::FieldError,
    kind::{Column, Context, Kind, SelectableField, Subresource},
    metadata, names,
    quantity::Quantity,
    read::{self, entries, list, some, text},
};
use jiff::Timestamp;
use serde_json::{Value, json};

/// `v1` PersistentVolume.
pub struct PersistentVolume;

/// Members of the spec that are no source of storage.
const NO_SOURCE: &[&str] = &[
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];

/// Sources in the order in which upstream looks at them, as pods' are (`pod/volume.rs`).
const SOURCES: &[(&str, &str, &str)] = &[
    ("hostPath", "hostPath", "hostPath"),
    ("gcePersistentDisk", "gcePersistentDisk", "persistentDisk"),
    ("awsElasticBlockStore", "awsElasticBlockStore", "awsElasticBlockStore"),
    ("glusterfs", "glusterfs", "glusterfs"),
    ("flocker", "flocker", "flocker"),
    ("nfs", "nfs", "nfs"),
    ("rbd", "rbd", "rbd"),
    ("quobyte", "quobyte", "quobyte"),
    ("cephfs", "cephFS", "cephfs"),
    ("iscsi", "iscsi", "iscsi"),
    ("cinder", "cinder", "cinder"),
    ("fc", "fc", "fc"),
    ("flexVolume", "flexVolume", "flexVolume"),
    ("azureFile", "azureFile", "azureFile"),
    ("vsphereVolume", "vsphereVolume", "vsphereVolume"),
    ("photonPersistentDisk", "photonPersistentDisk", "photonPersistentDisk"),
    ("portworxVolume", "portworxVolume", "portworxVolume"),
    ("azureDisk", "azureDisk", "azureDisk"),
    ("scaleIO", "scaleIO", "scaleIO"),
    ("local", "local", "local"),
    ("storageos", "storageos", "storageos"),
    ("csi", "csi", "csi"),
];

impl Kind for PersistentVolume {
    const KIND: &'static str = "PersistentVolume";
    const PLURAL: &'static str = "persistentvolumes";
    const SINGULAR: &'static str = "persistentvolume";
    const SHORT_NAMES: &'static [&'static str] = &["pv"];
    const NAMESPACED: bool = false;
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::status("", "v1", "PersistentVolume")];
    const KEY: &'static str = "persistentvolumes";
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::narrow("Capacity", "string", "How much it holds."),
        Column::narrow("Access Modes", "string", "How it may be mounted."),
        Column::narrow("Reclaim Policy", "string", "What becomes of it after its claim."),
        Column::narrow("Status", "string", "Whether it is bound, free or released."),
        Column::narrow("Claim", "string", "Who has it."),
        Column::narrow("StorageClass", "string", "Its storage class."),
        Column::narrow("VolumeAttributesClass", "string", "Its volume attributes class."),
        Column::narrow("Reason", "string", "Why it is in this state."),
        Column::AGE,
        Column::wide("VolumeMode", "string", "Filesystem, or Block."),
    ];
    const FIELDS: &'static [SelectableField] = &[SelectableField {
        label: "name",
        read: |volume| metadata::name(volume).to_owned(),
    }];
    type Object = k8s_openapi::api::core::v1::PersistentVolume;

    fn default(volume: &mut Value) {
        read::set_default(volume, "spec", json!({}));
        let spec = &mut volume["spec"];
        read::set_default_text(spec, "persistentVolumeReclaimPolicy", "Retain");
        read::set_default_text(spec, "volumeMode", "Filesystem");
        for (source, member, value) in [
            ("hostPath", "type", json!("")),
            ("iscsi", "iscsiInterface", json!("default")),
            ("rbd", "pool", json!("rbd")),
            ("rbd", "user", json!("admin")),
            ("rbd", "keyring", json!("/etc/ceph/keyring")),
            ("scaleIO", "storageMode", json!("ThinProvisioned")),
            ("scaleIO", "fsType", json!("xfs")),
        ] {
            if let Some(source) = spec.get_mut(source).filter(|s| !s.is_null()) {
                read::set_default(source, member, value);
            }
        }
        read::set_default(volume, "status", json!({}));
        read::set_default_text(&mut volume["status"], "phase", "Pending");
    }

    fn before_create(volume: &mut Value, context: &Context<'_>) {
        volume["status"] = json!({ "phase": "Pending", "lastPhaseTransitionTime": context.now });
    }

    fn before_update(new: &mut Value, old: &Value, context: &Context<'_>) {
        let at = "/status/lastPhaseTransitionTime";
        let moved = text(new, "/status/phase") != text(old, "/status/phase");
        if context.subresource == "status" && moved && (text(new, at).is_empty() || text(new, at) == text(old, at)) {
            new["status"]["lastPhaseTransitionTime"] = context.now.into();
        }
    }

    fn validate(volume: &Value) -> Vec<FieldError> {
        let spec = At::new(&volume["spec"], "spec");
        let mut errors = access(&spec);
        errors.extend(validate_capacity(&spec));
        errors.extend(spec.one_of("persistentVolumeReclaimPolicy", &["Delete", "Recycle", "Retain"]));
        if let Some(affinity) = spec.some("nodeAffinity") {
            match affinity.some("required") {
                Some(required) => errors.extend(pod::node_selector(&required)),
                None => errors.push(affinity.required("required", "must specify required node constraints")),
            }
        }
        errors.extend(validate_source(&spec, metadata::name(volume)));
        if text(spec.value, "/hostPath/path") == "/" && spec.text("persistentVolumeReclaimPolicy") == "Recycle" {
            let why = "may not be 'recycle' for a hostPath mount of '/'";
            errors.push(spec.forbidden("persistentVolumeReclaimPolicy", why));
        }
        errors.extend(claim::validate_class(&spec));
        errors.extend(attributes_class(&spec));
        errors
    }

    fn validate_update(new: &Value, old: &Value, subresource: &str) -> Vec<FieldError> {
        if subresource == "status" {
            return Vec::new();
        }
        let mut errors = Self::validate(new);
        let has_secret = |object: &Value| some(object, "/spec/csi/controllerExpandSecretRef").is_some();
        let comes_late = some(old, "/spec/csi").is_some() && !has_secret(old);
        let source = |object: &Value| -> Value {
            let members = entries(object, "/spec").filter(|(member, _)| !NO_SOURCE.contains(member));
            let mut source: Value = members
                .map(|(member, source)| (member.to_owned(), source.clone()))
                .collect();
            // It may be set later than the rest.
            if comes_late && let Some(csi) = source.get_mut("csi").and_then(Value::as_object_mut) {
                csi.shift_remove("controllerExpandSecretRef");
            }
            source
        };
        if !is_same(Some(&source(new)), Some(&source(old))) {
            let why = format!(
                "spec.persistentvolumesource is immutable after creation\n{} -> {}",
                source(old),
                source(new)
            );
            errors.push(FieldError::forbidden("spec.persistentvolumesource", why));
        }
        // Upstream names both without the spec.
        for (member, more) in [
            ("volumeMode", ""),
            ("nodeAffinity", ", except for updating from beta label to GA"),
        ] {
            let (now, before) = (new["spec"].get(member), old["spec"].get(member));
            let may_come = member == "nodeAffinity" && some(old, "/spec/nodeAffinity").is_none();
            if !may_come && !is_same(now, before) {
                let why = format!("field is immutable{more}");
                errors.push(FieldError::invalid(member, now.cloned().unwrap_or_default(), why));
            }
        }
        if some(old, "/spec/volumeAttributesClassName").is_some()
            && some(new, "/spec/volumeAttributesClassName").is_none()
        {
            let why = "update from non-nil value to nil is forbidden";
            errors.push(FieldError::forbidden("spec.volumeAttributesClassName", why));
        }
        errors
    }

    fn row(volume: &Value, now: Timestamp) -> Vec<Value> {
        let claim_name = match text(volume, "/spec/claimRef/name") {
            "" => String::new(),
            name => format!("{}/{name}", text(volume, "/spec/claimRef/namespace")),
        };
        let capacity = volume["spec"]["capacity"].get("storage").and_then(Quantity::of);
        vec![
            metadata::name(volume).into(),
            capacity.map_or_else(|| "0".to_owned(), |c| c.to_string()).into(),
            claim::short_modes(list(volume, "/spec/accessModes")).into(),
            text(volume, "/spec/persistentVolumeReclaimPolicy").into(),
            claim::phase(volume).into(),
            claim_name.into(),
            claim::class(volume).into(),
            claim::or_unset(text(volume, "/spec/volumeAttributesClassName")).into(),
            text(volume, "/status/reason").into(),
            metadata::age(volume, now).into(),
            claim::or_unset(text(volume, "/spec/volumeMode")).into(),
        ]
    }
}

/// What is wrong with a volume that stands inside an attachment instead of being an object (upstream's inline volumes).
pub(super) fn validate_inline(spec: &At<'_>) -> Vec<FieldError> {
    let inline = "in the context of inline volumes";
    let refuse = |member: &str| spec.forbidden(member, format!("may not be specified {inline}"));
    let mut errors: Vec<FieldError> = Vec::new();
    errors.extend(spec.has("claimRef").then(|| refuse("claimRef")));
    errors.extend((!spec.entries("capacity").is_empty()).then(|| refuse("capacity")));
    if !spec.has("csi") {
        errors.push(spec.required("csi", format!("has to be specified {inline}")));
    }
    errors.extend(access(spec));
    if !matches!(spec.text("persistentVolumeReclaimPolicy"), "" | "Retain") {
        let why = format!("may only be Retain {inline}");
        errors.push(spec.forbidden("persistentVolumeReclaimPolicy", why));
    }
    errors.extend(spec.has("nodeAffinity").then(|| refuse("nodeAffinity")));
    errors.extend(validate_source(spec, ""));
    errors.extend((!spec.text("storageClassName").is_empty()).then(|| refuse("storageClassName")));
    if spec.has("volumeMode") && spec.text("volumeMode") != "Filesystem" {
        let why = format!("may not specify volumeMode other than Filesystem {inline}");
        errors.push(spec.forbidden("volumeMode", why));
    }
    errors.extend(spec.judge("volumeAttributesClassName", names::dns1123_subdomain));
    errors.extend(attributes_class(spec));
    errors
}

fn access(spec: &At<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if spec.list("accessModes").is_empty() {
        errors.push(spec.required("accessModes", ""));
    }
    errors.extend(claim::validate_modes(spec));
    errors
}

fn attributes_class(spec: &At<'_>) -> Vec<FieldError> {
    let Some(class) = spec.some("volumeAttributesClassName") else {
        return Vec::new();
    };
    let mut errors = Vec::new();
    if class.as_text().is_empty() {
        errors.push(class.required("", "an empty string is disallowed"));
    }
    if !spec.has("csi") {
        let why = "has to be specified when using volumeAttributesClassName";
        errors.push(spec.required("csi", why));
    }
    errors
}

fn validate_capacity(spec: &At<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let capacity = spec.entries("capacity");
    if capacity.is_empty() {
        errors.push(spec.required("capacity", ""));
    }
    if !matches!(capacity[..], [("storage", _)]) {
        let value = spec.value.get("capacity").cloned().unwrap_or_default();
        errors.push(FieldError::not_supported(spec.path("capacity"), value, &["storage"]));
    }
    for (_, amount) in capacity {
        if Quantity::of(amount.value).is_some_and(Quantity::is_negative) {
            errors.extend(amount.invalid("", ["must be a valid resource quantity"]));
        }
        errors.extend(claim::validate_positive(amount.value, &amount.path("")));
    }
    errors
}

fn validate_source(spec: &At<'_>, name: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut count = 0;
    for (kind, many, inner) in SOURCES {
        let Some(source) = spec.some(kind) else { continue };
        count += 1;
        if count > 1 {
            errors.push(spec.forbidden(many, "may not specify more than 1 volume type"));
            continue;
        }
        let source = At::new(source.value, spec.path(inner));
        errors.extend(volume_source::validate(kind, &source));
        errors.extend(match *kind {
            "local" => local(&source, spec),
            "csi" => csi(&source),
            "iscsi" => iscsi(&source, name),
            "azureFile" if source.has("secretNamespace") => source.need("secretNamespace").into_iter().collect(),
            "glusterfs" if source.has("endpointsNamespace") => namespace(&source),
            "cinder" | "storageos" => match source.some("secretRef") {
                Some(secret) => secret.need("namespace").into_iter().collect(),
                None => Vec::new(),
            },
            _ => Vec::new(),
        });
    }
    if count == 0 {
        errors.push(spec.required("", "must specify a volume type"));
    }
    errors
}

fn local(source: &At<'_>, spec: &At<'_>) -> Vec<FieldError> {
    let mut errors = source.need_judged("path", volume_source::no_backsteps);
    if !spec.has("nodeAffinity") {
        errors.push(spec.required("nodeAffinity", "Local volume requires node affinity"));
    }
    errors
}

fn csi(source: &At<'_>) -> Vec<FieldError> {
    let mut errors = volume_source::csi_driver(source, "driver");
    errors.extend(source.need("volumeHandle"));
    for member in [
        "controllerPublishSecretRef",
        "controllerExpandSecretRef",
        "nodePublishSecretRef",
        "nodeExpandSecretRef",
    ] {
        if let Some(secret) = source.some(member) {
            errors.extend(secret.need_judged("name", names::dns1123_subdomain));
            errors.extend(secret.need_judged("namespace", names::dns1123_label));
        }
    }
    errors
}

fn iscsi(source: &At<'_>, name: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let portal = source.text("targetPortal");
    if source.has("initiatorName") && name.len() + 1 + portal.len() > 64 {
        let why = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.";
        errors.push(FieldError::invalid(source.path("targetportal"), portal, why));
    }
    if let Some(secret) = source.some("secretRef") {
        errors.extend(secret.need("name"));
    }
    errors
}

fn namespace(source: &At<'_>) -> Vec<FieldError> {
    let member = "endpointsNamespace";
    match source.text(member) {
        "" => source.invalid(
            member,
            ["if the endpointnamespace is set, it must be a valid namespace name"],
        ),
        name => source.invalid(member, names::dns1123_label(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(change: Value) -> Value {
        let mut object = json!({
            "metadata": { "name": "v" },
            "spec": { "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteOnce"], "hostPath": { "path": "/a" } },
        });
        for (key, value) in change.as_object().into_iter().flatten() {
            object["spec"][key] = value.clone();
        }
        PersistentVolume::default(&mut object);
        object
    }

    #[test]
    fn a_volume_is_filled_in_and_read() {
        let made = volume(json!({ "claimRef": { "namespace": "n", "name": "c" } }));
        assert_eq!(PersistentVolume::validate(&made), []);
        let cells = json!([
            "v",
            "1Gi",
            "RWO",
            "Retain",
            "Pending",
            "n/c",
            "",
            "<unset>",
            "",
            "<unknown>",
            "Filesystem"
        ]);
        assert_eq!(Value::from(PersistentVolume::row(&made, Timestamp::UNIX_EPOCH)), cells);
    }

    #[test]
    fn mistakes_are_named_as_upstream() {
        for (change, message) in [
            (json!({ "accessModes": [] }), "spec.accessModes: Required value"),
            (
                json!({ "accessModes": ["ReadWriteOncePod", "ReadOnlyMany"] }),
                "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
            ),
            (
                json!({ "capacity": { "cpu": "1" } }),
                "spec.capacity: Unsupported value: {\"cpu\":\"1\"}: supported values: \"storage\"",
            ),
            (
                json!({ "nodeAffinity": {} }),
                "spec.nodeAffinity.required: Required value: must specify required node constraints",
            ),
            (
                json!({ "hostPath": null, "csi": { "driver": "d", "volumeHandle": "h", "nodePublishSecretRef": { "name": "s" } } }),
                "spec.csi.nodePublishSecretRef.namespace: Required value",
            ),
            (
                json!({ "volumeAttributesClassName": "c" }),
                "spec.csi: Required value: has to be specified when using volumeAttributesClassName",
            ),
            (
                json!({ "capacity": { "storage": "0" } }),
                "spec.capacity[storage]: Invalid value: \"0\": must be greater than zero",
            ),
            (
                json!({ "hostPath": null }),
                "spec: Required value: must specify a volume type",
            ),
            (
                json!({ "nfs": { "server": "s", "path": "/" } }),
                "spec.nfs: Forbidden: may not specify more than 1 volume type",
            ),
            (
                json!({ "hostPath": null, "local": { "path": "/a" } }),
                "spec.nodeAffinity: Required value: Local volume requires node affinity",
            ),
            (
                json!({ "persistentVolumeReclaimPolicy": "X" }),
                "spec.persistentVolumeReclaimPolicy: Unsupported value: \"X\": supported values: \"Delete\", \"Recycle\", \"Retain\"",
            ),
        ] {
            let messages: Vec<String> = PersistentVolume::validate(&volume(change))
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(messages, [message]);
        }
        let errors =
            PersistentVolume::validate_update(&volume(json!({ "hostPath": { "path": "/b" } })), &volume(json!({})), "");
        assert!(errors[0].to_string().starts_with(
            "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation\n"
        ));
    }
}
