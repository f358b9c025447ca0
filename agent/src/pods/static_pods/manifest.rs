//! A static pod out of its manifest: read and checked, with upstream's names, hash and defaults; pure (upstream:
//! pkg/kubelet/config/common.go).

use super::{HASH, SEEN, SOURCE};
use api::Kind;
use api::kinds::Pod as Rules;
use api::names::{dns1123_label, dns1123_subdomain};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus, Toleration};
use serde_json::Value;
use sha2::Digest;
use std::collections::BTreeMap;

/// What it says of where it comes from: upstream's word for what a node finds beside the API.
const FROM_FILE: &str = "file";

/// Why a manifest is no static pod.
#[derive(Debug, thiserror::Error)]
pub enum BadManifest {
    /// No YAML.
    #[error("{0}")]
    Yaml(String),
    /// Something else.
    #[error("it is a {kind:?} of {version:?}, and only a Pod of v1 can be static")]
    OtherKind {
        /// What it says that it is.
        kind: String,
        /// Of which API.
        version: String,
    },
    /// A field that pods do not have, or another type than a field's.
    #[error("invalid pod: {0}")]
    Shape(String),
    /// Against the API's rules.
    #[error("invalid pod: [{}]", .0.join(", "))]
    Invalid(Vec<String>),
    /// It needs something of the API, which may be away.
    #[error("static pods may not reference {0}")]
    Reference(&'static str),
}

/// Makes the pod that a manifest describes, on `node`.
pub fn parse(manifest: &str, node: &str, now: Timestamp) -> Result<Pod, BadManifest> {
    let mut object: Value =
        serde_saphyr::from_str(manifest).map_err(|cause| BadManifest::Yaml(first_line(&cause.to_string())))?;
    let text = |pointer: &str| api::read::text(&object, pointer).to_owned();
    let (kind, version) = (text("/kind"), text("/apiVersion"));
    if (kind.as_str(), version.as_str()) != ("Pod", "v1") {
        return Err(BadManifest::OtherKind { kind, version });
    }
    numbers_as_text(&mut object);
    let hash = hash(&decoded(&object)?, node);
    Rules::default(&mut object);
    let wrong = wrong(&object);
    if !wrong.is_empty() {
        return Err(BadManifest::Invalid(wrong));
    }
    if let Some(what) = reference(&object) {
        return Err(BadManifest::Reference(what));
    }
    Ok(placed(decoded(&object)?, node, &hash, now))
}

/// Reads the typed pod, which must hold all that the manifest says.
fn decoded(object: &Value) -> Result<Pod, BadManifest> {
    let pod: Pod = serde_json::from_value(object.clone()).map_err(|cause| BadManifest::Shape(cause.to_string()))?;
    let held = serde_json::to_value(&pod).map_err(|cause| BadManifest::Shape(cause.to_string()))?;
    match unknown(object, &held, "") {
        Some(field) => Err(BadManifest::Shape(format!("unknown field {field:?}"))),
        None => Ok(pod),
    }
}

/// The first field that was lost on the way.
fn unknown(said: &Value, held: &Value, path: &str) -> Option<String> {
    match (said, held) {
        (Value::Object(said), Value::Object(held)) => {
            said.iter()
                .filter(|(_, value)| !value.is_null())
                .find_map(|(key, value)| {
                    let path = if path.is_empty() {
                        key.clone()
                    } else {
                        format!("{path}.{key}")
                    };
                    match held.get(key) {
                        Some(held) => unknown(value, held, &path),
                        None => Some(path),
                    }
                })
        }
        (Value::Array(said), Value::Array(held)) => {
            let mut pairs = said.iter().zip(held).enumerate();
            pairs.find_map(|(nth, (said, held))| unknown(said, held, &format!("{path}[{nth}]")))
        }
        (_, _) => None,
    }
}

/// Quantities may be written as numbers; their type is text.
fn numbers_as_text(value: &mut Value) {
    let as_text = |value: &mut Value| {
        if value.is_number() {
            *value = value.to_string().into();
        }
    };
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                match (key.as_str(), value) {
                    ("limits" | "requests" | "overhead", Value::Object(amounts)) => {
                        amounts.values_mut().for_each(as_text);
                    }
                    ("sizeLimit" | "divisor", value) => as_text(value),
                    (_, value) => numbers_as_text(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(numbers_as_text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The pod's identity: the same as long as the manifest says the same to the same node.
fn hash(pod: &Pod, node: &str) -> String {
    let given = pod.metadata.uid.clone().filter(|uid| !uid.is_empty());
    given.unwrap_or_else(|| {
        let text = serde_json::to_string(pod).unwrap_or_default();
        let digest = sha2::Sha256::digest(format!("host:{node} pod:{text}"));
        digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    })
}

fn wrong(object: &Value) -> Vec<String> {
    let name = api::metadata::name(object);
    if name.is_empty() {
        return vec!["name is needed for the pod".to_owned()];
    }
    let about = |field: &str, value: &str, why: Vec<String>| -> Vec<String> {
        let sentence = |why| format!("metadata.{field}: Invalid value: {value:?}: {why}");
        why.into_iter().map(sentence).collect()
    };
    let mut wrong = about("name", name, dns1123_subdomain(name));
    let namespace = api::metadata::namespace(object);
    if !namespace.is_empty() {
        wrong.extend(about("namespace", namespace, dns1123_label(namespace)));
    }
    // It names a folder and a cgroup.
    let uid = api::metadata::uid(object);
    if !uid.is_empty() {
        wrong.extend(about("uid", uid, dns1123_label(uid)));
    }
    wrong.extend(Rules::validate(object).iter().map(ToString::to_string));
    wrong
}

/// Where a pod runs, what it is called there, and where it comes from.
fn placed(mut pod: Pod, node: &str, hash: &str, now: Timestamp) -> Pod {
    let meta = &mut pod.metadata;
    meta.name = meta.name.take().map(|name| format!("{name}-{node}"));
    meta.uid = Some(hash.to_owned());
    if meta.namespace.as_deref().unwrap_or_default().is_empty() {
        meta.namespace = Some("default".to_owned());
    }
    let annotations = meta.annotations.get_or_insert_with(BTreeMap::new);
    for (key, value) in [(HASH, hash), (SOURCE, FROM_FILE), (SEEN, &now.to_string())] {
        annotations.insert(key.to_owned(), value.to_owned());
    }
    let spec = pod.spec.get_or_insert_default();
    spec.node_name = Some(node.to_owned());
    let stays = Toleration {
        operator: Some("Exists".to_owned()),
        effect: Some("NoExecute".to_owned()),
        ..Toleration::default()
    };
    let tolerations = spec.tolerations.get_or_insert_default();
    if !tolerations.contains(&stays) {
        tolerations.push(stays);
    }
    pod.status = Some(PodStatus {
        phase: Some("Pending".to_owned()),
        ..PodStatus::default()
    });
    pod
}

/// What of the API the pod refers to (upstream: HasAPIObjectReference in pkg/api/pod).
fn reference(pod: &Value) -> Option<&'static str> {
    use api::read::{list, some, text};
    let has = |object: &Value, pointers: &[&str]| pointers.iter().any(|pointer| some(object, pointer).is_some());
    let lists = ["initContainers", "containers"];
    let containers: Vec<&Value> = lists
        .iter()
        .flat_map(|name| list(pod, &format!("/spec/{name}")))
        .collect();
    let sources = |pointers: &[&str]| {
        let all = containers
            .iter()
            .flat_map(|container| list(container, "/env").iter().chain(list(container, "/envFrom")));
        all.into_iter().any(|source| has(source, pointers))
    };
    let volumes = list(pod, "/spec/volumes");
    let volume = |pointers: &[&str]| volumes.iter().any(|volume| has(volume, pointers));
    let projected = |pointers: &[&str]| {
        let mut all = volumes.iter().flat_map(|volume| list(volume, "/projected/sources"));
        all.any(|source| has(source, pointers))
    };
    let holds = [
        ("serviceaccounts", !text(pod, "/spec/serviceAccountName").is_empty()),
        (
            "secrets",
            !list(pod, "/spec/imagePullSecrets").is_empty()
                || sources(&["/valueFrom/secretKeyRef", "/secretRef"])
                || volume(&[
                    "/secret",
                    "/csi/nodePublishSecretRef",
                    "/iscsi/secretRef",
                    "/flexVolume/secretRef",
                ])
                || projected(&["/secret"]),
        ),
        (
            "configmaps",
            sources(&["/valueFrom/configMapKeyRef", "/configMapRef"])
                || volume(&["/configMap"])
                || projected(&["/configMap"]),
        ),
        ("resourceclaims", !list(pod, "/spec/resourceClaims").is_empty()),
        (
            "persistentvolumeclaims",
            volume(&["/persistentVolumeClaim", "/ephemeral"]),
        ),
        ("serviceaccounts", projected(&["/serviceAccountToken"])),
        ("clustertrustbundles", projected(&["/clusterTrustBundle"])),
        ("podcertificates", projected(&["/podCertificate"])),
    ];
    holds.into_iter().find_map(|(what, holds)| holds.then_some(what))
}

/// Parsers draw pictures below their sentence.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEB: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  containers:
  - {name: a, image: 'i:1', resources: {limits: {cpu: 1}}}
";

    fn made(manifest: &str) -> Result<Pod, String> {
        parse(manifest, "n1", Timestamp::UNIX_EPOCH).map_err(|error| error.to_string())
    }

    #[test]
    fn a_pod_has_upstreams_names_annotations_and_defaults() {
        let pod = made(WEB).unwrap();
        let (meta, spec) = (&pod.metadata, pod.spec.as_ref().unwrap());
        assert_eq!(
            (meta.name.as_deref(), meta.namespace.as_deref()),
            (Some("web-n1"), Some("default"))
        );
        let uid = meta.uid.as_deref().unwrap();
        assert!(
            uid.len() == 32 && uid.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{uid}"
        );
        let annotations = meta.annotations.as_ref().unwrap();
        assert_eq!(
            (annotations[HASH].as_str(), annotations[SOURCE].as_str()),
            (uid, "file")
        );
        assert_eq!(
            (spec.node_name.as_deref(), spec.restart_policy.as_deref()),
            (Some("n1"), Some("Always"))
        );
        assert_eq!(
            spec.tolerations.as_ref().unwrap()[0].effect.as_deref(),
            Some("NoExecute")
        );
        assert_eq!(spec.containers[0].image_pull_policy.as_deref(), Some("IfNotPresent"));
        let requests = spec.containers[0].resources.as_ref().unwrap().requests.as_ref();
        assert_eq!(requests.unwrap()["cpu"].0, "1");
    }

    #[test]
    fn the_same_words_are_the_same_pod_and_other_words_another() {
        let uid = |manifest: &str| made(manifest).unwrap().metadata.uid.unwrap();
        assert_eq!(uid(WEB), uid(&format!("# a comment\n{WEB}")));
        assert_ne!(uid(WEB), uid(&WEB.replace("i:1", "i:2")));
        let elsewhere = parse(WEB, "n2", Timestamp::UNIX_EPOCH).unwrap();
        assert_ne!(uid(WEB), elsewhere.metadata.uid.unwrap());
        assert_eq!(uid(&WEB.replace("name: web,", "name: web, uid: mine,")), "mine");
    }

    #[test]
    fn what_is_no_static_pod_is_refused_in_one_sentence() {
        for (old, new, wanted) in [
            (
                "kind: Pod",
                "kind: Deployment",
                "it is a \"Deployment\" of \"v1\", and only a Pod of v1 can be static",
            ),
            ("kind: Pod", "kind: [Pod", "line"),
            ("name: a,", "nam: a,", "invalid pod: "),
            (
                "name: a,",
                "name: a, imagee: x,",
                "invalid pod: unknown field \"spec.containers[0].imagee\"",
            ),
            ("spec:\n", "spec:\n  hostNetwork: maybe\n", "invalid pod: "),
            (
                "name: a,",
                "name: A,",
                "invalid pod: [spec.containers[0].name: Invalid value: \"A\"",
            ),
            ("name: web,", "", "invalid pod: [name is needed for the pod]"),
            (
                "name: web,",
                "name: Web,",
                "invalid pod: [metadata.name: Invalid value: \"Web\"",
            ),
            (
                "name: web,",
                "name: web, uid: ../x,",
                "invalid pod: [metadata.uid: Invalid value: \"../x\"",
            ),
            (
                "spec:\n",
                "spec:\n  serviceAccountName: x\n",
                "static pods may not reference serviceaccounts",
            ),
            (
                "spec:\n",
                "spec:\n  volumes: [{name: v, secret: {secretName: x}}]\n",
                "static pods may not reference secrets",
            ),
            (
                "name: a,",
                "name: a, envFrom: [{configMapRef: {name: m}}],",
                "static pods may not reference configmaps",
            ),
            (
                "spec:\n",
                "spec:\n  volumes: [{name: v, persistentVolumeClaim: {claimName: c}}]\n",
                "static pods may not reference persistentvolumeclaims",
            ),
        ] {
            let said = made(&WEB.replacen(old, new, 1)).expect_err(new);
            assert!(said.contains(wanted) && !said.contains('\n'), "{new:?}: {said}");
        }
    }
}
