//! CSIDriver: what a storage driver needs and can do.

use crate::{
    at::{At, root},
    field::FieldError,
    kind::{Column, Context, Kind},
    metadata,
    read::{self, flag, int, list, some, text},
};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::HashSet;

/// As upstream lists them.
const MODES: &[&str] = &["Persistent", "Ephemeral"];
const FS_GROUP: &[&str] = &["File", "None", "ReadWriteOnceWithFSType"];
const TOKEN_SECONDS_MIN: i64 = 600;
const TOKEN_SECONDS_MAX: i64 = 1 << 32;

/// `storage.k8s.io/v1` CSIDriver.
pub struct CsiDriver;

impl Kind for CsiDriver {
    const GROUP: &'static str = "storage.k8s.io";
    const KIND: &'static str = "CSIDriver";
    const PLURAL: &'static str = "csidrivers";
    const SINGULAR: &'static str = "csidriver";
    const NAMESPACED: bool = false;
    const KEY: &'static str = "csidrivers";
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::narrow("AttachRequired", "boolean", "Whether volumes are attached first."),
        Column::narrow(
            "PodInfoOnMount",
            "boolean",
            "Whether it learns for which pod it mounts.",
        ),
        Column::narrow("StorageCapacity", "boolean", "Whether it reports its capacity."),
        Column::narrow("TokenRequests", "string", "Audiences of the tokens that it gets."),
        Column::narrow("RequiresRepublish", "boolean", "Whether it is called again and again."),
        Column::narrow("Modes", "string", "Lifecycles of volumes that it supports."),
        Column::AGE,
    ];
    type Object = k8s_openapi::api::storage::v1::CSIDriver;

    fn default(driver: &mut Value) {
        read::set_default(driver, "spec", json!({}));
        let spec = &mut driver["spec"];
        read::set_default(spec, "attachRequired", true);
        for off in ["podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount"] {
            read::set_default(spec, off, false);
        }
        read::set_default(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
        if list(spec, "/volumeLifecycleModes").is_empty() {
            spec["volumeLifecycleModes"] = json!(["Persistent"]);
        }
    }

    fn before_update(new: &mut Value, old: &Value, _context: &Context<'_>) {
        // The spec's mutable part counts; a fresh driver has no generation.
        if new["spec"] != old["spec"] {
            let generation = int(old, "/metadata/generation") + 1;
            new["metadata"]["generation"] = generation.into();
        }
    }

    fn validate(driver: &Value) -> Vec<FieldError> {
        let spec = root(driver).child("spec");
        let mut errors: Vec<FieldError> = spec.one_of("fsGroupPolicy", FS_GROUP).into_iter().collect();
        token_requests(&spec, &mut errors);
        for mode in spec.items("volumeLifecycleModes") {
            if !MODES.contains(&mode.as_text()) {
                let path = spec.path("volumeLifecycleModes");
                errors.push(FieldError::not_supported(path, mode.as_text(), MODES));
            }
        }
        let period = "nodeAllocatableUpdatePeriodSeconds";
        errors.extend(spec.judge_number(period, |seconds| {
            let short = (seconds < 10).then(|| "must be greater than or equal to 10 seconds".to_owned());
            short.into_iter().collect()
        }));
        errors
    }

    fn validate_update(new: &Value, old: &Value, _subresource: &str) -> Vec<FieldError> {
        let spec = root(new).child("spec");
        let mut errors = Self::validate(new);
        // Upstream names the first as no member is named.
        for (member, shown) in [
            ("attachRequired", "attachedRequired"),
            ("volumeLifecycleModes", "volumeLifecycleModes"),
        ] {
            let changed = spec.immutable(&old["spec"], member);
            errors.extend(changed.map(|error| FieldError {
                field: spec.path(shown),
                ..error
            }));
        }
        errors
    }

    fn row(driver: &Value, now: Timestamp) -> Vec<Value> {
        let words = |pointer: &str| {
            let all: Vec<&str> = list(driver, pointer).iter().filter_map(Value::as_str).collect();
            all.join(",")
        };
        let tokens = list(driver, "/spec/tokenRequests").iter();
        let audiences: Vec<&str> = tokens.map(|t| text(t, "/audience")).collect();
        let modes = words("/spec/volumeLifecycleModes");
        let unset = some(driver, "/spec/tokenRequests").is_none();
        vec![
            metadata::name(driver).into(),
            some(driver, "/spec/attachRequired").is_none_or(|v| v == true).into(),
            flag(driver, "/spec/podInfoOnMount").into(),
            flag(driver, "/spec/storageCapacity").into(),
            if unset {
                "<unset>".to_owned()
            } else {
                audiences.join(",")
            }
            .into(),
            flag(driver, "/spec/requiresRepublish").into(),
            if modes.is_empty() { "<none>".to_owned() } else { modes }.into(),
            metadata::age(driver, now).into(),
        ]
    }
}

fn token_requests(spec: &At<'_>, errors: &mut Vec<FieldError>) {
    let mut audiences = HashSet::new();
    for request in spec.items("tokenRequests") {
        let audience = request.text("audience");
        if !audiences.insert(audience) {
            errors.push(FieldError::duplicate(request.path("audience"), audience));
            continue;
        }
        if !request.has("expirationSeconds") {
            continue;
        }
        let seconds = request.int("expirationSeconds");
        if seconds < TOKEN_SECONDS_MIN {
            let why = "may not specify a duration less than 10 minutes";
            errors.extend(request.invalid("expirationSeconds", [why]));
        }
        if seconds > TOKEN_SECONDS_MAX {
            let why = "may not specify a duration larger than 2^32 seconds";
            errors.extend(request.invalid("expirationSeconds", [why]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_are_filled_in_and_shown_as_upstream() {
        let mut driver = json!({ "metadata": { "name": "d" }, "spec": { "tokenRequests": [{ "audience": "a" }, { "audience": "b" }] } });
        CsiDriver::default(&mut driver);
        assert_eq!(CsiDriver::validate(&driver), []);
        let row = CsiDriver::row(&driver, Timestamp::UNIX_EPOCH);
        assert_eq!(
            Value::from(row[..7].to_vec()),
            json!(["d", true, false, false, "a,b", false, "Persistent"])
        );
    }

    #[test]
    fn drivers_are_judged_as_upstream() {
        let spec = json!({ "fsGroupPolicy": "X", "volumeLifecycleModes": ["Y"], "tokenRequests": [{ "audience": "a", "expirationSeconds": 5 }] });
        let bad = json!({ "metadata": { "name": "A_b" }, "spec": spec });
        let fields: Vec<String> = CsiDriver::validate(&bad).iter().map(|e| e.field.clone()).collect();
        assert_eq!(
            fields,
            [
                "spec.fsGroupPolicy",
                "spec.tokenRequests[0].expirationSeconds",
                "spec.volumeLifecycleModes",
            ]
        );
    }

    #[test]
    fn two_members_stay_as_they_are() {
        let driver =
            |attach: bool, mode: &str| json!({ "spec": { "attachRequired": attach, "volumeLifecycleModes": [mode] } });
        let errors = CsiDriver::validate_update(&driver(false, "Ephemeral"), &driver(true, "Persistent"), "");
        let messages: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            messages,
            [
                "spec.attachedRequired: Invalid value: false: field is immutable",
                "spec.volumeLifecycleModes: Invalid value: [\"Ephemeral\"]: field is immutable",
            ]
        );
    }

    #[test]
    fn changes_of_the_mutable_part_count() {
        let rules = crate::find("storage.k8s.io", "v1", "csidrivers").expect("csidrivers are served");
        let old = json!({ "metadata": { "name": "d" }, "spec": { "podInfoOnMount": false } });
        let mut new = json!({ "metadata": { "name": "d" }, "spec": { "podInfoOnMount": true } });
        let context = Context {
            now: "2026-01-01T00:00:00Z",
            uid: "u",
            suffix: "b",
            namespace: "",
            subresource: "",
        };
        rules.before_update(&mut new, &old, &context);
        assert_eq!(new["metadata"]["generation"], 1);
    }
}
