//! Pods that upstream refuses, with its sentences, in its order.

use super::*;
use crate::find;
use serde_json::json;

/// The messages for a pod with this spec, defaulted.
fn messages(spec: Value) -> Vec<String> {
    let pods = find("", "v1", "pods").expect("pods are served");
    let mut pod = json!({ "metadata": { "name": "p", "namespace": "n" }, "spec": spec });
    pods.default(&mut pod);
    pods.validate(&pod).iter().map(ToString::to_string).collect()
}

/// A spec with one good container, changed.
fn with(change: Value) -> Value {
    let mut spec = json!({ "containers": [{ "name": "a", "image": "i" }], "volumes": [{ "name": "v" }] });
    for (key, value) in change.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    spec
}

/// The same, changing the container.
fn container(change: Value) -> Value {
    let mut spec = with(json!({}));
    for (key, value) in change.as_object().into_iter().flatten() {
        spec["containers"][0][key] = value.clone();
    }
    spec
}

#[test]
fn a_good_pod_passes() {
    assert_eq!(messages(with(json!({}))), Vec::<String>::new());
    let full = container(json!({
        "ports": [{ "containerPort": 80, "name": "http" }], "env": [{ "name": "A", "value": "b" }],
        "volumeMounts": [{ "name": "v", "mountPath": "/v" }],
        "resources": { "limits": { "cpu": "1", "memory": "1Gi" }, "requests": { "cpu": "500m" } },
        "readinessProbe": { "exec": { "command": ["true"] } },
    }));
    assert_eq!(messages(full), Vec::<String>::new());
}

#[test]
fn pod_fields_are_judged_as_upstream() {
    for (change, message) in [
        (json!({ "containers": [] }), "spec.containers: Required value"),
        (
            json!({ "restartPolicy": "Maybe" }),
            "spec.restartPolicy: Unsupported value: \"Maybe\": supported values: \"Always\", \"OnFailure\", \"Never\"",
        ),
        (
            json!({ "dnsPolicy": "X" }),
            "spec.dnsPolicy: Unsupported value: \"X\": supported values: \"ClusterFirstWithHostNet\", \"ClusterFirst\", \"Default\", \"None\"",
        ),
        (
            json!({ "dnsPolicy": "None" }),
            "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None",
        ),
        (
            json!({ "activeDeadlineSeconds": 0 }),
            "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
        ),
        (
            json!({ "volumes": [{ "name": "v" }, { "name": "v" }] }),
            "spec.volumes[1].name: Duplicate value: \"v\"",
        ),
        (
            json!({ "volumes": [{ "name": "v", "emptyDir": {}, "secret": { "secretName": "s" } }] }),
            "spec.volumes[0].secret: Forbidden: may not specify more than 1 volume type",
        ),
        (
            json!({ "volumes": [{ "name": "v", "configMap": {} }] }),
            "spec.volumes[0].configMap.name: Required value",
        ),
        (
            json!({ "volumes": [{ "name": "v", "hostPath": {} }] }),
            "spec.volumes[0].hostPath.path: Required value",
        ),
        (
            json!({ "tolerations": [{ "operator": "Equal" }] }),
            "spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
        ),
        (
            json!({ "securityContext": { "runAsUser": -1 } }),
            "spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive",
        ),
        (
            json!({ "ephemeralContainers": [{ "name": "e", "image": "i" }] }),
            "spec.ephemeralContainers: Forbidden: cannot be set on create",
        ),
        (
            json!({ "initContainers": [{ "name": "i", "image": "i", "livenessProbe": { "exec": { "command": ["a"] } } }] }),
            "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
        ),
        (
            json!({ "initContainers": [{ "name": "a", "image": "i" }] }),
            "spec.initContainers[0].name: Duplicate value: \"a\"",
        ),
    ] {
        assert_eq!(messages(with(change.clone())), [message], "{change}");
    }
}

#[test]
fn container_fields_are_judged_as_upstream() {
    let label = names::dns1123_label("A").remove(0);
    for (change, message) in [
        (json!({ "name": "" }), "spec.containers[0].name: Required value".to_owned()),
        (json!({ "name": "A" }), format!("spec.containers[0].name: Invalid value: \"A\": {label}")),
        (json!({ "image": "" }), "spec.containers[0].image: Required value".to_owned()),
        (json!({ "image": " a" }), "spec.containers[0].image: Invalid value: \" a\": must not have leading or trailing whitespace".to_owned()),
        (
            json!({ "imagePullPolicy": "X" }),
            "spec.containers[0].imagePullPolicy: Unsupported value: \"X\": supported values: \"Always\", \"IfNotPresent\", \"Never\"".to_owned(),
        ),
        (json!({ "ports": [{ "containerPort": 0 }] }), "spec.containers[0].ports[0].containerPort: Required value".to_owned()),
        (
            json!({ "ports": [{ "containerPort": 70000 }] }),
            "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive".to_owned(),
        ),
        (
            json!({ "ports": [{ "containerPort": 1, "name": "a" }, { "containerPort": 2, "name": "a" }] }),
            "spec.containers[0].ports[1].name: Duplicate value: \"a\"".to_owned(),
        ),
        (json!({ "env": [{ "value": "x" }] }), "spec.containers[0].env[0].name: Required value".to_owned()),
        (
            json!({ "env": [{ "name": "A", "value": "x", "valueFrom": { "configMapKeyRef": { "name": "c", "key": "k" } } }] }),
            "spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty".to_owned(),
        ),
        (json!({ "volumeMounts": [{ "name": "w", "mountPath": "/w" }] }), "spec.containers[0].volumeMounts[0].name: Not found: \"w\"".to_owned()),
        (
            json!({ "volumeMounts": [{ "name": "v", "mountPath": "/v" }, { "name": "v", "mountPath": "/v" }] }),
            "spec.containers[0].volumeMounts[1].mountPath: Invalid value: \"/v\": must be unique".to_owned(),
        ),
        (
            json!({ "resources": { "limits": { "cpu": "1" }, "requests": { "cpu": "2" } } }),
            "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1".to_owned(),
        ),
        (
            json!({ "resources": { "limits": { "cpu": "-1" }, "requests": { "cpu": "0" } } }),
            "spec.containers[0].resources.limits[cpu]: Invalid value: \"-1\": must be greater than or equal to 0".to_owned(),
        ),
        (json!({ "livenessProbe": {} }), "spec.containers[0].livenessProbe: Required value: must specify a handler type".to_owned()),
        (
            json!({ "livenessProbe": { "successThreshold": 2, "exec": { "command": ["a"] } } }),
            "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1".to_owned(),
        ),
        (
            json!({ "securityContext": { "privileged": true, "allowPrivilegeEscalation": false } }),
            "spec.containers[0].securityContext: Invalid value: {\"privileged\":true,\"allowPrivilegeEscalation\":false}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true".to_owned(),
        ),
    ] {
        let found = messages(container(change.clone()));
        assert!(found.contains(&message), "{change}: {found:?}");
    }
}

/// Judges one container with each of the changes.
fn judge(cases: &[(Value, &[&str])]) {
    for (change, expected) in cases {
        let expected: Vec<String> = expected
            .iter()
            .map(|line| format!("spec.containers[0].{line}"))
            .collect();
        assert_eq!(messages(container(change.clone())), expected, "{change}");
    }
}

#[test]
fn what_containers_get_is_judged_whole_and_in_upstreams_order() {
    judge(&[
        (
            json!({ "env": [{ "name": "A", "valueFrom": { "fieldRef": { "fieldPath": "status.phase" } } }] }),
            &[
                "env[0].valueFrom.fieldRef.fieldPath: Unsupported value: \"status.phase\": supported values: \"metadata.name\", \"metadata.namespace\", \"metadata.uid\", \"spec.nodeName\", \"spec.serviceAccountName\", \"status.hostIP\", \"status.hostIPs\", \"status.podIP\", \"status.podIPs\"",
            ],
        ),
        (
            json!({ "env": [{ "name": "A", "valueFrom": { "fieldRef": { "fieldPath": "spec.x" } } }] }),
            &[
                "env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"spec.x\": error converting fieldPath: field label not supported: spec.x",
            ],
        ),
        (
            json!({ "env": [{ "name": "A", "valueFrom": { "resourceFieldRef": { "resource": "limits.cpu", "divisor": "2" } } }] }),
            &[
                "env[0].valueFrom.resourceFieldRef.divisor: Invalid value: \"limits.cpu\": only divisor's values 1m and 1 are supported with the cpu resource",
            ],
        ),
        (
            json!({ "env": [{ "name": "A", "valueFrom": { "fileKeyRef": { "key": "K", "volumeName": "x", "path": "f" } } }] }),
            &["env[0].valueFrom.fileKeyRef.volumeName: Not found: \"x\""],
        ),
        (
            json!({ "envFrom": [{}] }),
            &["envFrom: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`"],
        ),
        (
            json!({ "volumeMounts": [{ "name": "v", "mountPath": "/v", "subPath": "../x", "mountPropagation": "Bidirectional" }] }),
            &[
                "volumeMounts.subPath: Invalid value: \"../x\": must not contain '..'",
                "volumeMounts.mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers",
            ],
        ),
        (
            json!({ "volumeDevices": [{ "name": "v", "devicePath": "/d" }] }),
            &[
                "volumeDevices[0].name: Invalid value: \"v\": can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode",
            ],
        ),
    ]);
}

#[test]
fn how_containers_run_is_judged_whole_and_in_upstreams_order() {
    let resources = json!({ "limits": { "foo": "1", "hugepages-2Mi": "3Mi" }, "requests": { "hugepages-2Mi": "3Mi" } });
    judge(&[
        (
            json!({ "resources": resources }),
            &[
                "resources.limits[foo]: Invalid value: \"foo\": must be a standard resource type or fully qualified",
                "resources.limits[foo]: Invalid value: \"foo\": must be a standard resource for containers",
                "resources.limits[hugepages-2Mi]: Invalid value: \"3Mi\": 3Mi is not positive integer multiple of hugepages-2Mi",
                "resources.requests[hugepages-2Mi]: Invalid value: \"3Mi\": 3Mi is not positive integer multiple of hugepages-2Mi",
                "resources.requests[foo]: Invalid value: \"foo\": must be a standard resource type or fully qualified",
                "resources.requests[foo]: Invalid value: \"foo\": must be a standard resource for containers",
                "resources: Forbidden: HugePages require cpu or memory",
            ],
        ),
        (
            json!({ "resources": { "limits": { "x.y/gpu": "1500m" } } }),
            &[
                "resources.limits[x.y/gpu]: Invalid value: \"1500m\": must be an integer",
                "resources.requests[x.y/gpu]: Invalid value: \"1500m\": must be an integer",
            ],
        ),
        (
            json!({ "resources": { "claims": [{ "name": "c" }] } }),
            &[
                "resources.claims[0]: Not found: \"c\": must be one of the names in pod.spec.resourceClaims which is empty",
            ],
        ),
        (
            json!({ "restartPolicyRules": [{ "action": "Restart" }], "restartPolicy": "X" }),
            &[
                "restartPolicy: Unsupported value: \"X\": supported values: \"Always\", \"Never\", \"OnFailure\"",
                "restartPolicyRules[0].exitCodes: Required value: must be specified",
            ],
        ),
        (
            json!({ "resizePolicy": [{ "resourceName": "disk", "restartPolicy": "NotRequired" }] }),
            &["resizePolicy: Unsupported value: \"disk\": supported values: \"cpu\", \"memory\""],
        ),
        (
            json!({ "lifecycle": { "preStop": { "sleep": { "seconds": 31 } } } }),
            &[
                "lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)",
            ],
        ),
        (
            json!({ "lifecycle": { "stopSignal": "SIGTERM" } }),
            &["lifecycle.stopSignal: Forbidden: may not be set for containers with empty `spec.os.name`"],
        ),
        (
            json!({ "livenessProbe": { "httpGet": { "port": 80, "httpHeaders": [{ "name": "a b" }] } } }),
            &[
                "livenessProbe.httpGet.httpHeaders: Invalid value: \"a b\": a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')",
            ],
        ),
        (
            json!({ "securityContext": { "procMount": "Unmasked", "appArmorProfile": { "type": "Localhost" } } }),
            &[
                "securityContext.procMount: Invalid value: \"Unmasked\": `hostUsers` must be false to use `Unmasked`",
                "securityContext.appArmorProfile.localhostProfile: Required value: must be set when AppArmor type is Localhost",
            ],
        ),
    ]);
}

/// Judges a spec with each of the changes.
fn judge_specs(cases: &[(Value, Vec<String>)]) {
    for (change, expected) in cases {
        let expected: Vec<String> = expected.iter().map(|line| format!("spec.{line}")).collect();
        assert_eq!(messages(with(change.clone())), expected, "{change}");
    }
}

#[test]
fn where_specs_want_to_be_is_judged_whole_and_in_upstreams_order() {
    let term = json!({ "labelSelector": {}, "topologyKey": "" });
    let qualified = names::qualified_name("");
    let topology = |why: &str| {
        format!("affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: {why}")
    };
    judge_specs(&[
        (
            json!({ "affinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [] } } } }),
            vec!["affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: must have at least one node selector term".to_owned()],
        ),
        (
            json!({ "affinity": { "nodeAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [{
                "weight": 0, "preference": { "matchExpressions": [{ "key": "a", "operator": "Gt" }] } }] } } }),
            vec![
                "affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 0: must be in the range 1-100".to_owned(),
                "affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchExpressions[0].values: Required value: must be specified single value when `operator` is 'Lt' or 'Gt'".to_owned(),
            ],
        ),
        (
            json!({ "affinity": { "podAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [term] } } }),
            vec![
                topology("Required value: can not be empty"),
                topology(&format!("Invalid value: \"\": {}", qualified[0])),
                topology(&format!("Invalid value: \"\": {}", qualified[1])),
            ],
        ),
        (
            json!({ "topologySpreadConstraints": [{ "maxSkew": 0, "topologyKey": "z" }, { "maxSkew": 1, "topologyKey": "z" }] }),
            vec![
                "topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero".to_owned(),
                "topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: \"\": supported values: \"DoNotSchedule\", \"ScheduleAnyway\"".to_owned(),
                "topologySpreadConstraints[0].{topologyKey, whenUnsatisfiable}: Duplicate value: \"{z, }\"".to_owned(),
                "topologySpreadConstraints[1].whenUnsatisfiable: Unsupported value: \"\": supported values: \"DoNotSchedule\", \"ScheduleAnyway\"".to_owned(),
            ],
        ),
        (
            json!({ "tolerations": [{ "key": "a", "operator": "Exists", "value": "b", "tolerationSeconds": 1 }] }),
            vec![
                "tolerations[0].effect: Invalid value: \"\": effect must be 'NoExecute' when `tolerationSeconds` is set".to_owned(),
                "tolerations[0].operator: Invalid value: \"b\": value must be empty when `operator` is 'Exists'".to_owned(),
            ],
        ),
    ]);
}

#[test]
fn the_rest_of_specs_is_judged_whole_and_in_upstreams_order() {
    judge_specs(&[
        (
            json!({ "resourceClaims": [{ "name": "c" }] }),
            vec!["resourceClaims[0]: Invalid value: {\"name\":\"c\"}: must specify one of: `resourceClaimName`, `resourceClaimTemplateName`".to_owned()],
        ),
        (
            json!({ "resources": { "requests": { "cpu": "1", "ephemeral-storage": "1" } } }),
            vec!["resources.requests[ephemeral-storage]: Unsupported value: \"ephemeral-storage\": supported values: \"cpu\", \"memory\"".to_owned()],
        ),
        (
            json!({ "hostUsers": false, "hostNetwork": true }),
            vec!["hostNetwork: Forbidden: when `hostUsers` is false".to_owned()],
        ),
        (
            json!({ "hostNetwork": true, "securityContext": { "sysctls": [{ "name": "net.core.somaxconn" }] } }),
            vec!["securityContext.sysctls[0].name: Invalid value: \"net.core.somaxconn\": may not be specified when 'hostNetwork' is true".to_owned()],
        ),
        (
            json!({ "os": { "name": "windows" }, "hostPID": true }),
            vec!["hostPID: Forbidden: cannot be set for a windows pod".to_owned()],
        ),
        (
            json!({ "os": { "name": "x" } }),
            vec!["os: Unsupported value: \"x\": supported values: \"linux\", \"windows\"".to_owned()],
        ),
        (
            json!({ "hostnameOverride": "h", "setHostnameAsFQDN": true }),
            vec!["hostnameOverride: Forbidden: may not be specified when setHostnameAsFQDN is true".to_owned()],
        ),
        (
            json!({ "preemptionPolicy": "X" }),
            vec!["preemptionPolicy: Unsupported value: \"X\": supported values: \"PreemptLowerPriority\", \"Never\"".to_owned()],
        ),
        // What upstream lets pass.
        (json!({ "schedulerName": "My_Own", "imagePullSecrets": [{}], "dnsConfig": { "searches": [".", "a_b."] } }), vec![]),
    ]);
}

#[test]
fn volumes_are_judged_as_upstream() {
    let template = json!({ "metadata": { "name": "x" }, "spec": { "accessModes": ["ReadWriteOnce"] } });
    let cases: &[(Value, &[&str])] = &[
        (
            json!({ "downwardAPI": { "items": [{ "path": "../a", "fieldRef": { "fieldPath": "spec.nodeName" } }] } }),
            &[
                "downwardAPI.path: Invalid value: \"../a\": must not contain '..'",
                "downwardAPI.fieldRef.fieldPath: Unsupported value: \"spec.nodeName\": supported values: \"metadata.annotations\", \"metadata.labels\", \"metadata.name\", \"metadata.namespace\", \"metadata.uid\"",
            ],
        ),
        (
            json!({ "projected": { "sources": [{ "secret": { "name": "s", "items": [{ "key": "k", "path": "p" }, { "key": "l", "path": "p" }] } }] } }),
            &["projected: Invalid value: \"s\": conflicting duplicate paths"],
        ),
        (
            json!({ "ephemeral": { "volumeClaimTemplate": template } }),
            &[
                "ephemeral.volumeClaimTemplate.metadata.name: Forbidden: cannot be set",
                "ephemeral.volumeClaimTemplate.spec.resources[storage]: Required value",
            ],
        ),
        (json!({ "image": {} }), &["image.reference: Required value"]),
        (
            json!({ "csi": { "driver": "A_" } }),
            &[
                "csi.driver: Invalid value: \"A_\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
            ],
        ),
        (
            json!({ "emptyDir": {}, "downwardAPI": {} }),
            &["downwarAPI: Forbidden: may not specify more than 1 volume type"],
        ),
    ];
    for (source, expected) in cases {
        let mut volume = source.clone();
        volume["name"] = "v".into();
        let expected: Vec<String> = expected.iter().map(|line| format!("spec.volumes[0].{line}")).collect();
        assert_eq!(messages(with(json!({ "volumes": [volume] }))), expected, "{source}");
    }
}

#[test]
fn annotations_and_label_keys_count() {
    let pods = find("", "v1", "pods").expect("pods are served");
    let mut pod = json!({
        "metadata": { "name": "p", "namespace": "n", "labels": { "app": "a" }, "annotations": {
            "kubernetes.io/config.mirror": "x", "controller.kubernetes.io/pod-deletion-cost": "+1",
            "container.apparmor.security.beta.kubernetes.io/b": "odd" } },
        "spec": with(json!({ "topologySpreadConstraints": [{
            "maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}, "matchLabelKeys": ["app", "no"] }] })),
    });
    pods.default(&mut pod);
    let said: Vec<String> = pods.validate(&pod).iter().map(ToString::to_string).collect();
    let at = "metadata.annotations";
    assert_eq!(
        said,
        [
            format!(
                "{at}[kubernetes.io/config.mirror]: Invalid value: \"x\": must set spec.nodeName if mirror pod annotation is set"
            ),
            format!("{at}[controller.kubernetes.io/pod-deletion-cost]: Invalid value: \"+1\": must be a 32bit integer"),
            format!(
                "{at}[container.apparmor.security.beta.kubernetes.io/b]: Invalid value: \"b\": container not found"
            ),
            format!(
                "{at}[container.apparmor.security.beta.kubernetes.io/b]: Invalid value: \"odd\": invalid AppArmor profile name: \"odd\""
            ),
        ]
    );
    let context = crate::Context {
        now: "",
        uid: "u",
        suffix: "",
        namespace: "n",
        subresource: "",
    };
    pods.before_create(&mut pod, &context);
    assert_eq!(
        pod["spec"]["topologySpreadConstraints"][0]["labelSelector"],
        json!({ "matchExpressions": [{ "key": "app", "operator": "In", "values": ["a"] }] })
    );
}
