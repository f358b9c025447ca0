//! Deployment: pods of one template, replaced step by step when the template changes.

use super::{
    amount::{immutable, int_or_percent, is_zero, not_above, not_above_all, not_negative},
    template,
};
use crate::{
    field::FieldError,
    kind::{Column, Context, Kind, Subresource},
    metadata,
    read::{self, int, text},
    selector,
};
use jiff::Timestamp;
use serde_json::{Value, json};

/// `apps/v1` Deployment.
pub struct Deployment;

impl Kind for Deployment {
    const GROUP: &'static str = "apps";
    const KIND: &'static str = "Deployment";
    const PLURAL: &'static str = "deployments";
    const SINGULAR: &'static str = "deployment";
    const SHORT_NAMES: &'static [&'static str] = &["deploy"];
    const CATEGORIES: &'static [&'static str] = &["all"];
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::SCALE, Subresource::status("apps", "v1", "Deployment")];
    const KEY: &'static str = "deployments";
    const GENERATION: bool = true;
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::narrow("Ready", "string", "The pods that are ready, of those wished for."),
        Column::narrow("Up-to-date", "string", "The pods of the present template."),
        Column::narrow("Available", "string", "The pods that are ready for long enough."),
        Column::AGE,
        template::CONTAINERS,
        template::IMAGES,
        template::SELECTOR,
    ];
    type Object = k8s_openapi::api::apps::v1::Deployment;

    fn default(deployment: &mut Value) {
        read::set_default(deployment, "spec", json!({}));
        read::set_default(deployment, "status", json!({}));
        let spec = &mut deployment["spec"];
        read::set_default(spec, "replicas", 1);
        read::set_default(spec, "strategy", json!({}));
        let strategy = &mut spec["strategy"];
        read::set_default_text(strategy, "type", "RollingUpdate");
        if text(strategy, "/type") == "RollingUpdate" {
            read::set_default(strategy, "rollingUpdate", json!({}));
            read::set_default(&mut strategy["rollingUpdate"], "maxUnavailable", "25%");
            read::set_default(&mut strategy["rollingUpdate"], "maxSurge", "25%");
        }
        read::set_default(spec, "revisionHistoryLimit", 10);
        read::set_default(spec, "progressDeadlineSeconds", 600);
        template::default_template(spec);
    }

    fn before_update(new: &mut Value, old: &Value, context: &Context<'_>) {
        let annotations = |o: &Value| o.pointer("/metadata/annotations").cloned();
        match context.subresource {
            "status" => metadata::restore_metadata(new, old, "labels"),
            // Tools keep wishes in annotations, so these count as well.
            "" if annotations(new) != annotations(old) => {
                new["metadata"]["generation"] = (int(old, "/metadata/generation") + 1).into();
            }
            _ => {}
        }
    }

    fn validate(deployment: &Value) -> Vec<FieldError> {
        let spec = &deployment["spec"];
        let counts = [
            "replicas",
            "minReadySeconds",
            "revisionHistoryLimit",
            "progressDeadlineSeconds",
        ];
        let mut errors = not_negative(spec, "spec", &counts);
        errors.extend(template::validate_selector(
            spec,
            "empty selector is invalid for deployment",
        ));
        errors.extend(template::validate(&spec["template"], "spec.template"));
        errors.extend(template::validate_lasting(
            &spec["template"],
            "spec.template",
            "ReplicaSet",
        ));
        errors.extend(validate_strategy(&spec["strategy"]));
        let deadline = int(spec, "/progressDeadlineSeconds");
        if spec.get("progressDeadlineSeconds").is_some() && deadline <= int(spec, "/minReadySeconds") {
            let why = "must be greater than minReadySeconds";
            errors.push(FieldError::invalid("spec.progressDeadlineSeconds", deadline, why));
        }
        errors
    }

    fn validate_update(new: &Value, old: &Value, subresource: &str) -> Vec<FieldError> {
        if subresource == "status" {
            return validate_status(new, old);
        }
        let mut errors = Self::validate(new);
        errors.extend(immutable(new, old, "spec.selector"));
        errors
    }

    fn row(deployment: &Value, now: Timestamp) -> Vec<Value> {
        let [containers, images] = template::cells(&deployment["spec"]["template"]);
        let (ready, wished) = (
            int(deployment, "/status/readyReplicas"),
            int(deployment, "/spec/replicas"),
        );
        vec![
            metadata::name(deployment).into(),
            format!("{ready}/{wished}").into(),
            int(deployment, "/status/updatedReplicas").into(),
            int(deployment, "/status/availableReplicas").into(),
            metadata::age(deployment, now).into(),
            containers,
            images,
            selector::shown(Some(&deployment["spec"]["selector"])).into(),
        ]
    }
}

fn validate_strategy(strategy: &Value) -> Vec<FieldError> {
    let path = "spec.strategy.rollingUpdate";
    let rolling = read::some(strategy, "/rollingUpdate");
    match (text(strategy, "/type"), rolling) {
        ("Recreate", None) => Vec::new(),
        ("Recreate", Some(_)) => {
            let why = "may not be specified when strategy `type` is 'Recreate'";
            vec![FieldError::forbidden(path, why)]
        }
        ("RollingUpdate", None) => vec![FieldError::required(path, "this should be defaulted and never be nil")],
        ("RollingUpdate", Some(rolling)) => {
            let mut errors = int_or_percent(rolling, path, "maxUnavailable");
            errors.extend(int_or_percent(rolling, path, "maxSurge"));
            if is_zero(rolling, "maxUnavailable") && is_zero(rolling, "maxSurge") {
                errors.push(FieldError::invalid(
                    format!("{path}.maxUnavailable"),
                    rolling["maxUnavailable"].clone(),
                    "may not be 0 when `maxSurge` is 0",
                ));
            }
            errors.extend(not_above_all(rolling, path, "maxUnavailable"));
            errors
        }
        (_, rolling) => {
            let shown = json!({ "Type": strategy["type"], "RollingUpdate": rolling });
            vec![FieldError::not_supported(
                "spec.strategy",
                shown,
                &["Recreate", "RollingUpdate"],
            )]
        }
    }
}

fn validate_status(new: &Value, old: &Value) -> Vec<FieldError> {
    let (status, path) = (&new["status"], "status");
    let counts = [
        "observedGeneration",
        "replicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
        "unavailableReplicas",
        "terminatingReplicas",
        "collisionCount",
    ];
    let mut errors = not_negative(status, path, &counts);
    let parts = ["updatedReplicas", "readyReplicas", "availableReplicas"];
    errors.extend(not_above(
        status,
        path,
        &parts,
        "replicas",
        "cannot be greater than status.replicas",
    ));
    let ready = "cannot be greater than readyReplicas";
    errors.extend(not_above(status, path, &["availableReplicas"], "readyReplicas", ready));
    errors.extend(super::replica_set::collisions(new, old));
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(change: Value) -> Value {
        let mut object = json!({
            "metadata": { "name": "web", "namespace": "n" },
            "spec": {
                "selector": { "matchLabels": { "app": "web" } },
                "template": { "metadata": { "labels": { "app": "web" } }, "spec": { "containers": [{ "name": "c", "image": "i" }] } },
            },
        });
        for (key, value) in change.as_object().into_iter().flatten() {
            object["spec"][key] = value.clone();
        }
        Deployment::default(&mut object);
        object
    }

    #[test]
    fn a_deployment_is_filled_in() {
        let made = deployment(json!({}));
        let rolling =
            json!({ "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": "25%", "maxSurge": "25%" } });
        assert_eq!(
            (&made["spec"]["replicas"], &made["spec"]["strategy"]),
            (&json!(1), &rolling)
        );
        assert_eq!(
            (
                &made["spec"]["revisionHistoryLimit"],
                &made["spec"]["progressDeadlineSeconds"]
            ),
            (&json!(10), &json!(600))
        );
        assert_eq!(Deployment::validate(&made), []);
        let recreate = deployment(json!({ "strategy": { "type": "Recreate" } }));
        assert_eq!(recreate["spec"]["strategy"], json!({ "type": "Recreate" }));
    }

    #[test]
    fn mistakes_are_named_as_upstream() {
        for (change, message) in [
            (
                json!({ "replicas": -1 }),
                "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
            ),
            (
                json!({ "progressDeadlineSeconds": 5, "minReadySeconds": 5 }),
                "spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds",
            ),
            (
                json!({ "strategy": { "type": "Recreate", "rollingUpdate": {} } }),
                "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
            ),
            (
                json!({ "strategy": { "rollingUpdate": { "maxSurge": 0, "maxUnavailable": "0%" } } }),
                "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"0%\": may not be 0 when `maxSurge` is 0",
            ),
            (
                json!({ "strategy": { "type": "Fast" } }),
                "spec.strategy: Unsupported value: {\"Type\":\"Fast\",\"RollingUpdate\":null}: supported values: \"Recreate\", \"RollingUpdate\"",
            ),
        ] {
            let messages: Vec<String> = Deployment::validate(&deployment(change))
                .iter()
                .map(ToString::to_string)
                .collect();
            assert_eq!(messages, [message]);
        }
        let (old, new) = (
            deployment(json!({})),
            deployment(json!({ "selector": { "matchLabels": { "app": "web" }, "matchExpressions": [] } })),
        );
        assert_eq!(Deployment::validate_update(&new, &old, ""), []);
        let mut other = old.clone();
        other["spec"]["selector"]["matchLabels"] = json!({ "app": "db" });
        other["spec"]["template"]["metadata"]["labels"] = json!({ "app": "db" });
        assert_eq!(
            Deployment::validate_update(&other, &old, "")[0].to_string(),
            "spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"db\"}}: field is immutable"
        );
    }

    #[test]
    fn annotations_count_as_a_wish_and_a_status_write_leaves_labels() {
        let rules = crate::find("apps", "v1", "deployments").expect("deployments are served");
        let context = |subresource| Context {
            now: "2026-01-01T00:00:00Z",
            uid: "u",
            suffix: "bcdfg",
            namespace: "n",
            subresource,
        };
        let mut old = deployment(json!({}));
        old["metadata"]["generation"] = 4.into();
        for (subresource, generation, label) in [("", 5, json!("b")), ("status", 4, Value::Null)] {
            let mut new = old.clone();
            new["metadata"]["annotations"] = json!({ "a": "b" });
            new["metadata"]["labels"] = json!({ "a": "b" });
            rules.before_update(&mut new, &old, &context(subresource));
            assert_eq!(int(&new, "/metadata/generation"), generation, "{subresource}");
            assert_eq!(new["metadata"]["labels"]["a"], label, "{subresource}");
        }
    }

    #[test]
    fn rows_read_as_upstream_prints_them() {
        let mut made = deployment(json!({ "replicas": 3 }));
        made["status"] = json!({ "readyReplicas": 1, "updatedReplicas": 2, "availableReplicas": 1 });
        let row = Deployment::row(&made, Timestamp::UNIX_EPOCH);
        assert_eq!(
            Value::from(row),
            json!(["web", "1/3", 2, 1, "<unknown>", "c", "i", "app=web"])
        );
    }
}
