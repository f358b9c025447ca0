//! Plugin NodeAffinity: nodeSelector, required and preferred terms against a node's labels and name.

use k8s_openapi::api::core::v1::{NodeAffinity, NodeSelectorRequirement, NodeSelectorTerm};
use std::collections::BTreeMap;

type Labels = BTreeMap<String, String>;

/// What a node must be like: all of the labels, and at least one of the terms if there are any.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Selector {
    labels: Labels,
    terms: Option<Vec<Term>>,
}

/// All of its requirements; one without any matches nothing.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Term {
    labels: Vec<NodeSelectorRequirement>,
    names: Vec<NodeSelectorRequirement>,
}

impl Selector {
    pub(crate) fn read(labels: Option<&Labels>, affinity: Option<&NodeAffinity>) -> Selector {
        let required = affinity.and_then(|node| node.required_during_scheduling_ignored_during_execution.as_ref());
        let terms = required.map(|selector| selector.node_selector_terms.iter().map(Term::read).collect());
        Selector {
            labels: labels.cloned().unwrap_or_default(),
            terms,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.terms.is_none()
    }

    pub(crate) fn matches(&self, name: &str, labels: &Labels) -> bool {
        self.labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self
                .terms
                .as_ref()
                .is_none_or(|terms| terms.iter().any(|term| term.matches(name, labels)))
    }
}

impl Term {
    pub(crate) fn read(term: &NodeSelectorTerm) -> Term {
        Term {
            labels: term.match_expressions.clone().unwrap_or_default(),
            names: term.match_fields.clone().unwrap_or_default(),
        }
    }

    pub(crate) fn matches(&self, name: &str, labels: &Labels) -> bool {
        let named = |field: &NodeSelectorRequirement| field.key == "metadata.name" && holds(field, Some(name));
        !(self.labels.is_empty() && self.names.is_empty())
            && self
                .labels
                .iter()
                .all(|label| holds(label, labels.get(&label.key).map(String::as_str)))
            && self.names.iter().all(named)
    }
}

fn holds(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = || value.is_some_and(|value| values.iter().any(|listed| listed == value));
    let number = |text: &str| text.parse::<i64>().ok();
    let bound = || number(values.first()?);
    match requirement.operator.as_str() {
        "In" => listed(),
        "NotIn" => !listed(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => value
            .and_then(number)
            .zip(bound())
            .is_some_and(|(value, bound)| value > bound),
        "Lt" => value
            .and_then(number)
            .zip(bound())
            .is_some_and(|(value, bound)| value < bound),
        // The API server stores no other; an unknown one of a newer server must not let a pod in.
        _ => false,
    }
}
