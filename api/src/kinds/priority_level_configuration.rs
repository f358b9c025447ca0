//! PriorityLevelConfiguration: how many requests of a level run at once, and what the others do meanwhile.

use super::flow_schema::conditions;
use crate::{
    at::{At, root, some_mut},
    field::FieldError,
    kind::{Column, Kind, Subresource},
    metadata,
    read::{self, int, some, text},
};
use jiff::Timestamp;
use serde_json::{Value, json};

const TYPES: &[&str] = &["Exempt", "Limited"];
const RESPONSES: &[&str] = &["Queue", "Reject"];
const QUEUES_MAX: i64 = 10_000_000;
/// Bits of the hash that shuffle sharding deals from.
const HASH_BITS: i64 = 60;

/// `flowcontrol.apiserver.k8s.io/v1` PriorityLevelConfiguration.
pub struct PriorityLevelConfiguration;

impl Kind for PriorityLevelConfiguration {
    const GROUP: &'static str = "flowcontrol.apiserver.k8s.io";
    const KIND: &'static str = "PriorityLevelConfiguration";
    const PLURAL: &'static str = "prioritylevelconfigurations";
    const SINGULAR: &'static str = "prioritylevelconfiguration";
    const NAMESPACED: bool = false;
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::status(
        "flowcontrol.apiserver.k8s.io",
        "v1",
        "PriorityLevelConfiguration",
    )];
    const KEY: &'static str = "prioritylevelconfigurations";
    const STATUS_RESETS: &'static [&'static str] = &["spec", "metadata"];
    const GENERATION: bool = true;
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::narrow("Type", "string", "Exempt or Limited."),
        Column::narrow(
            "NominalConcurrencyShares",
            "string",
            "Its share of what the server does at once.",
        ),
        Column::narrow("Queues", "string", "How many queues it has."),
        Column::narrow("HandSize", "string", "How many queues a flow may use."),
        Column::narrow("QueueLengthLimit", "string", "How many requests wait in one queue."),
        Column::AGE,
    ];
    type Object = k8s_openapi::api::flowcontrol::v1::PriorityLevelConfiguration;

    fn default(level: &mut Value) {
        if text(level, "/spec/type") == "Exempt" {
            read::set_default(&mut level["spec"], "exempt", json!({}));
        }
        some_mut(level, "/spec/exempt", |exempt| {
            read::set_default(exempt, "nominalConcurrencyShares", 0);
            read::set_default(exempt, "lendablePercent", 0);
        });
        some_mut(level, "/spec/limited", |limited| {
            read::set_default(limited, "nominalConcurrencyShares", 30);
            read::set_default(limited, "lendablePercent", 0);
        });
        some_mut(level, "/spec/limited/limitResponse/queuing", |queuing| {
            for (key, usual) in [("queues", 64), ("handSize", 8), ("queueLengthLimit", 50)] {
                if int(queuing, &format!("/{key}")) == 0 {
                    queuing[key] = usual.into();
                }
            }
        });
    }

    fn validate(level: &Value) -> Vec<FieldError> {
        let name = metadata::name(level);
        let at = root(level);
        let mut errors = spec(&at.child("spec"), name);
        errors.extend(mandatory(&at, name));
        errors.extend(conditions(&at));
        errors
    }

    fn validate_update(new: &Value, _old: &Value, subresource: &str) -> Vec<FieldError> {
        if subresource == "status" {
            return conditions(&root(new));
        }
        Self::validate(new)
    }

    fn row(level: &Value, now: Timestamp) -> Vec<Value> {
        let number = |pointer: &str| match some(level, pointer) {
            Some(number) => number.clone(),
            None => "<none>".into(),
        };
        vec![
            metadata::name(level).into(),
            text(level, "/spec/type").into(),
            number("/spec/limited/nominalConcurrencyShares"),
            number("/spec/limited/limitResponse/queuing/queues"),
            number("/spec/limited/limitResponse/queuing/handSize"),
            number("/spec/limited/limitResponse/queuing/queueLengthLimit"),
            metadata::age(level, now).into(),
        ]
    }
}

fn spec(spec: &At<'_>, name: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let kind = spec.text("type");
    if (name == "exempt") != (kind == "Exempt") {
        errors.extend(spec.invalid_text("type", ["type must be 'Exempt' if and only if name is 'exempt'"]));
    }
    match (kind, spec.some("limited"), spec.some("exempt")) {
        ("Exempt", limited, exempt) => {
            if limited.is_some() {
                errors.push(spec.forbidden("limited", "must be nil if the type is not Limited"));
            }
            exempt.iter().for_each(|at| shares(at, &mut errors));
        }
        ("Limited", limited, exempt) => {
            if exempt.is_some() {
                errors.push(spec.forbidden("exempt", "must be nil if the type is Limited"));
            }
            match limited {
                Some(at) => self::limited(&at, &mut errors),
                None => errors.push(spec.required("limited", "must not be empty when type is Limited")),
            }
        }
        (other, ..) => errors.push(FieldError::not_supported(spec.path("type"), other, TYPES)),
    }
    errors
}

fn shares(at: &At<'_>, errors: &mut Vec<FieldError>) {
    if at.int("nominalConcurrencyShares") < 0 {
        errors.extend(at.invalid("nominalConcurrencyShares", ["must be a non-negative integer"]));
    }
    if !(0..=100).contains(&at.int("lendablePercent")) {
        errors.extend(at.invalid("lendablePercent", ["must be between 0 and 100, inclusive"]));
    }
}

fn limited(at: &At<'_>, errors: &mut Vec<FieldError>) {
    shares(at, errors);
    if at.int("borrowingLimitPercent") < 0 {
        errors.extend(at.invalid(
            "borrowingLimitPercent",
            ["if specified, must be a non-negative integer"],
        ));
    }
    let response = at.child("limitResponse");
    match (response.text("type"), response.some("queuing")) {
        ("Reject", Some(_)) => {
            errors.push(response.forbidden("queuing", "must be nil if limited.limitResponse.type is not Limited"))
        }
        ("Reject", None) => {}
        ("Queue", Some(at)) => queuing(&at, errors),
        ("Queue", None) => {
            errors.push(response.required("queuing", "must not be empty if limited.limitResponse.type is Limited"))
        }
        (other, _) => errors.push(FieldError::not_supported(response.path("type"), other, RESPONSES)),
    }
}

fn queuing(at: &At<'_>, errors: &mut Vec<FieldError>) {
    let (queues, hand) = (at.int("queues"), at.int("handSize"));
    if at.int("queueLengthLimit") <= 0 {
        errors.extend(at.invalid("queueLengthLimit", ["must be positive"]));
    }
    if queues <= 0 {
        errors.extend(at.invalid("queues", ["must be positive"]));
    } else if queues > QUEUES_MAX {
        errors.extend(at.invalid("queues", [format!("must not be greater than {QUEUES_MAX}")]));
    }
    if hand <= 0 {
        errors.extend(at.invalid("handSize", ["must be positive"]));
    } else if hand > queues {
        errors.extend(at.invalid("handSize", [format!("should not be greater than queues ({queues})")]));
    } else if entropy(queues, hand) > HASH_BITS {
        let why = format!(
            "required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {HASH_BITS}"
        );
        errors.extend(at.invalid("handSize", [why]));
    }
}

/// Bits that it takes to deal `hand` cards of `deck`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "both are at most 10^7"
)]
fn entropy(deck: i64, hand: i64) -> i64 {
    ((deck as f64).log2() * hand as f64).ceil() as i64
}

/// The two that every cluster has may not change, but for how exempt requests count.
fn mandatory(at: &At<'_>, name: &str) -> Vec<FieldError> {
    let Some(fixed) = super::flow_control::mandatory_level(name) else {
        return Vec::new();
    };
    let plain = |level: &Value| {
        let mut spec = level["spec"].clone();
        if name == "exempt" {
            spec.as_object_mut().map(|spec| spec.shift_remove("exempt"));
        }
        spec
    };
    if plain(&fixed) == plain(at.value) {
        return Vec::new();
    }
    let but = if name == "exempt" {
        " except the 'spec.exempt' field"
    } else {
        ""
    };
    at.invalid("spec", [format!("spec of '{name}'{but} must equal the fixed value")])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(limited: Value) -> Value {
        json!({ "metadata": { "name": "l" }, "spec": { "type": "Limited", "limited": limited } })
    }

    #[test]
    fn levels_are_filled_in_as_upstream_does() {
        let mut level = level(json!({ "limitResponse": { "type": "Queue", "queuing": {} } }));
        PriorityLevelConfiguration::default(&mut level);
        assert_eq!(
            level["spec"]["limited"],
            json!({
                "limitResponse": { "type": "Queue", "queuing": { "queues": 64, "handSize": 8, "queueLengthLimit": 50 } },
                "nominalConcurrencyShares": 30, "lendablePercent": 0,
            })
        );
        assert_eq!(PriorityLevelConfiguration::validate(&level), []);
        let row = PriorityLevelConfiguration::row(&level, Timestamp::UNIX_EPOCH);
        assert_eq!(Value::from(row[1..6].to_vec()), json!(["Limited", 30, 64, 8, 50]));
    }

    #[test]
    fn levels_are_judged_as_upstream() {
        let queue = |queues: i64, hand: i64| {
            level(
                json!({ "limitResponse": { "type": "Queue", "queuing": { "queues": queues, "handSize": hand, "queueLengthLimit": 1 } } }),
            )
        };
        let at = "spec.limited.limitResponse.queuing.handSize";
        for (level, message) in [
            (
                json!({ "metadata": { "name": "l" }, "spec": { "type": "Exempt" } }),
                "spec.type: Invalid value: \"Exempt\": type must be 'Exempt' if and only if name is 'exempt'".to_owned(),
            ),
            (queue(4, 5), format!("{at}: Invalid value: 5: should not be greater than queues (4)")),
            (
                queue(128, 10),
                format!("{at}: Invalid value: 10: required entropy bits of deckSize 128 and handSize 10 should not be greater than 60"),
            ),
            (
                level(json!({ "limitResponse": { "type": "Reject", "queuing": {} } })),
                "spec.limited.limitResponse.queuing: Forbidden: must be nil if limited.limitResponse.type is not Limited".to_owned(),
            ),
        ] {
            let messages: Vec<String> = PriorityLevelConfiguration::validate(&level).iter().map(ToString::to_string).collect();
            assert_eq!(messages, [message]);
        }
    }
}
