//! taint-eviction-controller: pods leave nodes that have taints of effect NoExecute, at once or when they tolerate them no longer.
//!
//! Pods of daemon sets and static ones tolerate by what is written in them; no kind of pod is special here, as upstream.

mod fate;
mod plan;

use crate::context::Context;
use crate::pod::{BY_NODE, Pod};
use client::{Api, Error, Key, Object, Patch, Queue, Recorder, Update, work};
use k8s_openapi::api::core::v1::{self as core, Node, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions, Time};
use plan::{Plan, Step};
use serde_json::json;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::time::Instant;

const NAME: &str = "taint-eviction-controller";
/// Upstream's `UpdateWorkerSize`.
const WORKERS: usize = 8;
const EVENT: &str = "TaintManagerEviction";
const REASON: &str = "DeletionByTaintManager";
const MESSAGE: &str = "Taint manager: deleting due to NoExecute taint";

pub(crate) async fn run(context: Context) {
    if !(context.nodes.ready().await && context.pods.ready().await) {
        return;
    }
    let (mut nodes, mut pods) = (context.nodes.follow(), context.pods.follow());
    let evictor = Evictor {
        events: Recorder::new(context.transport.clone(), NAME, ""),
        queue: Queue::new(),
        condemned: Arc::default(),
        context: context.clone(),
    };
    let feed = async {
        let mut plan = Plan::default();
        loop {
            let next = plan.next();
            let due = async { tokio::time::sleep_until(next.unwrap_or_else(Instant::now)).await };
            tokio::select! {
                // A taint that goes is to be seen before a pod's time is up, and before pods are judged by it.
                biased;
                () = context.stop.cancelled() => return,
                Some(update) = nodes.recv() => evictor.node(&mut plan, &update),
                Some(update) = pods.recv() => evictor.pod(&mut plan, &update),
                () = due, if next.is_some() => {
                    let due = plan.due(Instant::now());
                    due.iter().filter_map(|key| context.pods.get(key)).for_each(|pod| evictor.condemn(&pod));
                }
            }
        }
    };
    let evict = {
        let evictor = evictor.clone();
        move |key: Key| {
            let evictor = evictor.clone();
            async move { evictor.evict(&key).await }
        }
    };
    tokio::join!(feed, work(NAME, &evictor.queue, WORKERS, &context.stop, evict));
}

/// Does what the plan says.
#[derive(Clone)]
struct Evictor {
    context: Context,
    events: Recorder,
    queue: Queue<Key>,
    /// Pods that are being evicted, by their UIDs: a failure that is tried again must not outlive the taint.
    condemned: Arc<Mutex<HashMap<Key, String>>>,
}

impl Evictor {
    fn node(&self, plan: &mut Plan, update: &Update<Node>) {
        let now = Instant::now();
        match (&update.before, &update.now) {
            (_, Some(node)) => {
                if plan.node(node, now) {
                    let pods = self.context.pods.indexed(BY_NODE, node.name());
                    pods.iter().for_each(|pod| self.judge(plan, pod, now));
                }
            }
            (Some(node), None) => plan.forget_node(node.name()),
            (None, None) => {}
        }
    }

    fn pod(&self, plan: &mut Plan, update: &Update<Pod>) {
        let key = update.key();
        let Some(pod) = &update.now else {
            let pardoned = self.pardon(&key);
            if plan.cancel(&key) == Step::Cancel && !pardoned {
                update.before.iter().for_each(|pod| self.say_cancelled(pod));
            }
            return;
        };
        let judged = |pod: &Pod| {
            (
                pod.uid().to_owned(),
                pod.node.clone(),
                pod.is_ending,
                pod.tolerations.clone(),
            )
        };
        if update
            .before
            .as_ref()
            .is_none_or(|before| judged(before) != judged(pod))
        {
            self.judge(plan, pod, Instant::now());
        }
    }

    fn judge(&self, plan: &mut Plan, pod: &Pod, now: Instant) {
        match plan.pod(pod, now) {
            Step::Evict => self.condemn(pod),
            Step::Cancel => {
                self.pardon(&pod.key());
                self.say_cancelled(pod);
            }
            Step::Nothing => {
                if self.pardon(&pod.key()) && !pod.is_ending {
                    self.say_cancelled(pod);
                }
            }
        }
    }

    fn condemn(&self, pod: &Pod) {
        let before = self.condemned().insert(pod.key(), pod.uid().to_owned());
        if before.as_deref() != Some(pod.uid()) {
            self.say(pod, format!("Marking for deletion Pod {}", pod.key()));
            self.queue.add(pod.key());
        }
    }

    /// True if the pod was being evicted.
    fn pardon(&self, key: &Key) -> bool {
        self.condemned().remove(key).is_some()
    }

    fn condemned(&self) -> std::sync::MutexGuard<'_, HashMap<Key, String>> {
        self.condemned.lock().expect("no holder of the condemned panics")
    }

    fn say_cancelled(&self, pod: &Pod) {
        self.say(pod, format!("Cancelling deletion of Pod {}", pod.key()));
    }

    fn say(&self, pod: &Pod, message: String) {
        let about = ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Pod".into()),
            namespace: Some(pod.namespace().to_owned()),
            name: Some(pod.name().to_owned()),
            uid: Some(pod.uid().to_owned()),
            ..ObjectReference::default()
        };
        self.events.say(about, "Normal", EVENT, message);
    }

    /// Says on the pod why it ends, then deletes it with the time that it has for that.
    async fn evict(&self, key: &Key) -> Result<(), Error> {
        let Some(uid) = self.condemned().get(key).cloned() else {
            return Ok(());
        };
        let api = Api::<core::Pod>::namespaced(self.context.transport.clone(), &key.namespace);
        let ended = match api.get(&key.name).await {
            Ok(pod) if pod.uid() == uid && pod.metadata.deletion_timestamp.is_none() => end(&api, &pod).await,
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        match ended {
            Err(error) if !(error.is_not_found() || error.is_conflict()) => return Err(error),
            Ok(()) | Err(_) => {}
        }
        self.condemned().remove(key);
        Ok(())
    }
}

async fn end(api: &Api<core::Pod>, pod: &core::Pod) -> Result<(), Error> {
    if let Some(condition) = condition(pod, jiff::Timestamp::now()) {
        let patch = json!({"metadata": {"uid": pod.uid()}, "status": {"conditions": [condition]}});
        api.report_status(pod.name(), &Patch::Strategic(patch)).await?;
    }
    let options = DeleteOptions {
        preconditions: Some(Preconditions {
            uid: Some(pod.uid().to_owned()),
            ..Preconditions::default()
        }),
        ..DeleteOptions::default()
    };
    api.delete(pod.name(), &options).await?;
    tracing::info!(
        pod = pod.name(),
        namespace = pod.namespace(),
        "pod evicted from a tainted node"
    );
    Ok(())
}

/// The condition that tells controllers that the pod did not fail by itself, unless the pod has it.
fn condition(pod: &core::Pod, now: jiff::Timestamp) -> Option<core::PodCondition> {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    let before = conditions.find(|condition| condition.type_ == "DisruptionTarget");
    let was_so = before.filter(|before| before.status == "True");
    let condition = core::PodCondition {
        type_: "DisruptionTarget".into(),
        status: "True".into(),
        reason: Some(REASON.into()),
        message: Some(MESSAGE.into()),
        observed_generation: pod.metadata.generation,
        last_transition_time: was_so.map_or(Some(Time(now)), |before| before.last_transition_time.clone()),
        last_probe_time: before.and_then(|before| before.last_probe_time.clone()),
    };
    (before != Some(&condition)).then_some(condition)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_told_why_once_and_when_it_began() {
        let now = jiff::Timestamp::UNIX_EPOCH;
        let pod = |conditions| {
            let pod = json!({"metadata": {"name": "p", "generation": 3}, "status": {"conditions": conditions}});
            serde_json::from_value::<core::Pod>(pod).unwrap()
        };
        let first = condition(&pod(json!([{"type": "Ready", "status": "True"}])), now).unwrap();
        assert_eq!(
            (first.reason.as_deref(), first.observed_generation),
            (Some(REASON), Some(3))
        );
        assert_eq!(first.last_transition_time, Some(Time(now)));
        assert_eq!(
            condition(&pod(json!([first])), jiff::Timestamp::MAX),
            None,
            "said already"
        );
        let other = json!([{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler",
            "lastTransitionTime": "2020-01-01T00:00:00Z"}]);
        let again = condition(&pod(other), now).unwrap();
        assert_eq!(again.reason.as_deref(), Some(REASON));
        assert_eq!(
            again.last_transition_time.unwrap().0.to_string(),
            "2020-01-01T00:00:00Z"
        );
    }
}
