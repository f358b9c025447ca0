//! One body for every kind that can be created, and what becomes of it. A kind that has no line here fails `tests/kinds.rs`.

mod network;

use serde_json::{Value, json};

/// An object of one kind, and what is done to it.
pub struct Sample {
    /// `v1` or `group/version`.
    pub api_version: &'static str,
    pub plural: &'static str,
    /// The name it must have; empty for one that the test chooses.
    pub name: &'static str,
    /// Everything but its metadata's name.
    pub body: Value,
    /// What the server filled in: pointers and values.
    pub filled: Vec<(&'static str, Value)>,
    /// A merge patch of what may change; null where nothing may.
    pub change: Value,
    /// A merge patch of its status; null where it has none.
    pub status: Value,
}

impl Sample {
    fn new(api_version: &'static str, plural: &'static str, body: Value) -> Self {
        let change = json!({ "metadata": { "labels": { "changed": "yes" } } });
        Self {
            api_version,
            plural,
            name: "",
            body,
            filled: Vec::new(),
            change,
            status: Value::Null,
        }
    }

    fn filled(mut self, pointer: &'static str, value: Value) -> Self {
        self.filled.push((pointer, value));
        self
    }

    fn change(mut self, change: Value) -> Self {
        self.change = change;
        self
    }

    fn status(mut self, status: Value) -> Self {
        self.status = json!({ "status": status });
        self
    }
}

fn template() -> Value {
    json!({
        "metadata": { "labels": { "app": "a" } },
        "spec": { "containers": [{ "name": "c", "image": "registry.local/a:1" }] },
    })
}

fn selector() -> Value {
    json!({ "matchLabels": { "app": "a" } })
}

/// Every sample, one a line of `KINDS`.
pub fn all() -> Vec<Sample> {
    let mut all = network::all();
    all.extend(core());
    all.extend(apps());
    all.extend(batch());
    all.extend(access());
    all.extend(others());
    all
}

fn core() -> Vec<Sample> {
    vec![
        Sample::new("v1", "configmaps", json!({ "data": { "a": "b" } })).change(json!({ "data": { "c": "d" } })),
        Sample::new(
            "v1",
            "endpoints",
            json!({ "subsets": [{ "addresses": [{ "ip": "10.1.2.3" }], "ports": [{ "port": 80 }] }] }),
        )
        .filled("/subsets/0/ports/0/protocol", json!("TCP")),
        Sample::new(
            "v1",
            "events",
            json!({ "involvedObject": { "kind": "Pod", "namespace": "default", "name": "p" }, "reason": "Seen", "type": "Normal" }),
        )
        .change(json!({ "count": 2 })),
        Sample::new("v1", "limitranges", json!({ "spec": { "limits": [{ "type": "Container", "max": { "cpu": "1" } }] } }))
            .filled("/spec/limits/0/defaultRequest/cpu", json!("1"))
            .change(json!({ "spec": { "limits": [{ "type": "Container", "max": { "cpu": "2" } }] } })),
        Sample::new("v1", "namespaces", json!({})).filled("/status/phase", json!("Active")),
        Sample::new("v1", "nodes", json!({}))
            .change(json!({ "spec": { "unschedulable": true } }))
            .status(json!({ "capacity": { "cpu": "1" } })),
        Sample::new(
            "v1",
            "persistentvolumeclaims",
            json!({ "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } } }),
        )
        .filled("/spec/volumeMode", json!("Filesystem"))
        .filled("/status/phase", json!("Pending"))
        .status(json!({ "phase": "Lost" })),
        Sample::new(
            "v1",
            "persistentvolumes",
            json!({ "spec": { "capacity": { "storage": "1Gi" }, "accessModes": ["ReadWriteOnce"], "hostPath": { "path": "/a" } } }),
        )
        .filled("/spec/persistentVolumeReclaimPolicy", json!("Retain"))
        .filled("/status/phase", json!("Pending"))
        .change(json!({ "spec": { "persistentVolumeReclaimPolicy": "Delete" } }))
        .status(json!({ "phase": "Available" })),
        Sample::new("v1", "pods", json!({ "spec": template()["spec"] }))
            .filled("/spec/restartPolicy", json!("Always"))
            .filled("/metadata/generation", json!(1))
            .change(json!({ "spec": { "activeDeadlineSeconds": 100 } }))
            .status(json!({ "phase": "Failed" })),
        Sample::new("v1", "podtemplates", json!({ "template": template() }))
            .filled("/template/spec/dnsPolicy", json!("ClusterFirst"))
            .change(json!({ "template": { "metadata": { "labels": { "b": "c" } } } })),
        Sample::new("v1", "replicationcontrollers", json!({ "spec": { "template": template() } }))
            .filled("/spec/replicas", json!(1))
            .filled("/spec/selector", json!({ "app": "a" }))
            .filled("/status/replicas", json!(0))
            .change(json!({ "spec": { "replicas": 2 } }))
            .status(json!({ "replicas": 1 })),
        Sample::new("v1", "resourcequotas", json!({ "spec": { "hard": { "configmaps": "1k" } } }))
            .change(json!({ "spec": { "hard": { "secrets": "1k" } } }))
            .status(json!({ "hard": { "configmaps": "1k" }, "used": { "configmaps": "1" } })),
        Sample::new("v1", "secrets", json!({ "stringData": { "a": "b" } }))
            .filled("/type", json!("Opaque"))
            .filled("/data/a", json!("Yg==")),
        Sample::new("v1", "serviceaccounts", json!({})),
        Sample::new("v1", "services", json!({ "spec": { "ports": [{ "port": 80 }], "selector": { "app": "a" } } }))
            .filled("/spec/ports/0/targetPort", json!(80))
            .change(json!({ "spec": { "selector": { "app": "b" } } })),
    ]
}

fn apps() -> Vec<Sample> {
    let spec = || json!({ "selector": selector(), "template": template() });
    vec![
        Sample::new(
            "apps/v1",
            "controllerrevisions",
            json!({ "data": { "a": 1 }, "revision": 1 }),
        )
        .change(json!({ "revision": 2 })),
        Sample::new("apps/v1", "daemonsets", json!({ "spec": spec() }))
            .filled("/spec/updateStrategy/rollingUpdate/maxUnavailable", json!(1))
            .filled(
                "/metadata/annotations/deprecated.daemonset.template.generation",
                json!("1"),
            )
            .filled("/status/numberReady", json!(0))
            .change(json!({ "spec": { "minReadySeconds": 3 } }))
            .status(json!({ "numberReady": 1, "desiredNumberScheduled": 1 })),
        Sample::new("apps/v1", "deployments", json!({ "spec": spec() }))
            .filled("/spec/replicas", json!(1))
            .filled("/spec/strategy/rollingUpdate/maxSurge", json!("25%"))
            .filled("/spec/template/spec/schedulerName", json!("default-scheduler"))
            .filled("/metadata/generation", json!(1))
            .change(json!({ "spec": { "replicas": 3 } }))
            .status(json!({ "replicas": 1, "readyReplicas": 1 })),
        Sample::new("apps/v1", "replicasets", json!({ "spec": spec() }))
            .filled("/spec/replicas", json!(1))
            .change(json!({ "spec": { "replicas": 3 } }))
            .status(json!({ "replicas": 1 })),
        Sample::new("apps/v1", "statefulsets", json!({ "spec": spec() }))
            .filled("/spec/podManagementPolicy", json!("OrderedReady"))
            .filled("/status/availableReplicas", json!(0))
            .change(json!({ "spec": { "replicas": 3 } }))
            .status(json!({ "replicas": 1 })),
    ]
}

fn batch() -> Vec<Sample> {
    let job = || {
        let mut template = template();
        template["spec"]["restartPolicy"] = json!("Never");
        json!({ "template": template })
    };
    vec![
        Sample::new(
            "batch/v1",
            "cronjobs",
            json!({ "spec": { "schedule": "@daily", "jobTemplate": { "spec": job() } } }),
        )
        .filled("/spec/concurrencyPolicy", json!("Allow"))
        .change(json!({ "spec": { "schedule": "*/5 * * * *" } }))
        .status(json!({ "lastScheduleTime": "2026-01-01T00:00:00Z" })),
        Sample::new("batch/v1", "jobs", json!({ "spec": job() }))
            .filled("/spec/backoffLimit", json!(6))
            .filled("/spec/completionMode", json!("NonIndexed"))
            .change(json!({ "spec": { "parallelism": 2 } }))
            .status(json!({ "active": 1 })),
    ]
}

fn access() -> Vec<Sample> {
    let rules = || json!([{ "verbs": ["get"], "apiGroups": [""], "resources": ["pods"] }]);
    let api = "rbac.authorization.k8s.io/v1";
    let bound =
        |kind: &str| json!({ "roleRef": { "kind": kind, "name": "r" }, "subjects": [{ "kind": "User", "name": "u" }] });
    let more = || json!({ "subjects": [{ "kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "g" }] });
    let request =
        "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUFBPQotLS0tLUVORCBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K";
    vec![
        Sample::new(api, "roles", json!({ "rules": rules() })).change(json!({ "rules": [] })),
        Sample::new(api, "clusterroles", json!({ "rules": rules() })).change(json!({ "rules": [] })),
        Sample::new(api, "rolebindings", bound("Role"))
            .filled("/roleRef/apiGroup", json!("rbac.authorization.k8s.io"))
            .change(more()),
        Sample::new(api, "clusterrolebindings", bound("ClusterRole"))
            .filled("/subjects/0/apiGroup", json!("rbac.authorization.k8s.io"))
            .change(more()),
        Sample::new(
            "certificates.k8s.io/v1",
            "certificatesigningrequests",
            json!({ "spec": { "request": request, "signerName": "example.com/a", "usages": ["client auth"] } }),
        )
        .filled("/spec/username", json!("kubernetes-admin"))
        .status(json!({ "certificate": "eA==" })),
    ]
}

fn others() -> Vec<Sample> {
    let scaled = || json!({ "spec": { "scaleTargetRef": { "kind": "Deployment", "name": "a", "apiVersion": "apps/v1" }, "maxReplicas": 3 } });
    vec![
        Sample::new("autoscaling/v2", "horizontalpodautoscalers", scaled())
            .filled("/spec/metrics/0/resource/target/averageUtilization", json!(80))
            .change(json!({ "spec": { "maxReplicas": 4 } }))
            .status(json!({ "currentReplicas": 1, "desiredReplicas": 2 })),
        Sample::new("autoscaling/v1", "horizontalpodautoscalers", scaled())
            .filled("/spec/targetCPUUtilizationPercentage", json!(80))
            .filled("/status/currentReplicas", json!(0))
            .change(json!({ "spec": { "targetCPUUtilizationPercentage": 50 } }))
            .status(json!({ "currentReplicas": 1 })),
        Sample::new(
            "policy/v1",
            "poddisruptionbudgets",
            json!({ "spec": { "minAvailable": 1, "selector": selector() } }),
        )
        .filled("/status/disruptionsAllowed", json!(0))
        .change(json!({ "spec": { "minAvailable": "50%" } }))
        .status(json!({ "disruptionsAllowed": 1 })),
        Sample::new(
            "coordination.k8s.io/v1",
            "leases",
            json!({ "spec": { "leaseDurationSeconds": 40 } }),
        )
        .change(json!({ "spec": { "holderIdentity": "me" } })),
    ]
}
