//! The `v1` view: one number for the processor, everything else as JSON in annotations (autoscaling/v1 `conversion.go`).

use super::{CPU_UTILIZATION, HorizontalPodAutoscaler, cpu, is_cpu_utilization, validate};
use crate::{
    field::FieldError,
    kind::{Column, Kind, Subresource, View},
    read::{self, some, text},
};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// `autoscaling/v1` HorizontalPodAutoscaler.
pub struct HorizontalPodAutoscalerV1;

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

impl Kind for HorizontalPodAutoscalerV1 {
    const GROUP: &'static str = "autoscaling";
    const KIND: &'static str = "HorizontalPodAutoscaler";
    const PLURAL: &'static str = HorizontalPodAutoscaler::PLURAL;
    const SINGULAR: &'static str = HorizontalPodAutoscaler::SINGULAR;
    const SHORT_NAMES: &'static [&'static str] = HorizontalPodAutoscaler::SHORT_NAMES;
    const CATEGORIES: &'static [&'static str] = HorizontalPodAutoscaler::CATEGORIES;
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::status("autoscaling", "v1", "HorizontalPodAutoscaler")];
    const KEY: &'static str = HorizontalPodAutoscaler::KEY;
    const VIEW: Option<View> = Some(View {
        stored_as: "autoscaling/v2",
        to_stored,
        from_stored,
    });
    const COLUMNS: &'static [Column] = HorizontalPodAutoscaler::COLUMNS;
    type Object = k8s_openapi::api::autoscaling::v1::HorizontalPodAutoscaler;

    fn default(autoscaler: &mut Value) {
        read::set_default(autoscaler, "spec", json!({}));
        read::set_default(&mut autoscaler["spec"], "minReplicas", 1);
        let others = annotation(autoscaler, METRICS).is_some();
        if !others {
            read::set_default(
                &mut autoscaler["spec"],
                "targetCPUUtilizationPercentage",
                CPU_UTILIZATION,
            );
        }
        read::set_default(autoscaler, "status", json!({}));
        for count in ["currentReplicas", "desiredReplicas"] {
            read::set_default(&mut autoscaler["status"], count, 0);
        }
    }

    fn validate(autoscaler: &Value) -> Vec<FieldError> {
        validate::validate(&stored(autoscaler), None)
    }

    fn validate_update(new: &Value, old: &Value, subresource: &str) -> Vec<FieldError> {
        HorizontalPodAutoscaler::validate_update(&stored(new), &stored(old), subresource)
    }

    fn row(autoscaler: &Value, now: Timestamp) -> Vec<Value> {
        HorizontalPodAutoscaler::row(&stored(autoscaler), now)
    }
}

fn stored(autoscaler: &Value) -> Value {
    let mut object = autoscaler.clone();
    to_stored(&mut object);
    object
}

/// What an annotation holds, if it is JSON.
fn annotation(object: &Value, name: &str) -> Option<Value> {
    let text = object.pointer("/metadata/annotations")?.get(name)?.as_str()?;
    serde_json::from_str(text).ok()
}

fn annotations(object: &mut Value) -> Option<&mut Map<String, Value>> {
    read::map_mut(object.get_mut("metadata")?, "annotations")
}

fn to_stored(object: &mut Value) {
    let kept: Vec<Option<Value>> = [METRICS, CURRENT, CONDITIONS, BEHAVIOR]
        .map(|name| annotation(object, name))
        .into();
    let [metrics, current, conditions, behavior] = &kept[..] else {
        return;
    };
    if let Some(annotations) = annotations(object) {
        for name in [METRICS, CURRENT, CONDITIONS, BEHAVIOR] {
            annotations.shift_remove(name);
        }
        if annotations.is_empty() {
            object["metadata"]
                .as_object_mut()
                .map(|m| m.shift_remove("annotations"));
        }
    }
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        let mut all: Vec<Value> = items(metrics.as_ref()).map(|m| nested(m, &NESTED_TARGETS)).collect();
        let utilization = spec.shift_remove("targetCPUUtilizationPercentage");
        all.extend(utilization.and_then(|u| u.as_i64()).map(cpu));
        if !all.is_empty() {
            spec.insert("metrics".to_owned(), all.into());
        }
        if let Some(behavior) = behavior {
            spec.insert("behavior".to_owned(), renamed(behavior, lower));
        }
    }
    if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
        let mut all: Vec<Value> = items(current.as_ref()).map(|m| nested(m, &NESTED_CURRENTS)).collect();
        if let Some(percent) = status.shift_remove("currentCPUUtilizationPercentage") {
            all.push(json!({ "type": "Resource", "resource": { "name": "cpu", "current": { "averageUtilization": percent } } }));
        }
        if !all.is_empty() {
            status.insert("currentMetrics".to_owned(), all.into());
        }
        if let Some(conditions) = conditions {
            status.insert("conditions".to_owned(), conditions.clone());
        }
    }
}

fn from_stored(object: &mut Value) {
    let mut kept: Vec<(&str, Value)> = Vec::new();
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        let mut metrics = spec
            .shift_remove("metrics")
            .and_then(|m| m.as_array().cloned())
            .unwrap_or_default();
        if let Some(at) = metrics.iter().position(|m| is_cpu_utilization(m, "target")) {
            let utilization = metrics.remove(at)["resource"]["target"]["averageUtilization"].take();
            spec.insert("targetCPUUtilizationPercentage".to_owned(), utilization);
        }
        let others: Vec<Value> = metrics.iter().map(|m| flat(m, &NESTED_TARGETS)).collect();
        kept.extend((!others.is_empty()).then(|| (METRICS, others.into())));
        kept.extend(spec.shift_remove("behavior").map(|b| (BEHAVIOR, renamed(&b, upper))));
    }
    if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
        let current = status
            .shift_remove("currentMetrics")
            .and_then(|m| m.as_array().cloned())
            .unwrap_or_default();
        if let Some(cpu) = current.iter().find(|m| is_cpu_utilization(m, "current")) {
            let percent = cpu["resource"]["current"]["averageUtilization"].clone();
            status.insert("currentCPUUtilizationPercentage".to_owned(), percent);
        }
        let others = current.iter().filter(|m| !is_cpu_utilization(m, "current"));
        let others: Vec<Value> = others.map(|m| flat(m, &NESTED_CURRENTS)).collect();
        kept.extend((!others.is_empty()).then(|| (CURRENT, others.into())));
        kept.extend(status.shift_remove("conditions").map(|c| (CONDITIONS, c)));
        for count in ["currentReplicas", "desiredReplicas"] {
            status.entry(count).or_insert_with(|| 0.into());
        }
    }
    if !kept.is_empty()
        && let Some(annotations) = annotations(object)
    {
        annotations.extend(
            kept.into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_string().into())),
        );
    }
}

fn items(list: Option<&Value>) -> impl Iterator<Item = &Value> {
    list.and_then(Value::as_array).into_iter().flatten()
}

/// The alpha form's flat names for what is nested under `target` in v2, with the sources that have them.
const NESTED_TARGETS: [(&str, &str); 4] = [
    ("targetAverageUtilization", "averageUtilization"),
    ("targetAverageValue", "averageValue"),
    ("averageValue", "averageValue"),
    ("targetValue", "value"),
];
/// The same for what is measured.
const NESTED_CURRENTS: [(&str, &str); 3] = [
    ("currentAverageUtilization", "averageUtilization"),
    ("currentAverageValue", "averageValue"),
    ("currentValue", "value"),
];

/// A metric of the alpha form as v2 nests it.
fn nested(metric: &Value, names: &[(&str, &str)]) -> Value {
    let (kind, mut source) = source(metric);
    let holder = if names.len() == NESTED_TARGETS.len() {
        "target"
    } else {
        "current"
    };
    let mut amounts = Map::new();
    let about = source.shift_remove("target");
    for (flat, deep) in names {
        if let Some(amount) = source.shift_remove(*flat) {
            amounts.insert((*deep).to_owned(), amount);
        }
    }
    if holder == "target" {
        let word = [
            ("averageUtilization", "Utilization"),
            ("averageValue", "AverageValue"),
            ("value", "Value"),
        ];
        let word = word
            .iter()
            .find(|(amount, _)| amounts.contains_key(*amount))
            .map_or("", |(_, word)| word);
        amounts.insert("type".to_owned(), word.into());
    }
    if let Some(name) = source.shift_remove("metricName") {
        let mut identity = json!({ "name": name });
        if let Some(selector) = source
            .shift_remove("selector")
            .or_else(|| source.shift_remove("metricSelector"))
        {
            identity["selector"] = selector;
        }
        source.insert("metric".to_owned(), identity);
    }
    source.extend(about.map(|about| ("describedObject".to_owned(), about)));
    source.insert(holder.to_owned(), Value::Object(amounts));
    json!({ "type": text(metric, "/type"), kind: source })
}

/// A metric of v2 in the alpha form.
fn flat(metric: &Value, names: &[(&str, &str)]) -> Value {
    let (kind, mut source) = source(metric);
    let holder = if names.len() == NESTED_TARGETS.len() {
        "target"
    } else {
        "current"
    };
    let amounts = source.shift_remove(holder).unwrap_or_default();
    for (flat, deep) in names {
        // An object's average has a name of its own; everything else has the first.
        let own = *flat == "averageValue";
        let fits = if *deep == "averageValue" && holder == "target" {
            own == (kind == "object")
        } else {
            true
        };
        if let Some(amount) = amounts.get(*deep).filter(|_| fits) {
            source.insert((*flat).to_owned(), amount.clone());
        }
    }
    if let Some(identity) = source.shift_remove("metric") {
        source.insert("metricName".to_owned(), identity["name"].clone());
        if let Some(selector) = some(&identity, "/selector") {
            let name = if kind == "external" {
                "metricSelector"
            } else {
                "selector"
            };
            source.insert(name.to_owned(), selector.clone());
        }
    }
    if let Some(about) = source.shift_remove("describedObject") {
        source.insert("target".to_owned(), about);
    }
    json!({ "type": text(metric, "/type"), kind: source })
}

/// The one member of a metric that says what is measured.
fn source(metric: &Value) -> (&'static str, Map<String, Value>) {
    let known = ["object", "pods", "resource", "containerResource", "external"];
    let kind = known
        .into_iter()
        .find(|kind| some(metric, &format!("/{kind}")).is_some())
        .unwrap_or("resource");
    let source = metric.get(kind).and_then(Value::as_object).cloned().unwrap_or_default();
    (kind, source)
}

/// The behavior's annotation is written with Go's field names; both spellings are read.
fn renamed(value: &Value, name: fn(&str) -> String) -> Value {
    match value {
        Value::Object(map) => Value::Object(map.iter().map(|(k, v)| (name(k), renamed(v, name))).collect()),
        Value::Array(items) => items.iter().map(|item| renamed(item, name)).collect(),
        other => other.clone(),
    }
}

fn lower(key: &str) -> String {
    let mut chars = key.chars();
    chars
        .next()
        .map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

fn upper(key: &str) -> String {
    let mut chars = key.chars();
    chars
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_views_are_of_one_object() {
        let rules = crate::find("autoscaling", "v1", "horizontalpodautoscalers").expect("v1 is served");
        let old = json!({
            "apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": { "name": "h" },
            "spec": { "scaleTargetRef": { "kind": "Deployment", "name": "d" }, "minReplicas": 1, "maxReplicas": 3, "targetCPUUtilizationPercentage": 50 },
            "status": { "currentReplicas": 0, "desiredReplicas": 0 },
        });
        let stored = rules.enter_storage(&old).into_owned();
        assert_eq!(
            (&stored["apiVersion"], &stored["spec"]["metrics"]),
            (&json!("autoscaling/v2"), &json!([cpu(50)]))
        );
        let mut back = stored;
        rules.leave_storage(&mut back);
        assert_eq!(back, old);
    }

    #[test]
    fn what_v1_has_no_field_for_survives_in_annotations() {
        let new = json!({
            "metadata": { "name": "h" },
            "spec": {
                "maxReplicas": 3,
                "metrics": [
                    { "type": "Resource", "resource": { "name": "memory", "target": { "type": "AverageValue", "averageValue": "1Gi" } } },
                    { "type": "Pods", "pods": { "metric": { "name": "hits" }, "target": { "type": "AverageValue", "averageValue": "10" } } },
                    { "type": "Object", "object": {
                        "describedObject": { "kind": "Ingress", "name": "i" }, "metric": { "name": "hits" }, "target": { "type": "Value", "value": "1k" },
                    } },
                    { "type": "External", "external": { "metric": { "name": "q", "selector": { "matchLabels": { "a": "b" } } }, "target": { "type": "AverageValue", "averageValue": "5" } } },
                ],
                "behavior": { "scaleDown": { "selectPolicy": "Max", "policies": [{ "type": "Percent", "value": 100, "periodSeconds": 15 }] } },
            },
            "status": {
                "currentReplicas": 1, "desiredReplicas": 2, "conditions": [{ "type": "AbleToScale", "status": "True" }],
                "currentMetrics": [{ "type": "Resource", "resource": { "name": "memory", "current": { "averageValue": "2Gi" } } }],
            },
        });
        let mut view = new.clone();
        from_stored(&mut view);
        let kept: Value = annotation(&view, METRICS).expect("the metrics are there");
        assert_eq!(
            kept[0],
            json!({ "type": "Resource", "resource": { "name": "memory", "targetAverageValue": "1Gi" } })
        );
        assert!(view["spec"].get("metrics").is_none() && annotation(&view, BEHAVIOR).is_some());
        to_stored(&mut view);
        assert_eq!(view, new);
    }

    #[test]
    fn mistakes_are_named_by_the_stored_fields() {
        let mut bad = json!({ "metadata": { "name": "h" }, "spec": { "scaleTargetRef": { "kind": "D", "name": "d" }, "maxReplicas": 1, "targetCPUUtilizationPercentage": 0 } });
        HorizontalPodAutoscalerV1::default(&mut bad);
        let messages: Vec<String> = HorizontalPodAutoscalerV1::validate(&bad)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            messages,
            ["spec.metrics[0].resource.target.averageUtilization: Invalid value: 0: must be greater than 0"]
        );
        assert_eq!(read::list(&bad, "/spec/metrics").len(), 0);
    }
}
