//! PodDisruptionBudget: how many pods of a set an eviction must leave alone.

use super::amount::{int_or_percent, not_above_all, not_negative};
use crate::{
    at::At,
    field::FieldError,
    kind::{Column, Kind, Subresource},
    metadata,
    read::{self, int, some},
    selector,
};
use jiff::Timestamp;
use serde_json::{Value, json};

/// `policy/v1` PodDisruptionBudget.
pub struct PodDisruptionBudget;

const COUNTS: [&str; 4] = ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"];

impl Kind for PodDisruptionBudget {
    const GROUP: &'static str = "policy";
    const KIND: &'static str = "PodDisruptionBudget";
    const PLURAL: &'static str = "poddisruptionbudgets";
    const SINGULAR: &'static str = "poddisruptionbudget";
    const SHORT_NAMES: &'static [&'static str] = &["pdb"];
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::status("policy", "v1", "PodDisruptionBudget")];
    const KEY: &'static str = "poddisruptionbudgets";
    const GENERATION: bool = true;
    const UNCONDITIONAL_UPDATE: bool = false;
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::narrow("Min Available", "string", "The pods that must stay."),
        Column::narrow("Max Unavailable", "string", "The pods that may be missing."),
        Column::narrow("Allowed Disruptions", "integer", "The pods that may be evicted now."),
        Column::AGE,
    ];
    type Object = k8s_openapi::api::policy::v1::PodDisruptionBudget;

    fn default(budget: &mut Value) {
        read::set_default(budget, "spec", json!({}));
        read::set_default(budget, "status", json!({}));
        for count in COUNTS {
            read::set_default(&mut budget["status"], count, 0);
        }
    }

    fn validate(budget: &Value) -> Vec<FieldError> {
        let (spec, path) = (&budget["spec"], "spec");
        let mut errors = Vec::new();
        let (least, most) = (some(spec, "/minAvailable"), some(spec, "/maxUnavailable"));
        if least.is_some() && most.is_some() {
            let shown = json!({
                "MinAvailable": least, "Selector": spec.get("selector"), "MaxUnavailable": most,
                "UnhealthyPodEvictionPolicy": spec.get("unhealthyPodEvictionPolicy"),
            });
            let why = "minAvailable and maxUnavailable cannot be both set";
            errors.push(FieldError::invalid(path, shown, why));
        }
        for member in ["minAvailable", "maxUnavailable"] {
            errors.extend(int_or_percent(spec, path, member));
            errors.extend(not_above_all(spec, path, member));
        }
        if let Some(object) = some(spec, "/selector") {
            errors.extend(selector::check(&At::new(object, "spec.selector")));
        }
        let known = ["AlwaysAllow", "IfHealthyBudget"];
        if let Some(policy) = some(spec, "/unhealthyPodEvictionPolicy").and_then(Value::as_str)
            && !known.contains(&policy)
        {
            errors.push(FieldError::not_supported(
                "spec.unhealthyPodEvictionPolicy",
                policy,
                &known,
            ));
        }
        errors
    }

    fn validate_update(new: &Value, _old: &Value, subresource: &str) -> Vec<FieldError> {
        if subresource == "status" {
            not_negative(&new["status"], "status", &COUNTS)
        } else {
            Self::validate(new)
        }
    }

    fn row(budget: &Value, now: Timestamp) -> Vec<Value> {
        let amount = |member: &str| match budget["spec"].get(member) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => "N/A".to_owned(),
        };
        vec![
            metadata::name(budget).into(),
            amount("minAvailable").into(),
            amount("maxUnavailable").into(),
            int(budget, "/status/disruptionsAllowed").into(),
            metadata::age(budget, now).into(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_says_one_of_two_amounts() {
        let mut budget = json!({ "metadata": { "name": "b" }, "spec": { "minAvailable": "50%" } });
        PodDisruptionBudget::default(&mut budget);
        assert_eq!(PodDisruptionBudget::validate(&budget), []);
        assert_eq!(
            Value::from(PodDisruptionBudget::row(&budget, Timestamp::UNIX_EPOCH)),
            json!(["b", "50%", "N/A", 0, "<unknown>"])
        );
        for (change, message) in [
            (
                json!({ "minAvailable": "101%" }),
                "spec.minAvailable: Invalid value: \"101%\": must not be greater than 100%",
            ),
            (
                json!({ "maxUnavailable": -1, "minAvailable": null }),
                "spec.maxUnavailable: Invalid value: -1: must be greater than or equal to 0",
            ),
            (
                json!({ "unhealthyPodEvictionPolicy": "X" }),
                "spec.unhealthyPodEvictionPolicy: Unsupported value: \"X\": supported values: \"AlwaysAllow\", \"IfHealthyBudget\"",
            ),
        ] {
            let mut bad = budget.clone();
            for (key, value) in change.as_object().into_iter().flatten() {
                bad["spec"][key] = value.clone();
            }
            assert_eq!(PodDisruptionBudget::validate(&bad)[0].to_string(), message);
        }
        budget["spec"]["maxUnavailable"] = 1.into();
        let message = PodDisruptionBudget::validate(&budget)[0].to_string();
        assert!(
            message.starts_with("spec: Invalid value: {")
                && message.ends_with("minAvailable and maxUnavailable cannot be both set")
        );
    }
}
