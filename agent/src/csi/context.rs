//! What drivers are told besides the volume's own attributes: secrets, who the pod is, and tokens of its account.

use super::wanted::{SecretName, Wanted};
use super::{Failure, plugin};
use crate::pods::host::Host;
use crate::pods::tokens::TokenReference;
use client::{Api, Key};
use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::api::storage::v1::{CSIDriver, CSIDriverSpec, TokenRequest};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long a volume waits for the drivers' objects after the agent began.
const DRIVERS_DEADLINE: Duration = Duration::from_secs(5);
/// What a driver that does not say gets, in seconds.
const TOKEN_SECONDS: i64 = 3600;
/// Under which name tokens are told.
const TOKENS: &str = "csi.storage.k8s.io/serviceAccount.tokens";

/// Values by name.
pub type Words = BTreeMap<String, String>;

/// What the cluster says about a driver; nothing where it says nothing.
pub async fn described(host: &Host, driver: &str) -> Result<Option<Arc<CSIDriver>>, String> {
    match tokio::time::timeout(DRIVERS_DEADLINE, host.csi_drivers.ready()).await {
        Ok(true) => Ok(host.csi_drivers.get(&Key::new("", driver))),
        Ok(false) | Err(_) => Err("CSIDrivers has not been synced yet".to_owned()),
    }
}

/// Whether the driver takes volumes of this kind; an error is upstream's sentence.
pub fn takes(wanted: &Wanted, described: Option<&CSIDriverSpec>) -> Result<(), String> {
    let mode = if wanted.record.ephemeral {
        "Ephemeral"
    } else {
        "Persistent"
    };
    let driver = &wanted.record.driver;
    let persistent = ["Persistent".to_owned()];
    let modes = described.and_then(|described| described.volume_lifecycle_modes.as_deref());
    let modes = modes.filter(|modes| !modes.is_empty()).unwrap_or(&persistent);
    match (modes.iter().any(|known| known == mode), described) {
        (true, _) => Ok(()),
        (false, None) => Err(format!(
            "volume mode {mode:?} not supported by driver {driver} (no CSIDriver object)"
        )),
        (false, Some(_)) => {
            let only = modes.iter().map(|mode| format!("{mode:?}")).collect::<Vec<_>>();
            let only = only.join(" ");
            Err(format!(
                "volume mode {mode:?} not supported by driver {driver} (only supports [{only}])"
            ))
        }
    }
}

/// A secret as a driver gets it; nothing where there is none to get. An error says why it cannot be had.
pub async fn secret(host: &Host, name: Option<&SecretName>) -> Result<Words, String> {
    let Some(SecretName { namespace, name }) = name else {
        return Ok(Words::new());
    };
    let api = Api::<Secret>::namespaced(host.transport.clone(), namespace);
    let found = api.get(name).await.map_err(|error| crate::node::chain(&error))?;
    let text = |(key, bytes): (String, k8s_openapi::ByteString)| (key, String::from_utf8_lossy(&bytes.0).into_owned());
    Ok(found.data.unwrap_or_default().into_iter().map(text).collect())
}

/// The attributes and secrets of a publish call.
pub async fn told(
    host: &Host,
    pod: &Pod,
    wanted: &Wanted,
    described: Option<&CSIDriverSpec>,
) -> Result<(Words, Words), Failure> {
    let set_up = |why| wanted.failure("SetUp", why);
    let mut attributes = wanted.attributes.clone();
    let mut secrets = secret(host, wanted.publish_secret.as_ref()).await.map_err(|why| {
        let name = wanted.publish_secret.as_ref();
        let name = name.map(|name| format!("{}/{}", name.namespace, name.name));
        set_up(format!(
            "fetching NodePublishSecretRef {} failed: {why}",
            name.unwrap_or_default()
        ))
    })?;
    let Some(described) = described else {
        return Ok((attributes, secrets));
    };
    if described.pod_info_on_mount == Some(true) {
        attributes.extend(about(pod, wanted.record.ephemeral));
    }
    let requests = described.token_requests.as_deref().unwrap_or_default();
    if !requests.is_empty() {
        let tokens = tokens(host, pod, requests).await.map_err(|error| {
            let why = crate::node::chain(&error);
            set_up(plugin(format_args!(
                "mounter.SetUpAt failed to get service account token attributes: {why}"
            )))
        })?;
        let is_secret = described.service_account_token_in_secrets == Some(true);
        let place = if is_secret { &mut secrets } else { &mut attributes };
        place.insert(TOKENS.to_owned(), tokens);
    }
    Ok((attributes, secrets))
}

fn about(pod: &Pod, ephemeral: bool) -> Words {
    let meta = &pod.metadata;
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone());
    let words = [
        ("pod.name", text(&meta.name)),
        ("pod.namespace", text(&meta.namespace)),
        ("pod.uid", text(&meta.uid)),
        ("serviceAccount.name", account.unwrap_or_default()),
        ("ephemeral", ephemeral.to_string()),
    ];
    let named = words.map(|(name, value)| (format!("csi.storage.k8s.io/{name}"), value));
    named.into_iter().collect()
}

/// Audience to token, as one JSON document.
async fn tokens(host: &Host, pod: &Pod, requests: &[TokenRequest]) -> Result<String, client::Error> {
    let mut all = Map::new();
    for request in requests {
        let wanted = TokenReference {
            audience: request.audience.clone(),
            seconds: request.expiration_seconds.unwrap_or(TOKEN_SECONDS),
        };
        let (token, expires) = host.tokens.one(&host.transport, pod, &wanted).await?;
        let expires = expires.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let token = json!({"token": token, "expirationTimestamp": expires});
        all.insert(request.audience.clone(), token);
    }
    Ok(Value::Object(all).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_take_what_they_say_and_persistent_volumes_if_they_say_nothing() {
        let described = |modes: &[&str]| CSIDriverSpec {
            volume_lifecycle_modes: Some(modes.iter().map(|mode| (*mode).to_owned()).collect()),
            ..CSIDriverSpec::default()
        };
        let wanted = |ephemeral| {
            let mut wanted = Wanted::default();
            (wanted.record.driver, wanted.record.ephemeral) = ("d.test".to_owned(), ephemeral);
            wanted
        };
        assert_eq!(takes(&wanted(false), None), Ok(()));
        assert_eq!(takes(&wanted(true), Some(&described(&["Ephemeral"]))), Ok(()));
        assert_eq!(
            takes(&wanted(true), None).unwrap_err(),
            "volume mode \"Ephemeral\" not supported by driver d.test (no CSIDriver object)"
        );
        assert_eq!(
            takes(&wanted(false), Some(&described(&["Ephemeral"]))).unwrap_err(),
            "volume mode \"Persistent\" not supported by driver d.test (only supports [\"Ephemeral\"])"
        );
    }

    #[test]
    fn drivers_learn_who_the_pod_is() {
        let pod = json!({"metadata": {"name": "p", "namespace": "ns", "uid": "u"},
            "spec": {"containers": [], "serviceAccountName": "sa"}});
        let words = about(&serde_json::from_value(pod).unwrap(), true);
        assert_eq!(words["csi.storage.k8s.io/pod.uid"], "u");
        assert_eq!(words["csi.storage.k8s.io/serviceAccount.name"], "sa");
        assert_eq!(words["csi.storage.k8s.io/ephemeral"], "true");
    }
}
