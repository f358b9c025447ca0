//! Tokens that say to the API who a pod is: asked for when a volume shows one, kept, asked for anew when they grow old
//! (upstream: pkg/kubelet/token).

use client::{Api, Error, Transport};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount, VolumeProjection};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

/// What a projection that does not say gets, in seconds.
const DEFAULT_SECONDS: i64 = 3600;
/// However long a token is good, a new one is asked for after so much.
const OLDEST: SignedDuration = SignedDuration::from_hours(24);

/// A token as a volume wants it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenReference {
    /// For whom; empty for the API server itself.
    pub audience: String,
    /// How long it is to be good, in seconds.
    pub seconds: i64,
}

/// The tokens of all pods of this node.
#[derive(Default)]
pub struct Tokens {
    kept: Mutex<BTreeMap<(String, TokenReference), Kept>>,
}

struct Kept {
    token: String,
    /// When the next one is asked for.
    renew: Timestamp,
    expires: Timestamp,
}

impl TokenReference {
    /// The token of a projection; none if it shows something else.
    pub fn of(projection: &VolumeProjection) -> Option<Self> {
        let source = projection.service_account_token.as_ref()?;
        Some(Self {
            audience: source.audience.clone().unwrap_or_default(),
            seconds: source.expiration_seconds.unwrap_or(DEFAULT_SECONDS),
        })
    }
}

impl Tokens {
    /// Tokens of one pod. An old one that is still good is better than none.
    pub async fn of(
        &self,
        transport: &Arc<dyn Transport>,
        pod: &Pod,
        wanted: &BTreeSet<TokenReference>,
    ) -> Result<BTreeMap<TokenReference, String>, Error> {
        let mut found = BTreeMap::new();
        for reference in wanted {
            let (token, _) = self.one(transport, pod, reference).await?;
            found.insert(reference.clone(), token);
        }
        Ok(found)
    }

    /// One token, and until when it is good.
    pub async fn one(
        &self,
        transport: &Arc<dyn Transport>,
        pod: &Pod,
        wanted: &TokenReference,
    ) -> Result<(String, Timestamp), Error> {
        let key = (pod.metadata.uid.clone().unwrap_or_default(), wanted.clone());
        let now = Timestamp::now();
        let present = self
            .kept()
            .get(&key)
            .map(|kept| (kept.token.clone(), kept.renew, kept.expires));
        match present {
            Some((token, renew, expires)) if now < renew => Ok((token, expires)),
            present => match (ask(transport, pod, wanted).await, present) {
                (Ok(kept), _) => {
                    let found = (kept.token.clone(), kept.expires);
                    self.kept().insert(key, kept);
                    Ok(found)
                }
                (Err(_), Some((token, _, expires))) if now < expires => Ok((token, expires)),
                (Err(error), _) => Err(error),
            },
        }
    }

    /// The pod is gone.
    pub fn forget(&self, uid: &str) {
        self.kept().retain(|(pod, _), _| pod != uid);
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, BTreeMap<(String, TokenReference), Kept>> {
        self.kept.lock().expect("no holder of the tokens panics")
    }
}

async fn ask(transport: &Arc<dyn Transport>, pod: &Pod, wanted: &TokenReference) -> Result<Kept, Error> {
    let meta = &pod.metadata;
    let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone());
    let account = account
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "default".to_owned());
    let audiences: Vec<&str> = Some(wanted.audience.as_str())
        .filter(|audience| !audience.is_empty())
        .into_iter()
        .collect();
    let request = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {
            "audiences": audiences, "expirationSeconds": wanted.seconds,
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": meta.name, "uid": meta.uid},
        },
    });
    let api = Api::<ServiceAccount>::namespaced(transport.clone(), meta.namespace.as_deref().unwrap_or_default());
    let asked = Timestamp::now();
    let answer = api.post(&account, "token", &request).await?.0;
    let expires = answer["status"]["expirationTimestamp"]
        .as_str()
        .and_then(|text| text.parse().ok());
    let expires = expires.unwrap_or_else(|| asked + SignedDuration::from_secs(wanted.seconds));
    Ok(Kept {
        token: answer["status"]["token"].as_str().unwrap_or_default().to_owned(),
        renew: renewal(asked, expires),
        expires,
    })
}

/// After four fifths of its time, or a day.
fn renewal(asked: Timestamp, expires: Timestamp) -> Timestamp {
    let good = expires.duration_since(asked);
    asked + (good * 4 / 5).min(OLDEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_renewed_before_they_expire() {
        let asked: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        for (expires, expected) in [
            ("2026-01-01T01:00:00Z", "2026-01-01T00:48:00Z"),
            ("2027-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
        ] {
            assert_eq!(renewal(asked, expires.parse().unwrap()).to_string(), expected);
        }
    }

    #[test]
    fn a_projection_names_its_token() {
        let projection = |source| serde_json::from_value::<VolumeProjection>(source).unwrap();
        let token = TokenReference::of(&projection(json!({"serviceAccountToken": {"path": "token"}})));
        let expected = TokenReference {
            audience: String::new(),
            seconds: 3600,
        };
        assert_eq!(token, Some(expected));
        assert_eq!(TokenReference::of(&projection(json!({"secret": {"name": "a"}}))), None);
    }
}
