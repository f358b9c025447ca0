//! The roles and bindings that every cluster has: read out of `policy.txt`, and brought into the cluster at each start the way
//! upstream reconciles them: what is missing is added, what people added stays, `autoupdate: "false"` is left alone.

use super::rule::{Rule, missing};
use api::read::{self, list, text};
use client::{Api, Dynamic, Error, Transport};
use futures_util::future;
use serde_json::{Value, json};
use std::sync::Arc;
use tracing::warn;

const GROUP: &str = "rbac.authorization.k8s.io";
const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";
/// The policy, in the words that it explains itself.
const POLICY: &str = include_str!("policy.txt");
/// The same for upstream's controllers.
const CONTROLLERS: &str = include_str!("controllers.txt");

/// Makes or completes the default roles and bindings. The namespaces `kube-system` and `kube-public` must be there.
pub async fn reconcile(transport: &Arc<dyn Transport>) -> Result<(), Error> {
    let objects = objects();
    let all = objects.iter().map(|object| reconcile_one(transport, object));
    // All at once, so that the first start of a cluster costs a few commits and not a hundred.
    future::try_join_all(all).await.map(drop)
}

async fn reconcile_one(transport: &Arc<dyn Transport>, wanted: &Value) -> Result<(), Error> {
    let namespace = Some(text(wanted, "/metadata/namespace")).filter(|namespace| !namespace.is_empty());
    let resource = client::Resource {
        group: GROUP.to_owned(),
        version: "v1".to_owned(),
        plural: format!("{}s", text(wanted, "/kind").to_ascii_lowercase()),
    };
    let api = Api::dynamic(transport.clone(), &resource, namespace);
    let name = text(wanted, "/metadata/name");
    let present = match api.create(&Dynamic(wanted.clone())).await {
        Err(refused) if refused.is_already_exists() => api.get(name).await?.0,
        outcome => return outcome.map(drop),
    };
    if text(
        &present,
        "/metadata/annotations/rbac.authorization.kubernetes.io~1autoupdate",
    ) == "false"
    {
        return Ok(());
    }
    if wanted.get("roleRef").is_some() && text(wanted, "/roleRef/name") != text(&present, "/roleRef/name") {
        // Roles of bindings are immutable: somebody took it away and made it anew, on purpose.
        warn!(%name, "a default binding grants another role than it should; delete it and start again to get it back");
        return Ok(());
    }
    match completed(&present, wanted) {
        Some(object) => api.replace(name, &Dynamic(object)).await.map(drop),
        None => Ok(()),
    }
}

/// `present` with what it lacks of `wanted`; none if it lacks nothing.
fn completed(present: &Value, wanted: &Value) -> Option<Value> {
    let mut object = present.clone();
    let mut add = |member: &str, lacks: &dyn Fn(&Value) -> bool| {
        let lacking: Vec<Value> = list(wanted, &format!("/{member}"))
            .iter()
            .filter(|item| lacks(item))
            .cloned()
            .collect();
        if lacking.is_empty() {
            return false;
        }
        let mut all = list(present, &format!("/{member}")).to_vec();
        all.extend(lacking);
        object[member] = all.into();
        true
    };
    let held = Rule::all_in(present);
    let rules = add("rules", &|rule| {
        !missing(&held, &Rule::all_in(&json!({ "rules": [rule] }))).is_empty()
    });
    let same = |a: &Value, b: &Value| {
        ["kind", "name", "namespace"]
            .iter()
            .all(|member| read::text(a, &format!("/{member}")) == read::text(b, &format!("/{member}")))
    };
    let subjects = add("subjects", &|subject| {
        !list(present, "/subjects").iter().any(|held| same(held, subject))
    });
    let aggregates = wanted.get("aggregationRule").is_some() && present.get("aggregationRule").is_none();
    if aggregates {
        object["aggregationRule"] = wanted["aggregationRule"].clone();
    }
    (rules || subjects || aggregates).then_some(object)
}

/// The rules of a default ClusterRole.
pub(super) fn rules_of(name: &str) -> Vec<Rule> {
    let objects = objects();
    let role = objects
        .iter()
        .find(|object| text(object, "/kind") == "ClusterRole" && text(object, "/metadata/name") == name);
    role.map(Rule::all_in).unwrap_or_default()
}

/// All of them, in the file's order.
fn objects() -> Vec<Value> {
    let (mut objects, mut bindings): (Vec<Value>, Vec<Value>) = Default::default();
    for line in POLICY.lines().chain(CONTROLLERS.lines()).map(str::trim_end) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [] => {}
            [comment, ..] if comment.starts_with('#') => {}
            ["role", name, labels @ ..] => objects.push(role(name, labels)),
            ["controller", name] => {
                let full = format!("system:controller:{name}");
                objects.push(role(&full, &[]));
                bindings.push(binding(&full, &full, &[&format!("account:kube-system/{name}")]));
            }
            ["binding", name, role, subjects @ ..] => objects.push(binding(name, role, subjects)),
            ["aggregate", label] => {
                if let Some(role) = objects.last_mut() {
                    let labels = json!({ aggregate_to(label): "true" });
                    role["aggregationRule"] = json!({ "clusterRoleSelectors": [{ "matchLabels": labels }] });
                }
            }
            [verbs, rest @ ..] => {
                if let Some(rules) = objects.last_mut().and_then(|role| role["rules"].as_array_mut()) {
                    rules.push(rule(verbs, rest));
                }
            }
        }
    }
    objects.append(&mut bindings);
    objects
}

fn aggregate_to(label: &str) -> String {
    format!("{GROUP}/aggregate-to-{label}")
}

fn object(kind: &str, name: &str) -> Value {
    let (namespace, name) = name.split_once('/').unwrap_or(("", name));
    let (prefix, metadata) = if namespace.is_empty() {
        ("Cluster", json!({ "name": name }))
    } else {
        ("", json!({ "name": name, "namespace": namespace }))
    };
    let mut object =
        json!({ "apiVersion": format!("{GROUP}/v1"), "kind": format!("{prefix}{kind}"), "metadata": metadata });
    object["metadata"]["labels"] = json!({ "kubernetes.io/bootstrapping": "rbac-defaults" });
    object["metadata"]["annotations"] = json!({ AUTOUPDATE: "true" });
    object
}

fn role(name: &str, labels: &[&str]) -> Value {
    let mut role = object("Role", name);
    for label in labels {
        role["metadata"]["labels"][aggregate_to(label)] = "true".into();
    }
    role["rules"] = json!([]);
    role
}

fn rule(verbs: &str, rest: &[&str]) -> Value {
    let words = |list: &str| -> Vec<String> {
        list.split(',')
            .map(|word| if word == "-" { "" } else { word }.to_owned())
            .collect()
    };
    let verbs: Vec<&str> = verbs
        .split(',')
        .flat_map(|verb| match verb {
            "read" => vec!["get", "list", "watch"],
            "write" => vec!["create", "delete", "deletecollection", "patch", "update"],
            verb => vec![verb],
        })
        .collect();
    match rest {
        ["url", urls] => json!({ "verbs": verbs, "nonResourceURLs": words(urls) }),
        [groups, resources] => json!({ "verbs": verbs, "apiGroups": words(groups), "resources": words(resources) }),
        [groups, resources, names, ..] => json!({
            "verbs": verbs, "apiGroups": words(groups), "resources": words(resources), "resourceNames": words(names),
        }),
        _ => json!({ "verbs": verbs }),
    }
}

fn binding(name: &str, role: &str, subjects: &[&str]) -> Value {
    let mut binding = object("RoleBinding", name);
    let kind = if name.contains('/') { "Role" } else { "ClusterRole" };
    binding["roleRef"] = json!({ "apiGroup": GROUP, "kind": kind, "name": role });
    let subjects: Vec<Value> = subjects.iter().filter_map(|subject| holder(subject)).collect();
    if !subjects.is_empty() {
        binding["subjects"] = subjects.into();
    }
    binding
}

fn holder(subject: &str) -> Option<Value> {
    let (kind, name) = subject.split_once(':')?;
    Some(match kind {
        "user" => json!({ "apiGroup": GROUP, "kind": "User", "name": name }),
        "group" => json!({ "apiGroup": GROUP, "kind": "Group", "name": name }),
        _ => {
            let (namespace, name) = name.split_once('/')?;
            json!({ "kind": "ServiceAccount", "name": name, "namespace": namespace })
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_is_whole() {
        let objects = objects();
        for object in &objects {
            let kind = text(object, "/kind");
            let rules = api::find_kind("rbac.authorization.k8s.io/v1", kind).unwrap();
            let mut object = object.clone();
            rules.default(&mut object);
            let name = text(&object, "/metadata/name").to_owned();
            assert_eq!(
                rules
                    .validate(&object)
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>(),
                Vec::<String>::new(),
                "{name}"
            );
            if kind.ends_with("Binding") {
                let role = text(&object, "/roleRef/name");
                assert!(
                    objects.iter().any(|o| text(o, "/metadata/name") == role),
                    "{name}: {role}"
                );
            } else {
                let is_empty = list(&object, "/rules").is_empty();
                assert_eq!(is_empty, object.get("aggregationRule").is_some(), "{name}");
            }
        }
        assert!(objects.len() >= 137, "{}", objects.len());
        assert!(!rules_of("system:node").is_empty());
    }

    #[test]
    fn what_is_missing_is_added_and_what_is_there_stays() {
        let wanted = json!({ "rules": [{ "verbs": ["get"], "apiGroups": [""], "resources": ["pods"] }], "subjects": [{ "kind": "User", "name": "a" }] });
        let present = json!({ "rules": [{ "verbs": ["list"], "apiGroups": [""], "resources": ["pods"] }] });
        let object = completed(&present, &wanted).unwrap();
        assert_eq!(
            (list(&object, "/rules").len(), list(&object, "/subjects").len()),
            (2, 1)
        );
        assert_eq!(completed(&object, &wanted), None);
    }
}
