//! POST pods/NAME/eviction: a delete that the pod's budget may refuse (upstream: registry/core/pod/storage/eviction.go).

mod budget;

use crate::call::{Call, timestamp};
use crate::options::DeleteOptions;
use crate::verbs::{change, delete_object, existing};
use crate::{body, reply};
use api::status::{self, Status};
use api::{Verb, metadata, read};
use bytes::Bytes;
use client::Body;
use http::Response;
use jiff::Timestamp;
use serde_json::{Value, json};

/// So often the pod may change under a deletion that no budget judges.
const TRIES: usize = 20;

/// Evicts.
pub(crate) async fn evict(call: &Call, bytes: &Bytes) -> Result<Response<Body>, Status> {
    let eviction = body::decode(body::media_type(&call.headers), bytes)?.value;
    let named = metadata::name(&eviction);
    if !named.is_empty() && named != call.name {
        return Err(status::bad_request(
            "name in URL does not match name in Eviction object",
        ));
    }
    let mut options = DeleteOptions::of(&call.query, read::some(&eviction, "/deleteOptions"))?;
    options.dry_run |= call.query.get("dryRun").is_some();
    if !delete_unjudged(call, &options).await? {
        delete_within_budget(call, &options).await?;
    }
    let success = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201 });
    Ok(reply::object(201, call.accepted.encoding, &success))
}

/// Deletes a pod that counts for no budget: finished, not begun, or on its way out. False: it counts.
async fn delete_unjudged(call: &Call, options: &DeleteOptions) -> Result<bool, Status> {
    let mut tries = if options.resource_version.is_some() { 1 } else { TRIES };
    loop {
        tries -= 1;
        let pod = call.object(&existing(call)?);
        let phase = read::text(&pod, "/status/phase");
        let ended = matches!(phase, "Succeeded" | "Failed") || metadata::is_deleting(&pod);
        if !ended && phase != "Pending" {
            return Ok(false);
        }
        let mut options = options.clone();
        if !ended && options.resource_version.is_none() {
            // It must not have become ready meanwhile.
            options.resource_version = Some(metadata::resource_version(&pod).to_owned());
        }
        match mark_and_delete(call, options).await {
            Err(refused) if refused.reason == "Conflict" && tries > 0 => {}
            outcome => return outcome.map(|()| true),
        }
    }
}

/// Deletes a pod that counts, after its budget has been asked.
async fn delete_within_budget(call: &Call, options: &DeleteOptions) -> Result<(), Status> {
    let pod = call.object(&existing(call)?);
    let budgets = budget::of_pod(call, &pod);
    let mut pinned = options.clone();
    let mut judged_unready = None;
    match &budgets[..] {
        [] => {}
        [budget] if budget::lets_unready_go(budget, &pod) => {
            judged_unready = Some(metadata::name(budget).to_owned());
            pinned.resource_version = Some(metadata::resource_version(&pod).to_owned());
        }
        [budget] => budget::spend(call, budget, options.dry_run).await?,
        _ => {
            let message =
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
            return Err(Status {
                code: 500,
                reason: "",
                message: message.to_owned(),
                ..status::no_such_path()
            });
        }
    }
    match (mark_and_delete(call, pinned).await, judged_unready) {
        // The pod may be ready by now: the client must ask again.
        (Err(refused), Some(budget)) if refused.reason == "Conflict" && options.resource_version.is_none() => {
            Err(budget::not_yet(&budget))
        }
        (outcome, _) => outcome,
    }
}

/// Says in the pod's status why it goes, then deletes it.
async fn mark_and_delete(call: &Call, mut options: DeleteOptions) -> Result<(), Status> {
    if !options.dry_run {
        let mut about_status = call.of_object(&call.namespace, &call.name);
        about_status.subresource = "status".to_owned();
        about_status.verb = Verb::Update;
        let asked = options.resource_version.clone();
        let changed = change(&about_status, false, asked.is_some(), |old| {
            let mut pod = old.clone();
            if let Some(asked) = &asked {
                pod["metadata"]["resourceVersion"] = asked.as_str().into();
            }
            disrupted(&mut pod);
            Ok(pod)
        })
        .await?;
        if options.resource_version.is_some() {
            options.resource_version = Some(changed.entry().modified.to_string());
        }
    }
    let mut whole = call.of_object(&call.namespace, &call.name);
    whole.subresource = String::new();
    whole.verb = Verb::Delete;
    delete_object(&whole, &options).await.map(drop)
}

/// The condition that tells controllers that the pod did not fail by itself.
fn disrupted(pod: &mut Value) {
    let condition = json!({
        "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting",
        "lastProbeTime": null, "lastTransitionTime": timestamp(Timestamp::now()),
    });
    let conditions = read::map_mut(pod, "status").map(|s| s.entry("conditions").or_insert_with(|| json!([])));
    if let Some(Value::Array(conditions)) = conditions {
        let there = conditions
            .iter()
            .any(|c| read::text(c, "/type") == "DisruptionTarget" && read::text(c, "/status") == "True");
        if !there {
            conditions.retain(|c| read::text(c, "/type") != "DisruptionTarget");
            conditions.push(condition);
        }
    }
}
