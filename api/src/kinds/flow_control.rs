//! The FlowSchemas and PriorityLevelConfigurations that every cluster has from its start (apiserver
//! `flowcontrol/bootstrap`): the mandatory ones, which may not change, and the suggested ones.

use serde_json::{Value, json};

/// Every built-in priority level, mandatory ones first; whole objects without status.
pub fn levels() -> Vec<Value> {
    let mut all = vec![level(
        "exempt",
        &json!({ "type": "Exempt", "exempt": { "nominalConcurrencyShares": 0, "lendablePercent": 0 } }),
    )];
    all.push(limited("catch-all", 5, 0, None));
    for (name, shares, lendable, queues, hand) in [
        ("system", 30, 33, 64, 6),
        ("node-high", 40, 25, 64, 6),
        ("leader-election", 10, 0, 16, 4),
        ("workload-high", 40, 50, 128, 6),
        ("workload-low", 100, 90, 128, 6),
        ("global-default", 20, 50, 128, 6),
    ] {
        all.push(limited(name, shares, lendable, Some((queues, hand))));
    }
    all
}

/// Every built-in flow schema, mandatory ones first; whole objects without status.
pub fn schemas() -> Vec<Value> {
    let (manager, scheduler) = ("system:kube-controller-manager", "system:kube-scheduler");
    let mut leaders = users(&[manager, scheduler]);
    leaders.push(account("*"));
    let mut endpoints = users(&[manager]);
    endpoints.extend(["endpoint-controller", "endpointslicemirroring-controller"].map(account));
    let may = |subjects, resources: Value| rule(subjects, vec![resources], false);
    let masters = everything(groups(&["system:masters"]));
    let nodes = || groups(&["system:nodes"]);
    let accounts = everything(groups(&["system:serviceaccounts"]));
    let own_accounts = everything(vec![account("*")]);
    [
        ("exempt", "exempt", 1, "", masters),
        ("catch-all", "catch-all", 10_000, "ByUser", everything(everybody())),
        ("system-nodes", "system", 500, "ByUser", everything(nodes())),
        (
            "system-node-high",
            "node-high",
            400,
            "ByUser",
            rule(nodes(), heartbeats(), false),
        ),
        ("probes", "exempt", 2, "", probes()),
        (
            "system-leader-election",
            "leader-election",
            100,
            "ByUser",
            may(leaders, leases()),
        ),
        (
            "workload-leader-election",
            "leader-election",
            200,
            "ByUser",
            may(vec![account("*")], leases()),
        ),
        (
            "endpoint-controller",
            "workload-high",
            150,
            "ByUser",
            may(endpoints, endpoint_writes()),
        ),
        (
            "kube-controller-manager",
            "workload-high",
            800,
            "ByNamespace",
            everything(users(&[manager])),
        ),
        (
            "kube-scheduler",
            "workload-high",
            800,
            "ByNamespace",
            everything(users(&[scheduler])),
        ),
        (
            "kube-system-service-accounts",
            "workload-high",
            900,
            "ByNamespace",
            own_accounts,
        ),
        ("service-accounts", "workload-low", 9000, "ByUser", accounts),
        (
            "global-default",
            "global-default",
            9900,
            "ByUser",
            everything(everybody()),
        ),
    ]
    .map(|(name, level, precedence, method, rule)| schema(name, level, precedence, method, &rule))
    .into()
}

/// The mandatory level of that name.
pub(super) fn mandatory_level(name: &str) -> Option<Value> {
    mandatory(name, levels)
}

/// The mandatory schema of that name.
pub(super) fn mandatory_schema(name: &str) -> Option<Value> {
    mandatory(name, schemas)
}

fn mandatory(name: &str, all: fn() -> Vec<Value>) -> Option<Value> {
    matches!(name, "exempt" | "catch-all")
        .then(all)?
        .into_iter()
        .find(|object| object["metadata"]["name"] == name)
}

fn object(name: &str, spec: &Value) -> Value {
    json!({ "metadata": { "name": name, "annotations": { "apf.kubernetes.io/autoupdate-spec": "true" } }, "spec": spec })
}

fn level(name: &str, spec: &Value) -> Value {
    object(name, spec)
}

/// A level that rejects what is too much, or queues it in (queues, hand size).
fn limited(name: &str, shares: i64, lendable: i64, queuing: Option<(i64, i64)>) -> Value {
    let response = match queuing {
        None => json!({ "type": "Reject" }),
        Some((queues, hand)) => {
            json!({ "type": "Queue", "queuing": { "queues": queues, "handSize": hand, "queueLengthLimit": 50 } })
        }
    };
    let limited = json!({ "nominalConcurrencyShares": shares, "lendablePercent": lendable, "limitResponse": response });
    level(name, &json!({ "type": "Limited", "limited": limited }))
}

fn schema(name: &str, level: &str, precedence: i64, method: &str, rule: &Value) -> Value {
    let mut spec = json!({
        "matchingPrecedence": precedence, "priorityLevelConfiguration": { "name": level }, "rules": [rule],
    });
    if !method.is_empty() {
        spec["distinguisherMethod"] = json!({ "type": method });
    }
    object(name, &spec)
}

fn rule(subjects: Vec<Value>, resources: Vec<Value>, every_url: bool) -> Value {
    let mut rule = json!({ "subjects": subjects });
    if !resources.is_empty() {
        rule["resourceRules"] = resources.into();
    }
    if every_url {
        rule["nonResourceRules"] = json!([{ "verbs": ["*"], "nonResourceURLs": ["*"] }]);
    }
    rule
}

fn resources(verbs: &[&str], group: &str, resources: &[&str], whole_cluster: bool) -> Value {
    let mut rule = json!({ "verbs": verbs, "apiGroups": [group], "resources": resources, "namespaces": ["*"] });
    if whole_cluster {
        rule["clusterScope"] = true.into();
    }
    rule
}

/// All verbs on all resources and all other paths.
fn everything(subjects: Vec<Value>) -> Value {
    rule(subjects, vec![resources(&["*"], "*", &["*"], true)], true)
}

/// What must go through even if a node's other requests queue up.
fn heartbeats() -> Vec<Value> {
    vec![
        resources(&["*"], "", &["nodes", "nodes/status"], true),
        resources(&["*"], "coordination.k8s.io", &["leases"], false),
    ]
}

fn leases() -> Value {
    resources(&["get", "create", "update"], "coordination.k8s.io", &["leases"], false)
}

fn endpoint_writes() -> Value {
    resources(&["get", "create", "update"], "", &["endpoints"], false)
}

fn probes() -> Value {
    let mut probes = rule(everybody(), Vec::new(), false);
    probes["nonResourceRules"] = json!([{ "verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"] }]);
    probes
}

fn everybody() -> Vec<Value> {
    groups(&["system:unauthenticated", "system:authenticated"])
}

fn users(names: &[&str]) -> Vec<Value> {
    names.iter().map(|name| user(name)).collect()
}

fn groups(names: &[&str]) -> Vec<Value> {
    let group = |name: &&str| json!({ "kind": "Group", "group": { "name": name } });
    names.iter().map(group).collect()
}

fn user(name: &str) -> Value {
    json!({ "kind": "User", "user": { "name": name } })
}

fn account(name: &str) -> Value {
    json!({ "kind": "ServiceAccount", "serviceAccount": { "name": name, "namespace": "kube-system" } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_cluster_has_is_whole_and_good() {
        for (plural, all) in [("prioritylevelconfigurations", levels()), ("flowschemas", schemas())] {
            let rules = crate::find("flowcontrol.apiserver.k8s.io", "v1", plural).expect("the kind is served");
            for object in all {
                let mut defaulted = object.clone();
                rules.default(&mut defaulted);
                assert_eq!(defaulted, object, "defaults change nothing");
                assert_eq!(rules.validate(&object), []);
            }
        }
        let names: Vec<Value> = levels().into_iter().map(|l| l["metadata"]["name"].clone()).collect();
        assert!(
            schemas()
                .iter()
                .all(|s| names.contains(&s["spec"]["priorityLevelConfiguration"]["name"]))
        );
    }
}
