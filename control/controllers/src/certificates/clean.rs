//! certificatesigningrequest-cleaner-controller: requests go an hour after they were decided, a day after nobody did.

use super::{is, is_issued};
use crate::context::Context;
use client::{Api, Error, ListOptions, Object};
use jiff::Timestamp;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use std::time::Duration;

/// Upstream's polling interval and lives (pkg/controller/certificates/cleaner).
const ROUND: Duration = Duration::from_secs(3600);
const DECIDED: i64 = 3600;
const PENDING: i64 = 24 * 3600;

pub(crate) async fn run(context: Context) {
    let mut round = tokio::time::interval(ROUND);
    loop {
        tokio::select! {
            _ = round.tick() => {}
            () = context.stop.cancelled() => return,
        }
        if let Err(error) = sweep(&context, Timestamp::now()).await {
            tracing::warn!(%error, "old certificate requests not removed; will try again");
        }
    }
}

async fn sweep(context: &Context, now: Timestamp) -> Result<(), Error> {
    let api = Api::<CertificateSigningRequest>::all(context.transport.clone());
    for request in api.list_all(&ListOptions::default()).await?.items {
        if !is_old(&request, now) {
            continue;
        }
        match api.delete(request.name(), &DeleteOptions::default()).await {
            Err(error) if !error.is_not_found() => return Err(error),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}

fn is_old(request: &CertificateSigningRequest, now: Timestamp) -> bool {
    let older = |since: Option<Timestamp>, seconds: i64| {
        since.is_some_and(|since| now.duration_since(since).as_secs() > seconds)
    };
    let conditions = request
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let mut decided =
        conditions.filter(|condition| matches!(condition.type_.as_str(), "Approved" | "Denied" | "Failed"));
    if decided.any(|condition| older(condition.last_update_time.as_ref().map(|time| time.0), DECIDED)) {
        // What is approved and not signed yet waits for its signer, for as long as it would for a decision.
        if is_issued(request) || is(request, "Denied") || is(request, "Failed") {
            return true;
        }
    }
    let created = request.metadata.creation_timestamp.as_ref().map(|time| time.0);
    !is_issued(request) && older(created, PENDING)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn requests_grow_old_by_what_became_of_them() {
        let now: Timestamp = "2020-01-02T12:00:00Z".parse().unwrap();
        let request = |created: &str, status: serde_json::Value| -> CertificateSigningRequest {
            serde_json::from_value(json!({
                "metadata": { "name": "r", "creationTimestamp": created },
                "spec": { "request": "", "signerName": "a/b" }, "status": status,
            }))
            .unwrap()
        };
        let condition =
            |kind: &str, at: &str| json!({ "conditions": [{ "type": kind, "status": "True", "lastUpdateTime": at }] });
        let mut issued = condition("Approved", "2020-01-02T10:00:00Z");
        issued["certificate"] = json!("eA==");
        for (request, old) in [
            (request("2020-01-01T11:00:00Z", json!({})), true),
            (request("2020-01-02T11:00:00Z", json!({})), false),
            (
                request("2020-01-02T09:00:00Z", condition("Denied", "2020-01-02T10:00:00Z")),
                true,
            ),
            (
                request("2020-01-02T09:00:00Z", condition("Denied", "2020-01-02T11:30:00Z")),
                false,
            ),
            (
                request("2020-01-02T09:00:00Z", condition("Approved", "2020-01-02T10:00:00Z")),
                false,
            ),
            (request("2020-01-02T09:00:00Z", issued), true),
        ] {
            assert_eq!(is_old(&request, now), old, "{request:?}");
        }
    }
}
