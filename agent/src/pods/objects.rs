//! ConfigMaps and Secrets that pods refer to: each is watched once for as long as any pod does, so that a change is heard at once
//! and a thousand pods with the same Secret cost one watch (upstream: pkg/kubelet/util/manager, watch_based_manager.go).

use client::{Api, Cache, Key, ListOptions, Object, Transport};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long one waits for an object's first word; then whatever needs it is tried again.
const PATIENCE: Duration = Duration::from_secs(10);

/// So many watches share a connection: a server lets a client have only so many requests at once on one (upstream's 100 to 250),
/// and those of the node itself must never wait for a watch to end.
const WATCHES: usize = 100;

/// Told that what a pod refers to has changed, by the pod's UID.
pub type Told = Arc<dyn Fn(&str) + Send + Sync>;

/// All objects of one kind.
pub struct Objects<K: Object> {
    lines: Arc<Lines>,
    /// What upstream calls the kind in its sentences.
    kind: &'static str,
    told: Told,
    watched: Arc<Mutex<BTreeMap<Key, Watched<K>>>>,
}

/// Connections for watches, opened as they are needed.
pub struct Lines {
    open: Box<dyn Fn() -> Arc<dyn Transport> + Send + Sync>,
    /// Each with what its watches hold of it.
    lines: Mutex<Vec<Line>>,
}

/// A connection and its places.
type Line = (Arc<dyn Transport>, Arc<()>);

struct Watched<K: Object> {
    cache: Cache<K>,
    /// Its place on a connection.
    _place: Arc<()>,
    stop: CancellationToken,
    /// UIDs of the pods that refer to it.
    users: BTreeSet<String>,
    /// The version that they were last given, empty where there was no object; none before anybody was.
    given: Option<String>,
}

// === impl Lines ===

impl Lines {
    /// None is open yet.
    pub fn new(open: impl Fn() -> Arc<dyn Transport> + Send + Sync + 'static) -> Self {
        Self {
            open: Box::new(open),
            lines: Mutex::default(),
        }
    }

    /// A connection with a place left, and the place.
    fn place(&self) -> Line {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.retain(|(_, places)| Arc::strong_count(places) > 1);
        let found = lines.iter().find(|(_, places)| Arc::strong_count(places) <= WATCHES);
        if let Some((line, places)) = found {
            return (line.clone(), places.clone());
        }
        let fresh = ((self.open)(), Arc::new(()));
        lines.push(fresh.clone());
        fresh
    }
}

// === impl Objects ===

impl<K: Object + k8s_openapi::Resource> Objects<K> {
    /// Nothing is watched yet.
    pub fn new(lines: Arc<Lines>, kind: &'static str, told: Told) -> Self {
        Self {
            lines,
            kind,
            told,
            watched: Arc::default(),
        }
    }

    /// The object as a pod sees it, none if there is no such object; watched from now on. An error is upstream's sentence.
    pub async fn get(&self, pod_uid: &str, namespace: &str, name: &str) -> Result<Option<Arc<K>>, String> {
        let key = Key::new(namespace, name);
        let cache = self.watch(pod_uid, &key);
        match tokio::time::timeout(PATIENCE, cache.ready()).await {
            Ok(true) => Ok(self.give(&key, &cache)),
            Ok(false) | Err(_) => Err(format!(
                "failed to sync {} cache: timed out waiting for the condition",
                self.kind
            )),
        }
    }

    fn give(&self, key: &Key, cache: &Cache<K>) -> Option<Arc<K>> {
        let mut all = self.lock();
        let object = cache.get(key);
        if let Some(watched) = all.get_mut(key) {
            watched.given = Some(version(object.as_deref()));
        }
        object
    }

    /// The pod refers to nothing any more.
    pub fn forget(&self, pod_uid: &str) {
        self.lock().retain(|_, watched| {
            watched.users.remove(pod_uid);
            let stays = !watched.users.is_empty();
            if !stays {
                watched.stop.cancel();
            }
            stays
        });
    }

    fn watch(&self, pod_uid: &str, key: &Key) -> Cache<K> {
        let mut all = self.lock();
        let watched = all.entry(key.clone()).or_insert_with(|| self.begin(key));
        watched.users.insert(pod_uid.to_owned());
        watched.cache.clone()
    }

    fn begin(&self, key: &Key) -> Watched<K> {
        let options = ListOptions {
            field_selector: format!("metadata.name={}", key.name),
            ..ListOptions::default()
        };
        let stop = CancellationToken::new();
        let (line, place) = self.lines.place();
        let api = Api::namespaced(line, &key.namespace);
        let cache = Cache::start(api, options, stop.clone());
        let mut changes = cache.follow();
        let (all, told, key) = (self.watched.clone(), self.told.clone(), key.clone());
        tokio::spawn(async move {
            while let Some(update) = changes.recv().await {
                let now = version(update.now.as_deref());
                let users = {
                    let all = all.lock().unwrap_or_else(PoisonError::into_inner);
                    // Who has it already, or will ask for it, need not be told.
                    let watched = all.get(&key);
                    let watched = watched.filter(|watched| watched.given.as_ref().is_some_and(|given| *given != now));
                    watched.map(|watched| watched.users.clone()).unwrap_or_default()
                };
                users.iter().for_each(|uid| told(uid));
            }
        });
        Watched {
            cache,
            _place: place,
            stop,
            users: BTreeSet::new(),
            given: None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Watched<K>>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn version<K: Object>(object: Option<&K>) -> String {
    object
        .map(|object| object.resource_version().to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use client::Body;
    use futures_util::future::BoxFuture;
    use http::{Request, Response};
    use http_body_util::{BodyExt, StreamBody};
    use hyper::body::Frame;
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;
    use tokio::sync::mpsc;
    use tokio_stream::wrappers::UnboundedReceiverStream;

    type Piece = Result<Frame<Bytes>, std::io::Error>;

    /// An API server that watches are asked of, and nothing else.
    #[derive(Default)]
    struct Server {
        asked: Mutex<Vec<String>>,
        watches: Mutex<Vec<mpsc::UnboundedSender<Piece>>>,
    }

    impl Server {
        fn say(&self, kind: &str, object: &serde_json::Value) {
            let line = format!("{}\n", json!({"type": kind, "object": object}));
            for watch in &*self.watches.lock().unwrap() {
                let _ = watch.send(Ok(Frame::data(Bytes::from(line.clone()))));
            }
        }
    }

    impl Transport for Server {
        fn send(&self, request: Request<Bytes>) -> BoxFuture<'static, Result<Response<Body>, std::io::Error>> {
            self.asked.lock().unwrap().push(request.uri().to_string());
            let (sender, frames) = mpsc::unbounded_channel();
            self.watches.lock().unwrap().push(sender);
            self.say("ADDED", &map("1"));
            let end = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata":
                {"resourceVersion": "1", "annotations": {"k8s.io/initial-events-end": "true"}}});
            self.say("BOOKMARK", &end);
            let body = StreamBody::new(UnboundedReceiverStream::new(frames)).boxed();
            Box::pin(async { Ok(Response::new(body)) })
        }
    }

    fn map(version: &str) -> serde_json::Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"version": version},
            "metadata": {"name": "map", "namespace": "ns", "uid": "u", "resourceVersion": version}})
    }

    #[test]
    fn connections_are_opened_when_the_others_are_full_and_given_up_when_empty() {
        let lines = Lines::new(|| Arc::new(Server::default()));
        let mut held: Vec<_> = (0..=WATCHES).map(|_| lines.place()).collect();
        assert_eq!(lines.lines.lock().unwrap().len(), 2);
        held.truncate(WATCHES / 2);
        held.push(lines.place());
        assert_eq!(lines.lines.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn all_pods_share_one_watch_and_hear_of_changes() {
        let server = Arc::new(Server::default());
        let (sender, mut heard) = mpsc::unbounded_channel();
        let told: Told = Arc::new(move |uid: &str| drop(sender.send(uid.to_owned())));
        let line = server.clone();
        let lines = Lines::new(move || line.clone());
        let objects = Objects::<ConfigMap>::new(Arc::new(lines), "configmap", told);
        for uid in ["a", "b"] {
            let found = objects.get(uid, "ns", "map").await.unwrap().unwrap();
            assert_eq!(found.data.as_ref().unwrap()["version"], "1");
        }
        let asked = server.asked.lock().unwrap().clone();
        assert_eq!(asked.len(), 1, "{asked:?}");
        assert!(asked[0].contains("fieldSelector=metadata.name%3Dmap"), "{asked:?}");

        objects.forget("a");
        server.say("MODIFIED", &map("2"));
        // The first state may be told late.
        loop {
            heard.recv().await.unwrap();
            let found = objects.get("b", "ns", "map").await.unwrap().unwrap();
            if found.data.as_ref().unwrap()["version"] == "2" {
                break;
            }
        }

        objects.forget("b");
        let watch = server.watches.lock().unwrap()[0].clone();
        watch.closed().await;
    }
}
