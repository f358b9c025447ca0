//! StatefulSet: pods with lasting names and volumes, one after the other.

use super::{
    amount::{is_same, not_above, not_negative},
    persistent_volume_claim, template,
};
use crate::{
    field::FieldError,
    kind::{Column, Kind, Subresource},
    metadata, names,
    read::{self, int, text},
};
use jiff::Timestamp;
use serde_json::{Value, json};

/// `apps/v1` StatefulSet.
pub struct StatefulSet;

/// What may change in a spec; everything else is forbidden to.
const MUTABLE: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];
const FROZEN: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";

impl Kind for StatefulSet {
    const GROUP: &'static str = "apps";
    const KIND: &'static str = "StatefulSet";
    const PLURAL: &'static str = "statefulsets";
    const SINGULAR: &'static str = "statefulset";
    const SHORT_NAMES: &'static [&'static str] = &["sts"];
    const CATEGORIES: &'static [&'static str] = &["all"];
    const SUBRESOURCES: &'static [Subresource] =
        &[Subresource::SCALE, Subresource::status("apps", "v1", "StatefulSet")];
    const KEY: &'static str = "statefulsets";
    const GENERATION: bool = true;
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::narrow("Ready", "string", "The pods that are ready, of those wished for."),
        Column::AGE,
        template::CONTAINERS,
        template::IMAGES,
    ];
    type Object = k8s_openapi::api::apps::v1::StatefulSet;

    /// Its pods' host names are made of it.
    fn check_name(name: &str) -> Vec<String> {
        names::dns1123_label(name)
    }

    fn default(set: &mut Value) {
        read::set_default(set, "spec", json!({}));
        let spec = &mut set["spec"];
        read::set_default_text(spec, "podManagementPolicy", "OrderedReady");
        read::set_default(spec, "updateStrategy", json!({}));
        let strategy = &mut spec["updateStrategy"];
        read::set_default_text(strategy, "type", "RollingUpdate");
        if text(strategy, "/type") == "RollingUpdate" {
            read::set_default(strategy, "rollingUpdate", json!({}));
            read::set_default(&mut strategy["rollingUpdate"], "partition", 0);
        }
        read::set_default(spec, "persistentVolumeClaimRetentionPolicy", json!({}));
        for when in ["whenDeleted", "whenScaled"] {
            read::set_default_text(&mut spec["persistentVolumeClaimRetentionPolicy"], when, "Retain");
        }
        read::set_default(spec, "replicas", 1);
        read::set_default(spec, "revisionHistoryLimit", 10);
        template::default_template(spec);
        let claims = spec.get_mut("volumeClaimTemplates").and_then(Value::as_array_mut);
        for claim in claims.into_iter().flatten() {
            claim["apiVersion"] = "v1".into();
            claim["kind"] = "PersistentVolumeClaim".into();
            persistent_volume_claim::default_claim(claim);
        }
        read::set_default(set, "status", json!({}));
        for count in ["replicas", "availableReplicas"] {
            read::set_default(&mut set["status"], count, 0);
        }
    }

    fn validate(set: &Value) -> Vec<FieldError> {
        let spec = &set["spec"];
        let mut errors = validate_policies(spec);
        errors.extend(not_negative(
            spec,
            "spec",
            &["replicas", "minReadySeconds", "revisionHistoryLimit"],
        ));
        errors.extend(not_negative(&spec["ordinals"], "spec.ordinals", &["start"]));
        errors.extend(template::validate_selector(
            spec,
            "empty selector is invalid for statefulset",
        ));
        errors.extend(template::validate_labels(&spec["template"], "spec.template"));
        errors.extend(template::validate_lasting(
            &spec["template"],
            "spec.template",
            "StatefulSet",
        ));
        errors
    }

    fn validate_update(new: &Value, old: &Value, subresource: &str) -> Vec<FieldError> {
        if subresource == "status" {
            return validate_status(new, old);
        }
        let mut errors = Self::validate(new);
        let fixed = |spec: &Value| {
            let mut spec = spec.clone();
            for member in MUTABLE {
                spec.as_object_mut().map(|s| s.shift_remove(member));
            }
            spec
        };
        if !is_same(Some(&fixed(&new["spec"])), Some(&fixed(&old["spec"]))) {
            errors.push(FieldError::forbidden("spec", FROZEN));
        }
        errors
    }

    fn row(set: &Value, now: Timestamp) -> Vec<Value> {
        let [containers, images] = template::cells(&set["spec"]["template"]);
        let (ready, wished) = (int(set, "/status/readyReplicas"), int(set, "/spec/replicas"));
        vec![
            metadata::name(set).into(),
            format!("{ready}/{wished}").into(),
            metadata::age(set, now).into(),
            containers,
            images,
        ]
    }
}

fn validate_policies(spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let management = text(spec, "/podManagementPolicy");
    if !["OrderedReady", "Parallel"].contains(&management) {
        let why = "must be 'OrderedReady' or 'Parallel'";
        errors.push(FieldError::invalid("spec.podManagementPolicy", management, why));
    }
    let (path, strategy) = ("spec.updateStrategy", &spec["updateStrategy"]);
    let rolling = read::some(strategy, "/rollingUpdate");
    match text(strategy, "/type") {
        "OnDelete" => errors.extend(rolling.map(|rolling| {
            let shown =
                json!({ "Partition": int(rolling, "/partition"), "MaxUnavailable": rolling.get("maxUnavailable") });
            let why = "only allowed for updateStrategy 'RollingUpdate'";
            FieldError::invalid(format!("{path}.rollingUpdate"), shown, why)
        })),
        "RollingUpdate" => {
            let (rolling, path) = (rolling.unwrap_or(&Value::Null), format!("{path}.rollingUpdate"));
            errors.extend(not_negative(rolling, &path, &["partition"]));
            errors.extend(super::amount::int_or_percent(rolling, &path, "maxUnavailable"));
            if rolling.get("maxUnavailable").is_some_and(|m| m == 0 || m == "0%") {
                let shown = rolling["maxUnavailable"].clone();
                errors.push(FieldError::invalid(
                    format!("{path}.maxUnavailable"),
                    shown,
                    "cannot be 0",
                ));
            }
            errors.extend(super::amount::not_above_all(rolling, &path, "maxUnavailable"));
        }
        kind => {
            let shown = json!({ "Type": kind, "RollingUpdate": rolling });
            let why = "must be 'RollingUpdate' or 'OnDelete'";
            errors.push(FieldError::invalid(path, shown, why));
        }
    }
    for when in ["whenDeleted", "whenScaled"] {
        let policy = text(spec, &format!("/persistentVolumeClaimRetentionPolicy/{when}"));
        if !["Delete", "Retain"].contains(&policy) {
            let field = format!("spec.persistentVolumeClaimRetentionPolicy.{when}");
            errors.push(FieldError::not_supported(field, policy, &["Retain", "Delete"]));
        }
    }
    errors
}

fn validate_status(new: &Value, old: &Value) -> Vec<FieldError> {
    let (status, path) = (&new["status"], "status");
    let parts = [
        "readyReplicas",
        "currentReplicas",
        "updatedReplicas",
        "availableReplicas",
    ];
    let mut errors = not_negative(status, path, &["replicas"]);
    errors.extend(not_negative(status, path, &parts));
    errors.extend(not_negative(status, path, &["observedGeneration", "collisionCount"]));
    errors.extend(not_above(
        status,
        path,
        &parts,
        "replicas",
        "cannot be greater than status.replicas",
    ));
    let ready = "cannot be greater than status.readyReplicas";
    errors.extend(not_above(status, path, &["availableReplicas"], "readyReplicas", ready));
    errors.extend(super::replica_set::collisions(new, old));
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(change: Value) -> Value {
        let mut object = json!({
            "metadata": { "name": "db" },
            "spec": {
                "serviceName": "db", "selector": { "matchLabels": { "app": "db" } },
                "template": { "metadata": { "labels": { "app": "db" } }, "spec": { "containers": [{ "name": "c", "image": "i" }] } },
                "volumeClaimTemplates": [{ "metadata": { "name": "data" }, "spec": { "accessModes": ["ReadWriteOnce"] } }],
            },
        });
        for (key, value) in change.as_object().into_iter().flatten() {
            object["spec"][key] = value.clone();
        }
        StatefulSet::default(&mut object);
        object
    }

    #[test]
    fn a_set_and_its_claims_are_filled_in() {
        let made = set(json!({}));
        assert_eq!(
            (&made["spec"]["updateStrategy"], &made["spec"]["podManagementPolicy"]),
            (
                &json!({ "type": "RollingUpdate", "rollingUpdate": { "partition": 0 } }),
                &json!("OrderedReady")
            )
        );
        let claim = &made["spec"]["volumeClaimTemplates"][0];
        assert_eq!(
            (&claim["kind"], &claim["spec"]["volumeMode"], &claim["status"]),
            (
                &json!("PersistentVolumeClaim"),
                &json!("Filesystem"),
                &json!({ "phase": "Pending" })
            )
        );
        assert_eq!(StatefulSet::validate(&made), []);
        assert_eq!(made["status"], json!({ "replicas": 0, "availableReplicas": 0 }));
    }

    #[test]
    fn only_some_of_the_spec_may_change() {
        let old = set(json!({}));
        let may =
            set(json!({ "replicas": 3, "minReadySeconds": 1, "revisionHistoryLimit": 3, "ordinals": { "start": 1 } }));
        assert_eq!(StatefulSet::validate_update(&may, &old, ""), []);
        let errors = StatefulSet::validate_update(&set(json!({ "serviceName": "x" })), &old, "");
        assert_eq!(
            errors.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [format!("spec: Forbidden: {FROZEN}")]
        );
    }

    #[test]
    fn mistakes_are_named_as_upstream() {
        for (change, message) in [
            (
                json!({ "podManagementPolicy": "X" }),
                "spec.podManagementPolicy: Invalid value: \"X\": must be 'OrderedReady' or 'Parallel'",
            ),
            (
                json!({ "updateStrategy": { "rollingUpdate": { "partition": -1 } } }),
                "spec.updateStrategy.rollingUpdate.partition: Invalid value: -1: must be greater than or equal to 0",
            ),
            (
                json!({ "persistentVolumeClaimRetentionPolicy": { "whenDeleted": "X" } }),
                "spec.persistentVolumeClaimRetentionPolicy.whenDeleted: Unsupported value: \"X\": supported values: \"Retain\", \"Delete\"",
            ),
            (
                json!({ "selector": {} }),
                "spec.selector: Invalid value: {}: empty selector is invalid for statefulset",
            ),
        ] {
            let messages: Vec<String> = StatefulSet::validate(&set(change))
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(messages, [message]);
        }
    }
}
