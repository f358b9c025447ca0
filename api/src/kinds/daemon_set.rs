//! DaemonSet: one pod of a template on every node that fits.

use super::{
    amount::{immutable, int_or_percent, is_same, is_zero, not_above_all, not_negative},
    template,
};
use crate::{
    at::At,
    field::FieldError,
    kind::{Column, Context, Kind, Subresource},
    metadata,
    read::{self, int, text},
    selector::{self, LabelSelector},
};
use jiff::Timestamp;
use serde_json::{Value, json};

/// How often the template changed, from before there were ControllerRevisions; upstream still writes it on every object.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// `apps/v1` DaemonSet.
pub struct DaemonSet;

impl Kind for DaemonSet {
    const GROUP: &'static str = "apps";
    const KIND: &'static str = "DaemonSet";
    const PLURAL: &'static str = "daemonsets";
    const SINGULAR: &'static str = "daemonset";
    const SHORT_NAMES: &'static [&'static str] = &["ds"];
    const CATEGORIES: &'static [&'static str] = &["all"];
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::status("apps", "v1", "DaemonSet")];
    const KEY: &'static str = "daemonsets";
    const GENERATION: bool = true;
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::narrow("Desired", "integer", "The nodes that should run it."),
        Column::narrow("Current", "integer", "The nodes that should and do run it."),
        Column::narrow("Ready", "integer", "The nodes on which it is ready."),
        Column::narrow("Up-to-date", "integer", "The nodes that run the present template."),
        Column::narrow(
            "Available",
            "integer",
            "The nodes on which it is ready for long enough.",
        ),
        Column::narrow("Node Selector", "string", "The labels of the nodes that should run it."),
        Column::AGE,
        template::CONTAINERS,
        template::IMAGES,
        template::SELECTOR,
    ];
    type Object = k8s_openapi::api::apps::v1::DaemonSet;

    fn default(set: &mut Value) {
        read::set_default(set, "spec", json!({}));
        let spec = &mut set["spec"];
        read::set_default(spec, "updateStrategy", json!({}));
        let strategy = &mut spec["updateStrategy"];
        read::set_default_text(strategy, "type", "RollingUpdate");
        if text(strategy, "/type") == "RollingUpdate" {
            read::set_default(strategy, "rollingUpdate", json!({}));
            read::set_default(&mut strategy["rollingUpdate"], "maxUnavailable", 1);
            read::set_default(&mut strategy["rollingUpdate"], "maxSurge", 0);
        }
        read::set_default(spec, "revisionHistoryLimit", 10);
        template::default_template(spec);
        read::set_default(set, "status", json!({}));
        for count in [
            "currentNumberScheduled",
            "numberMisscheduled",
            "desiredNumberScheduled",
            "numberReady",
        ] {
            read::set_default(&mut set["status"], count, 0);
        }
    }

    fn before_create(set: &mut Value, _context: &Context<'_>) {
        let generation = template_generation(set).max(1);
        mark(set, generation);
    }

    fn before_update(new: &mut Value, old: &Value, context: &Context<'_>) {
        let before = template_generation(old).max(1);
        let changed =
            context.subresource.is_empty() && !is_same(new["spec"].get("template"), old["spec"].get("template"));
        mark(new, if changed { before + 1 } else { before });
    }

    fn validate(set: &Value) -> Vec<FieldError> {
        let spec = &set["spec"];
        let object = spec.get("selector").filter(|s| !s.is_null());
        let mut errors = object.map_or_else(Vec::new, |s| selector::check(&At::new(s, "spec.selector")));
        match object.map(LabelSelector::of_object) {
            // Without a selector nothing is chosen, so the template is not.
            None => errors.extend(unmatched(&spec["template"])),
            Some(None) => {}
            Some(Some(read)) if read.is_empty() => errors.push(FieldError::invalid(
                "spec.selector",
                object.cloned().unwrap_or_default(),
                "empty selector is invalid for daemonset",
            )),
            Some(Some(read)) => errors.extend(template::validate_match(&read, &spec["template"], "spec.template")),
        }
        errors.extend(template::validate(&spec["template"], "spec.template"));
        errors.extend(template::validate_lasting(
            &spec["template"],
            "spec.template",
            "DaemonSet",
        ));
        errors.extend(not_negative(spec, "spec", &["minReadySeconds"]));
        errors.extend(validate_strategy(&spec["updateStrategy"]));
        errors.extend(not_negative(spec, "spec", &["revisionHistoryLimit"]));
        errors
    }

    fn validate_update(new: &Value, old: &Value, subresource: &str) -> Vec<FieldError> {
        if subresource == "status" {
            let counts = [
                "currentNumberScheduled",
                "numberMisscheduled",
                "desiredNumberScheduled",
                "numberReady",
                "observedGeneration",
                "updatedNumberScheduled",
                "numberAvailable",
                "numberUnavailable",
                "collisionCount",
            ];
            let mut errors = not_negative(&new["status"], "status", &counts);
            errors.extend(super::replica_set::collisions(new, old));
            return errors;
        }
        let mut errors = Self::validate(new);
        errors.extend(immutable(new, old, "spec.selector"));
        errors
    }

    fn row(set: &Value, now: Timestamp) -> Vec<Value> {
        let [containers, images] = template::cells(&set["spec"]["template"]);
        let count = |member: &str| Value::from(int(set, &format!("/status/{member}")));
        vec![
            metadata::name(set).into(),
            count("desiredNumberScheduled"),
            count("currentNumberScheduled"),
            count("numberReady"),
            count("updatedNumberScheduled"),
            count("numberAvailable"),
            selector::labels_shown(&set["spec"]["template"]["spec"]["nodeSelector"]).into(),
            metadata::age(set, now).into(),
            containers,
            images,
            selector::shown(Some(&set["spec"]["selector"])).into(),
        ]
    }
}

fn unmatched(template: &Value) -> Vec<FieldError> {
    let labels = template::sorted(&template["metadata"]["labels"]);
    let why = "`selector` does not match template `labels`";
    vec![FieldError::invalid("spec.template.metadata.labels", labels, why)]
}

fn template_generation(set: &Value) -> i64 {
    let written = set
        .pointer("/metadata/annotations")
        .and_then(|a| a.get(TEMPLATE_GENERATION));
    written
        .and_then(Value::as_str)
        .and_then(|text| text.parse().ok())
        .unwrap_or_default()
}

fn mark(set: &mut Value, generation: i64) {
    let annotations = read::map_mut(set, "metadata").map(|m| m.entry("annotations").or_insert_with(|| json!({})));
    if let Some(Value::Object(annotations)) = annotations {
        annotations.insert(TEMPLATE_GENERATION.to_owned(), generation.to_string().into());
    }
}

fn validate_strategy(strategy: &Value) -> Vec<FieldError> {
    let path = "spec.updateStrategy.rollingUpdate";
    match (text(strategy, "/type"), read::some(strategy, "/rollingUpdate")) {
        ("OnDelete", _) => Vec::new(),
        ("RollingUpdate", None) => vec![FieldError::required(path, "")],
        ("RollingUpdate", Some(rolling)) => {
            let mut errors = int_or_percent(rolling, path, "maxUnavailable");
            errors.extend(int_or_percent(rolling, path, "maxSurge"));
            match (is_zero(rolling, "maxUnavailable"), is_zero(rolling, "maxSurge")) {
                (false, false) => errors.push(FieldError::invalid(
                    format!("{path}.maxSurge"),
                    rolling["maxSurge"].clone(),
                    "may not be set when maxUnavailable is non-zero",
                )),
                (true, true) => errors.push(FieldError::required(
                    format!("{path}.maxUnavailable"),
                    "cannot be 0 when maxSurge is 0",
                )),
                (true, false) | (false, true) => {}
            }
            errors.extend(not_above_all(rolling, path, "maxUnavailable"));
            errors.extend(not_above_all(rolling, path, "maxSurge"));
            errors
        }
        (kind, rolling) => {
            let shown = json!({ "Type": kind, "RollingUpdate": rolling });
            vec![FieldError::not_supported(
                "spec.updateStrategy",
                shown,
                &["RollingUpdate", "OnDelete"],
            )]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(change: Value) -> Value {
        let mut object = json!({
            "metadata": { "name": "log" },
            "spec": {
                "selector": { "matchLabels": { "a": "b" } },
                "template": {
                    "metadata": { "labels": { "a": "b" } },
                    "spec": { "containers": [{ "name": "c", "image": "i" }], "nodeSelector": { "z": "1", "y": "2" } },
                },
            },
        });
        for (key, value) in change.as_object().into_iter().flatten() {
            object["spec"][key] = value.clone();
        }
        DaemonSet::default(&mut object);
        object
    }

    fn messages(change: Value) -> Vec<String> {
        DaemonSet::validate(&set(change))
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn surge_and_unavailability_exclude_each_other() {
        let path = "spec.updateStrategy.rollingUpdate";
        assert_eq!(messages(json!({})), Vec::<String>::new());
        let rolling = |max_unavailable: Value, max_surge: Value| json!({ "updateStrategy": { "rollingUpdate": { "maxUnavailable": max_unavailable, "maxSurge": max_surge } } });
        assert_eq!(messages(rolling(json!(0), json!("10%"))), Vec::<String>::new());
        assert_eq!(
            messages(rolling(json!(1), json!(1))),
            [format!(
                "{path}.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero"
            )]
        );
        assert_eq!(
            messages(rolling(json!(0), json!(0))),
            [format!(
                "{path}.maxUnavailable: Required value: cannot be 0 when maxSurge is 0"
            )]
        );
        assert_eq!(
            messages(json!({ "selector": null })),
            [
                "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`"
            ]
        );
    }

    #[test]
    fn the_old_template_generation_is_kept_as_an_annotation() {
        let rules = crate::find("apps", "v1", "daemonsets").expect("daemon sets are served");
        let context = Context {
            now: "2026-01-01T00:00:00Z",
            uid: "u",
            suffix: "bcdfg",
            namespace: "n",
            subresource: "",
        };
        let mut made = set(json!({}));
        rules.before_create(&mut made, &context);
        assert_eq!(made["metadata"]["annotations"][TEMPLATE_GENERATION], "1");
        let mut new = made.clone();
        new["metadata"]
            .as_object_mut()
            .expect("an object")
            .shift_remove("annotations");
        rules.before_update(&mut new, &made, &context);
        assert_eq!(new["metadata"]["annotations"][TEMPLATE_GENERATION], "1");
        new["spec"]["template"]["spec"]["containers"][0]["image"] = "j".into();
        rules.before_update(&mut new, &made, &context);
        assert_eq!(
            (
                &new["metadata"]["annotations"][TEMPLATE_GENERATION],
                &new["metadata"]["generation"]
            ),
            (&json!("2"), &json!(2))
        );
        assert_eq!(DaemonSet::row(&made, Timestamp::UNIX_EPOCH)[6], "y=2,z=1");
    }
}
