//! A container's image on this node: found, or pulled as the pod's policy says; one pull of an image at a time.

use super::directory::Directory;
use config::{MachineConfig, Secrets};
use k8s_openapi::api::core::v1::Secret;
use oci::{
    Auth, Image, Progress, PublicKey, PullError, Reference, Registries, Registry, SignaturePolicy, SignatureRule,
    Store, StoreError,
};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Images that pods wait for and that are pulled at once; each fetches three layers at a time, and more would only share the
/// same wire and fill the same memory.
const PULLS_AT_ONCE: usize = 5;

/// This node's images and where more come from. The pods and the machine API share one, since a store is open once.
#[derive(Clone)]
pub struct Images {
    shelf: Arc<Shelf>,
}

struct Shelf {
    folder: PathBuf,
    store: Mutex<Option<Store>>,
    registries: Registries,
    /// Who uses which image.
    directory: Arc<Directory>,
    /// One lock an image name: the second pod that wants it waits for the first's pull.
    pulls: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// Pods' pulls at the same time.
    slots: tokio::sync::Semaphore,
}

/// Why an image was not removed.
#[derive(Debug, thiserror::Error)]
pub enum NotRemoved {
    /// There is none.
    #[error("no image {0:?} on this machine; `pintlectl oci list` shows those that are")]
    Absent(String),
    /// A pod needs it.
    #[error("image {image:?} is used by {user}: delete that first")]
    Used {
        /// The image as the caller named it.
        image: String,
        /// `pod namespace/name`.
        user: String,
    },
    /// The store's own trouble.
    #[error(transparent)]
    Store(#[from] StoreError),
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
    /// Images in `folder`, more from `registries`; `directory` knows which of them are used. Nothing is opened yet.
    pub fn new(folder: &Path, registries: Registries, directory: Arc<Directory>) -> Self {
        let shelf = Shelf {
            folder: folder.to_owned(),
            store: Mutex::default(),
            registries,
            directory,
            pulls: Mutex::default(),
            slots: tokio::sync::Semaphore::new(PULLS_AT_ONCE),
        };
        Self { shelf: Arc::new(shelf) }
    }

    /// The store, opened by whoever needs it first; blocks.
    pub fn store(&self) -> Result<Store, StoreError> {
        let mut open = lock(&self.shelf.store);
        match &*open {
            Some(store) => Ok(store.clone()),
            None => Ok(open.insert(Store::open(&self.shelf.folder)?).clone()),
        }
    }

    /// The image, if it is on this node.
    pub fn local(&self, name: &str) -> Option<Image> {
        self.store().ok()?.get(name).ok().flatten()
    }

    /// Fetches what is not here of an image, whether it is here already or not.
    pub async fn pull(
        &self,
        reference: &Reference,
        auth: Option<&Auth>,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Image, PullError> {
        let store = self.store()?;
        store.pull(reference, &self.shelf.registries, auth, progress).await
    }

    /// Forgets a name, or with an ID the image; not while a pod uses it. Blocks.
    pub fn remove(&self, name: &str) -> Result<(), NotRemoved> {
        let store = self.store()?;
        let absent = || NotRemoved::Absent(name.to_owned());
        let image = store.get(name)?.ok_or_else(absent)?;
        if let Some(user) = self.shelf.directory.user_of(&image) {
            let image = name.to_owned();
            return Err(NotRemoved::Used { image, user });
        }
        store.remove(name)?.then_some(()).ok_or_else(absent)
    }

    /// Has the image on this node, as `policy` says (`Always`, `IfNotPresent`, `Never`; empty: as the tag says).
    pub async fn have(&self, name: &str, policy: &str, secrets: &[Secret]) -> Result<Got, Missing> {
        let reference = parse(name)?;
        let full = reference.to_string();
        let turn = lock(&self.shelf.pulls).entry(full).or_default().clone();
        let _one_at_a_time = turn.lock().await;
        let store = self.store().map_err(|error| failed(&error))?;
        let trusted = |image: &Image| store.is_trusted(image, &reference, &self.shelf.registries.signatures);
        let present = match store.get(name).map_err(|error| failed(&error))? {
            Some(image) => trusted(&image).map_err(|error| failed(&error))?.then_some(image),
            None => None,
        };
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
        let auth = secrets.iter().find_map(|secret| auth(secret, &reference.registry));
        self.fetch(name, &reference, auth.as_ref()).await
    }

    /// Pulls an image for somebody who has said so, after whoever else pulls it now.
    pub async fn have_anew(&self, name: &str, auth: Option<&Auth>) -> Result<Got, Missing> {
        let reference = parse(name)?;
        let turn = lock(&self.shelf.pulls)
            .entry(reference.to_string())
            .or_default()
            .clone();
        let _one_at_a_time = turn.lock().await;
        self.fetch(name, &reference, auth).await
    }

    async fn fetch(&self, name: &str, reference: &Reference, auth: Option<&Auth>) -> Result<Got, Missing> {
        let began = Instant::now();
        let _slot = self.shelf.slots.acquire().await;
        let pulled = self.pull(reference, auth, &|_| {}).await;
        let image = pulled.map_err(|error| match error {
            PullError::Unsigned { .. } => Missing {
                reason: "SignatureValidationFailed",
                message: format!("image pull failed for {name} because the signature validation failed: {error}"),
            },
            other => failed(&other),
        })?;
        Ok(Got {
            image,
            pulled: Some(began.elapsed()),
        })
    }
}

fn parse(name: &str) -> Result<Reference, Missing> {
    name.parse().map_err(|error: oci::BadReference| Missing {
        reason: "InvalidImageName",
        message: format!("Failed to apply default image tag {name:?}: {error}"),
    })
}

/// Where images come from and who we are there, as the machine's config and secrets say.
pub fn registries(config: &MachineConfig, secrets: &Secrets) -> Registries {
    let registry = |known: &config::Registry| {
        let registry = Registry {
            mirrors: known.mirrors.clone(),
            mirrors_only: known.mirrors_only,
            authority: known.ca.clone(),
        };
        (known.host.clone(), registry)
    };
    let login = |login: &config::RegistryLogin| {
        let auth = match (&login.token, &login.username, &login.password) {
            (Some(token), _, _) => Auth::Bearer(token.clone()),
            (None, user, password) => Auth::Basic {
                user: user.clone().unwrap_or_default(),
                password: password.clone().unwrap_or_default(),
            },
        };
        (login.host.clone(), auth)
    };
    Registries {
        by_name: config.oci.registries.iter().map(registry).collect(),
        logins: secrets.registries.iter().map(login).collect(),
        signatures: SignaturePolicy {
            rules: config.oci.signatures.iter().map(rule).collect(),
        },
        ..Registries::default()
    }
}

/// A key that cannot be read verifies nothing, so that its images are refused rather than let in.
fn rule(wanted: &config::SignedBy) -> SignatureRule {
    let keys = wanted.keys.iter().filter_map(|pem| match PublicKey::from_pem(pem) {
        Ok(key) => Some(key),
        Err(error) => {
            tracing::error!(scope = %wanted.scope, %error, "images of this scope are refused");
            None
        }
    });
    SignatureRule {
        scope: wanted.scope.clone(),
        keys: (!wanted.keys.is_empty()).then(|| keys.collect()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
