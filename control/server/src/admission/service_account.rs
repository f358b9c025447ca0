//! ServiceAccount: a pod that names no account runs as `default`. Tokens are not mounted yet.

use api::read;
use serde_json::Value;

/// Written by upstream's kubelet on pods that it made itself; they have no account.
const MIRROR: &str = "kubernetes.io/config.mirror";

pub(super) fn admit(pod: &mut Value) {
    if pod
        .pointer("/metadata/annotations")
        .and_then(|annotations| annotations.get(MIRROR))
        .is_some()
    {
        return;
    }
    let named = [
        read::text(pod, "/spec/serviceAccountName"),
        read::text(pod, "/spec/serviceAccount"),
        "default",
    ];
    let account = named
        .into_iter()
        .find(|name| !name.is_empty())
        .unwrap_or("default")
        .to_owned();
    if let Some(spec) = read::map_mut(pod, "spec") {
        spec.insert("serviceAccountName".to_owned(), account.as_str().into());
        // Deprecated and always the same, for old clients.
        spec.insert("serviceAccount".to_owned(), account.into());
    }
}
