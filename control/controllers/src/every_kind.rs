//! Every kind that is served, watched for its objects' metadata alone; kinds come and go as discovery says.

use client::{Api, Cache, Error, ListOptions, Object, Served, Transport, Update, discover};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

/// How often kinds are asked for; a CustomResourceDefinition that changes makes it happen at once.
const ROUND: Duration = Duration::from_secs(30);
/// After a change of definitions, so that several make one round.
const SETTLE: Duration = Duration::from_millis(100);
/// After discovery failed.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// An object's metadata, as much of it as matters for any kind. There is one for every object of the cluster, so that they are
/// no larger than what is in them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Outline {
    pub(crate) metadata: Metadata,
}

/// Of an [`Outline`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Metadata {
    pub(crate) name: Box<str>,
    #[serde(default)]
    pub(crate) namespace: Box<str>,
    pub(crate) uid: Arc<str>,
    #[serde(default)]
    pub(crate) resource_version: Box<str>,
    #[serde(default)]
    pub(crate) owner_references: Box<[Owner]>,
    #[serde(default)]
    pub(crate) finalizers: Box<[String]>,
    pub(crate) deletion_timestamp: Option<Box<str>>,
}

/// Whom an object belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Owner {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) uid: Arc<str>,
    #[serde(default)]
    pub(crate) block_owner_deletion: bool,
}

/// An object that came, changed or went.
#[derive(Clone, Debug)]
pub(crate) struct Sighting {
    pub(crate) kind: Arc<Served>,
    pub(crate) update: Update<Outline>,
}

/// The watches; clones are the same.
#[derive(Clone)]
pub(crate) struct EveryKind {
    shared: Arc<Shared>,
    ready: watch::Receiver<bool>,
}

struct Shared {
    transport: Arc<dyn Transport>,
    stop: CancellationToken,
    known: Mutex<Known>,
    look: Arc<Notify>,
}

#[derive(Default)]
struct Known {
    /// By group and plural.
    kinds: BTreeMap<(String, String), Watched>,
    followers: Vec<mpsc::UnboundedSender<Sighting>>,
}

struct Watched {
    kind: Arc<Served>,
    cache: Cache<Outline>,
    stop: CancellationToken,
}

impl Object for Outline {
    fn namespace(&self) -> &str {
        &self.metadata.namespace
    }

    fn name(&self) -> &str {
        &self.metadata.name
    }

    fn uid(&self) -> &str {
        &self.metadata.uid
    }

    fn resource_version(&self) -> &str {
        &self.metadata.resource_version
    }
}

impl EveryKind {
    /// Begins to watch. Must be called inside a runtime.
    pub(crate) fn start(transport: Arc<dyn Transport>, stop: CancellationToken) -> EveryKind {
        let (ready, is_ready) = watch::channel(false);
        let shared = Arc::new(Shared {
            transport,
            stop,
            known: Mutex::default(),
            look: Arc::default(),
        });
        tokio::spawn(keep(shared.clone(), ready));
        EveryKind {
            shared,
            ready: is_ready,
        }
    }

    /// Waits until everything that was there at the beginning is known; false if it was stopped before.
    pub(crate) async fn ready(&self) -> bool {
        self.ready.clone().wait_for(|ready| *ready).await.is_ok()
    }

    /// All objects that are known now.
    pub(crate) fn list(&self) -> Vec<(Arc<Served>, Arc<Outline>)> {
        let known = self.shared.known();
        let all = known.kinds.values();
        all.flat_map(|watched| {
            watched
                .cache
                .list()
                .into_iter()
                .map(|object| (watched.kind.clone(), object))
        })
        .collect()
    }

    /// How many objects of a kind are in a namespace; none if the kind is not watched.
    pub(crate) fn count(&self, group: &str, plural: &str, namespace: &str) -> Option<usize> {
        let known = self.shared.known();
        let watched = known.kinds.get(&(group.to_owned(), plural.to_owned()))?;
        Some(watched.cache.list_in(namespace).len())
    }

    /// The kind of that name in whatever version its group is watched at.
    pub(crate) fn find(&self, api_version: &str, kind: &str) -> Option<Arc<Served>> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        let known = self.shared.known();
        let mut kinds = known.kinds.values().map(|watched| &watched.kind);
        kinds
            .find(|served| served.resource.group == group && served.kind == kind)
            .cloned()
    }

    /// First every present object as new, then each change.
    pub(crate) fn follow(&self) -> mpsc::UnboundedReceiver<Sighting> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut known = self.shared.known();
        known.kinds.values().for_each(|watched| watched.tell(sender.clone()));
        known.followers.push(sender);
        receiver
    }
}

impl Shared {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("no holder of the kinds panics")
    }
}

impl Watched {
    fn tell(&self, follower: mpsc::UnboundedSender<Sighting>) {
        let (kind, mut changes) = (self.kind.clone(), self.cache.follow());
        tokio::spawn(async move {
            while let Some(update) = changes.recv().await {
                let kind = kind.clone();
                if follower.send(Sighting { kind, update }).is_err() {
                    return;
                }
            }
        });
    }
}

/// Looks for kinds until it is stopped.
async fn keep(shared: Arc<Shared>, ready: watch::Sender<bool>) {
    loop {
        let pause = match discover(shared.transport.clone()).await {
            Ok(served) => {
                take_up(&shared, served);
                let caches: Vec<_> = shared
                    .known()
                    .kinds
                    .values()
                    .map(|watched| watched.cache.clone())
                    .collect();
                for cache in caches.iter().filter(|_| !*ready.borrow()) {
                    cache.ready().await;
                }
                ready.send_replace(true);
                ROUND
            }
            Err(error) => {
                report(&error);
                TRY_AGAIN
            }
        };
        tokio::select! {
            () = shared.look.notified() => tokio::time::sleep(SETTLE).await,
            () = tokio::time::sleep(pause) => {}
            () = shared.stop.cancelled() => return,
        }
    }
}

fn report(error: &Error) {
    tracing::warn!(%error, "the kinds that are served are not known; will ask again");
}

/// Begins to watch new kinds and ends to watch those that are gone.
fn take_up(shared: &Arc<Shared>, served: Vec<Served>) {
    let wanted = served.into_iter().filter(is_watched);
    let mut wanted: BTreeMap<_, _> = wanted
        .map(|kind| ((kind.resource.group.clone(), kind.resource.plural.clone()), kind))
        .collect();
    let mut known = shared.known();
    let Known { kinds, followers } = &mut *known;
    followers.retain(|follower| !follower.is_closed());
    kinds.retain(|name, watched| {
        let stays = wanted
            .get(name)
            .is_some_and(|kind| kind.resource == watched.kind.resource);
        if stays {
            wanted.remove(name);
        } else {
            watched.stop.cancel();
            if !wanted.contains_key(name) {
                followers.iter().for_each(|follower| watched.forget(follower));
            }
        }
        stays
    });
    for (name, kind) in wanted {
        let stop = shared.stop.child_token();
        let api = Api::at(shared.transport.clone(), &kind.resource, None);
        let cache = Cache::start(api, ListOptions::default(), stop.clone());
        if kind.resource.plural == "customresourcedefinitions" {
            look_when_changed(shared, &cache);
        }
        let watched = Watched {
            kind: Arc::new(kind),
            cache,
            stop,
        };
        followers.iter().for_each(|follower| watched.tell(follower.clone()));
        kinds.insert(name, watched);
    }
}

impl Watched {
    fn forget(&self, follower: &mpsc::UnboundedSender<Sighting>) {
        for object in self.cache.list() {
            let update = Update {
                before: Some(object),
                now: None,
            };
            // A follower that is gone needs not hear it.
            let _ = follower.send(Sighting {
                kind: self.kind.clone(),
                update,
            });
        }
    }
}

/// Events own nothing and nobody owns them, and there are many.
fn is_watched(kind: &Served) -> bool {
    kind.resource.plural != "events" && ["list", "watch", "delete"].iter().all(|verb| kind.can(verb))
}

fn look_when_changed(shared: &Arc<Shared>, definitions: &Cache<Outline>) {
    let (look, mut changes) = (shared.look.clone(), definitions.follow());
    tokio::spawn(async move {
        while changes.recv().await.is_some() {
            look.notify_one();
        }
    });
}
