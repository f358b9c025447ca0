//! Good objects of every kind, which the API server's targets begin from.

use crate::api_server::Place;
use crate::samples;
use api::KINDS;
use serde_json::{Value, json};
use std::sync::LazyLock;

/// Objects that can be made, one after the other, and where.
pub static OBJECTS: LazyLock<Vec<(Place, Value)>> = LazyLock::new(|| {
    let samples = samples::all().into_iter().map(|sample| {
        let mut object = sample.body;
        object["metadata"]["name"] = if sample.name.is_empty() { "a" } else { sample.name }.into();
        (place(rules(sample.api_version, sample.plural)), object)
    });
    let mut objects: Vec<(Place, Value)> = samples.collect();
    objects.extend(
        rich()
            .into_iter()
            .map(|(api_version, plural, object)| (place(rules(api_version, plural)), object)),
    );
    for (place, object) in &mut objects {
        let rules = place.rules.expect("these are built in");
        object["apiVersion"] = rules.api_version().into();
        object["kind"] = rules.kind.into();
    }
    let things = Place {
        collection: "/apis/example.com/v1/namespaces/default/things".to_owned(),
        rules: None,
    };
    objects.push((things, thing()));
    objects
});

/// What the samples' status may become, by merge patches, and other things that may change.
pub fn changes() -> Vec<(usize, Value)> {
    let samples = samples::all().into_iter().enumerate();
    let changes = samples.flat_map(|(nth, sample)| [(nth, sample.change), (nth, sample.status)]);
    changes.filter(|(_, change)| !change.is_null()).collect()
}

fn rules(api_version: &str, plural: &str) -> &'static api::Rules {
    let mut kinds = KINDS.iter();
    let found = kinds.find(|rules| rules.plural == plural && rules.api_version() == api_version);
    found.expect("there is such a kind")
}

fn place(rules: &'static api::Rules) -> Place {
    let root = if rules.group.is_empty() { "/api" } else { "/apis" };
    let namespace = if rules.namespaced { "namespaces/default/" } else { "" };
    Place {
        collection: format!("{root}/{}/{namespace}{}", rules.api_version(), rules.plural),
        rules: Some(rules),
    }
}

/// A custom resource's definition.
pub fn definition(plural: &str, kind: &str) -> Value {
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "size": {"type": "integer", "minimum": 0, "default": 1}, "names": {"type": "array", "items": {"type": "string", "maxLength": 5}},
        "word": {"type": "string", "pattern": "^[a-z]+$", "format": "hostname"}, "map": {"type": "object", "additionalProperties": {"type": "number"}},
        "any": {"x-kubernetes-preserve-unknown-fields": true}, "port": {"x-kubernetes-int-or-string": true},
        "keyed": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}}}}}}}});
    let version = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}, "subresources": {"status": {}},
        "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}], "selectableFields": [{"jsonPath": ".spec.word"}]});
    let names =
        json!({"plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List")});
    json!({"metadata": {"name": format!("{plural}.example.com")}, "spec": {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]}})
}

fn thing() -> Value {
    let spec = json!({"size": 2, "names": ["a"], "word": "w", "map": {"m": 1.5}, "keyed": [{"k": "l"}], "any": {"x": [1, {"y": null}]}, "port": "80"});
    json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "b"}, "spec": spec})
}

fn pod_spec() -> Value {
    json!({"containers": [{"name": "c", "image": "busybox:1", "command": ["sh", "-c", "true"], "ports": [{"containerPort": 80, "name": "http"}],
        "env": [{"name": "A", "value": "b"}, {"name": "P", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "resources": {"limits": {"cpu": "100m", "memory": "64Mi"}}, "volumeMounts": [{"name": "v", "mountPath": "/v"}],
        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}}, "securityContext": {"runAsUser": 1000}}],
        "volumes": [{"name": "v", "configMap": {"name": "m", "items": [{"key": "k", "path": "p"}]}}],
        "tolerations": [{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}],
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
            {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}]}}}})
}

/// More of some kinds than their samples have.
fn rich() -> Vec<(&'static str, &'static str, Value)> {
    let labels = json!({"app": "a"});
    let template = json!({"metadata": {"labels": labels}, "spec": pod_spec()});
    vec![
        (
            "v1",
            "configmaps",
            json!({"metadata": {"name": "a", "labels": labels, "annotations": {"x/y": "z"}}, "data": {"k": "v"}, "binaryData": {"b": "AAE="}}),
        ),
        (
            "v1",
            "secrets",
            json!({"metadata": {"name": "a"}, "data": {"k": "dg=="}}),
        ),
        (
            "v1",
            "pods",
            json!({"metadata": {"name": "a", "labels": labels}, "spec": pod_spec()}),
        ),
        (
            "v1",
            "services",
            json!({"metadata": {"name": "a"}, "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": "http", "protocol": "TCP"}]}}),
        ),
        (
            "apps/v1",
            "deployments",
            json!({"metadata": {"name": "a"}, "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": template, "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 1}}}}),
        ),
        (
            "batch/v1",
            "cronjobs",
            json!({"metadata": {"name": "a"}, "spec": {"schedule": "*/5 0-3 * * 1", "timeZone": "Europe/Berlin", "jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}}}),
        ),
        (
            "networking.k8s.io/v1",
            "ingresses",
            json!({"metadata": {"name": "a"}, "spec": {"rules": [{"host": "a.test", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "a", "port": {"number": 80}}}}]}}]}}),
        ),
        (
            "networking.k8s.io/v1",
            "networkpolicies",
            json!({"metadata": {"name": "a"}, "spec": {"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}], "ports": [{"port": 80, "endPort": 90}]}]}}),
        ),
        (
            "autoscaling/v2",
            "horizontalpodautoscalers",
            json!({"metadata": {"name": "a"}, "spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "a"}, "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}]}}),
        ),
        (
            "rbac.authorization.k8s.io/v1",
            "clusterroles",
            json!({"metadata": {"name": "a"}, "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]}),
        ),
        (
            "apiextensions.k8s.io/v1",
            "customresourcedefinitions",
            definition("others", "Other"),
        ),
        (
            "resource.k8s.io/v1",
            "resourceclaims",
            json!({"metadata": {"name": "a"}, "spec": {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "c"}}]}}}),
        ),
    ]
}
