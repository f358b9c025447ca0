//! HorizontalPodAutoscaler: how many replicas a workload should have, by what is measured. Stored as `v2`; `v1` knows the
//! processor's utilization alone and keeps the rest in annotations.

mod columns;
mod v1;
mod validate;

use crate::{
    field::FieldError,
    kind::{Column, Kind, Subresource},
    read::{self, some, text},
};
use jiff::Timestamp;
use serde_json::{Value, json};

pub use v1::HorizontalPodAutoscalerV1;

/// `autoscaling/v2` HorizontalPodAutoscaler.
pub struct HorizontalPodAutoscaler;

/// Percent of the request that the processor should be used, where nothing else is asked for.
const CPU_UTILIZATION: i64 = 80;

impl Kind for HorizontalPodAutoscaler {
    const GROUP: &'static str = "autoscaling";
    const VERSION: &'static str = "v2";
    const KIND: &'static str = "HorizontalPodAutoscaler";
    const PLURAL: &'static str = "horizontalpodautoscalers";
    const SINGULAR: &'static str = "horizontalpodautoscaler";
    const SHORT_NAMES: &'static [&'static str] = &["hpa"];
    const CATEGORIES: &'static [&'static str] = &["all"];
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::status("autoscaling", "v2", "HorizontalPodAutoscaler")];
    const KEY: &'static str = "horizontalpodautoscalers";
    const COLUMNS: &'static [Column] = columns::COLUMNS;
    type Object = k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;

    fn default(autoscaler: &mut Value) {
        read::set_default(autoscaler, "spec", json!({}));
        let spec = &mut autoscaler["spec"];
        read::set_default(spec, "minReplicas", 1);
        if read::list(spec, "/metrics").is_empty() {
            spec["metrics"] = json!([cpu(CPU_UTILIZATION)]);
        }
        if let Some(behavior) = spec.get_mut("behavior").filter(|b| !b.is_null()) {
            default_behavior(behavior);
        }
        read::set_default(autoscaler, "status", json!({}));
        read::set_default(&mut autoscaler["status"], "desiredReplicas", 0);
    }

    fn validate(autoscaler: &Value) -> Vec<FieldError> {
        validate::validate(autoscaler, None)
    }

    fn validate_update(new: &Value, old: &Value, subresource: &str) -> Vec<FieldError> {
        if subresource == "status" {
            super::amount::not_negative(&new["status"], "status", &["currentReplicas", "desiredReplicas"])
        } else {
            validate::validate(new, Some(old))
        }
    }

    fn row(autoscaler: &Value, now: Timestamp) -> Vec<Value> {
        columns::row(autoscaler, now)
    }
}

/// A wish for the processor's utilization in percent.
fn cpu(utilization: i64) -> Value {
    json!({
        "type": "Resource",
        "resource": { "name": "cpu", "target": { "type": "Utilization", "averageUtilization": utilization } },
    })
}

/// Whether a metric, wished or measured, is the processor's utilization, which v1 has a field for.
fn is_cpu_utilization(metric: &Value, target: &str) -> bool {
    text(metric, "/type") == "Resource"
        && text(metric, "/resource/name") == "cpu"
        && some(metric, &format!("/resource/{target}/averageUtilization")).is_some()
}

/// Up at once by 4 pods or to double in 15 seconds, whichever is more; down as far as wished in 15 seconds.
fn default_behavior(behavior: &mut Value) {
    let percent = json!({ "type": "Percent", "value": 100, "periodSeconds": 15 });
    let pods = json!({ "type": "Pods", "value": 4, "periodSeconds": 15 });
    for (direction, policies) in [("scaleUp", json!([pods, percent])), ("scaleDown", json!([percent]))] {
        read::set_default(behavior, direction, json!({}));
        let rules = &mut behavior[direction];
        if direction == "scaleUp" {
            read::set_default(rules, "stabilizationWindowSeconds", 0);
        }
        read::set_default_text(rules, "selectPolicy", "Max");
        if read::list(rules, "/policies").is_empty() {
            rules["policies"] = policies;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_asked_for_is_filled_in() {
        let mut made = json!({ "spec": { "maxReplicas": 3, "behavior": { "scaleUp": { "selectPolicy": "Min" } } } });
        HorizontalPodAutoscaler::default(&mut made);
        let spec = &made["spec"];
        assert_eq!((&spec["minReplicas"], &spec["metrics"]), (&json!(1), &json!([cpu(80)])));
        let up = &spec["behavior"]["scaleUp"];
        assert_eq!(
            (&up["selectPolicy"], &up["stabilizationWindowSeconds"]),
            (&json!("Min"), &json!(0))
        );
        assert_eq!(read::list(up, "/policies").len(), 2);
        assert_eq!(spec["behavior"]["scaleDown"]["policies"][0]["type"], "Percent");
    }
}
