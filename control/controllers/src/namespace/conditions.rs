//! What a namespace that is ending says about it: five conditions in upstream's words
//! (pkg/controller/namespace/deletion/status_condition_utils.go). Pure.

use k8s_openapi::api::core::v1::NamespaceCondition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use std::collections::BTreeMap;

/// Type, reason and message of each condition when there is nothing to say.
const FINE: [(&str, &str, &str); 5] = [
    (
        DISCOVERY,
        "ResourcesDiscovered",
        "All resources successfully discovered",
    ),
    (
        PARSING,
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    ),
    (
        CONTENT,
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
    (REMAINING, "ContentRemoved", "All content successfully removed"),
    (FINALIZERS, "ContentRemoved", "All content successfully removed"),
];

const DISCOVERY: &str = "NamespaceDeletionDiscoveryFailure";
const PARSING: &str = "NamespaceDeletionGroupVersionParsingFailure";
const CONTENT: &str = "NamespaceDeletionContentFailure";
const REMAINING: &str = "NamespaceContentRemaining";
const FINALIZERS: &str = "NamespaceFinalizersRemaining";

/// What one pass over a namespace found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// Why the kinds are not known.
    pub(super) discovery: Option<String>,
    /// What could not be deleted.
    pub(super) failures: Vec<String>,
    /// How many objects are left, by `plural.group`.
    pub(super) remaining: BTreeMap<String, usize>,
    /// How many objects each finalizer holds.
    pub(super) finalizers: BTreeMap<String, usize>,
}

impl Findings {
    /// Whether the namespace is empty for sure.
    pub(super) fn is_empty(&self) -> bool {
        *self == Findings::default()
    }

    /// The conditions as they are to be; none if that is how they are.
    pub(super) fn conditions(&self, old: &[NamespaceCondition], now: Timestamp) -> Option<Vec<NamespaceCondition>> {
        let mut conditions = old.to_vec();
        let mut changed = false;
        for (type_, fine_reason, fine_message) in FINE {
            let (status, reason, message) = match self.trouble(type_) {
                Some((reason, message)) => ("True", reason, message),
                None => ("False", fine_reason, fine_message.to_owned()),
            };
            let present = conditions.iter().position(|condition| condition.type_ == type_);
            let since = match present.map(|index| &conditions[index]) {
                Some(before) if before.status == status => before.last_transition_time.clone(),
                Some(_) | None => Some(Time(now)),
            };
            let condition = NamespaceCondition {
                type_: type_.to_owned(),
                status: status.to_owned(),
                reason: Some(reason.to_owned()),
                message: Some(message),
                last_transition_time: since,
            };
            match present {
                Some(index) if conditions[index] == condition => {}
                Some(index) => {
                    conditions[index] = condition;
                    changed = true;
                }
                None => {
                    conditions.push(condition);
                    changed = true;
                }
            }
        }
        changed.then_some(conditions)
    }

    fn trouble(&self, type_: &str) -> Option<(&'static str, String)> {
        let counted = |all: &BTreeMap<String, usize>, words: &str| {
            let each = all
                .iter()
                .map(|(what, count)| format!("{what} {words} {count} resource instances"));
            each.collect::<Vec<_>>().join(", ")
        };
        match type_ {
            DISCOVERY => self.discovery.clone().map(|why| ("DiscoveryFailed", why)),
            CONTENT if !self.failures.is_empty() => {
                let (count, mut all) = (self.failures.len(), self.failures.clone());
                all.sort();
                let all = all.join(", ");
                let message = format!("Failed to delete all resource types, {count} remaining: {all}");
                Some(("ContentDeletionFailed", message))
            }
            REMAINING if !self.remaining.is_empty() => {
                let message = format!("Some resources are remaining: {}", counted(&self.remaining, "has"));
                Some(("SomeResourcesRemain", message))
            }
            FINALIZERS if !self.finalizers.is_empty() => {
                let message = format!(
                    "Some content in the namespace has finalizers remaining: {}",
                    counted(&self.finalizers, "in")
                );
                Some(("SomeFinalizersRemain", message))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_say_what_is_left_and_change_only_when_it_does() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let later: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let findings = Findings {
            remaining: [("pods.".to_owned(), 2), ("deployments.apps".to_owned(), 1)].into(),
            finalizers: [("a.b/c".to_owned(), 1)].into(),
            ..Findings::default()
        };
        let conditions = findings.conditions(&[], now).unwrap();
        let said = |type_: &str, conditions: &[NamespaceCondition]| {
            let found = conditions.iter().find(|condition| condition.type_ == type_).unwrap();
            format!(
                "{} {} {}",
                found.status,
                found.reason.clone().unwrap(),
                found.message.clone().unwrap()
            )
        };
        assert_eq!(
            said(REMAINING, &conditions),
            "True SomeResourcesRemain Some resources are remaining: deployments.apps has 1 resource instances, pods. has 2 resource instances"
        );
        assert_eq!(
            said(FINALIZERS, &conditions),
            "True SomeFinalizersRemain Some content in the namespace has finalizers remaining: a.b/c in 1 resource instances"
        );
        assert_eq!(
            said(CONTENT, &conditions),
            "False ContentDeleted All content successfully deleted, may be waiting on finalization"
        );
        assert_eq!(conditions.len(), 5);
        assert_eq!(findings.conditions(&conditions, later), None);
        let after = Findings::default().conditions(&conditions, later).unwrap();
        assert_eq!(
            said(REMAINING, &after),
            "False ContentRemoved All content successfully removed"
        );
        let since = |type_: &str| {
            let found = after.iter().find(|condition| condition.type_ == type_).unwrap();
            found.last_transition_time.clone().unwrap().0
        };
        assert_eq!((since(REMAINING), since(CONTENT)), (later, now));
    }
}
