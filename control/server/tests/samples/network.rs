//! Samples of what a cluster is made of besides pods: networks, storage, admission, flow control, devices.

use super::Sample;
use serde_json::{Value, json};

const NETWORKING: &str = "networking.k8s.io/v1";
const STORAGE: &str = "storage.k8s.io/v1";
const ADMISSION: &str = "admissionregistration.k8s.io/v1";
const DEVICES: &str = "resource.k8s.io/v1";
const FLOW: &str = "flowcontrol.apiserver.k8s.io/v1";

pub fn all() -> Vec<Sample> {
    let mut all = networking();
    all.extend(storage());
    all.extend(admission());
    all.extend(devices());
    all.extend(others());
    all
}

fn named(name: &'static str, sample: Sample) -> Sample {
    Sample { name, ..sample }
}

fn networking() -> Vec<Sample> {
    let backend = json!({ "service": { "name": "s", "port": { "number": 80 } } });
    let path = json!({ "path": "/", "pathType": "Prefix", "backend": backend });
    let parent = json!({ "resource": "services", "namespace": "default", "name": "s" });
    vec![
        Sample::new(
            NETWORKING,
            "ingresses",
            json!({ "spec": { "rules": [{ "host": "a.example", "http": { "paths": [path] } }] } }),
        )
        .filled("/status/loadBalancer", json!({}))
        .filled("/metadata/generation", json!(1))
        .change(json!({ "spec": { "ingressClassName": "c" } }))
        .status(json!({ "loadBalancer": { "ingress": [{ "ip": "10.1.2.3" }] } })),
        Sample::new(
            NETWORKING,
            "ingressclasses",
            json!({ "spec": { "controller": "a.example/c" } }),
        ),
        named(
            "10.1.2.3",
            Sample::new(NETWORKING, "ipaddresses", json!({ "spec": { "parentRef": parent } })),
        ),
        Sample::new(
            NETWORKING,
            "networkpolicies",
            json!({ "spec": { "podSelector": {}, "ingress": [{ "ports": [{ "port": 80 }] }] } }),
        )
        .filled("/spec/policyTypes", json!(["Ingress"]))
        .filled("/spec/ingress/0/ports/0/protocol", json!("TCP"))
        .change(json!({ "spec": { "policyTypes": ["Egress"] } })),
        Sample::new(
            NETWORKING,
            "servicecidrs",
            json!({ "spec": { "cidrs": ["10.200.0.0/24"] } }),
        )
        .filled("/status/conditions/0/type", json!("Ready"))
        .status(json!({ "conditions": [{ "type": "Ready", "status": "False", "reason": "Terminating", "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z" }] })),
        Sample::new(
            "discovery.k8s.io/v1",
            "endpointslices",
            json!({ "addressType": "IPv4", "endpoints": [{ "addresses": ["10.1.2.3"] }], "ports": [{ "port": 80 }] }),
        )
        .filled("/ports/0/name", json!(""))
        .filled("/ports/0/protocol", json!("TCP"))
        .change(json!({ "endpoints": [{ "addresses": ["10.1.2.4"] }] })),
    ]
}

fn storage() -> Vec<Sample> {
    vec![
        Sample::new(STORAGE, "storageclasses", json!({ "provisioner": "a.example/p" }))
            .filled("/reclaimPolicy", json!("Delete"))
            .filled("/volumeBindingMode", json!("Immediate"))
            .change(json!({ "allowVolumeExpansion": true })),
        Sample::new(STORAGE, "csidrivers", json!({ "spec": {} }))
            .filled("/spec/attachRequired", json!(true))
            .filled("/spec/fsGroupPolicy", json!("ReadWriteOnceWithFSType"))
            .filled("/spec/volumeLifecycleModes", json!(["Persistent"]))
            .change(json!({ "spec": { "podInfoOnMount": true } })),
        Sample::new(
            STORAGE,
            "csinodes",
            json!({ "spec": { "drivers": [{ "name": "d", "nodeID": "1" }] } }),
        )
        .change(json!({ "spec": { "drivers": [] } })),
        Sample::new(
            STORAGE,
            "csistoragecapacities",
            json!({ "storageClassName": "c", "capacity": "1024Mi" }),
        )
        .filled("/capacity", json!("1Gi"))
        .change(json!({ "capacity": "2Gi" })),
        Sample::new(
            STORAGE,
            "volumeattachments",
            json!({ "spec": { "attacher": "d", "nodeName": "n", "source": { "persistentVolumeName": "v" } } }),
        )
        .filled("/status/attached", json!(false))
        .status(json!({ "attached": true })),
        Sample::new(
            STORAGE,
            "volumeattributesclasses",
            json!({ "driverName": "d", "parameters": { "a": "b" } }),
        ),
    ]
}

fn admission() -> Vec<Sample> {
    let rule =
        || json!({ "operations": ["CREATE"], "apiGroups": ["x.example"], "apiVersions": ["v1"], "resources": ["xs"] });
    let hook = json!({
        "name": "a.b.example", "sideEffects": "None", "admissionReviewVersions": ["v1"], "rules": [rule()],
        "clientConfig": { "service": { "name": "s", "namespace": "n" } }, "failurePolicy": "Ignore",
    });
    let constraints = || json!({ "resourceRules": [rule()] });
    let hooks = |plural| {
        Sample::new(ADMISSION, plural, json!({ "webhooks": [hook.clone()] }))
            .filled("/webhooks/0/timeoutSeconds", json!(10))
            .filled("/webhooks/0/clientConfig/service/port", json!(443))
            .change(json!({ "webhooks": [] }))
    };
    vec![
        hooks("mutatingwebhookconfigurations").filled("/webhooks/0/reinvocationPolicy", json!("Never")),
        hooks("validatingwebhookconfigurations"),
        Sample::new(
            ADMISSION,
            "validatingadmissionpolicies",
            json!({ "spec": { "matchConstraints": constraints(), "validations": [{ "expression": "true" }] } }),
        )
        .filled("/spec/failurePolicy", json!("Fail"))
        .filled("/spec/matchConstraints/matchPolicy", json!("Equivalent"))
        .change(json!({ "spec": { "failurePolicy": "Ignore" } }))
        .status(json!({ "observedGeneration": 1 })),
        Sample::new(
            ADMISSION,
            "validatingadmissionpolicybindings",
            json!({ "spec": { "policyName": "nobody", "validationActions": ["Deny"] } }),
        )
        .change(json!({ "spec": { "validationActions": ["Audit"] } })),
        Sample::new(
            ADMISSION,
            "mutatingadmissionpolicies",
            json!({ "spec": {
                "matchConstraints": constraints(),
                "mutations": [{ "patchType": "JSONPatch", "jsonPatch": { "expression": "[]" } }],
            } }),
        )
        .filled("/spec/reinvocationPolicy", json!("Never"))
        .change(json!({ "spec": { "failurePolicy": "Ignore" } })),
        Sample::new(
            ADMISSION,
            "mutatingadmissionpolicybindings",
            json!({ "spec": { "policyName": "nobody" } }),
        )
        .change(json!({ "spec": { "policyName": "other" } })),
    ]
}

fn devices() -> Vec<Sample> {
    let spec = || json!({ "devices": { "requests": [{ "name": "r", "exactly": { "deviceClassName": "c" } }] } });
    let pool = json!({ "name": "p", "generation": 1, "resourceSliceCount": 1 });
    vec![
        Sample::new(DEVICES, "deviceclasses", json!({ "spec": {} }))
            .change(json!({ "spec": { "selectors": [{ "cel": { "expression": "true" } }] } })),
        Sample::new(DEVICES, "resourceclaims", json!({ "spec": spec() }))
            .filled("/spec/devices/requests/0/exactly/allocationMode", json!("ExactCount"))
            .filled("/spec/devices/requests/0/exactly/count", json!(1))
            .status(json!({ "allocation": { "devices": {} } })),
        Sample::new(DEVICES, "resourceclaimtemplates", json!({ "spec": { "spec": spec() } }))
            .filled("/spec/spec/devices/requests/0/exactly/count", json!(1)),
        Sample::new(
            DEVICES,
            "resourceslices",
            json!({ "spec": { "driver": "d", "nodeName": "n", "pool": pool, "devices": [{ "name": "a" }] } }),
        )
        .change(json!({ "spec": { "devices": [] } })),
    ]
}

fn others() -> Vec<Sample> {
    let subjects = json!([{ "kind": "User", "user": { "name": "u" } }]);
    let rules = json!([{ "verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "namespaces": ["*"] }]);
    let limited = json!({ "limitResponse": { "type": "Queue", "queuing": {} } });
    let conditions = || -> Value { json!({ "conditions": [{ "type": "Dangling", "status": "True" }] }) };
    vec![
        Sample::new("scheduling.k8s.io/v1", "priorityclasses", json!({ "value": 5 }))
            .filled("/preemptionPolicy", json!("PreemptLowerPriority"))
            .filled("/metadata/generation", json!(1))
            .change(json!({ "description": "d" })),
        Sample::new("node.k8s.io/v1", "runtimeclasses", json!({ "handler": "h" })),
        named(
            "two",
            Sample::new(
                "events.k8s.io/v1",
                "events",
                json!({
                    "regarding": { "kind": "Pod", "namespace": "default", "name": "p" }, "reason": "Seen", "type": "Normal",
                    "action": "Look", "note": "n", "eventTime": "2026-01-01T00:00:00.000000Z",
                    "reportingController": "a.example/c", "reportingInstance": "i",
                }),
            )
            .filled("/deprecatedSource", json!({}))
            .change(json!({ "series": { "count": 2, "lastObservedTime": "2026-01-01T00:00:01.000000Z" } })),
        ),
        Sample::new(
            FLOW,
            "flowschemas",
            json!({ "spec": {
                "priorityLevelConfiguration": { "name": "l" }, "rules": [{ "subjects": subjects, "resourceRules": rules }],
            } }),
        )
        .filled("/spec/matchingPrecedence", json!(1000))
        .change(json!({ "spec": { "matchingPrecedence": 77 } }))
        .status(conditions()),
        Sample::new(
            FLOW,
            "prioritylevelconfigurations",
            json!({ "spec": { "type": "Limited", "limited": limited } }),
        )
        .filled("/spec/limited/nominalConcurrencyShares", json!(30))
        .filled("/spec/limited/limitResponse/queuing/queues", json!(64))
        .change(json!({ "spec": { "limited": { "nominalConcurrencyShares": 3 } } }))
        .status(conditions()),
        named(
            "v1.one.example",
            Sample::new(
                "apiregistration.k8s.io/v1",
                "apiservices",
                json!({ "spec": {
                    "group": "one.example", "version": "v1", "groupPriorityMinimum": 1000, "versionPriority": 15,
                    "service": { "name": "s", "namespace": "n" }, "insecureSkipTLSVerify": true,
                } }),
            )
            .filled("/spec/service/port", json!(443))
            .change(json!({ "spec": { "versionPriority": 16 } }))
            .status(json!({ "conditions": [{ "type": "Available", "status": "True", "reason": "Passed", "message": "m" }] })),
        ),
    ]
}
