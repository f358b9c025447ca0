//! event-ttl-controller: Events are removed an hour after they last happened, as upstream's API server does by lease.

use crate::context::Context;
use client::{Api, Error, ListOptions, Object};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use std::time::Duration;

/// Upstream's `--event-ttl`.
const TTL: Duration = Duration::from_secs(3600);
/// How often they are looked through. Reading them costs more than having them a little longer.
const ROUND: Duration = Duration::from_secs(300);
const PAGE: u32 = 500;

pub(crate) async fn run(context: Context) {
    let mut round = tokio::time::interval(ROUND);
    loop {
        tokio::select! {
            _ = round.tick() => {}
            () = context.stop.cancelled() => return,
        }
        if let Err(error) = sweep(&context, Timestamp::now()).await {
            tracing::warn!(%error, "old events not removed; will try again");
        }
    }
}

/// Page by page, so that a flood of events is never in memory at once.
async fn sweep(context: &Context, now: Timestamp) -> Result<(), Error> {
    let mut options = ListOptions {
        limit: PAGE,
        ..ListOptions::default()
    };
    loop {
        let page = Api::<Event>::all(context.transport.clone()).list(&options).await?;
        for event in page.items.iter().filter(|event| is_old(event, now)) {
            let api = Api::<Event>::namespaced(context.transport.clone(), event.namespace());
            match api.delete(event.name(), &DeleteOptions::default()).await {
                Err(error) if !error.is_not_found() => return Err(error),
                Ok(_) | Err(_) => {}
            }
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => options.continue_token = token,
            None => return Ok(()),
        }
    }
}

fn is_old(event: &Event, now: Timestamp) -> bool {
    let series = event
        .series
        .as_ref()
        .and_then(|series| series.last_observed_time.as_ref())
        .map(|time| time.0);
    let last = event.last_timestamp.as_ref().map(|time| time.0);
    let at = event.event_time.as_ref().map(|time| time.0);
    let created = event.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let happened = [series, last, at, created].into_iter().flatten().max();
    happened.is_some_and(|happened| now.duration_since(happened).as_secs() >= TTL.as_secs() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_is_old_an_hour_after_it_last_happened() {
        let now: Timestamp = "2020-01-01T12:00:00Z".parse().unwrap();
        let event = |metadata, last: &str| {
            let event = json!({"metadata": metadata, "involvedObject": {}, "lastTimestamp": last});
            serde_json::from_value::<Event>(event).unwrap()
        };
        let created = |time: &str| json!({"name": "e", "creationTimestamp": time});
        let table = [
            (event(created("2020-01-01T09:00:00Z"), "2020-01-01T11:00:00Z"), true),
            (event(created("2020-01-01T09:00:00Z"), "2020-01-01T11:00:01Z"), false),
            (event(created("2020-01-01T11:30:00Z"), "2020-01-01T10:00:00Z"), false),
            (event(json!({"name": "e"}), "2020-01-01T10:00:00Z"), true),
        ];
        for (event, old) in table {
            assert_eq!(is_old(&event, now), old);
        }
    }
}
