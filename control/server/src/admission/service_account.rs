//! ServiceAccount: a pod runs as an account that exists, and has its token, the cluster's certificate and its namespace's name
//! in every container.

use super::cluster::{self, is_mirror};
use crate::call::Call;
use api::read;
use api::status::{self, Status};
use serde_json::{Value, json};
use std::time::Duration;

/// The account that every namespace gets from its controller.
const DEFAULT: &str = "default";
/// That controller may be a moment behind whoever makes the namespace and at once a pod in it.
const TRIES: usize = 15;
const PAUSE: Duration = Duration::from_millis(100);
/// Where programs look for their identity.
const MOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// First part of the volume's name.
const VOLUME: &str = "kube-api-access-";
/// Seconds; an hour and a little, by which upstream tells its own tokens from others.
const TOKEN_SECONDS: u32 = 3607;

/// Gives a new pod its account.
pub(super) async fn admit(call: &Call, pod: &mut Value) -> Result<(), Status> {
    let refuse = |pod: &Value, why: &str| Err(status::forbidden(&call.rules, api::metadata::name(pod), why));
    let said = [
        read::text(pod, "/spec/serviceAccountName"),
        read::text(pod, "/spec/serviceAccount"),
    ];
    let said = said
        .into_iter()
        .find(|name| !name.is_empty())
        .unwrap_or_default()
        .to_owned();
    if is_mirror(pod) {
        return match mirror_refusal(pod, &said) {
            Some(why) => refuse(pod, why),
            None => Ok(()),
        };
    }
    let name = if said.is_empty() { DEFAULT } else { &said };
    let Some(account) = find(call, name).await else {
        let namespace = &call.namespace;
        let why = format!("error looking up service account {namespace}/{name}: serviceaccount {name:?} not found");
        return refuse(pod, &why);
    };
    if let Some(spec) = read::map_mut(pod, "spec") {
        spec.insert("serviceAccountName".to_owned(), name.into());
        // Deprecated and always the same, for old clients.
        spec.insert("serviceAccount".to_owned(), name.into());
    }
    if mounts_token(&account, pod) {
        mount(pod);
    }
    let secrets = read::list(&account, "/imagePullSecrets");
    if read::list(pod, "/spec/imagePullSecrets").is_empty() && !secrets.is_empty() {
        pod["spec"]["imagePullSecrets"] = secrets.into();
    }
    Ok(())
}

fn mirror_refusal(pod: &Value, account: &str) -> Option<&'static str> {
    let volumes = read::list(pod, "/spec/volumes");
    let projects_token = |volume: &Value| {
        let sources = read::list(volume, "/projected/sources");
        sources
            .iter()
            .any(|source| read::some(source, "/serviceAccountToken").is_some())
    };
    if !account.is_empty() {
        Some("a mirror pod may not reference service accounts")
    } else if volumes.iter().any(|volume| read::some(volume, "/secret").is_some()) {
        Some("a mirror pod may not reference secrets")
    } else if volumes.iter().any(projects_token) {
        Some("a mirror pod may not use service account token volume projections")
    } else {
        None
    }
}

async fn find(call: &Call, name: &str) -> Option<Value> {
    let tries = if name == DEFAULT { TRIES } else { 1 };
    for attempt in 0..tries {
        if attempt > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        let found = cluster::get(call, "", "serviceaccounts", &call.namespace, name);
        if found.is_some() {
            return found;
        }
    }
    None
}

fn mounts_token(account: &Value, pod: &Value) -> bool {
    let said = |object: &Value, pointer: &str| read::some(object, pointer).and_then(Value::as_bool);
    said(pod, "/spec/automountServiceAccountToken")
        .or_else(|| said(account, "/automountServiceAccountToken"))
        .unwrap_or(true)
}

/// Mounts the volume into every container that has nothing of its own there; the volume itself if one needs it.
fn mount(pod: &mut Value) {
    let present = read::list(pod, "/spec/volumes")
        .iter()
        .find(|volume| read::text(volume, "/name").starts_with(VOLUME) && read::some(volume, "/projected").is_some());
    let (name, is_new) = match present {
        Some(volume) => (read::text(volume, "/name").to_owned(), false),
        None => (format!("{VOLUME}{}", suffix()), true),
    };
    let mut needed = false;
    for list in ["/spec/initContainers", "/spec/containers"] {
        let containers = pod.pointer_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            let mounts = read::list(container, "/volumeMounts");
            if mounts.iter().any(|mount| read::text(mount, "/mountPath") == MOUNT) {
                continue;
            }
            let ours = json!({"name": name, "readOnly": true, "mountPath": MOUNT});
            container["volumeMounts"] = mounts.iter().cloned().chain([ours]).collect();
            needed = true;
        }
    }
    if needed && is_new {
        let volumes = read::list(pod, "/spec/volumes").iter().cloned();
        pod["spec"]["volumes"] = volumes.chain([volume(&name)]).collect();
    }
}

fn volume(name: &str) -> Value {
    let certificate = json!({"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]});
    let namespace = json!({"apiVersion": "v1", "fieldPath": "metadata.namespace"});
    json!({
        "name": name,
        "projected": {
            "defaultMode": 0o644,
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
                {"configMap": certificate},
                {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": namespace}]}},
            ],
        },
    })
}

fn suffix() -> String {
    let mut random = [0; 5];
    // The last bytes of a version 4 UUID are random throughout.
    random.copy_from_slice(&uuid::Uuid::new_v4().as_bytes()[11..]);
    api::names::suffix(random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_get_the_identity_unless_they_have_their_own() {
        let own = json!([{"name": "mine", "mountPath": MOUNT}]);
        let mut pod = json!({"spec": {
            "initContainers": [{"name": "i"}],
            "containers": [{"name": "a", "volumeMounts": [{"name": "x", "mountPath": "/x"}]}, {"name": "b", "volumeMounts": own}],
        }});
        mount(&mut pod);
        let volumes = read::list(&pod, "/spec/volumes");
        let name = read::text(&volumes[0], "/name");
        assert!(
            volumes.len() == 1 && name.starts_with(VOLUME) && name.len() == VOLUME.len() + 5,
            "{volumes:?}"
        );
        let ours = json!({"name": name, "readOnly": true, "mountPath": MOUNT});
        assert_eq!(pod.pointer("/spec/initContainers/0/volumeMounts/0"), Some(&ours));
        assert_eq!(pod.pointer("/spec/containers/0/volumeMounts/1"), Some(&ours));
        assert_eq!(pod.pointer("/spec/containers/1/volumeMounts"), Some(&own));
        let before = pod.clone();
        mount(&mut pod);
        assert_eq!(pod, before, "a second time changes nothing");
    }

    #[test]
    fn the_pod_decides_before_the_account() {
        for (account, pod, expected) in [
            (json!({}), json!({}), true),
            (json!({"automountServiceAccountToken": false}), json!({}), false),
            (
                json!({"automountServiceAccountToken": false}),
                json!({"spec": {"automountServiceAccountToken": true}}),
                true,
            ),
            (
                json!({}),
                json!({"spec": {"automountServiceAccountToken": false}}),
                false,
            ),
        ] {
            assert_eq!(mounts_token(&account, &pod), expected, "{account} {pod}");
        }
    }
}
