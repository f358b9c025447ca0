//! RBAC over an index in memory: who holds which role where. It follows the store by one watch, and takes what waits there
//! before each answer, so that an acknowledged write counts for the next request.

use super::rule::Rule;
use super::{Asked, Attributes, Decision};
use crate::user::{User, account_user};
use api::read::{self, text};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, RwLock};
use store::{Change, Store, Watch};

/// Where the store keeps all four kinds.
const PREFIX: &str = "rbac/";
/// How many changes are taken at once.
const BATCH: usize = 1024;

pub(super) struct Rbac {
    store: Store,
    watch: Mutex<Watch>,
    index: RwLock<Index>,
}

/// Everything that is granted, by who holds it.
#[derive(Default)]
struct Index {
    cluster_roles: HashMap<Box<str>, Arc<[Rule]>>,
    everywhere: Holders,
    namespaces: HashMap<Box<str>, Namespace>,
    /// By the store's keys, for their removal.
    bindings: HashMap<Box<str>, Arc<Binding>>,
}

#[derive(Default)]
struct Namespace {
    roles: HashMap<Box<str>, Arc<[Rule]>>,
    holders: Holders,
}

#[derive(Default)]
struct Holders {
    users: HashMap<Box<str>, Vec<Arc<Binding>>>,
    groups: HashMap<Box<str>, Vec<Arc<Binding>>>,
}

struct Binding {
    key: Box<str>,
    /// Empty for one that holds everywhere.
    namespace: String,
    name: String,
    role_kind: String,
    role: String,
    subjects: Vec<Subject>,
}

struct Subject {
    is_group: bool,
    /// The user or the group that it is.
    holder: Box<str>,
    /// As messages name it: `Group "x"`.
    described: String,
}

// === impl Rbac ===

impl Rbac {
    pub(super) fn new(store: Store) -> Self {
        let (watch, index) = begin(&store);
        Self {
            store,
            watch: Mutex::new(watch),
            index: RwLock::new(index),
        }
    }

    pub(super) fn allows(&self, user: &User, asked: &Attributes<'_>) -> Decision {
        self.refresh();
        let namespace = match &asked.asked {
            Asked::Resource(resource) => resource.namespace,
            Asked::Path(_) => "",
        };
        let index = self
            .index
            .read()
            .expect("the index is whole because nobody panics while holding it");
        let mut lost = Vec::new();
        let found = index.visit(user, namespace, |binding, subject, rules| match rules {
            Some(rules) => rules
                .iter()
                .any(|rule| rule.allows(asked))
                .then(|| binding.allowed_by(subject)),
            None => {
                lost.push(binding.missing_role());
                None
            }
        });
        match found {
            Some(reason) => Decision { allowed: true, reason },
            None if lost.is_empty() => Decision::default(),
            None => Decision::no(format!("RBAC: {}", aggregate(lost))),
        }
    }

    pub(super) fn rules_of(&self, user: &User, namespace: &str) -> (Vec<Rule>, Vec<String>) {
        self.refresh();
        let index = self
            .index
            .read()
            .expect("the index is whole because nobody panics while holding it");
        let (mut all, mut lost) = (Vec::new(), Vec::new());
        index.visit(user, namespace, |binding, _, rules| {
            match rules {
                Some(rules) => all.extend(rules.iter().cloned()),
                None => lost.push(binding.missing_role()),
            }
            None::<()>
        });
        lost.sort();
        lost.dedup();
        (all, lost)
    }

    pub(super) fn rules_in(&self, kind: &str, namespace: &str, name: &str) -> Option<Vec<Rule>> {
        self.refresh();
        let index = self
            .index
            .read()
            .expect("the index is whole because nobody panics while holding it");
        let rules = if kind == "ClusterRole" {
            index.cluster_roles.get(name)
        } else {
            index.namespaces.get(namespace).and_then(|space| space.roles.get(name))
        };
        rules.map(|rules| rules.to_vec())
    }

    /// Takes in what was written since the last answer.
    fn refresh(&self) {
        let mut watch = self
            .watch
            .lock()
            .expect("the watch is whole because nobody panics while holding it");
        loop {
            match watch.ready(BATCH) {
                Ok(changes) if changes.is_empty() => return,
                // Still under the lock of the watch: nobody answers from an index that lacks what was taken.
                Ok(changes) => {
                    let mut index = self
                        .index
                        .write()
                        .expect("the index is whole because nobody panics while holding it");
                    changes.iter().for_each(|change| index.apply(change));
                }
                Err(_lagged) => {
                    let (fresh, index) = begin(&self.store);
                    *watch = fresh;
                    *self
                        .index
                        .write()
                        .expect("the index is whole because nobody panics while holding it") = index;
                }
            }
        }
    }
}

/// A watch, and the index of what was there when it began.
fn begin(store: &Store) -> (Watch, Index) {
    loop {
        let snapshot = store.range(PREFIX, None, 0);
        // Compaction may overtake a snapshot that took long; the next one is younger.
        let Ok(watch) = store.watch(PREFIX, snapshot.revision) else {
            continue;
        };
        let mut index = Index::default();
        for entry in &snapshot.entries {
            index.put(&entry.key, &parse(&entry.value));
        }
        return (watch, index);
    }
}

fn parse(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_default()
}

/// As upstream joins several errors.
fn aggregate(mut errors: Vec<String>) -> String {
    errors.dedup();
    match errors.as_slice() {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}

// === impl Index ===

impl Index {
    fn apply(&mut self, change: &Change) {
        self.remove(&change.entry.key);
        if !change.deleted {
            self.put(&change.entry.key, &parse(&change.entry.value));
        }
    }

    fn put(&mut self, key: &str, object: &Value) {
        let rules = || Arc::from(Rule::all_in(object));
        match words(key).as_slice() {
            ["roles", namespace, name] => {
                let space = self.namespaces.entry((*namespace).into()).or_default();
                space.roles.insert((*name).into(), rules());
            }
            ["clusterroles", name] => drop(self.cluster_roles.insert((*name).into(), rules())),
            ["rolebindings", namespace, name] => self.bind(key, namespace, name, object),
            ["clusterrolebindings", name] => self.bind(key, "", name, object),
            _ => {}
        }
    }

    fn remove(&mut self, key: &str) {
        match words(key).as_slice() {
            ["roles", namespace, name] => {
                if let Some(space) = self.namespaces.get_mut(*namespace) {
                    space.roles.remove(*name);
                }
            }
            ["clusterroles", name] => drop(self.cluster_roles.remove(*name)),
            _ => self.unbind(key),
        }
        if let ["roles" | "rolebindings", namespace, _] = words(key).as_slice()
            && self.namespaces.get(*namespace).is_some_and(Namespace::is_empty)
        {
            self.namespaces.remove(*namespace);
        }
    }

    fn bind(&mut self, key: &str, namespace: &str, name: &str, object: &Value) {
        let subjects = read::list(object, "/subjects").iter();
        let binding = Arc::new(Binding {
            key: key.into(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            role_kind: text(object, "/roleRef/kind").to_owned(),
            role: text(object, "/roleRef/name").to_owned(),
            subjects: subjects.filter_map(|subject| Subject::of(subject, namespace)).collect(),
        });
        let holders = self.holders(namespace);
        for subject in &binding.subjects {
            let of = if subject.is_group {
                &mut holders.groups
            } else {
                &mut holders.users
            };
            of.entry(subject.holder.clone()).or_default().push(binding.clone());
        }
        self.bindings.insert(key.into(), binding);
    }

    fn unbind(&mut self, key: &str) {
        let Some(binding) = self.bindings.remove(key) else {
            return;
        };
        let holders = self.holders(&binding.namespace);
        for subject in &binding.subjects {
            let of = if subject.is_group {
                &mut holders.groups
            } else {
                &mut holders.users
            };
            if let Some(held) = of.get_mut(&subject.holder) {
                held.retain(|other| other.key != binding.key);
                if held.is_empty() {
                    of.remove(&subject.holder);
                }
            }
        }
    }

    fn holders(&mut self, namespace: &str) -> &mut Holders {
        if namespace.is_empty() {
            &mut self.everywhere
        } else {
            &mut self.namespaces.entry(namespace.into()).or_default().holders
        }
    }

    /// Shows `look` each binding that `user` holds, those that hold everywhere first, with the rules of its role (none if the
    /// role is not there), until it finds something.
    fn visit<T>(
        &self,
        user: &User,
        namespace: &str,
        mut look: impl FnMut(&Binding, &Subject, Option<&[Rule]>) -> Option<T>,
    ) -> Option<T> {
        let space = self.namespaces.get(namespace).filter(|_| !namespace.is_empty());
        for holders in [Some(&self.everywhere), space.map(|space| &space.holders)]
            .into_iter()
            .flatten()
        {
            let by_user = holders
                .users
                .get(&*user.name)
                .into_iter()
                .map(|held| (false, &*user.name, held));
            let by_group = user
                .groups
                .iter()
                .filter_map(|group| Some((true, group.as_str(), holders.groups.get(group.as_str())?)));
            for (is_group, holder, held) in by_user.chain(by_group) {
                for binding in held {
                    let rules = if binding.role_kind == "Role" {
                        space.and_then(|space| space.roles.get(&*binding.role))
                    } else {
                        self.cluster_roles.get(&*binding.role)
                    };
                    let Some(subject) = binding.subject(is_group, holder) else {
                        continue;
                    };
                    let found = look(binding, subject, rules.map(|rules| &**rules));
                    if found.is_some() {
                        return found;
                    }
                }
            }
        }
        None
    }
}

/// A key's words after the prefix.
fn words(key: &str) -> Vec<&str> {
    key.strip_prefix(PREFIX).unwrap_or_default().split('/').collect()
}

// === impl Namespace ===

impl Namespace {
    fn is_empty(&self) -> bool {
        self.roles.is_empty() && self.holders.users.is_empty() && self.holders.groups.is_empty()
    }
}

// === impl Subject ===

impl Subject {
    fn of(subject: &Value, namespace: &str) -> Option<Self> {
        let (kind, name) = (text(subject, "/kind"), text(subject, "/name"));
        let (holder, described) = match kind {
            "User" | "Group" => (name.to_owned(), format!("{kind} {name:?}")),
            "ServiceAccount" => {
                let own = Some(text(subject, "/namespace")).filter(|own| !own.is_empty());
                let namespace = own.unwrap_or(namespace);
                if namespace.is_empty() {
                    return None;
                }
                (
                    account_user(namespace, name),
                    format!("{kind} {:?}", format!("{name}/{namespace}")),
                )
            }
            _ => return None,
        };
        Some(Self {
            is_group: kind == "Group",
            holder: holder.into(),
            described,
        })
    }
}

// === impl Binding ===

impl Binding {
    fn subject(&self, is_group: bool, holder: &str) -> Option<&Subject> {
        self.subjects
            .iter()
            .find(|subject| subject.is_group == is_group && &*subject.holder == holder)
    }

    fn allowed_by(&self, subject: &Subject) -> String {
        let (kind, name) = if self.namespace.is_empty() {
            ("ClusterRoleBinding", self.name.clone())
        } else {
            ("RoleBinding", format!("{}/{}", self.name, self.namespace))
        };
        format!(
            "RBAC: allowed by {kind} {name:?} of {} {:?} to {}",
            self.role_kind, self.role, subject.described
        )
    }

    fn missing_role(&self) -> String {
        let plural = if self.role_kind == "Role" {
            "role"
        } else {
            "clusterrole"
        };
        format!("{plural}.rbac.authorization.k8s.io {:?} not found", self.role)
    }
}
