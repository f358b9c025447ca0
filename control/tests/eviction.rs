//! Pods leave nodes with taints of effect NoExecute, and lost nodes get such: against the real API server and store.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

mod plane;

use client::{Api, Dynamic, ListOptions, Patch};
use k8s_openapi::api::core::v1::{Event, Node, Pod};
use plane::{Plane, eventually};
use serde_json::{Value, json};

/// What the suite's tests use.
const KEY: &str = "kubernetes.io/e2e-evict-taint-key";

impl Plane {
    /// With controllers.
    async fn start() -> Plane {
        let plane = Plane::with(&["default", "kube-node-lease"]).await;
        let account = json!({"metadata": {"name": "default"}});
        plane
            .api("serviceaccounts", Some("default"))
            .create(&Dynamic(account))
            .await
            .unwrap();
        plane.control(controllers::Settings::default());
        plane
    }

    fn nodes(&self) -> Api<Node> {
        Api::all(self.transport.clone())
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.transport.clone(), "default")
    }

    async fn node(&self, name: &str) {
        let node = json!({"metadata": {"name": name}});
        self.api("nodes", None).create(&Dynamic(node)).await.unwrap();
        self.ready(name, "True").await;
    }

    async fn ready(&self, name: &str, status: &str) {
        let now = format!("{:.0}", jiff::Timestamp::now());
        let conditions = json!([{"type": "Ready", "status": status, "lastHeartbeatTime": now}]);
        let patch = Patch::Strategic(json!({"status": {"conditions": conditions}}));
        self.nodes().patch_status(name, &patch).await.unwrap();
    }

    /// A pod on node `a` that tolerates what has the key for so many seconds, or for ever.
    async fn pod(&self, name: &str, tolerates: &[(&str, Value)]) {
        let toleration = |(key, seconds): &(&str, Value)| json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds});
        let tolerations: Vec<Value> = tolerates.iter().map(toleration).collect();
        let spec = json!({"nodeName": "a", "containers": [{"name": "a", "image": "app"}], "tolerations": tolerations});
        let pod = json!({"metadata": {"name": name}, "spec": spec});
        self.api("pods", Some("default")).create(&Dynamic(pod)).await.unwrap();
    }

    async fn taint(&self, keys: &[&str]) {
        let taints: Vec<Value> = keys
            .iter()
            .map(|key| json!({"key": key, "effect": "NoExecute"}))
            .collect();
        let patch = Patch::Merge(json!({"spec": {"taints": taints}}));
        self.nodes().patch("a", &patch).await.unwrap();
    }

    async fn ends(&self, name: &str) -> bool {
        self.pods()
            .get(name)
            .await
            .unwrap()
            .metadata
            .deletion_timestamp
            .is_some()
    }

    async fn until_it_ends(&self, name: &str) -> Pod {
        eventually(&format!("{name} ends"), async || {
            let pod = self.pods().get(name).await.unwrap();
            pod.metadata.deletion_timestamp.is_some().then_some(pod)
        })
        .await
    }

    async fn until_said(&self, message: &str) {
        eventually(message, async || {
            let said = self.said().await;
            said.iter().any(|one| one == message).then_some(())
        })
        .await;
    }

    async fn said(&self) -> Vec<String> {
        let options = ListOptions {
            field_selector: "reason=TaintManagerEviction".to_owned(),
            ..ListOptions::default()
        };
        let events = Api::<Event>::namespaced(self.transport.clone(), "default");
        let events = events.list(&options).await.unwrap().items;
        assert!(events.iter().all(|event| {
            let component = event.source.as_ref().and_then(|source| source.component.as_deref());
            component == Some("taint-eviction-controller") && event.involved_object.uid.is_some()
        }));
        events.into_iter().filter_map(|event| event.message).collect()
    }

    /// A node's taints that evict, in order.
    async fn evicting(&self, name: &str) -> Vec<String> {
        let taints = self.nodes().get(name).await.unwrap().spec.and_then(|spec| spec.taints);
        let mut taints = taints.unwrap_or_default();
        taints.retain(|taint| taint.effect == "NoExecute");
        assert!(taints.iter().all(|taint| taint.time_added.is_some()));
        taints.into_iter().map(|taint| taint.key).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn removing_a_taint_cancels_eviction() {
    let plane = Plane::start().await;
    plane.node("a").await;
    plane.pod("stays", &[(KEY, json!(5)), ("clock", Value::Null)]).await;
    plane.taint(&[KEY]).await;
    // Only what was planned can be cancelled; a controller that has not seen the taint yet has nothing to cancel.
    eventually("a cancelled eviction", async || {
        plane.taint(&[KEY]).await;
        plane.taint(&[]).await;
        let said = plane.said().await;
        said.iter()
            .any(|one| one == "Cancelling deletion of Pod default/stays")
            .then_some(())
    })
    .await;
    assert!(!plane.ends("stays").await);
    // A pod that is evicted after as long as the first one had left says that its time is over.
    plane.pod("clock", &[(KEY, Value::Null), ("clock", json!(6))]).await;
    plane.taint(&["clock"]).await;
    plane.until_it_ends("clock").await;
    assert!(!plane.ends("stays").await);
    assert_eq!(
        plane.said().await.iter().filter(|one| one.contains("Marking")).count(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_are_evicted_when_they_tolerate_the_taint_no_longer() {
    let plane = Plane::start().await;
    plane.node("a").await;
    plane.pod("stranger", &[]).await;
    plane.pod("short", &[(KEY, json!(1))]).await;
    plane.pod("long", &[(KEY, json!(3600))]).await;
    plane.pod("forever", &[(KEY, Value::Null)]).await;
    plane.taint(&[KEY]).await;
    for name in ["stranger", "short"] {
        let pod = plane.until_it_ends(name).await;
        plane
            .until_said(&format!("Marking for deletion Pod default/{name}"))
            .await;
        let conditions = pod.status.unwrap().conditions.unwrap();
        let why = conditions
            .into_iter()
            .find(|condition| condition.type_ == "DisruptionTarget")
            .unwrap();
        assert_eq!(
            (&*why.status, why.reason.as_deref()),
            ("True", Some("DeletionByTaintManager"))
        );
        let message = "Taint manager: deleting due to NoExecute taint";
        assert_eq!(
            (why.message.as_deref(), why.observed_generation),
            (Some(message), Some(1))
        );
        assert_eq!(pod.metadata.deletion_grace_period_seconds, Some(30), "with time to end");
    }
    for name in ["long", "forever"] {
        assert!(!plane.ends(name).await, "{name}");
    }
    // A pod that comes to the node later, as what no scheduler asked would.
    plane.pod("late", &[]).await;
    plane.until_it_ends("late").await;
    // A pod whose patience is made short.
    let long = plane.pods().get("long").await.unwrap();
    let mut tolerations = long.spec.as_ref().unwrap().tolerations.clone().unwrap();
    tolerations[0].toleration_seconds = Some(1);
    let patch = Patch::Merge(json!({"spec": {"tolerations": tolerations}}));
    plane.pods().patch("long", &patch).await.unwrap();
    plane.until_it_ends("long").await;
    assert!(!plane.ends("forever").await);
    // A taint that it does not tolerate.
    plane.taint(&[KEY, "other"]).await;
    plane.until_it_ends("forever").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_nodes_evict_unless_all_are_lost() {
    let plane = Plane::start().await;
    plane.node("a").await;
    plane.node("b").await;
    plane.pod("usual", &[]).await;
    plane
        .pod("impatient", &[("node.kubernetes.io/unreachable", json!(1))])
        .await;
    let is = async |node: &str, expected: &[&str]| {
        let about = format!("{node} has {expected:?}");
        eventually(&about, async || (plane.evicting(node).await == expected).then_some(())).await;
    };
    plane.ready("a", "False").await;
    is("a", &["node.kubernetes.io/not-ready"]).await;
    plane.ready("a", "Unknown").await;
    is("a", &["node.kubernetes.io/unreachable"]).await;
    plane.until_it_ends("impatient").await;
    assert!(!plane.ends("usual").await, "it has five minutes");
    plane.ready("b", "Unknown").await;
    is("a", &[]).await;
    plane.until_said("Cancelling deletion of Pod default/usual").await;
    assert!(plane.evicting("b").await.is_empty());
    plane.ready("a", "True").await;
    is("b", &["node.kubernetes.io/unreachable"]).await;
    plane.ready("b", "True").await;
    is("b", &[]).await;
    assert!(!plane.ends("usual").await);
}
