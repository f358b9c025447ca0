//! kube-rs: what operators in Rust do.

use crate::child::{Control, DEADLINE};
use futures_util::{StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::GroupVersionKind;
use kube::discovery::Discovery;
use kube::runtime::{WatchStreamExt, reflector, wait, watcher};
use kube::{Client, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::path::Path;

const SPACE: &str = "rust";

fn read<K: DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

fn config_map(name: &str, data: Value) -> ConfigMap {
    read(json!({ "metadata": { "name": name, "labels": { "of": "rust" } }, "data": data }))
}

/// The code of a refusal.
fn refusal<T: std::fmt::Debug>(outcome: kube::Result<T>) -> u16 {
    match outcome {
        Err(kube::Error::Api(status)) => status.code,
        other => panic!("it should be refused: {other:?}"),
    }
}

async fn client(data: &Path) -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let kubeconfig = Kubeconfig::read_from(data.join("kubeconfig")).unwrap();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    Client::try_from(config.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn kube_rs_does_everything() {
    let folder = tempfile::tempdir().unwrap();
    let _control = Control::start(folder.path()).await;
    let client = client(folder.path()).await;
    let spaces: Api<Namespace> = Api::all(client.clone());
    let space = read(json!({ "metadata": { "name": SPACE } }));
    spaces.create(&PostParams::default(), &space).await.unwrap();

    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), SPACE);
    objects_are_changed_in_every_way(&maps).await;
    lists_come_in_pages(&maps).await;
    a_store_follows_a_streaming_list(&maps).await;
    replicas_are_scaled(&Api::namespaced(client.clone(), SPACE)).await;
    kinds_are_discovered_and_defined(&client).await;

    let all = ListParams::default().labels("of=rust");
    maps.delete_collection(&DeleteParams::default(), &all).await.unwrap();
    assert!(maps.list(&all).await.unwrap().items.is_empty());
    let uid = spaces.get(SPACE).await.unwrap().uid().unwrap();
    spaces.delete(SPACE, &DeleteParams::default()).await.unwrap();
    let gone = wait::await_condition(spaces, SPACE, wait::conditions::is_deleted(&uid));
    tokio::time::timeout(DEADLINE, gone).await.unwrap().unwrap();
}

async fn objects_are_changed_in_every_way(maps: &Api<ConfigMap>) {
    let first = config_map("one", json!({ "a": "1" }));
    let made = maps.create(&PostParams::default(), &first).await.unwrap();
    assert_eq!(refusal(maps.create(&PostParams::default(), &first).await), 409);
    assert_eq!(refusal(maps.get("none").await), 404);
    let more = json!({ "data": { "b": "2" } });
    let merged = maps
        .patch("one", &PatchParams::default(), &Patch::Merge(&more))
        .await
        .unwrap();
    assert_eq!(merged.data.unwrap().len(), 2);
    assert_eq!(refusal(maps.replace("one", &PostParams::default(), &made).await), 409);
    let less = json!({ "data": { "a": null } });
    let less = maps
        .patch("one", &PatchParams::default(), &Patch::Strategic(&less))
        .await
        .unwrap();
    assert_eq!(less.data.unwrap().len(), 1);

    let config = |value: &str| json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "applied" }, "data": { "a": value } });
    let (me, other) = (PatchParams::apply("me"), PatchParams::apply("other"));
    maps.patch("applied", &me, &Patch::Apply(config("1"))).await.unwrap();
    assert_eq!(
        refusal(maps.patch("applied", &other, &Patch::Apply(config("2"))).await),
        409
    );
    let forced = maps
        .patch("applied", &other.force(), &Patch::Apply(config("2")))
        .await
        .unwrap();
    assert_eq!(forced.data.unwrap()["a"], "2");
}

async fn lists_come_in_pages(maps: &Api<ConfigMap>) {
    for number in 0..7 {
        let map = config_map(&format!("page-{number}"), json!({}));
        maps.create(&PostParams::default(), &map).await.unwrap();
    }
    let mut asked = ListParams::default().labels("of=rust").limit(3);
    let mut names = Vec::new();
    loop {
        let page = maps.list(&asked).await.unwrap();
        names.extend(page.items.iter().map(ResourceExt::name_any));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => asked = asked.continue_token(&token),
            None => break,
        }
    }
    assert_eq!((names.len(), names.is_sorted()), (8, true), "{names:?}");
}

async fn a_store_follows_a_streaming_list(maps: &Api<ConfigMap>) {
    let (store, writer) = reflector::store();
    let config = watcher::Config::default().labels("of=rust").streaming_lists();
    let events = watcher(maps.clone(), config).reflect(writer).applied_objects();
    let following = tokio::spawn(events.try_for_each(|_| async { Ok(()) }));
    tokio::time::timeout(DEADLINE, store.wait_until_ready())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(store.state().len(), 8);
    maps.create(&PostParams::default(), &config_map("late", json!({})))
        .await
        .unwrap();
    let appears = async {
        while !store.state().iter().any(|map| map.name_any() == "late") {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, appears).await.unwrap();
    following.abort();

    let revision = maps
        .list(&ListParams::default())
        .await
        .unwrap()
        .metadata
        .resource_version
        .unwrap();
    maps.delete("late", &DeleteParams::default()).await.unwrap();
    // The cluster's own ConfigMaps come to the namespace when they will.
    let ours = kube::api::WatchParams::default().labels("of=rust");
    let mut events = maps.watch(&ours, &revision).await.unwrap().boxed();
    let event = tokio::time::timeout(DEADLINE, events.try_next())
        .await
        .unwrap()
        .unwrap();
    assert!(matches!(event, Some(kube::api::WatchEvent::Deleted(map)) if map.name_any() == "late"));
}

async fn replicas_are_scaled(deployments: &Api<Deployment>) {
    let labels = json!({ "app": "web" });
    let template =
        json!({ "metadata": { "labels": labels }, "spec": { "containers": [{ "name": "c", "image": "i" }] } });
    let web = json!({ "metadata": { "name": "web" }, "spec": { "selector": { "matchLabels": labels }, "template": template } });
    deployments.create(&PostParams::default(), &read(web)).await.unwrap();
    let more = json!({ "spec": { "replicas": 3 } });
    let scale = deployments
        .patch_scale("web", &PatchParams::default(), &Patch::Merge(&more))
        .await
        .unwrap();
    assert_eq!(scale.spec.unwrap().replicas, Some(3));
    let wish = json!({ "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": { "name": "web" }, "spec": { "replicas": 4 } });
    let applied = PatchParams::apply("scaler").force();
    deployments
        .patch_scale("web", &applied, &Patch::Apply(&wish))
        .await
        .unwrap();
    assert_eq!(deployments.get("web").await.unwrap().spec.unwrap().replicas, Some(4));
}

async fn kinds_are_discovered_and_defined(client: &Client) {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let schema = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    let version = json!({ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": schema } });
    let names = json!({ "plural": "crabs", "singular": "crab", "kind": "Crab" });
    let spec = json!({ "group": "rust.example", "scope": "Namespaced", "names": names, "versions": [version] });
    let definition = read(json!({ "metadata": { "name": "crabs.rust.example" }, "spec": spec }));
    definitions.create(&PostParams::default(), &definition).await.unwrap();
    let holds = wait::await_condition(
        definitions.clone(),
        "crabs.rust.example",
        wait::conditions::is_crd_established(),
    );
    tokio::time::timeout(DEADLINE, holds).await.unwrap().unwrap();

    let crab = GroupVersionKind::gvk("rust.example", "v1", "Crab");
    for discovery in [
        Discovery::new(client.clone()).run().await,
        Discovery::new(client.clone()).run_aggregated().await,
    ] {
        let (found, capabilities) = discovery.unwrap().resolve_gvk(&crab).unwrap();
        assert_eq!((&*found.plural, capabilities.operations.len()), ("crabs", 8));
    }
    let crabs: Api<DynamicObject> = Api::namespaced_with(client.clone(), SPACE, &ApiResource::from_gvk(&crab));
    let ferris =
        json!({ "apiVersion": "rust.example/v1", "kind": "Crab", "metadata": { "name": "ferris" }, "legs": 10 });
    crabs.create(&PostParams::default(), &read(ferris)).await.unwrap();
    assert_eq!(crabs.get("ferris").await.unwrap().data["legs"], 10);
    definitions
        .delete("crabs.rust.example", &DeleteParams::default())
        .await
        .unwrap();
}
