//! ResourceClaim: a wish for devices, and which ones it got.

use super::{
    device_rules::{self, GROUP, ITEMS_MAX, Requests},
    pod, volume_source,
};
use crate::{
    at::{At, root, some_mut},
    conditions,
    field::FieldError,
    kind::{Column, Kind, Subresource},
    metadata, names,
    read::{list, some},
};
use jiff::Timestamp;
use serde_json::Value;
use std::collections::HashSet;

const RESERVED_MAX: usize = 256;
const CONDITIONS_MAX: usize = 8;
const DATA_MAX: usize = 10 * 1024;
const NO_UID: &str = "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase hexadecimal characters";

/// `resource.k8s.io/v1` ResourceClaim.
pub struct ResourceClaim;

impl Kind for ResourceClaim {
    const GROUP: &'static str = GROUP;
    const KIND: &'static str = "ResourceClaim";
    const PLURAL: &'static str = "resourceclaims";
    const SINGULAR: &'static str = "resourceclaim";
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::status(GROUP, "v1", "ResourceClaim")];
    const KEY: &'static str = "resourceclaims";
    const COLUMNS: &'static [Column] = &[
        Column::NAME,
        Column::narrow(
            "State",
            "string",
            "A summary of the current state (allocated, pending, reserved, etc.).",
        ),
        Column::AGE,
    ];
    type Object = k8s_openapi::api::resource::v1::ResourceClaim;

    fn default(claim: &mut Value) {
        some_mut(claim, "/spec", device_rules::default_claim);
    }

    fn validate(claim: &Value) -> Vec<FieldError> {
        device_rules::claim(&root(claim).child("spec"))
    }

    fn validate_update(new: &Value, old: &Value, subresource: &str) -> Vec<FieldError> {
        if subresource == "status" {
            return status(new, old);
        }
        let changed = root(new).immutable(old, "spec");
        changed.into_iter().chain(Self::validate(new)).collect()
    }

    fn row(claim: &Value, now: Timestamp) -> Vec<Value> {
        vec![
            metadata::name(claim).into(),
            state(claim).into(),
            metadata::age(claim, now).into(),
        ]
    }
}

/// `deleted`, `pending`, `allocated`, `reserved`, joined by commas.
fn state(claim: &Value) -> String {
    let deleted = metadata::is_deleting(claim);
    let allocated = some(claim, "/status/allocation").is_some();
    let reserved = !list(claim, "/status/reservedFor").is_empty();
    let states = [
        (deleted, "deleted"),
        (!allocated && !deleted, "pending"),
        (allocated, "allocated"),
        (allocated && reserved, "reserved"),
    ];
    let states: Vec<&str> = states.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect();
    states.join(",")
}

type Device<'a> = (&'a str, &'a str, &'a str);

fn device<'a>(at: &At<'a>) -> Device<'a> {
    (at.text("driver"), at.text("pool"), at.text("device"))
}

fn status(new: &Value, old: &Value) -> Vec<FieldError> {
    let at = root(new).child("status");
    let requests = device_rules::requests(&new["spec"]);
    let mut errors = device_rules::set(&at, "reservedFor", RESERVED_MAX, "uid", |user, errors| {
        let missing = ["resource", "name", "uid"]
            .into_iter()
            .filter(|m| user.text(m).is_empty());
        errors.extend(missing.map(|member| user.required(member, "")));
    });
    devices(&at, &mut errors);
    let reserved = at.items("reservedFor");
    if !reserved.is_empty() && !at.has("allocation") {
        let why = "may not be specified when `allocated` is not set";
        errors.push(at.forbidden("reservedFor", why));
    } else if metadata::is_deleting(new) {
        let before = list(old, "/status/reservedFor");
        if reserved.iter().any(|user| !before.contains(user.value)) {
            let why = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set";
            errors.push(at.forbidden("reservedFor", why));
        }
    }
    match (some(old, "/status/allocation"), at.some("allocation")) {
        (Some(_), Some(_)) => errors.extend(at.immutable(&old["status"], "allocation")),
        (None, Some(allocation)) => errors.extend(self::allocation(&allocation, &requests)),
        (_, None) => {}
    }
    errors
}

/// What drivers report of the devices that were allocated.
fn devices(at: &At<'_>, errors: &mut Vec<FieldError>) {
    let results = at.child("allocation").child("devices");
    let allocated: HashSet<Device<'_>> = results.items("results").iter().map(device).collect();
    let mut seen = HashSet::new();
    for one in at.items("devices") {
        identity(&one, errors);
        if !allocated.contains(&device(&one)) {
            let (driver, pool, name) = device(&one);
            let id = format!("{driver}/{pool}/{name}");
            let why = "must be an allocated device in the claim";
            errors.push(FieldError::invalid(one.path(""), id, why));
        }
        let count = one.items("conditions").len();
        if count > CONDITIONS_MAX {
            errors.push(FieldError::too_many(one.path("conditions"), count, CONDITIONS_MAX));
        }
        errors.extend(conditions::check(&one, "conditions"));
        if one.has("data") {
            device_rules::raw(&one, "data", DATA_MAX, errors);
        }
        let share = one.text("shareID");
        if !seen.insert((device(&one), share)) {
            errors.push(FieldError::duplicate(one.path("deviceID"), one.text("device")));
        }
    }
}

fn identity(at: &At<'_>, errors: &mut Vec<FieldError>) {
    errors.extend(volume_source::csi_driver(at, "driver"));
    errors.extend(device_rules::pool_name(at, "pool"));
    errors.extend(at.invalid_text("device", names::dns1123_label(at.text("device"))));
}

fn allocation(at: &At<'_>, requests: &Requests<'_>) -> Vec<FieldError> {
    let devices = at.child("devices");
    let mut errors = device_rules::all(&devices, "results", ITEMS_MAX, |result, errors| {
        let name = result.text("request");
        errors.extend(device_rules::request_name(result, "request", name, requests));
        identity(result, errors);
        for toleration in result.items("tolerations") {
            device_rules::toleration(&toleration, errors);
        }
        if let Some(share) = result.some("shareID").filter(|share| !is_uid(share.as_text())) {
            errors.extend(share.invalid("", [NO_UID]));
        }
    });
    errors.extend(device_rules::all(
        &devices,
        "config",
        2 * ITEMS_MAX,
        |config, errors| {
            errors.extend(config.must_be_one_of("source", &["FromClaim", "FromClass"]));
            errors.extend(device_rules::names_of(config, requests));
            device_rules::configuration(config, errors);
        },
    ));
    if let Some(selector) = at.some("nodeSelector") {
        errors.extend(pod::node_selector(&selector));
    }
    errors
}

/// `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`, in small hexadecimal digits.
fn is_uid(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    let digit = |c: char| c == '-' || c.is_ascii_digit() || ('a'..='f').contains(&c);
    lengths == [8, 4, 4, 4, 12] && text.chars().all(digit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::text;
    use serde_json::json;

    fn claim(request: Value) -> Value {
        let mut claim = json!({ "metadata": { "name": "c" }, "spec": { "devices": { "requests": [request] } } });
        ResourceClaim::default(&mut claim);
        claim
    }

    #[test]
    fn claims_are_filled_in_and_judged_as_upstream() {
        let good = claim(json!({ "name": "r", "exactly": { "deviceClassName": "x" } }));
        let exactly = &good["spec"]["devices"]["requests"][0]["exactly"];
        assert_eq!(
            (text(exactly, "/allocationMode"), &exactly["count"]),
            ("ExactCount", &json!(1))
        );
        assert_eq!(ResourceClaim::validate(&good), []);
        assert_eq!(state(&good), "pending");
        let at = "spec.devices.requests[0]";
        for (request, message) in [
            (
                json!({ "name": "r" }),
                format!("{at}: Required value: exactly one of `exactly` or `firstAvailable` is required"),
            ),
            (
                json!({ "name": "r", "exactly": {} }),
                format!("{at}.exactly.deviceClassName: Required value"),
            ),
            (
                json!({ "name": "r", "exactly": { "deviceClassName": "x", "allocationMode": "All", "count": 2 } }),
                format!("{at}.exactly.count: Invalid value: 2: must not be specified when allocationMode is 'All'"),
            ),
        ] {
            let errors = ResourceClaim::validate(&claim(request));
            assert_eq!(errors.first().map(ToString::to_string), Some(message));
        }
    }

    #[test]
    fn constraints_name_attributes_with_their_domain() {
        let path = "spec.devices.constraints[0]";
        for (constraint, message) in [
            (json!({ "matchAttribute": "x.y/a" }), None),
            (json!({ "distinctAttribute": "x.y/a" }), None),
            (
                json!({}),
                Some(format!(
                    "{path}: Required value: exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields are set"
                )),
            ),
            (
                json!({ "distinctAttribute": "a" }),
                Some(format!(
                    "{path}.distinctAttribute: Invalid value: \"a\": a fully qualified name must be a domain and a name separated by a slash"
                )),
            ),
            (
                json!({ "matchAttribute": "a/b/c" }),
                Some(format!(
                    "{path}.matchAttribute: Invalid value: \"a/b/c\": must not contain more than one slash"
                )),
            ),
        ] {
            let mut claim = claim(json!({ "name": "r", "exactly": { "deviceClassName": "x" } }));
            claim["spec"]["devices"]["constraints"] = json!([constraint]);
            let errors = ResourceClaim::validate(&claim);
            assert_eq!(errors.first().map(ToString::to_string), message);
        }
    }

    #[test]
    fn an_allocation_speaks_of_requests_and_stays() {
        let old = claim(json!({ "name": "r", "exactly": { "deviceClassName": "x" } }));
        let with = |request: &str, device: &str| {
            let mut new = old.clone();
            let result = json!({ "request": request, "driver": "d", "pool": "p", "device": device });
            new["status"] = json!({ "allocation": { "devices": { "results": [result] } }, "reservedFor": [{ "resource": "pods", "name": "a", "uid": "u" }] });
            new
        };
        let allocated = with("r", "one");
        assert_eq!(ResourceClaim::validate_update(&allocated, &old, "status"), []);
        assert_eq!(state(&allocated), "allocated,reserved");
        let errors = ResourceClaim::validate_update(&with("other", "one"), &old, "status");
        assert_eq!(errors[0].field, "status.allocation.devices.results[0].request");
        let moved = ResourceClaim::validate_update(&with("r", "two"), &allocated, "status");
        assert_eq!(
            (moved[0].field.as_str(), moved[0].detail.as_str()),
            ("status.allocation", "field is immutable")
        );
    }
}
