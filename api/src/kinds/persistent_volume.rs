//! PersistentVolume: a piece of storage of the cluster, bound to a claim.

use super::{amount::is_same, persistent_volume_claim as claim};
use crate::{
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
        let spec = &volume["spec"];
        let mut errors = claim::validate_modes(spec, "");
        errors.extend(validate_capacity(spec));
        let policy = text(spec, "/persistentVolumeReclaimPolicy");
        let policies = ["Delete", "Recycle", "Retain"];
        if !policies.contains(&policy) {
            errors.push(FieldError::not_supported(
                "spec.persistentVolumeReclaimPolicy",
                policy,
                &policies,
            ));
        }
        errors.extend(validate_source(spec));
        if text(spec, "/hostPath/path") == "/" && policy == "Recycle" {
            let why = "may not be 'recycle' for a hostPath mount of '/'";
            errors.push(FieldError::forbidden("spec.persistentVolumeReclaimPolicy", why));
        }
        errors.extend(claim::validate_class(spec));
        errors
    }

    fn validate_update(new: &Value, old: &Value, subresource: &str) -> Vec<FieldError> {
        if subresource == "status" {
            return Vec::new();
        }
        let mut errors = Self::validate(new);
        let source = |object: &Value| -> Value {
            let members = entries(object, "/spec").filter(|(member, _)| !NO_SOURCE.contains(member));
            members
                .map(|(member, source)| (member.to_owned(), source.clone()))
                .collect()
        };
        if !is_same(Some(&source(new)), Some(&source(old))) {
            let why = format!(
                "spec.persistentvolumesource is immutable after creation\n{} -> {}",
                source(old),
                source(new)
            );
            errors.push(FieldError::forbidden("spec.persistentvolumesource", why));
        }
        errors.extend(super::amount::immutable(new, old, "spec.volumeMode"));
        if some(old, "/spec/nodeAffinity").is_some() {
            errors.extend(super::amount::immutable(new, old, "spec.nodeAffinity"));
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

fn validate_capacity(spec: &Value) -> Vec<FieldError> {
    let capacity: Vec<(&str, &Value)> = entries(spec, "/capacity").collect();
    match capacity[..] {
        [] => vec![FieldError::required("spec.capacity", "")],
        [("storage", amount)] => claim::validate_positive(amount, "spec.capacity[storage]"),
        _ => vec![FieldError::not_supported(
            "spec.capacity",
            spec["capacity"].clone(),
            &["storage"],
        )],
    }
}

fn validate_source(spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let sources: Vec<(&str, &Value)> = entries(spec, "")
        .filter(|(member, source)| !NO_SOURCE.contains(member) && !source.is_null())
        .collect();
    if sources.is_empty() {
        errors.push(FieldError::required("spec", "must specify a volume type"));
    }
    for (number, (kind, source)) in sources.into_iter().enumerate() {
        let path = format!("spec.{kind}");
        if number > 0 {
            errors.push(FieldError::forbidden(path, "may not specify more than 1 volume type"));
            continue;
        }
        let required: &[&str] = match kind {
            "hostPath" | "local" => &["path"],
            "nfs" => &["server", "path"],
            "csi" => &["driver", "volumeHandle"],
            "fc" | "iscsi" => &[],
            _ => &[],
        };
        for member in required
            .iter()
            .filter(|member| text(source, &format!("/{member}")).is_empty())
        {
            errors.push(FieldError::required(format!("{path}.{member}"), ""));
        }
        if text(source, "/path").split('/').any(|part| part == "..") {
            let at = text(source, "/path");
            errors.push(FieldError::invalid(format!("{path}.path"), at, "must not contain '..'"));
        }
        if kind == "local" && some(spec, "/nodeAffinity/required").is_none() {
            errors.push(FieldError::required(
                "spec.nodeAffinity",
                "Local volume requires node affinity",
            ));
        }
        if kind == "csi" {
            let driver = text(source, "/driver");
            let wrong = names::dns1123_subdomain(&driver.to_lowercase());
            if !driver.is_empty() {
                errors.extend(
                    wrong
                        .into_iter()
                        .map(|m| FieldError::invalid(format!("{path}.driver"), driver, m)),
                );
            }
        }
    }
    errors
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
            (json!({ "capacity": {} }), "spec.capacity: Required value"),
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
