//! `kubectl get hpa`: what the columns say (upstream `printers/internalversion` printHorizontalPodAutoscaler).

use crate::{
    kind::Column,
    metadata,
    quantity::Quantity,
    read::{int, list, some, text},
};
use jiff::Timestamp;
use serde_json::Value;

pub(super) const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::narrow("Reference", "string", "What it scales."),
    Column::narrow("Targets", "string", "What is measured, and what is wished."),
    Column::narrow("MinPods", "string", "It never goes below."),
    Column::narrow("MaxPods", "string", "It never goes above."),
    Column::narrow("Replicas", "string", "How many there are."),
    Column::AGE,
];

/// So many metrics are shown; the rest are counted.
const SHOWN: usize = 2;

pub(super) fn row(autoscaler: &Value, now: Timestamp) -> Vec<Value> {
    let target = |member: &str| text(autoscaler, &format!("/spec/scaleTargetRef/{member}"));
    let least = some(autoscaler, "/spec/minReplicas").map_or_else(|| "<unset>".to_owned(), Value::to_string);
    vec![
        metadata::name(autoscaler).into(),
        format!("{}/{}", target("kind"), target("name")).into(),
        targets(autoscaler).into(),
        least.into(),
        int(autoscaler, "/spec/maxReplicas").into(),
        int(autoscaler, "/status/currentReplicas").into(),
        metadata::age(autoscaler, now).into(),
    ]
}

fn targets(autoscaler: &Value) -> String {
    let metrics = list(autoscaler, "/spec/metrics");
    if metrics.is_empty() {
        return "<none>".to_owned();
    }
    let measured = list(autoscaler, "/status/currentMetrics");
    let shown = metrics.iter().take(SHOWN).enumerate();
    let shown: Vec<String> = shown
        .map(|(at, metric)| one(metric, measured.get(at).unwrap_or(&Value::Null)))
        .collect();
    match metrics.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} + {more} more...", shown.join(", ")),
    }
}

fn one(metric: &Value, measured: &Value) -> String {
    let (kind, resource) = match text(metric, "/type") {
        "External" => ("external", false),
        "Pods" => ("pods", false),
        "Object" => ("object", false),
        "Resource" => ("resource", true),
        "ContainerResource" => ("containerResource", true),
        _ => return "<unknown type>".to_owned(),
    };
    let wished = |member: &str| some(metric, &format!("/{kind}/target/{member}"));
    let now = |member: &str| some(measured, &format!("/{kind}/current/{member}"));
    let amount = |value: Option<&Value>| value.and_then(Quantity::of).map(|q| q.to_string());
    let unknown = || "<unknown>".to_owned();
    if resource {
        let name = text(metric, &format!("/{kind}/name"));
        if let Some(target) = amount(wished("averageValue")) {
            return format!(
                "{name}: {}/{target}",
                amount(now("averageValue")).unwrap_or_else(unknown)
            );
        }
        let percent = |value: Option<&Value>| value.map(|v| format!("{v}%"));
        let target = percent(wished("averageUtilization")).unwrap_or_else(|| "<auto>".to_owned());
        return format!(
            "{name}: {}/{target}",
            percent(now("averageUtilization")).unwrap_or_else(unknown)
        );
    }
    match (amount(wished("averageValue")), kind) {
        (Some(target), "pods") => format!("{}/{target}", amount(now("averageValue")).unwrap_or_else(unknown)),
        (Some(target), _) => format!("{}/{target} (avg)", amount(now("averageValue")).unwrap_or_else(unknown)),
        (None, _) => format!(
            "{}/{}",
            amount(now("value")).unwrap_or_else(unknown),
            amount(wished("value")).unwrap_or_else(|| "<auto>".to_owned())
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn targets_read_as_upstream_prints_them() {
        let cpu = |percent: i64| json!({ "type": "Resource", "resource": { "name": "cpu", "target": { "averageUtilization": percent } } });
        let pods = json!({ "type": "Pods", "pods": { "target": { "averageValue": "10" } } });
        let object = json!({ "type": "Object", "object": { "target": { "value": "1k" } } });
        let measured = json!([{ "type": "Resource", "resource": { "current": { "averageUtilization": 12 } } }]);
        for (metrics, expected) in [
            (json!([]), "<none>"),
            (json!([cpu(80)]), "cpu: 12%/80%"),
            (json!([cpu(80), pods]), "cpu: 12%/80%, <unknown>/10"),
            (json!([cpu(80), object, pods]), "cpu: 12%/80%, <unknown>/1k + 1 more..."),
        ] {
            let autoscaler = json!({ "spec": { "metrics": metrics }, "status": { "currentMetrics": measured } });
            assert_eq!(targets(&autoscaler), expected);
        }
    }
}
