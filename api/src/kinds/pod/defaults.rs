//! What upstream fills into a pod spec (core/v1 `SetDefaults_*`).

use crate::{kinds::persistent_volume_claim, quota, read};
use serde_json::{Value, json};

/// What drivers of volumes take where nothing is said.
const DRIVERS: &[(&str, &str, &str)] = &[
    ("iscsi", "iscsiInterface", "default"),
    ("rbd", "pool", "rbd"),
    ("rbd", "user", "admin"),
    ("rbd", "keyring", "/etc/ceph/keyring"),
    ("azureDisk", "cachingMode", "ReadWrite"),
    ("azureDisk", "fsType", "ext4"),
    ("azureDisk", "kind", "Shared"),
    ("scaleIO", "storageMode", "ThinProvisioned"),
    ("scaleIO", "fsType", "xfs"),
];

/// Fills in a pod spec or a template's: idempotent.
pub fn default_spec(spec: &mut Value) {
    for volume in items(spec, "volumes") {
        default_volume(volume);
    }
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for container in items(spec, list) {
            default_container(container);
        }
    }
    for (key, value) in [
        ("restartPolicy", "Always"),
        ("dnsPolicy", "ClusterFirst"),
        ("schedulerName", "default-scheduler"),
    ] {
        read::set_default_text(spec, key, value);
    }
    read::set_default(spec, "terminationGracePeriodSeconds", 30);
    read::set_default(spec, "securityContext", json!({}));
    mirror_service_account(spec);
}

/// What upstream fills into a pod but not into a template.
pub(super) fn default_pod(pod: &mut Value) {
    mirror_address(pod);
    let spec = &mut pod["spec"];
    read::set_default(spec, "enableServiceLinks", true);
    for list in ["initContainers", "containers"] {
        for container in items(spec, list) {
            default_requests(container);
        }
    }
    default_pod_requests(spec);
    if read::flag(spec, "/hostNetwork") {
        default_host_ports(spec);
    }
}

/// The pod's address, alone and first in the list; where they differ the one alone counts (core/v1 conversions of PodStatus).
/// So does the node's, unlike upstream: one that got another address merges it behind the old one, and would be refused for it.
fn mirror_address(pod: &mut Value) {
    let Some(status) = pod.get_mut("status").filter(|status| status.is_object()) else {
        return;
    };
    let first = read::text(status, "/podIPs/0/ip").to_owned();
    if read::text(status, "/podIP").is_empty() && !first.is_empty() {
        status["podIP"] = first.into();
    }
    for (single, all) in [("podIP", "podIPs"), ("hostIP", "hostIPs")] {
        let alone = read::text(status, &format!("/{single}")).to_owned();
        let first = read::text(status, &format!("/{all}/0/ip"));
        let is_listed = !first.is_empty() || single == "podIP";
        if !alone.is_empty() && alone != first && is_listed {
            status[all] = json!([{ "ip": alone }]);
        }
    }
}

/// Requests of the pod as a whole: what its containers request together, else its limits.
fn default_pod_requests(spec: &mut Value) {
    let limits = quota::amounts(spec, "/resources/limits");
    if limits.is_empty() {
        return;
    }
    let is_supported = |resource: &str| matches!(resource, "cpu" | "memory") || resource.starts_with("hugepages-");
    let sums = quota::container_resources(spec, "requests");
    let sums = sums.iter().filter(|(resource, _)| !resource.starts_with("hugepages-"));
    let wished: Vec<(String, String)> = sums
        .chain(&limits)
        .filter(|(resource, _)| is_supported(resource))
        .map(|(resource, amount)| (resource.clone(), amount.to_string()))
        .collect();
    let Some(requests) = spec
        .get_mut("resources")
        .and_then(|resources| read::map_mut(resources, "requests"))
    else {
        return;
    };
    for (resource, amount) in wished {
        requests.entry(resource).or_insert_with(|| amount.into());
    }
    if requests.is_empty() {
        spec["resources"].as_object_mut().map(|r| r.shift_remove("requests"));
    }
}

fn items<'a>(object: &'a mut Value, key: &str) -> impl Iterator<Item = &'a mut Value> {
    object.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten()
}

/// The old name of the field is still written along.
fn mirror_service_account(spec: &mut Value) {
    let name = [
        read::text(spec, "/serviceAccountName"),
        read::text(spec, "/serviceAccount"),
    ]
    .into_iter()
    .find(|n| !n.is_empty())
    .map(str::to_owned);
    if let Some(name) = name {
        spec["serviceAccountName"] = name.as_str().into();
        spec["serviceAccount"] = name.into();
    }
}

/// On the host's network a container's port is the host's port.
fn default_host_ports(spec: &mut Value) {
    for list in ["initContainers", "containers"] {
        for container in items(spec, list) {
            for port in items(container, "ports") {
                let number = port.get("containerPort").cloned().unwrap_or_default();
                if read::int(port, "/hostPort") == 0 && !number.is_null() {
                    port["hostPort"] = number;
                }
            }
        }
    }
}

/// A limit without a request is also the request.
fn default_requests(holder: &mut Value) {
    let Some(limits) = holder.pointer("/resources/limits").cloned() else {
        return;
    };
    let Some(requests) = holder.get_mut("resources").and_then(|r| read::map_mut(r, "requests")) else {
        return;
    };
    for (resource, amount) in limits.as_object().into_iter().flatten() {
        requests.entry(resource.as_str()).or_insert_with(|| amount.clone());
    }
    if requests.is_empty() {
        holder["resources"].as_object_mut().map(|r| r.shift_remove("requests"));
    }
}

fn default_container(container: &mut Value) {
    let policy = default_pull_policy(read::text(container, "/image"));
    for (key, value) in [
        ("imagePullPolicy", policy),
        ("terminationMessagePath", "/dev/termination-log"),
        ("terminationMessagePolicy", "File"),
    ] {
        read::set_default_text(container, key, value);
    }
    // Go writes the struct even when it is empty.
    read::set_default(container, "resources", json!({}));
    for port in items(container, "ports") {
        read::set_default_text(port, "protocol", "TCP");
    }
    for variable in items(container, "env") {
        if let Some(field) = variable.pointer_mut("/valueFrom/fieldRef") {
            read::set_default_text(field, "apiVersion", "v1");
        }
        if let Some(resource) = variable.pointer_mut("/valueFrom/resourceFieldRef") {
            read::set_default(resource, "divisor", "0");
        }
        if let Some(file) = variable.pointer_mut("/valueFrom/fileKeyRef") {
            read::set_default(file, "optional", false);
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.get_mut(probe).filter(|p| !p.is_null()) {
            default_probe(probe);
        }
    }
    for hook in ["postStart", "preStop"] {
        if let Some(get) = container.pointer_mut(&format!("/lifecycle/{hook}/httpGet")) {
            default_http_get(get);
        }
    }
}

/// `Always` for `latest` and for images without tag or digest, else `IfNotPresent`.
fn default_pull_policy(image: &str) -> &'static str {
    let (name, digest) = image.split_once('@').map_or((image, false), |(name, _)| (name, true));
    let last = name.rsplit('/').next().unwrap_or_default();
    match last.split_once(':') {
        Some((_, "latest")) => "Always",
        None if !digest => "Always",
        Some(_) | None => "IfNotPresent",
    }
}

fn default_probe(probe: &mut Value) {
    for (key, value) in [
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ] {
        if read::int(probe, &format!("/{key}")) == 0 {
            probe[key] = value.into();
        }
    }
    if let Some(get) = probe.get_mut("httpGet").filter(|g| !g.is_null()) {
        default_http_get(get);
    }
    if let Some(grpc) = probe.get_mut("grpc").filter(|g| !g.is_null()) {
        read::set_default(grpc, "service", "");
    }
}

fn default_http_get(get: &mut Value) {
    read::set_default_text(get, "path", "/");
    read::set_default_text(get, "scheme", "HTTP");
}

fn default_volume(volume: &mut Value) {
    let has_source = volume
        .as_object()
        .is_some_and(|v| v.iter().any(|(key, source)| key != "name" && !source.is_null()));
    if !has_source {
        volume["emptyDir"] = json!({});
    }
    for (source, mode) in [
        ("secret", 0o644),
        ("configMap", 0o644),
        ("downwardAPI", 0o644),
        ("projected", 0o644),
    ] {
        if let Some(source) = volume.get_mut(source).filter(|s| !s.is_null()) {
            read::set_default(source, "defaultMode", mode);
        }
    }
    for (source, member, value) in DRIVERS {
        if let Some(source) = volume.get_mut(*source).filter(|s| !s.is_null()) {
            read::set_default_text(source, member, value);
        }
    }
    if let Some(host_path) = volume.get_mut("hostPath").filter(|s| !s.is_null()) {
        read::set_default(host_path, "type", "");
    }
    if let Some(disk) = volume.get_mut("azureDisk").filter(|s| !s.is_null()) {
        read::set_default(disk, "readOnly", false);
    }
    if let Some(template) = volume
        .pointer_mut("/ephemeral/volumeClaimTemplate")
        .filter(|t| t.is_object())
    {
        persistent_volume_claim::default_template(template);
    }
    if let Some(image) = volume.get_mut("image").filter(|s| !s.is_null()) {
        let policy = default_pull_policy(read::text(image, "/reference"));
        read::set_default_text(image, "pullPolicy", policy);
    }
    if let Some(downward) = volume.get_mut("downwardAPI") {
        default_downward_items(downward);
    }
    if let Some(projected) = volume.get_mut("projected") {
        for source in items(projected, "sources") {
            if let Some(downward) = source.get_mut("downwardAPI") {
                default_downward_items(downward);
            }
            if let Some(token) = source.get_mut("serviceAccountToken").filter(|t| !t.is_null()) {
                read::set_default(token, "expirationSeconds", 3600);
            }
        }
    }
}

fn default_downward_items(downward: &mut Value) {
    for item in items(downward, "items") {
        if let Some(field) = item.get_mut("fieldRef").filter(|f| !f.is_null()) {
            read::set_default_text(field, "apiVersion", "v1");
        }
        if let Some(resource) = item.get_mut("resourceFieldRef").filter(|f| !f.is_null()) {
            read::set_default(resource, "divisor", "0");
        }
    }
}

/// Upstream accepts negative grace periods, warns of them, and takes them for 1 since v1.27.
pub fn grace(pod: &mut Value) {
    if read::int(pod, "/spec/terminationGracePeriodSeconds") < 0 {
        pod["spec"]["terminationGracePeriodSeconds"] = 1.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::find;

    #[test]
    fn a_small_pod_is_filled_in_as_upstream_does() {
        let pods = find("", "v1", "pods").expect("pods are served");
        let mut pod = json!({
            "spec": {
                "containers": [{
                    "name": "a", "image": "busybox", "ports": [{ "containerPort": 80 }],
                    "env": [{ "name": "N", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } }],
                    "resources": { "limits": { "cpu": 0.5, "memory": "1024Mi" }, "requests": { "memory": "1Mi" } },
                    "livenessProbe": { "httpGet": { "port": 80 }, "periodSeconds": 5 },
                }],
                "volumes": [{ "name": "e" }, { "name": "s", "secret": { "secretName": "x" } }],
            },
        });
        pods.default(&mut pod);
        let expected = json!({
            "containers": [{
                "name": "a", "image": "busybox", "ports": [{ "containerPort": 80, "protocol": "TCP" }],
                "env": [{ "name": "N", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name", "apiVersion": "v1" } } }],
                "resources": { "limits": { "cpu": "500m", "memory": "1Gi" }, "requests": { "memory": "1Mi", "cpu": "500m" } },
                "livenessProbe": {
                    "httpGet": { "port": 80, "path": "/", "scheme": "HTTP" },
                    "periodSeconds": 5, "timeoutSeconds": 1, "successThreshold": 1, "failureThreshold": 3,
                },
                "imagePullPolicy": "Always", "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            }],
            "volumes": [{ "name": "e", "emptyDir": {} }, { "name": "s", "secret": { "secretName": "x", "defaultMode": 420 } }],
            "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler",
            "terminationGracePeriodSeconds": 30, "securityContext": {}, "enableServiceLinks": true,
        });
        assert_eq!(pod["spec"], expected);
        pods.default(&mut pod);
        assert_eq!(pod["spec"], expected, "defaulting twice changes nothing");
    }

    #[test]
    fn a_negative_grace_period_is_a_second() {
        for (asked, given) in [(-1, 1), (i64::MIN, 1), (0, 0), (7, 7)] {
            let mut pod = json!({ "spec": { "terminationGracePeriodSeconds": asked } });
            grace(&mut pod);
            assert_eq!(pod["spec"]["terminationGracePeriodSeconds"], given, "{asked}");
        }
    }

    #[test]
    fn pull_policy_follows_the_tag() {
        for (image, policy) in [
            ("busybox", "Always"),
            ("busybox:latest", "Always"),
            ("busybox:1", "IfNotPresent"),
            ("registry:5000/busybox", "Always"),
            ("registry:5000/busybox:1", "IfNotPresent"),
            ("busybox@sha256:00", "IfNotPresent"),
        ] {
            assert_eq!(default_pull_policy(image), policy, "{image}");
        }
    }

    #[test]
    fn host_network_sets_host_ports_and_the_old_account_field_is_mirrored() {
        let spec = json!({ "hostNetwork": true, "serviceAccountName": "s", "containers": [{ "ports": [{ "containerPort": 80 }] }] });
        let mut pod = json!({ "spec": spec, "status": { "podIPs": [{ "ip": "10.0.0.1" }] } });
        find("", "v1", "pods").expect("pods are served").default(&mut pod);
        assert_eq!(pod["spec"]["containers"][0]["ports"][0]["hostPort"], 80);
        assert_eq!(pod["spec"]["serviceAccount"], "s");
        assert_eq!(pod["status"]["podIP"], "10.0.0.1");
        pod["status"] = json!({ "hostIP": "10.1.0.2", "hostIPs": [{ "ip": "10.1.0.1" }, { "ip": "10.1.0.2" }] });
        find("", "v1", "pods").expect("pods are served").default(&mut pod);
        assert_eq!(pod["status"]["hostIPs"], json!([{ "ip": "10.1.0.2" }]));
        // A template leaves the host's ports open.
        let mut template = spec;
        default_spec(&mut template);
        assert_eq!(template["containers"][0]["ports"][0].get("hostPort"), None);
    }
}
