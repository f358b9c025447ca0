//! clusterrole-aggregation-controller: the rules of a ClusterRole with an `aggregationRule` are those of all that it selects.

use crate::context::{Context, cache};
use client::{Api, Cache, Error, Key, Patch, Queue, work};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use serde_json::json;
use std::collections::BTreeMap;

const NAME: &str = "clusterrole-aggregation-controller";

pub(crate) async fn run(context: Context) {
    let roles = cache(Api::<ClusterRole>::all(context.transport.clone()), &context.stop);
    let mut changes = roles.follow();
    if !roles.ready().await {
        return;
    }
    let queue = Queue::<String>::new();
    let feed = async {
        loop {
            tokio::select! {
                // Whatever changed may be part of any of them, of which there are few.
                Some(_) = changes.recv() => aggregated(&roles).for_each(|name| queue.add(name)),
                () = context.stop.cancelled() => return,
            }
        }
    };
    let reconcile = {
        let (context, roles) = (context.clone(), roles.clone());
        move |name: String| {
            let (context, roles) = (context.clone(), roles.clone());
            async move { reconcile(&context, &roles, &name).await }
        }
    };
    tokio::join!(feed, work(NAME, &queue, 1, &context.stop, reconcile));
}

fn aggregated(roles: &Cache<ClusterRole>) -> impl Iterator<Item = String> {
    let all = roles.list().into_iter().filter(|role| role.aggregation_rule.is_some());
    all.filter_map(|role| role.metadata.name.clone())
}

async fn reconcile(context: &Context, roles: &Cache<ClusterRole>, name: &str) -> Result<(), Error> {
    let Some(role) = roles.get(&Key::new("", name)) else {
        return Ok(());
    };
    let selectors = role
        .aggregation_rule
        .as_ref()
        .and_then(|rule| rule.cluster_role_selectors.as_deref());
    let Some(selectors) = selectors else { return Ok(()) };
    let all = roles.list();
    let rules = union(name, selectors, all.iter().map(AsRef::as_ref));
    if role.rules.as_deref().unwrap_or_default() == rules {
        return Ok(());
    }
    let api = Api::<ClusterRole>::all(context.transport.clone());
    match api.patch(name, &Patch::Merge(json!({ "rules": rules }))).await {
        Err(error) if !error.is_not_found() => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// The rules of all selected roles but the one itself: by selector, then by name, each rule once.
fn union<'a>(
    own: &str,
    selectors: &[LabelSelector],
    roles: impl Iterator<Item = &'a ClusterRole> + Clone,
) -> Vec<PolicyRule> {
    let mut rules: Vec<PolicyRule> = Vec::new();
    for selector in selectors {
        let mut chosen: Vec<&ClusterRole> = roles
            .clone()
            .filter(|role| role.metadata.name.as_deref() != Some(own))
            .filter(|role| selects(selector, role.metadata.labels.as_ref()))
            .collect();
        chosen.sort_by_key(|role| role.metadata.name.clone());
        for rule in chosen.into_iter().flat_map(|role| role.rules.iter().flatten()) {
            if !rules.contains(rule) {
                rules.push(rule.clone());
            }
        }
    }
    rules
}

fn selects(selector: &LabelSelector, labels: Option<&BTreeMap<String, String>>) -> bool {
    let value = |key: &str| labels.and_then(|labels| labels.get(key));
    let named = selector
        .match_labels
        .iter()
        .flatten()
        .all(|(key, wanted)| value(key) == Some(wanted));
    let holds = |term: &LabelSelectorRequirement| {
        let values = term.values.as_deref().unwrap_or_default();
        let value = value(&term.key);
        match term.operator.as_str() {
            "In" => value.is_some_and(|value| values.contains(value)),
            "NotIn" => value.is_none_or(|value| !values.contains(value)),
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    };
    named && selector.match_expressions.iter().flatten().all(holds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(name: &str, label: &str, resource: &str) -> ClusterRole {
        serde_json::from_value(json!({
            "metadata": { "name": name, "labels": { label: "true" } },
            "rules": [{ "verbs": ["get"], "apiGroups": [""], "resources": [resource] }],
        }))
        .unwrap()
    }

    #[test]
    fn rules_of_selected_roles_come_together_once() {
        let roles = [
            role("b", "yes", "pods"),
            role("a", "yes", "nodes"),
            role("c", "no", "secrets"),
            role("d", "yes", "pods"),
            role("own", "yes", "services"),
        ];
        let selector: LabelSelector = serde_json::from_value(json!({ "matchLabels": { "yes": "true" } })).unwrap();
        let resources: Vec<String> = union("own", &[selector], roles.iter())
            .into_iter()
            .flat_map(|rule| rule.resources.unwrap_or_default())
            .collect();
        assert_eq!(resources, ["nodes", "pods"]);
    }
}
