//! The pod template that every kind of workload carries: filled in, judged and shown by the Pod's own rules
//! (core `ValidatePodTemplateSpec`, printers `layoutContainerCells`).

use super::pod::{self, Owner, default_spec};
use crate::{
    at::At,
    field::FieldError,
    metadata, read,
    selector::{self, LabelSelector},
};
use serde_json::{Map, Value, json};

/// Columns of `-o wide` that show a template.
pub(super) const CONTAINERS: crate::Column = crate::Column::wide("Containers", "string", "Names of its containers.");
/// See [`CONTAINERS`].
pub(super) const IMAGES: crate::Column = crate::Column::wide("Images", "string", "Images of its containers.");
/// What chooses the pods.
pub(super) const SELECTOR: crate::Column = crate::Column::wide("Selector", "string", "The labels of its pods.");

/// Fills in `holder`'s member `template`.
pub(super) fn default_template(holder: &mut Value) {
    read::set_default(holder, "template", json!({}));
    let template = &mut holder["template"];
    read::set_default(template, "metadata", json!({}));
    read::set_default(template, "spec", json!({}));
    default_spec(&mut template["spec"]);
}

/// What is wrong with a defaulted template at `path`.
pub(super) fn validate(template: &Value, path: &str) -> Vec<FieldError> {
    let spec = spec_at(template, path);
    let mut errors = validate_labels(template, path);
    errors.extend(pod::validate_spec(&spec, Owner::Template));
    errors.extend(pod::match_fields(&template["metadata"], &spec));
    if !spec.list("ephemeralContainers").is_empty() {
        let why = "ephemeral containers not allowed in pod template";
        errors.push(spec.forbidden("ephemeralContainers", why));
    }
    errors
}

fn spec_at<'a>(template: &'a Value, path: &str) -> At<'a> {
    At::new(template.get("spec").unwrap_or(&Value::Null), format!("{path}.spec"))
}

/// The part that upstream also asks of a StatefulSet's template, whose volumes are not all there yet.
pub(super) fn validate_labels(template: &Value, path: &str) -> Vec<FieldError> {
    let annotations = format!("{path}.annotations");
    let mut errors = metadata::labels(template.pointer("/metadata/labels"), &format!("{path}.labels"));
    errors.extend(metadata::annotations(
        template.pointer("/metadata/annotations"),
        &annotations,
    ));
    errors.extend(pod::validate_annotations(
        &template["metadata"],
        &annotations,
        &spec_at(template, path),
    ));
    errors
}

/// Pods that a controller of `kind` keeps running: they always restart, and have no deadline.
pub(super) fn validate_lasting(template: &Value, path: &str, kind: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let policy = read::text(template, "/spec/restartPolicy");
    if policy != "Always" {
        errors.push(FieldError::not_supported(
            format!("{path}.spec.restartPolicy"),
            policy,
            &["Always"],
        ));
    }
    if read::some(template, "/spec/activeDeadlineSeconds").is_some() {
        errors.push(FieldError::forbidden(
            format!("{path}.spec.activeDeadlineSeconds"),
            format!("activeDeadlineSeconds in {kind} is not Supported"),
        ));
    }
    errors
}

/// The selector of a workload whose spec is `spec`: there, well-formed, not empty (`empty` says so), and choosing its own template.
pub(super) fn validate_selector(spec: &Value, empty: &str) -> Vec<FieldError> {
    let path = "spec.selector";
    let Some(object) = read::some(spec, "/selector") else {
        return vec![FieldError::required(path, "")];
    };
    let mut errors = selector::check(&At::new(object, path));
    match LabelSelector::of_object(object) {
        None => errors.push(FieldError::invalid(path, object.clone(), "invalid label selector")),
        Some(read) if read.is_empty() => errors.push(FieldError::invalid(path, object.clone(), empty)),
        Some(read) => errors.extend(validate_match(&read, &spec["template"], "spec.template")),
    }
    errors
}

/// That a selector chooses the template at `path`.
pub(super) fn validate_match(selector: &LabelSelector, template: &Value, path: &str) -> Vec<FieldError> {
    let labels = template.pointer("/metadata/labels").unwrap_or(&Value::Null);
    if selector.matches_labels(labels) {
        return Vec::new();
    }
    let why = "`selector` does not match template `labels`";
    vec![FieldError::invalid(
        format!("{path}.metadata.labels"),
        sorted(labels),
        why,
    )]
}

/// A map with its keys in order, as Go writes it.
pub(super) fn sorted(map: &Value) -> Value {
    let mut members: Vec<_> = map.as_object().into_iter().flatten().collect();
    members.sort_by_key(|(key, _)| key.as_str());
    if members.is_empty() {
        return Value::Null;
    }
    Value::Object(
        members
            .into_iter()
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect::<Map<_, _>>(),
    )
}

/// The names and the images of a template's containers, each joined by commas.
pub(super) fn cells(template: &Value) -> [Value; 2] {
    let containers = read::list(template, "/spec/containers");
    let joined = |member: &str| {
        let all: Vec<&str> = containers.iter().map(|c| read::text(c, member)).collect();
        Value::from(all.join(","))
    };
    [joined("/name"), joined("/image")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_gets_what_a_pod_gets() {
        let mut holder = json!({ "template": { "spec": { "containers": [{ "name": "a", "image": "i:1" }] } } });
        default_template(&mut holder);
        let spec = &holder["template"]["spec"];
        assert_eq!(
            (
                &spec["restartPolicy"],
                &spec["containers"][0]["imagePullPolicy"],
                &spec["enableServiceLinks"]
            ),
            (&json!("Always"), &json!("IfNotPresent"), &Value::Null)
        );
        assert_eq!(holder["template"]["metadata"], json!({}));
        assert_eq!(validate(&holder["template"], "spec.template"), []);
        assert_eq!(cells(&holder["template"]), [json!("a"), json!("i:1")]);
    }

    #[test]
    fn templates_are_judged_as_upstream() {
        let template = json!({
            "metadata": { "labels": { "b": "1", "a": "2" } },
            "spec": { "restartPolicy": "Never", "activeDeadlineSeconds": 1 },
        });
        let spec = json!({ "selector": { "matchLabels": { "c": "d" } }, "template": template });
        let mut errors = validate_selector(&spec, "empty selector is invalid for deployment");
        errors.extend(validate_lasting(&template, "spec.template", "ReplicaSet"));
        let messages: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            messages,
            [
                "spec.template.metadata.labels: Invalid value: {\"a\":\"2\",\"b\":\"1\"}: `selector` does not match template `labels`",
                "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
                "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported",
            ]
        );
        let empty = validate_selector(&json!({ "selector": {} }), "empty selector is invalid for deployment");
        assert_eq!(
            empty[0].to_string(),
            "spec.selector: Invalid value: {}: empty selector is invalid for deployment"
        );
        assert_eq!(
            validate_selector(&json!({}), "")[0].to_string(),
            "spec.selector: Required value"
        );
    }
}
