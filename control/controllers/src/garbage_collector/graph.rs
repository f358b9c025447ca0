//! Who belongs to whom, by UID over all kinds, and what is to do when somebody comes, changes or goes. Pure.

use crate::every_kind::{Outline, Owner};
use client::{Object, Served};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Held until its dependents that block are gone.
pub(super) const FOREGROUND: &str = "foregroundDeletion";
/// Held until its dependents are nobody's.
pub(super) const ORPHAN: &str = "orphan";

/// What is to do with an object, by UID.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Duty {
    /// See whether it may go: its owners may be gone, or its dependents.
    Judge(Arc<str>),
    /// Take it out of its dependents' owners.
    Orphan(Arc<str>),
}

/// An object that exists.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) kind: Arc<Served>,
    pub(super) object: Arc<Outline>,
}

/// All objects.
#[derive(Default)]
pub(super) struct Graph {
    nodes: HashMap<Arc<str>, Node>,
    /// By owner, whether or not there is such an owner.
    dependents: HashMap<Arc<str>, HashSet<Arc<str>>>,
}

impl Node {
    pub(super) fn is_ending(&self) -> bool {
        self.object.metadata.deletion_timestamp.is_some()
    }

    pub(super) fn has(&self, finalizer: &str) -> bool {
        self.object
            .metadata
            .finalizers
            .iter()
            .any(|present| present == finalizer)
    }

    /// It goes after its dependents.
    pub(super) fn ends_last(&self) -> bool {
        self.is_ending() && self.has(FOREGROUND)
    }

    fn orphans(&self) -> bool {
        self.is_ending() && self.has(ORPHAN)
    }

    /// Whether `owner` has to wait for it.
    pub(super) fn blocks(&self, owner: &str) -> bool {
        let owners = &self.object.metadata.owner_references;
        owners
            .iter()
            .any(|present| &*present.uid == owner && present.block_owner_deletion)
    }
}

impl Graph {
    pub(super) fn get(&self, uid: &str) -> Option<&Node> {
        self.nodes.get(uid)
    }

    /// Those that name `owner` among their owners.
    pub(super) fn dependents(&self, owner: &str) -> impl Iterator<Item = &Node> {
        let uids = self.dependents.get(owner).into_iter().flatten();
        uids.filter_map(|uid| self.nodes.get(uid))
    }

    /// An object is there or changed.
    pub(super) fn put(&mut self, kind: Arc<Served>, object: Arc<Outline>) -> Vec<Duty> {
        let uid = object.metadata.uid.clone();
        let before = self.nodes.insert(uid.clone(), Node { kind, object });
        let now = self.nodes[&uid].clone();
        let mut duties = Vec::new();
        let owners = |node: &Node| node.object.metadata.owner_references.clone();
        let old = before.as_ref().map(owners).unwrap_or_default();
        let new = owners(&now);
        for owner in old.iter().filter(|owner| !new.contains(owner)) {
            if !new.iter().any(|other| other.uid == owner.uid) {
                self.part(&owner.uid, &uid);
            }
            // The owner may have waited for just this.
            if self.nodes.get(&owner.uid).is_some_and(Node::ends_last) {
                duties.push(Duty::Judge(owner.uid.clone()));
            }
        }
        for owner in new.iter().filter(|owner| !old.contains(owner)) {
            self.dependents
                .entry(owner.uid.clone())
                .or_default()
                .insert(uid.clone());
            if self.is_doubtful(&now, owner) {
                duties.push(Duty::Judge(uid.clone()));
            }
        }
        duties.extend(self.begins(before.as_ref(), &now));
        duties.dedup();
        duties
    }

    /// What the beginning of an end brings about.
    fn begins(&self, before: Option<&Node>, now: &Node) -> Vec<Duty> {
        let uid = &now.object.metadata.uid;
        if now.orphans() && !before.is_some_and(Node::orphans) {
            return vec![Duty::Orphan(uid.clone())];
        }
        if now.ends_last() && !before.is_some_and(Node::ends_last) {
            let dependents = self
                .dependents(uid)
                .map(|node| Duty::Judge(node.object.metadata.uid.clone()));
            return dependents.chain([Duty::Judge(uid.clone())]).collect();
        }
        Vec::new()
    }

    /// An object is gone.
    pub(super) fn remove(&mut self, uid: &Arc<str>) -> Vec<Duty> {
        let Some(node) = self.nodes.remove(uid) else {
            return Vec::new();
        };
        let mut duties: Vec<Duty> = self
            .dependents(uid)
            .map(|dependent| Duty::Judge(dependent.object.metadata.uid.clone()))
            .collect();
        for owner in &node.object.metadata.owner_references {
            self.part(&owner.uid, uid);
            if self.nodes.get(&owner.uid).is_some_and(Node::ends_last) {
                duties.push(Duty::Judge(owner.uid.clone()));
            }
        }
        duties
    }

    /// What there is to do with all that is known, as if each had just come.
    pub(super) fn all_duties(&self) -> Vec<Duty> {
        let mut duties = HashSet::new();
        for (uid, node) in &self.nodes {
            let owners = &node.object.metadata.owner_references;
            if owners.iter().any(|owner| self.is_doubtful(node, owner)) {
                duties.insert(Duty::Judge(uid.clone()));
            }
            duties.extend(self.begins(None, node));
        }
        duties.into_iter().collect()
    }

    /// Whether an owner may not be one: it is not there, is something else than the reference says, or is about to go.
    fn is_doubtful(&self, node: &Node, owner: &Owner) -> bool {
        let Some(found) = self.nodes.get(&owner.uid) else {
            return true;
        };
        let here = !found.kind.namespaced || found.object.namespace() == node.object.namespace();
        !here || found.kind.kind != owner.kind || found.object.name() != owner.name || found.ends_last()
    }

    fn part(&mut self, owner: &Arc<str>, dependent: &Arc<str>) {
        if let Some(dependents) = self.dependents.get_mut(owner) {
            dependents.remove(dependent);
            if dependents.is_empty() {
                self.dependents.remove(owner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::Resource;
    use serde_json::{Value, json};

    fn put(graph: &mut Graph, uid: &str, owners: &[(&str, bool)], ends: Option<&str>) -> Vec<String> {
        let owners: Vec<Value> = owners
            .iter()
            .map(|(uid, blocks)| json!({"apiVersion": "v1", "kind": "K", "name": uid, "uid": uid, "blockOwnerDeletion": blocks}))
            .collect();
        let mut metadata = json!({"name": uid, "uid": uid, "ownerReferences": owners});
        if let Some(finalizer) = ends {
            metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
            metadata["finalizers"] = json!([finalizer]);
        }
        let resource = Resource {
            group: String::new(),
            version: "v1".into(),
            plural: "ks".into(),
        };
        let kind = Served {
            resource,
            kind: "K".into(),
            namespaced: true,
            verbs: Vec::new(),
        };
        let object = serde_json::from_value(json!({ "metadata": metadata })).unwrap();
        brief(graph.put(Arc::new(kind), Arc::new(object)))
    }

    fn brief(duties: Vec<Duty>) -> Vec<String> {
        let mut brief: Vec<String> = duties
            .into_iter()
            .map(|duty| match duty {
                Duty::Judge(uid) => format!("judge {uid}"),
                Duty::Orphan(uid) => format!("orphan {uid}"),
            })
            .collect();
        brief.sort();
        brief
    }

    #[test]
    fn dependents_are_judged_when_their_owner_is_not_there_or_goes() {
        let mut graph = Graph::default();
        assert_eq!(put(&mut graph, "child", &[("owner", false)], None), ["judge child"]);
        assert_eq!(put(&mut graph, "owner", &[], None), Vec::<String>::new());
        assert_eq!(put(&mut graph, "late", &[("owner", false)], None), Vec::<String>::new());
        assert_eq!(brief(graph.all_duties()), Vec::<String>::new());
        assert_eq!(brief(graph.remove(&"owner".into())), ["judge child", "judge late"]);
        assert_eq!(brief(graph.all_duties()), ["judge child", "judge late"]);
        // One that has no owner any more is not asked about again.
        put(&mut graph, "late", &[], None);
        assert_eq!(brief(graph.all_duties()), ["judge child"]);
    }

    #[test]
    fn an_owner_that_ends_last_is_judged_with_its_dependents_and_again_when_they_go() {
        let mut graph = Graph::default();
        put(&mut graph, "owner", &[], None);
        put(&mut graph, "a", &[("owner", true)], None);
        put(&mut graph, "b", &[("owner", true)], None);
        assert_eq!(
            put(&mut graph, "owner", &[], Some(FOREGROUND)),
            ["judge a", "judge b", "judge owner"]
        );
        assert_eq!(put(&mut graph, "owner", &[], Some(FOREGROUND)), Vec::<String>::new());
        assert!(graph.get("a").is_some_and(|node| node.blocks("owner")));
        assert_eq!(
            put(&mut graph, "a", &[("owner", false)], None),
            ["judge a", "judge owner"]
        );
        assert_eq!(brief(graph.remove(&"b".into())), ["judge owner"]);
        assert_eq!(graph.dependents("owner").count(), 1);
    }

    #[test]
    fn an_owner_that_orphans_is_done_once() {
        let mut graph = Graph::default();
        put(&mut graph, "owner", &[], None);
        put(&mut graph, "a", &[("owner", true)], None);
        assert_eq!(put(&mut graph, "owner", &[], Some(ORPHAN)), ["orphan owner"]);
        assert_eq!(put(&mut graph, "owner", &[], Some(ORPHAN)), Vec::<String>::new());
    }
}
