//! node-lifecycle-controller: a node that is not heard of becomes Unknown; taints follow the conditions, and those of lost nodes
//! evict, unless too much is lost at once.

mod health;
mod taint;
mod zones;

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
use zones::Zones;

/// When nodes are looked at though nothing has changed: a patch may have failed.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
const TRY_AGAIN: Duration = Duration::from_secs(1);

pub(crate) async fn run(context: Context) {
    if !(context.nodes.ready().await && context.leases.ready().await) {
        return;
    }
    let (mut nodes, mut leases) = (context.nodes.follow(), context.leases.follow());
    let mut heartbeats = Heartbeats::default();
    let mut zones = Zones::default();
    let mut all_lost = true;
    let mut look_at_all = Instant::now();
    let mut changed = BTreeSet::new();
    loop {
        let now = Instant::now();
        while let Ok(update) = leases.try_recv() {
            heartbeats.lease(&update, now);
        }
        while let Ok(update) = nodes.try_recv() {
            heartbeats.node(&update, now);
            zones.follow(&update);
            changed.insert(update.key());
        }
        if std::mem::replace(&mut all_lost, zones.all_lost()) != all_lost {
            tracing::warn!(all_lost, "whether any node is ready has changed");
            look_at_all = now;
        }
        let due: Vec<_> = if now >= look_at_all {
            look_at_all = now + LOOK_AGAIN;
            context.nodes.list()
        } else {
            changed.iter().filter_map(|key| context.nodes.get(key)).collect()
        };
        for node in due {
            match settle(&context, &node, heartbeats.verdict(node.name(), now), &mut zones).await {
                Ok(Some(next)) => look_at_all = look_at_all.min(next),
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
                zones.follow(&update);
                changed.insert(update.key());
            }
            () = tokio::time::sleep_until(look_at_all) => {}
            () = context.stop.cancelled() => return,
        }
    }
}

/// Makes a node's conditions and taints what they should be; says when to look again: its silence would become too long, or its
/// pods may be evicted.
async fn settle(context: &Context, node: &Node, verdict: Verdict, zones: &mut Zones) -> Result<Option<Instant>, Error> {
    let silent = match verdict {
        Verdict::HeardOf { until } => Some(until),
        Verdict::Silent => {
            say_silent(context, node).await?;
            None
        }
    };
    let Some(latest) = context.nodes.get(&Key::new("", node.name())) else {
        return Ok(silent);
    };
    let now = Instant::now();
    let (evicting, evict) = match taint::lost(&latest) {
        None => (None, None),
        Some(_) if zones.all_lost() => (None, None),
        Some(key) if taint::is_evicting(&latest) => (Some(key), None),
        Some(key) => match zones.when(&latest, now) {
            Some(at) if at <= now => (Some(key), None),
            at => (None, at),
        },
    };
    let is_set = set_taints(context, &latest, evicting).await?;
    if is_set && evicting.is_some() && !taint::is_evicting(&latest) {
        zones.tainted(&latest, now);
    }
    Ok([silent, evict].into_iter().flatten().min())
}

async fn say_silent(context: &Context, node: &Node) -> Result<(), Error> {
    let conditions = unknown_conditions(node, jiff::Timestamp::now());
    if !conditions.is_empty() {
        tracing::warn!(node = node.name(), "node not heard of for {GRACE:?}");
        let patch = json!({"metadata": {"uid": node.uid()}, "status": {"conditions": conditions}});
        let api = Api::<Node>::all(context.transport.clone());
        api.report_status(node.name(), &Patch::Strategic(patch)).await?;
    }
    Ok(())
}

/// True if the node's taints have changed by this.
async fn set_taints(context: &Context, node: &Node, evicting: Option<&'static str>) -> Result<bool, Error> {
    let Some(taints) = taint::changed(node, evicting, jiff::Timestamp::now()) else {
        return Ok(false);
    };
    let patch = json!({
        "metadata": {"uid": node.uid(), "resourceVersion": node.resource_version()},
        "spec": {"taints": taints},
    });
    let api = Api::<Node>::all(context.transport.clone());
    match api.patch(node.name(), &Patch::Merge(patch)).await {
        Ok(_) => {
            let taints: Vec<_> = taints
                .iter()
                .map(|taint| [&*taint.key, &*taint.effect].join(":"))
                .collect();
            tracing::info!(node = node.name(), ?taints, "taints set");
            Ok(true)
        }
        // The node changed meanwhile: its update is on the way here.
        Err(error) if error.is_conflict() || error.is_not_found() => Ok(false),
        Err(error) => Err(error),
    }
}
