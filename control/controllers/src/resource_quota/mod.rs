//! resourcequota-controller: what each quota says is used is what there is.
//!
//! Admission charges quotas before it lets an object in; this gives back what went, and puts right what was charged in vain.

mod usage;

use crate::context::{Context, cache};
use crate::every_kind::Sighting;
use api::quota::{Amounts, amounts, to_value};
use client::{Api, Cache, Dynamic, Error, Key, Object, Queue, Resource, Update, work};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ResourceQuota;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// From an object's change to the count, so that many changes are one count and the caches have them.
const SETTLE: Duration = Duration::from_millis(150);
/// A quota that was charged so lately may be charged for an object that is not there yet: it is not lowered.
const CHARGED: Duration = Duration::from_millis(300);
/// Every quota is counted this often whatever happens (upstream's `--resource-quota-sync-period`).
const ROUND: Duration = Duration::from_secs(300);

/// When each quota was last seen to change.
type Changed = Arc<Mutex<HashMap<Key, Instant>>>;

pub(crate) async fn run(context: Context) {
    let quotas = cache(Api::<ResourceQuota>::all(context.transport.clone()), &context.stop);
    if !(quotas.ready().await && context.kinds.ready().await) {
        return;
    }
    let (queue, changed) = (Queue::<Key>::new(), Changed::default());
    let feed = feed(&context, &quotas, &queue, &changed);
    let reconcile = {
        let (context, again, changed) = (context.clone(), queue.clone(), changed.clone());
        move |key: Key| {
            let (context, again, changed) = (context.clone(), again.clone(), changed.clone());
            async move {
                match recount(&context, &key, &changed).await {
                    Ok(Counted::Done) => Ok(()),
                    Ok(Counted::Later) => {
                        again.add_after(key, CHARGED);
                        Ok(())
                    }
                    Err(error) if error.is_conflict() => {
                        again.add_after(key, SETTLE);
                        Ok(())
                    }
                    Err(error) => Err(error),
                }
            }
        }
    };
    tokio::join!(
        feed,
        work("resourcequota-controller", &queue, 2, &context.stop, reconcile)
    );
}

async fn feed(context: &Context, quotas: &Cache<ResourceQuota>, queue: &Queue<Key>, changed: &Changed) {
    let (mut changes, mut objects) = (quotas.follow(), context.kinds.follow());
    let mut round = tokio::time::interval(ROUND);
    loop {
        tokio::select! {
            Some(update) = changes.recv() => {
                let key = update.key();
                let mut changed = changed.lock().expect("no holder of the times panics");
                if update.now.is_none() {
                    changed.remove(&key);
                } else {
                    changed.insert(key.clone(), Instant::now());
                    if is_new(&update) {
                        queue.add(key);
                    }
                }
            }
            Some(sighting) = objects.recv() => {
                if let Some(namespace) = matters(&sighting) {
                    quotas.list_in(&namespace).iter().for_each(|quota| queue.add_after(quota.key(), SETTLE));
                }
            }
            _ = round.tick() => quotas.list().iter().for_each(|quota| queue.add(quota.key())),
            () = context.stop.cancelled() => return,
        }
    }
}

/// Whether the quota wants something else than it did.
fn is_new(update: &Update<ResourceQuota>) -> bool {
    let (Some(before), Some(now)) = (&update.before, &update.now) else {
        return true;
    };
    let hard = |quota: &ResourceQuota| quota.status.as_ref().and_then(|status| status.hard.clone());
    before.spec != now.spec || hard(now).is_none() || hard(before) != hard(now)
}

/// The namespace whose quotas mind what was seen.
fn matters(Sighting { kind, update }: &Sighting) -> Option<String> {
    let comes_or_goes = update.before.is_none() || update.now.is_none();
    let changes = usage::is_listed(api::quota::Counted {
        group: &kind.resource.group,
        plural: &kind.resource.plural,
    });
    let namespace = update.key().namespace;
    ((comes_or_goes || changes) && !namespace.is_empty()).then_some(namespace)
}

/// What became of a count.
enum Counted {
    /// The quota says what is so.
    Done,
    /// It is to be lowered, but not yet.
    Later,
}

async fn recount(context: &Context, key: &Key, changed: &Changed) -> Result<Counted, Error> {
    let api = Api::<Dynamic>::at(
        context.transport.clone(),
        &Resource::of::<ResourceQuota>(),
        Some(&key.namespace),
    );
    let mut quota = match api.get(&key.name).await {
        Ok(quota) => quota.0,
        Err(error) if error.is_not_found() => return Ok(Counted::Done),
        Err(error) => return Err(error),
    };
    let counted = usage::count(context, &key.namespace, &quota, Timestamp::now()).await?;
    let hard = amounts(&quota, "/spec/hard");
    let before = amounts(&quota, "/status/used");
    // What nobody knows how to count stays what it was.
    let mut used: Amounts = before.clone();
    used.extend(counted);
    used.retain(|name, _| hard.contains_key(name));
    if used == before && hard == amounts(&quota, "/status/hard") && quota["status"]["hard"].is_object() {
        return Ok(Counted::Done);
    }
    let lower = used
        .iter()
        .any(|(name, amount)| before.get(name).is_some_and(|before| amount < before));
    let lately = changed
        .lock()
        .expect("no holder of the times panics")
        .get(key)
        .map(Instant::elapsed);
    if lower && lately.is_some_and(|lately| lately < CHARGED) {
        return Ok(Counted::Later);
    }
    quota["status"] = status(&hard, &used);
    match api.replace_status(&key.name, &Dynamic(quota)).await {
        Ok(_) => Ok(Counted::Done),
        Err(error) if error.is_not_found() => Ok(Counted::Done),
        Err(error) => Err(error),
    }
}

fn status(hard: &Amounts, used: &Amounts) -> Value {
    json!({"hard": to_value(hard), "used": to_value(used)})
}
