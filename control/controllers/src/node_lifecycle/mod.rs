//! node-lifecycle-controller: a node that is not heard of becomes Unknown; taints follow the conditions.

mod health;
mod taint;

pub use health::GRACE;
pub use taint::taints;

use crate::context::Context;
use client::{Api, Error, Key, Object, Patch};
use health::{Heartbeats, Verdict, unknown_conditions};
use k8s_openapi::api::core::v1::Node;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;

/// When nodes are looked at though nothing has changed: a patch may have failed.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
const TRY_AGAIN: Duration = Duration::from_secs(1);

pub(crate) async fn run(context: Context) {
    if !(context.nodes.ready().await && context.leases.ready().await) {
        return;
    }
    let (mut nodes, mut leases) = (context.nodes.follow(), context.leases.follow());
    let mut heartbeats = Heartbeats::default();
    let mut look_at_all = Instant::now();
    let mut changed = BTreeSet::new();
    loop {
        let now = Instant::now();
        while let Ok(update) = leases.try_recv() {
            heartbeats.lease(&update, now);
        }
        while let Ok(update) = nodes.try_recv() {
            heartbeats.node(&update, now);
            changed.insert(update.key());
        }
        let due: Vec<_> = if now >= look_at_all {
            look_at_all = now + LOOK_AGAIN;
            context.nodes.list()
        } else {
            changed.iter().filter_map(|key| context.nodes.get(key)).collect()
        };
        for node in due {
            match settle(&context, &node, heartbeats.verdict(node.name(), now)).await {
                Ok(Some(silent)) => look_at_all = look_at_all.min(silent),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(node = node.name(), %error, "node not updated; will try again");
                    look_at_all = look_at_all.min(now + TRY_AGAIN);
                }
            }
        }
        changed.clear();
        tokio::select! {
            Some(update) = leases.recv() => heartbeats.lease(&update, Instant::now()),
            Some(update) = nodes.recv() => {
                heartbeats.node(&update, Instant::now());
                changed.insert(update.key());
            }
            () = tokio::time::sleep_until(look_at_all) => {}
            () = context.stop.cancelled() => return,
        }
    }
}

/// Makes a node's conditions and taints what they should be; says when its silence would become too long.
async fn settle(context: &Context, node: &Node, verdict: Verdict) -> Result<Option<Instant>, Error> {
    let api = Api::<Node>::all(context.transport.clone());
    let due = match verdict {
        Verdict::HeardOf { until } => Some(until),
        Verdict::Silent => {
            let conditions = unknown_conditions(node, jiff::Timestamp::now());
            if !conditions.is_empty() {
                tracing::warn!(node = node.name(), "node not heard of for {GRACE:?}");
                let patch = json!({"metadata": {"uid": node.uid()}, "status": {"conditions": conditions}});
                api.patch_status(node.name(), &Patch::Strategic(patch)).await?;
            }
            None
        }
    };
    let Some(latest) = context.nodes.get(&Key::new("", node.name())) else {
        return Ok(due);
    };
    if let Some(taints) = taint::changed(&latest, jiff::Timestamp::now()) {
        let patch = json!({
            "metadata": {"uid": latest.uid(), "resourceVersion": latest.resource_version()},
            "spec": {"taints": taints},
        });
        match api.patch(node.name(), &Patch::Merge(patch)).await {
            Ok(_) => {
                tracing::info!(node = node.name(), taints = ?taints.iter().map(|taint| &taint.key).collect::<Vec<_>>(), "taints set")
            }
            // The node changed meanwhile: its update is on the way here.
            Err(error) if error.is_conflict() || error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(due)
}
