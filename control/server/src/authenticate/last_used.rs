//! On which day tokens that stand in Secrets were last used: a label of the Secret tells, so that people find those that nobody
//! needs (upstream pkg/serviceaccount/legacy.go, KEP-2799).

use crate::in_process::InProcess;
use crate::server::Server;
use api::read::text;
use client::{Api, Patch, Transport};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tracing::debug;

/// Says the day, such as `2026-11-28`.
pub(super) const LABEL: &str = "kubernetes.io/legacy-token-last-used";
/// Says since when a token is no longer accepted; whoever removes it accepts it again.
const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";

/// Namespace and name of a Secret.
type Place = (String, String);

/// The Secrets whose tokens were used today.
#[derive(Default)]
pub(crate) struct LastUsed {
    day: Mutex<Day>,
    more: Notify,
}

#[derive(Default)]
struct Day {
    date: String,
    seen: HashSet<Place>,
    /// Those whose label may not say so yet.
    waiting: Vec<Place>,
}

// === impl LastUsed ===

impl LastUsed {
    /// The sets are whole even if somebody panicked over them.
    fn day(&self) -> MutexGuard<'_, Day> {
        self.day.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The token of a Secret was accepted.
    pub(super) fn note(&self, namespace: &str, secret: &str, now: Timestamp) {
        let date = date(now);
        let place = (namespace.to_owned(), secret.to_owned());
        let mut day = self.day();
        if day.date != date {
            *day = Day { date, ..Day::default() };
        }
        if day.seen.insert(place.clone()) {
            day.waiting.push(place);
            self.more.notify_one();
        }
    }

    /// The day, and the Secrets that are to be marked with it.
    fn take(&self) -> (String, Vec<Place>) {
        let mut day = self.day();
        (day.date.clone(), std::mem::take(&mut day.waiting))
    }

    /// The next use is to mark it again.
    fn forget(&self, place: &Place) {
        self.day().seen.remove(place);
    }
}

fn date(now: Timestamp) -> String {
    now.strftime("%Y-%m-%d").to_string()
}

/// Why the token of a Secret is not accepted though it is there.
pub(super) fn refusal(secret: &Value, namespace: &str, account: &str) -> Option<String> {
    let labels = secret.pointer("/metadata/labels")?;
    labels.get(INVALID_SINCE).filter(|since| *since != "")?;
    let name = text(secret, "/metadata/name");
    Some(format!(
        "the token in secret {namespace}/{name} for service account {namespace}/{account} has been marked invalid. Use tokens from the TokenRequest API or manually created secret-based tokens, or remove the '{INVALID_SINCE}' label from the secret to temporarily allow use of this token"
    ))
}

/// Marks Secrets until the server stops.
pub(crate) async fn follow(server: Arc<Server>) {
    let transport: Arc<dyn Transport> = Arc::new(InProcess::new(server.clone(), "system:apiserver"));
    let last_used = &server.authenticator.last_used;
    loop {
        tokio::select! {
            () = server.stopping.cancelled() => return,
            () = last_used.more.notified() => {}
        }
        let (date, places) = last_used.take();
        for place in places {
            if let Err(cause) = mark(&transport, &place, &date).await {
                debug!(namespace = %place.0, secret = %place.1, %cause, "a token's last use is not marked");
                last_used.forget(&place);
            }
        }
    }
}

async fn mark(transport: &Arc<dyn Transport>, (namespace, name): &Place, date: &str) -> Result<(), client::Error> {
    let api = Api::<Secret>::namespaced(transport.clone(), namespace);
    let labels = api.get(name).await?.metadata.labels.unwrap_or_default();
    if labels.get(LABEL).is_some_and(|said| said == date) {
        return Ok(());
    }
    let patch = Patch::Merge(json!({ "metadata": { "labels": { LABEL: date } } }));
    api.patch(name, &patch).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_marked_once_a_day() {
        let used = LastUsed::default();
        let at = |text: &str| text.parse().expect("it is a time");
        let place = |name: &str| ("n".to_owned(), name.to_owned());
        used.note("n", "a", at("2026-11-28T01:00:00Z"));
        used.note("n", "a", at("2026-11-28T23:59:59Z"));
        used.note("n", "b", at("2026-11-28T23:59:59Z"));
        assert_eq!(used.take(), ("2026-11-28".to_owned(), vec![place("a"), place("b")]));
        used.note("n", "a", at("2026-11-28T23:59:59Z"));
        assert_eq!(used.take().1, []);
        used.note("n", "a", at("2026-11-29T00:00:00Z"));
        assert_eq!(used.take(), ("2026-11-29".to_owned(), vec![place("a")]));
        used.forget(&place("a"));
        used.note("n", "a", at("2026-11-29T00:00:01Z"));
        assert_eq!(used.take().1, [place("a")]);
    }

    #[test]
    fn a_marked_token_is_refused_in_upstreams_words() {
        let secret = |labels: Value| json!({ "metadata": { "name": "s", "labels": labels } });
        assert_eq!(refusal(&secret(json!({})), "n", "a"), None);
        assert_eq!(refusal(&secret(json!({ INVALID_SINCE: "" })), "n", "a"), None);
        let why = refusal(&secret(json!({ INVALID_SINCE: "2026-11-28" })), "n", "a").unwrap();
        assert!(why.starts_with("the token in secret n/s for service account n/a has been marked invalid. Use tokens"));
    }
}
