//! A container's image on this node: found, or pulled as the pod's policy says; one pull of an image at a time.

use k8s_openapi::api::core::v1::Secret;
use oci::{Auth, Image, Reference, Registries, Store};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// This node's images and where more come from.
#[derive(Clone)]
pub struct Images {
    store: Store,
    registries: Arc<Registries>,
    /// One lock an image name: the second pod that wants it waits for the first's pull.
    pulls: Arc<Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>>,
}

/// An image that is here now.
#[derive(Clone, Debug)]
pub struct Got {
    /// The image.
    pub image: Image,
    /// How long its pull took; nothing when it was here already.
    pub pulled: Option<Duration>,
}

/// Why there is no image.
#[derive(Clone, Debug)]
pub struct Missing {
    /// `ErrImagePull`, `ErrImageNeverPull`, `InvalidImageName`.
    pub reason: &'static str,
    /// One sentence.
    pub message: String,
}

impl Images {
    /// Images in `store`, more from `registries`.
    pub fn new(store: Store, registries: Registries) -> Self {
        Self {
            store,
            registries: Arc::new(registries),
            pulls: Arc::default(),
        }
    }

    /// The image, if it is on this node.
    pub fn local(&self, name: &str) -> Option<Image> {
        self.store.get(name).ok().flatten()
    }

    /// Has the image on this node, as `policy` says (`Always`, `IfNotPresent`, `Never`; empty: as the tag says).
    pub async fn have(&self, name: &str, policy: &str, secrets: &[Secret]) -> Result<Got, Missing> {
        let reference: Reference = name.parse().map_err(|error: oci::BadReference| Missing {
            reason: "InvalidImageName",
            message: format!("Failed to apply default image tag {name:?}: {error}"),
        })?;
        let full = reference.to_string();
        let lock = self
            .pulls
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .entry(full)
            .or_default()
            .clone();
        let _one_at_a_time = lock.lock().await;
        let present = self.store.get(name).map_err(|error| failed(&error))?;
        let latest = reference.tag.as_deref() == Some("latest") && reference.digest.is_none();
        let always = policy == "Always" || (policy.is_empty() && latest);
        match (present, policy) {
            (Some(image), _) if !always => return Ok(Got { image, pulled: None }),
            (None, "Never") => {
                return Err(Missing {
                    reason: "ErrImageNeverPull",
                    message: format!("Container image {name:?} is not present with pull policy of Never"),
                });
            }
            (_, _) => {}
        }
        let began = Instant::now();
        let auth = secrets.iter().find_map(|secret| auth(secret, &reference.registry));
        let pulled = self
            .store
            .pull(&reference, &self.registries, auth.as_ref(), &|_| {})
            .await;
        let image = pulled.map_err(|error| failed(&error))?;
        Ok(Got {
            image,
            pulled: Some(began.elapsed()),
        })
    }
}

fn failed(error: &dyn std::error::Error) -> Missing {
    Missing {
        reason: "ErrImagePull",
        message: crate::node::chain(error),
    }
}

/// Name and password for `registry` in a Secret of type `kubernetes.io/dockerconfigjson`.
fn auth(secret: &Secret, registry: &str) -> Option<Auth> {
    use base64::Engine;
    let data = secret.data.as_ref()?.get(".dockerconfigjson")?;
    let config: serde_json::Value = serde_json::from_slice(&data.0).ok()?;
    let host = |key: &str| {
        let bare = key.trim_start_matches("https://").trim_start_matches("http://");
        bare.split('/')
            .next()
            .unwrap_or_default()
            .replace("index.docker.io", "docker.io")
    };
    let (_, entry) = config["auths"]
        .as_object()?
        .iter()
        .find(|(key, _)| host(key) == registry)?;
    if let Some(encoded) = entry["auth"].as_str() {
        let text = String::from_utf8(base64::engine::general_purpose::STANDARD.decode(encoded).ok()?).ok()?;
        let (user, password) = text.split_once(':')?;
        return Some(Auth::Basic {
            user: user.to_owned(),
            password: password.to_owned(),
        });
    }
    let text = |key: &str| entry[key].as_str().map(str::to_owned);
    Some(Auth::Basic {
        user: text("username")?,
        password: text("password")?,
    })
}
