//! The budgets of a pod: which they are, whether they let it go, and how an eviction is taken out of one.

use crate::call::{Call, timestamp};
use crate::verbs::change;
use api::selector::LabelSelector;
use api::status::{self, Status};
use api::{RulesRef, Verb, metadata, read};
use jiff::Timestamp;
use serde_json::{Value, json};

/// So many evictions may wait for the budget's controller to see them.
const DISRUPTED_MAX: usize = 2000;
const REFUSAL: &str = "Cannot evict pod as it would violate the pod's disruption budget.";

fn rules() -> Option<RulesRef> {
    api::find("policy", "v1", "poddisruptionbudgets").map(RulesRef::from)
}

/// The budgets that choose the pod. One without a selector, or with an empty one, chooses nothing.
pub(super) fn of_pod(call: &Call, pod: &Value) -> Vec<Value> {
    let Some(rules) = rules() else { return Vec::new() };
    let all = call
        .server
        .store
        .range(&rules.key_prefix(Some(&call.namespace)), None, 0)
        .entries;
    let chooses = |budget: &Value| {
        let selector = read::some(budget, "/spec/selector").and_then(LabelSelector::of_object);
        selector.is_some_and(|s| !s.is_empty() && s.matches(pod))
    };
    all.iter().map(crate::encode::object).filter(chooses).collect()
}

/// Whether the pod, not being ready, is not counted as healthy, so that nothing is lost with it.
pub(super) fn lets_unready_go(budget: &Value, pod: &Value) -> bool {
    let conditions = read::list(pod, "/status/conditions");
    let ready = conditions
        .iter()
        .any(|c| read::text(c, "/type") == "Ready" && read::text(c, "/status") == "True");
    let count = |member: &str| read::int(budget, &format!("/status/{member}"));
    let always = read::text(budget, "/spec/unhealthyPodEvictionPolicy") == "AlwaysAllow";
    !ready && (always || count("currentHealthy") >= count("desiredHealthy") && count("desiredHealthy") > 0)
}

/// Takes one disruption out of the budget, or says why it may not be.
pub(super) async fn spend(call: &Call, budget: &Value, dry_run: bool) -> Result<(), Status> {
    let Some(rules) = rules() else { return Ok(()) };
    let mut about = call.of_object(&call.namespace, metadata::name(budget));
    about.rules = rules;
    about.subresource = "status".to_owned();
    about.verb = Verb::Update;
    let pod = call.name.as_str();
    change(&about, dry_run, false, |old| spent(&about, old, pod))
        .await
        .map(drop)
}

fn spent(about: &Call, budget: &Value, pod: &str) -> Result<Value, Status> {
    let count = |member: &str| read::int(budget, &format!("/status/{member}"));
    let allowed = count("disruptionsAllowed");
    let forbidden = |why: &str| Err(status::forbidden(&about.rules, &about.name, why));
    if count("observedGeneration") < read::int(budget, "/metadata/generation") {
        return Err(not_yet(&about.name));
    }
    if allowed < 0 {
        return forbidden("pdb disruptions allowed is negative");
    }
    if read::entries(budget, "/status/disruptedPods").count() > DISRUPTED_MAX {
        return forbidden("DisruptedPods map too big - too many evictions not confirmed by PDB controller");
    }
    if allowed == 0 {
        return Err(exhausted(budget));
    }
    let now = timestamp(Timestamp::now());
    let mut new = budget.clone();
    new["status"]["disruptionsAllowed"] = (allowed - 1).into();
    if allowed == 1 {
        say_exhausted(&mut new, &now);
    }
    read::set_default(&mut new["status"], "disruptedPods", json!({}));
    new["status"]["disruptedPods"][pod] = now.into();
    Ok(new)
}

/// The condition of a budget that has nothing left.
fn say_exhausted(budget: &mut Value, now: &str) {
    let condition = json!({
        "type": "DisruptionAllowed", "status": "False", "reason": "InsufficientPods", "message": "",
        "observedGeneration": read::int(budget, "/status/observedGeneration"), "lastTransitionTime": now,
    });
    read::set_default(&mut budget["status"], "conditions", json!([]));
    if let Some(conditions) = budget["status"]["conditions"].as_array_mut() {
        conditions.retain(|c| read::text(c, "/type") != "DisruptionAllowed");
        conditions.push(condition);
    }
}

/// 429: the budget has not been counted yet.
pub(super) fn not_yet(name: &str) -> Status {
    let why = format!("The disruption budget {name} is still being processed by the server.");
    status::too_many_requests(REFUSAL, 10).cause("DisruptionBudget", &why, "")
}

/// 429: the budget is spent.
fn exhausted(budget: &Value) -> Status {
    let name = metadata::name(budget);
    let conditions = read::list(budget, "/status/conditions");
    let failed = conditions
        .iter()
        .find(|c| read::text(c, "/type") == "DisruptionAllowed" && read::text(c, "/reason") == "SyncFailed");
    let why = match failed {
        Some(condition) => format!(
            "The disruption budget {name} does not allow evicting pods currently because it failed sync: {}",
            read::text(condition, "/message")
        ),
        None => format!(
            "The disruption budget {name} needs {} healthy pods and has {} currently",
            read::int(budget, "/status/desiredHealthy"),
            read::int(budget, "/status/currentHealthy")
        ),
    };
    let mut refusal = status::too_many_requests(REFUSAL, 0).cause("DisruptionBudget", &why, "");
    refusal.details.shift_remove("retryAfterSeconds");
    refusal
}
