//! A copy of one kind's objects that is kept up to date by list and watch: get, list, look up by index, follow changes.
//! Typed objects are kept without `metadata.managedFields`.

use crate::api::Api;
use crate::object::{Key, Object};
use crate::options::ListOptions;
use crate::reflect::reflect;
use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::{Arc, RwLock, RwLockReadGuard};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// What an index files an object under: any number of words.
type IndexBy<K> = Box<dyn Fn(&K) -> Vec<String> + Send + Sync>;

/// One object's step from what it was to what it is; at least one of the two is there.
#[derive(Debug)]
pub struct Update<K> {
    /// Before, if it was there.
    pub before: Option<Arc<K>>,
    /// Now, if it is there.
    pub now: Option<Arc<K>>,
}

impl<K: Object> Update<K> {
    /// Of which object.
    pub fn key(&self) -> Key {
        self.now
            .as_ref()
            .or(self.before.as_ref())
            .map(|object| object.key())
            .unwrap_or_default()
    }
}

impl<K> Clone for Update<K> {
    fn clone(&self) -> Self {
        Update {
            before: self.before.clone(),
            now: self.now.clone(),
        }
    }
}

/// Updates in order, each once. Ends when the cache does.
pub type Changes<K> = mpsc::UnboundedReceiver<Update<K>>;

/// A handle to the copy. The first one to be made starts a task, `stop` ends it; the copy then stays as it was.
pub struct Cache<K> {
    shared: Arc<Shared<K>>,
    ready: watch::Receiver<bool>,
}

impl<K> Clone for Cache<K> {
    fn clone(&self) -> Self {
        Cache {
            shared: self.shared.clone(),
            ready: self.ready.clone(),
        }
    }
}

pub(crate) struct Shared<K> {
    state: RwLock<State<K>>,
}

struct State<K> {
    objects: Objects<K>,
    indexes: HashMap<&'static str, Index<K>>,
    followers: Vec<mpsc::UnboundedSender<Update<K>>>,
}

struct Index<K> {
    by: IndexBy<K>,
    words: HashMap<String, Objects<K>>,
}

/// Objects in the order of their keys, which are the objects' own: of many objects each further copy of a name is felt.
type Objects<K> = BTreeSet<Kept<K>>;

struct Kept<K>(Arc<K>);

/// What has a place in that order.
trait Placed {
    /// Namespace and name.
    fn place(&self) -> (&str, &str);
}

impl<K: Object> Placed for Kept<K> {
    fn place(&self) -> (&str, &str) {
        (self.0.namespace(), self.0.name())
    }
}

impl Placed for Key {
    fn place(&self) -> (&str, &str) {
        (&self.namespace, &self.name)
    }
}

impl PartialEq for dyn Placed + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Eq for dyn Placed + '_ {}

impl PartialOrd for dyn Placed + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for dyn Placed + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place().cmp(&other.place())
    }
}

impl<K: Object> PartialEq for Kept<K> {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl<K: Object> Eq for Kept<K> {}

impl<K: Object> PartialOrd for Kept<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K: Object> Ord for Kept<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place().cmp(&other.place())
    }
}

impl<'a, K: Object> Borrow<dyn Placed + 'a> for Kept<K> {
    fn borrow(&self) -> &(dyn Placed + 'a) {
        self
    }
}

fn find<'a, K: Object>(objects: &'a Objects<K>, key: &Key) -> Option<&'a Arc<K>> {
    objects.get::<dyn Placed>(key).map(|kept| &kept.0)
}

impl<K: Object> Cache<K> {
    /// Starts to copy what `api` and `options` (its selectors) give. Must be called inside a runtime.
    pub fn start(api: Api<K>, options: ListOptions, stop: CancellationToken) -> Cache<K> {
        let state = State {
            objects: Objects::new(),
            indexes: HashMap::new(),
            followers: Vec::new(),
        };
        let shared = Arc::new(Shared {
            state: RwLock::new(state),
        });
        let (ready, is_ready) = watch::channel(false);
        let copy = shared.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = reflect(&api, &options, &copy, &ready) => {}
                () = stop.cancelled() => {}
            }
            copy.state
                .write()
                .expect("no holder of a cache panics")
                .followers
                .clear();
        });
        Cache {
            shared,
            ready: is_ready,
        }
    }

    /// Waits until the copy has everything that was there when it began; false if it was stopped before.
    pub async fn ready(&self) -> bool {
        self.ready.clone().wait_for(|ready| *ready).await.is_ok()
    }

    /// Files every object, present and future, under the words that `by` gives.
    pub fn index(&self, name: &'static str, by: impl Fn(&K) -> Vec<String> + Send + Sync + 'static) {
        let mut state = self.shared.state.write().expect("no holder of a cache panics");
        let mut index = Index {
            by: Box::new(by),
            words: HashMap::new(),
        };
        state.objects.iter().for_each(|Kept(object)| index.add(object));
        state.indexes.insert(name, index);
    }

    /// One object.
    pub fn get(&self, key: &Key) -> Option<Arc<K>> {
        find(&self.state().objects, key).cloned()
    }

    /// All objects, by key.
    pub fn list(&self) -> Vec<Arc<K>> {
        self.state().objects.iter().map(|Kept(object)| object.clone()).collect()
    }

    /// All objects of a namespace, by name.
    pub fn list_in(&self, namespace: &str) -> Vec<Arc<K>> {
        let first = Key::new(namespace, "");
        let state = self.state();
        let from = (Bound::Included(&first as &dyn Placed), Bound::Unbounded);
        let from = state.objects.range::<dyn Placed, _>(from);
        from.map(|Kept(object)| object)
            .take_while(|object| object.namespace() == namespace)
            .cloned()
            .collect()
    }

    /// The objects filed under `word` in an index made before; none in one that was not.
    pub fn indexed(&self, name: &str, word: &str) -> Vec<Arc<K>> {
        let state = self.state();
        let objects = state.indexes.get(name).and_then(|index| index.words.get(word));
        objects
            .into_iter()
            .flatten()
            .map(|Kept(object)| object.clone())
            .collect()
    }

    /// Follows the copy: first every present object as new, then each update.
    pub fn follow(&self) -> Changes<K> {
        let (sender, changes) = mpsc::unbounded_channel();
        let mut state = self.shared.state.write().expect("no holder of a cache panics");
        for Kept(object) in &state.objects {
            // The receiver is in this function's hands.
            let _ = sender.send(Update {
                before: None,
                now: Some(object.clone()),
            });
        }
        state.followers.push(sender);
        changes
    }

    fn state(&self) -> RwLockReadGuard<'_, State<K>> {
        self.shared.state.read().expect("no holder of a cache panics")
    }
}

impl<K: Object> Shared<K> {
    /// Puts or replaces one object.
    pub(crate) fn put(&self, mut object: K) {
        object.forget_managers();
        self.state
            .write()
            .expect("no holder of a cache panics")
            .set(&object.key(), Some(Arc::new(object)));
    }

    /// Removes one object.
    pub(crate) fn remove(&self, object: &K) {
        self.state
            .write()
            .expect("no holder of a cache panics")
            .set(&object.key(), None);
    }

    /// Makes `objects` all there is; what did not change tells nobody.
    pub(crate) fn replace(&self, objects: BTreeMap<Key, K>) {
        let mut state = self.state.write().expect("no holder of a cache panics");
        let known = state.objects.iter().map(|Kept(object)| object.key());
        let gone: Vec<Key> = known.filter(|key| !objects.contains_key(key)).collect();
        gone.iter().for_each(|key| state.set(key, None));
        for (key, mut object) in objects {
            object.forget_managers();
            state.set(&key, Some(Arc::new(object)));
        }
    }
}

impl<K: Object> State<K> {
    fn set(&mut self, key: &Key, now: Option<Arc<K>>) {
        let before = find(&self.objects, key).cloned();
        let same = match (&before, &now) {
            (None, None) => true,
            (Some(before), Some(now)) => is_same(&**before, &**now),
            (Some(_), None) | (None, Some(_)) => false,
        };
        if same {
            return;
        }
        for index in self.indexes.values_mut() {
            before.iter().for_each(|object| index.remove(object));
            now.iter().for_each(|object| index.add(object));
        }
        match &now {
            Some(object) => drop(self.objects.replace(Kept(object.clone()))),
            None => drop(self.objects.remove::<dyn Placed>(key)),
        }
        let update = Update { before, now };
        self.followers.retain(|follower| follower.send(update.clone()).is_ok());
    }
}

fn is_same<K: Object>(before: &K, now: &K) -> bool {
    !now.resource_version().is_empty()
        && before.resource_version() == now.resource_version()
        && before.uid() == now.uid()
}

impl<K: Object> Index<K> {
    fn add(&mut self, object: &Arc<K>) {
        for word in (self.by)(object) {
            self.words.entry(word).or_default().insert(Kept(object.clone()));
        }
    }

    fn remove(&mut self, object: &Arc<K>) {
        for word in (self.by)(object) {
            if let Some(objects) = self.words.get_mut(&word) {
                objects.remove(&Kept(object.clone()));
                if objects.is_empty() {
                    self.words.remove(&word);
                }
            }
        }
    }
}
