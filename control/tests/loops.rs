//! The scheduler and the controllers against the real API server and store, in one process.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

mod plane;

use client::{Api, Cache, Dynamic, Error, Key, ListOptions, Object, Patch, Resource};
use controllers::PodNetwork;
use k8s_openapi::api::core::v1::{Event, Namespace, Node, Pod, ServiceAccount};
use plane::{Plane, eventually};
use serde_json::{Value, json};
use std::sync::Arc;

impl Plane {
    async fn start() -> Plane {
        let plane = Plane::with(&["default", "kube-node-lease"]).await;
        // Pods need one, and not every test runs the controller that makes it.
        let account = json!({"metadata": {"name": "default"}});
        plane.create("serviceaccounts", Some("default"), account).await;
        plane
    }

    fn schedule(&self) {
        tokio::spawn(scheduler::run(self.transport.clone(), self.stop.clone()));
    }

    fn control_nodes(&self, pod_cidrs: &[&str]) {
        self.control(controllers::Settings {
            pod_networks: pod_cidrs
                .iter()
                .map(|cidr| PodNetwork {
                    network: cidr.parse().unwrap(),
                    part: if cidr.contains(':') { 64 } else { 24 },
                })
                .collect(),
            ..controllers::Settings::default()
        });
    }

    async fn create(&self, plural: &str, namespace: Option<&str>, mut object: Value) -> Dynamic {
        let (group, version, kind) = match plural {
            "namespaces" => ("", "v1", "Namespace"),
            "nodes" => ("", "v1", "Node"),
            "pods" => ("", "v1", "Pod"),
            "configmaps" => ("", "v1", "ConfigMap"),
            "serviceaccounts" => ("", "v1", "ServiceAccount"),
            "leases" => ("coordination.k8s.io", "v1", "Lease"),
            other => panic!("{other}"),
        };
        object["kind"] = kind.into();
        object["apiVersion"] = if group.is_empty() {
            version.into()
        } else {
            format!("{group}/{version}").into()
        };
        let resource = Resource {
            group: group.into(),
            version: version.into(),
            plural: plural.into(),
        };
        Api::dynamic(self.transport.clone(), &resource, namespace)
            .create(&Dynamic(object))
            .await
            .unwrap()
    }

    async fn node(&self, name: &str, cpu: &str) {
        let resources = json!({"cpu": cpu, "memory": "8Gi", "pods": "110"});
        let ready = json!({"type": "Ready", "status": "True", "lastHeartbeatTime": "2020-01-01T00:00:00Z"});
        let status = json!({"capacity": resources, "allocatable": resources, "conditions": [ready]});
        self.create("nodes", None, json!({"metadata": {"name": name}})).await;
        // What the node controller does once the node is ready; not every test runs it.
        let untaint = Patch::Merge(json!({"spec": {"taints": null}}));
        self.nodes().patch(name, &untaint).await.unwrap();
        self.nodes()
            .patch_status(name, &Patch::Merge(json!({"status": status})))
            .await
            .unwrap();
    }

    async fn pod(&self, name: &str, cpu: &str) {
        let container = json!({"name": "a", "image": "app", "resources": {"requests": {"cpu": cpu}}});
        let pod = json!({"metadata": {"name": name}, "spec": {"containers": [container]}});
        self.create("pods", Some("default"), pod).await;
    }

    fn nodes(&self) -> Api<Node> {
        Api::all(self.transport.clone())
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.transport.clone(), "default")
    }

    async fn events(&self, reason: &str) -> Vec<Event> {
        let options = ListOptions {
            field_selector: format!("reason={reason}"),
            ..ListOptions::default()
        };
        Api::<Event>::namespaced(self.transport.clone(), "default")
            .list(&options)
            .await
            .unwrap()
            .items
    }
}

fn node_of(pod: &Pod) -> Option<String> {
    pod.spec.as_ref()?.node_name.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_are_spread_over_nodes_and_said_to_be_scheduled() {
    let plane = Plane::start().await;
    plane.node("a", "4").await;
    plane.node("b", "4").await;
    for number in 0..8 {
        plane.pod(&format!("p{number}"), "1").await;
    }
    plane.schedule();
    let pods = eventually("all pods have a node", || async {
        let pods = plane.pods().list_all(&ListOptions::default()).await.unwrap().items;
        pods.iter().all(|pod| node_of(pod).is_some()).then_some(pods)
    })
    .await;
    let on_a = pods.iter().filter(|pod| node_of(pod).as_deref() == Some("a")).count();
    assert_eq!(
        (pods.len(), on_a),
        (8, 4),
        "all room is used: assumed pods count at once"
    );
    let event = eventually("an event for each", || async {
        let events = plane.events("Scheduled").await;
        (events.len() == 8).then(|| events.into_iter().next().unwrap())
    })
    .await;
    let (pod, message) = (event.involved_object.name.unwrap(), event.message.unwrap());
    let node = node_of(pods.iter().find(|found| found.name() == pod).unwrap()).unwrap();
    assert_eq!(message, format!("Successfully assigned default/{pod} to {node}"));
    assert_eq!(event.source.unwrap().component.as_deref(), Some("default-scheduler"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_fits_nowhere_says_why_and_is_placed_when_there_is_room() {
    let plane = Plane::start().await;
    plane.node("small", "1").await;
    plane.schedule();
    plane.pod("first", "600m").await;
    eventually("the first is placed", || async {
        node_of(&plane.pods().get("first").await.unwrap())
    })
    .await;
    plane.pod("second", "600m").await;
    let condition = eventually("a condition", || async {
        let pod = plane.pods().get("second").await.unwrap();
        let conditions = pod.status?.conditions?;
        conditions
            .into_iter()
            .find(|condition| condition.type_ == "PodScheduled")
    })
    .await;
    assert_eq!(
        (&*condition.status, condition.reason.as_deref()),
        ("False", Some("Unschedulable"))
    );
    assert_eq!(condition.observed_generation, Some(1));
    let message = "0/1 nodes are available: 1 Insufficient cpu.";
    assert_eq!(condition.message.as_deref(), Some(message));
    let events = eventually("an event", || async {
        let events = plane.events("FailedScheduling").await;
        (!events.is_empty()).then_some(events)
    })
    .await;
    assert_eq!(events[0].message.as_deref(), Some(message));
    let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions {
        grace_period_seconds: Some(0),
        ..Default::default()
    };
    plane.pods().delete("first", &now).await.unwrap();
    eventually("the second is placed in the room of the first", || async {
        node_of(&plane.pods().get("second").await.unwrap())
    })
    .await;
    plane.pod("third", "3").await;
    eventually("the third waits", || async {
        plane.pods().get("third").await.unwrap().status?.conditions
    })
    .await;
    plane.node("large", "8").await;
    let node = eventually("the third is placed on a new node", || async {
        node_of(&plane.pods().get("third").await.unwrap())
    })
    .await;
    assert_eq!(node, "large");
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_of_other_schedulers_and_gated_pods_are_left_alone() {
    let plane = Plane::start().await;
    plane.node("a", "4").await;
    let spec = json!({"containers": [{"name": "a", "image": "app"}]});
    let mut other = spec.clone();
    other["schedulerName"] = "mine".into();
    plane
        .create(
            "pods",
            Some("default"),
            json!({"metadata": {"name": "other"}, "spec": other}),
        )
        .await;
    let mut gated = spec;
    gated["schedulingGates"] = json!([{"name": "wait"}]);
    plane
        .create(
            "pods",
            Some("default"),
            json!({"metadata": {"name": "gated"}, "spec": gated}),
        )
        .await;
    plane.schedule();
    plane.pod("ours", "1").await;
    eventually("ours is placed", || async {
        node_of(&plane.pods().get("ours").await.unwrap())
    })
    .await;
    for name in ["other", "gated"] {
        assert_eq!(node_of(&plane.pods().get(name).await.unwrap()), None, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_has_a_service_account_and_loses_everything_when_it_ends() {
    let plane = Plane::start().await;
    plane.control_nodes(&[]);
    plane
        .create("namespaces", None, json!({"metadata": {"name": "team"}}))
        .await;
    let accounts = Api::<ServiceAccount>::namespaced(plane.transport.clone(), "team");
    eventually("a ServiceAccount", || async { accounts.get("default").await.ok() }).await;
    accounts.delete("default", &Default::default()).await.unwrap();
    eventually("the ServiceAccount again", || async {
        accounts.get("default").await.ok()
    })
    .await;
    plane
        .create(
            "configmaps",
            Some("team"),
            json!({"metadata": {"name": "c"}, "data": {"a": "b"}}),
        )
        .await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a", "image": "app"}]}});
    plane.create("pods", Some("team"), pod).await;
    let namespaces = Api::<Namespace>::all(plane.transport.clone());
    namespaces.delete("team", &Default::default()).await.unwrap();
    eventually("the namespace is gone", || async {
        namespaces.get("team").await.err().filter(Error::is_not_found)
    })
    .await;
    let left = Api::<Pod>::namespaced(plane.transport.clone(), "team")
        .list(&ListOptions::default())
        .await
        .unwrap();
    assert!(left.items.is_empty());
    assert!(accounts.list(&ListOptions::default()).await.unwrap().items.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_get_pod_networks_that_are_free_again_when_they_go() {
    let plane = Plane::start().await;
    plane.node("a", "4").await;
    plane.control_nodes(&["10.244.0.0/23", "fd00:10:244::/56"]);
    plane.node("b", "4").await;
    let cidrs = async |name: &str| {
        plane
            .nodes()
            .get(name)
            .await
            .unwrap()
            .spec
            .and_then(|spec| spec.pod_cidrs)
    };
    let a = eventually("a has networks", async || cidrs("a").await).await;
    let b = eventually("b has networks", async || cidrs("b").await).await;
    let mut firsts = [a[0].as_str(), b[0].as_str()];
    firsts.sort();
    assert_eq!(firsts, ["10.244.0.0/24", "10.244.1.0/24"]);
    assert!(
        a.len() == 2 && a[1].starts_with("fd00:10:244:") && a[1].ends_with("::/64"),
        "{a:?}"
    );
    plane.node("c", "4").await;
    eventually("an event says that nothing is left", || async {
        let events = plane.events("CIDRNotAvailable").await;
        events.into_iter().find(|event| {
            event
                .message
                .as_deref()
                .unwrap_or("")
                .contains("10.244.0.0/23 has no /24 left")
        })
    })
    .await;
    plane.nodes().delete("a", &Default::default()).await.unwrap();
    plane.node("d", "4").await;
    let next = eventually("a later node has what is free again", async || match cidrs("d").await {
        Some(cidrs) => Some(cidrs),
        None => cidrs("c").await,
    })
    .await;
    assert_eq!(next, a);
}

#[tokio::test(flavor = "multi_thread")]
async fn taints_follow_a_nodes_conditions() {
    let plane = Plane::start().await;
    plane.control_nodes(&[]);
    plane.node("a", "4").await;
    let keys = async || {
        let taints = plane
            .nodes()
            .get("a")
            .await
            .unwrap()
            .spec
            .and_then(|spec| spec.taints)
            .unwrap_or_default();
        taints.into_iter().map(|taint| taint.key).collect::<Vec<_>>()
    };
    let ready =
        |status: &str| Patch::Strategic(json!({"status": {"conditions": [{"type": "Ready", "status": status}]}}));
    plane.nodes().patch_status("a", &ready("False")).await.unwrap();
    eventually("not-ready", async || {
        (keys().await == ["node.kubernetes.io/not-ready"]).then_some(())
    })
    .await;
    plane.nodes().patch_status("a", &ready("Unknown")).await.unwrap();
    eventually("unreachable", async || {
        (keys().await == ["node.kubernetes.io/unreachable"]).then_some(())
    })
    .await;
    plane.nodes().patch_status("a", &ready("True")).await.unwrap();
    eventually("no taints", async || keys().await.is_empty().then_some(())).await;
    plane
        .nodes()
        .patch("a", &Patch::Merge(json!({"spec": {"unschedulable": true}})))
        .await
        .unwrap();
    eventually("unschedulable", async || {
        (keys().await == ["node.kubernetes.io/unschedulable"]).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_equals_the_server_after_much_writing_and_its_changes_add_up() {
    let plane = Plane::start().await;
    let api = Api::<Pod>::namespaced(plane.transport.clone(), "default");
    plane.pod("early", "1").await;
    let cache = Cache::start(api.clone(), ListOptions::default(), plane.stop.clone());
    cache.index("image", |pod: &Pod| {
        let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
        containers.filter_map(|container| container.image.clone()).collect()
    });
    assert!(cache.ready().await);
    assert!(
        cache.get(&Key::new("default", "early")).is_some(),
        "ready means that all present objects are there"
    );
    let mut changes = cache.follow();
    for number in 0..50 {
        plane.pod(&format!("p{number}"), "1").await;
        let label = Patch::Merge(json!({"metadata": {"labels": {"number": number.to_string()}}}));
        api.patch(&format!("p{number}"), &label).await.unwrap();
        if number % 2 == 0 {
            api.delete(&format!("p{number}"), &Default::default()).await.unwrap();
        }
    }
    let version = |pods: &[Arc<Pod>]| {
        pods.iter()
            .map(|pod| (pod.key(), pod.resource_version().to_owned()))
            .collect::<Vec<_>>()
    };
    let expected: Vec<Arc<Pod>> = api
        .list_all(&ListOptions {
            limit: 7,
            ..ListOptions::default()
        })
        .await
        .unwrap()
        .items
        .into_iter()
        .map(Arc::new)
        .collect();
    assert_eq!(expected.len(), 26);
    eventually("the cache has everything", async || {
        (version(&cache.list()) == version(&expected)).then_some(())
    })
    .await;
    assert_eq!(cache.indexed("image", "app").len(), 26);
    let mut added_up = std::collections::BTreeMap::new();
    while let Ok(update) = changes.try_recv() {
        let key = update.key();
        assert_eq!(
            update.before.as_ref().map(|pod| pod.resource_version().to_owned()),
            added_up.get(&key).cloned()
        );
        match &update.now {
            Some(pod) => drop(added_up.insert(key, pod.resource_version().to_owned())),
            None => drop(added_up.remove(&key)),
        }
    }
    assert_eq!(added_up.into_iter().collect::<Vec<_>>(), version(&expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_come_back_as_the_servers_status() {
    let plane = Plane::start().await;
    let error = plane.pods().get("none").await.err().unwrap();
    assert!(error.is_not_found() && error.reason() == "NotFound");
    assert!(error.to_string().ends_with(r#"pods "none" not found"#), "{error}");
    let again = plane
        .nodes()
        .create(&node("a"))
        .await
        .and(plane.nodes().create(&node("a")).await);
    assert!(again.err().unwrap().is_already_exists());
    let stale = Patch::Merge(json!({"metadata": {"resourceVersion": "1", "labels": {"a": "b"}}}));
    assert!(plane.nodes().patch("a", &stale).await.err().unwrap().is_conflict());
}

fn node(name: &str) -> Node {
    serde_json::from_value(json!({"metadata": {"name": name}})).unwrap()
}
