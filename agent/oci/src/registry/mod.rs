//! Pulling from registries (OCI distribution spec): where to ask, what to fetch, in which order.

mod blob;
mod http;
mod signature;
mod token;

pub use signature::{BadKey, PublicKey, SignaturePolicy, SignatureRule};

use crate::layers::{LayerError, digest};
use crate::manifest::{self, ConfigFile, Descriptor, MEDIA_TYPES, Manifest, ManifestError};
use crate::store::{Origin, Record};
use crate::{Image, Progress, Reference, Store, StoreError};
use futures_util::{StreamExt, TryStreamExt};
use http::Fetch;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use tracing::debug;

/// Layers that are fetched at the same time; containerd's and Docker's default.
const AT_ONCE: usize = 3;
/// Manifests and configs are a few KiB; what registries take at most (distribution spec, "Pushing Manifests").
const LARGEST_DOCUMENT: u64 = 4 << 20;
/// A list that leads to a list that leads to a list is a loop or a joke.
const DEEPEST_LIST: usize = 3;

/// A registry that takes longer to take a connection, to begin an answer or to send the next bytes is as good as away.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where to ask for which registry, how it is known, and who we are to it.
#[derive(Clone)]
pub struct Registries {
    /// By the registry as names have it, e.g. `docker.io`; one that is not here is asked at its own address.
    pub by_name: BTreeMap<String, Registry>,
    /// Who we are, by the host that may see it: a registry as names have it, or a mirror's host and port.
    pub logins: BTreeMap<String, Auth>,
    /// Which images must be signed by whom.
    pub signatures: SignaturePolicy,
    /// How long a registry may take to take a connection, to begin an answer or to send the next bytes.
    pub patience: Duration,
}

/// What is particular about one registry.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    /// Base URLs to ask first, in this order; the scheme decides about TLS.
    pub mirrors: Vec<String>,
    /// Whether the registry itself is never asked. Without mirrors it is.
    pub mirrors_only: bool,
    /// PEM of certificate authorities that it and its mirrors are known by, besides the public ones; it then speaks TLS
    /// wherever it is.
    pub authority: Option<String>,
}

/// Who asks. No `Debug`: it is a secret.
#[derive(Clone)]
pub enum Auth {
    /// User name and password.
    Basic {
        /// User name.
        user: String,
        /// Password or personal token.
        password: String,
    },
    /// A token that the registry takes as it is.
    Bearer(String),
}

/// Why a pull failed; each names the image or the digest, and where it was looked for.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// Nobody answered.
    #[error("pull {image}: registry {host} cannot be reached: {why}")]
    Unreachable {
        /// Image.
        image: String,
        /// Host and port.
        host: String,
        /// What failed.
        why: String,
    },
    /// It answered that there is none.
    #[error("pull {image}: registry {host} has no {what}")]
    NotFound {
        /// Image.
        image: String,
        /// Host and port.
        host: String,
        /// Which manifest or blob.
        what: String,
    },
    /// It wants other credentials, or some.
    #[error(
        "pull {image}: registry {host} refuses access ({why}); check the pull secret, or the login in the machine's secrets"
    )]
    Unauthorized {
        /// Image.
        image: String,
        /// Host and port.
        host: String,
        /// Its answer.
        why: String,
    },
    /// It answered something else.
    #[error("pull {image}: registry {host} answered {why}")]
    Answer {
        /// Image.
        image: String,
        /// Host and port.
        host: String,
        /// What.
        why: String,
    },
    /// What came is not what was asked for.
    #[error("pull {image}: registry {host} sent something else than {expected}: its digest is {found}")]
    Digest {
        /// Image.
        image: String,
        /// Host and port.
        host: String,
        /// What was asked for.
        expected: String,
        /// What came.
        found: String,
    },
    /// Its documents are of no use.
    #[error("pull {image}: {cause}")]
    Manifest {
        /// Image.
        image: String,
        /// Why.
        cause: ManifestError,
    },
    /// The machine's config wants a signature of it.
    #[error("pull {image}: registry {host}: {why}, and the machine config wants it signed")]
    Unsigned {
        /// Image.
        image: String,
        /// Host and port.
        host: String,
        /// What is missing.
        why: String,
    },
    /// A layer is of no use.
    #[error("pull {image}: {cause}")]
    Layer {
        /// Image.
        image: String,
        /// Which, and why.
        cause: LayerError,
    },
    /// A download could not be written.
    #[error("pull {image}: write {path}: {cause}")]
    Disk {
        /// Image.
        image: String,
        /// File.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The registry's address or the authorities in the machine config are wrong.
    #[error("pull {image}: {why}")]
    Config {
        /// Image.
        image: String,
        /// What is wrong.
        why: String,
    },
    /// The store's own trouble.
    #[error(transparent)]
    Store(#[from] StoreError),
}

// === impl Registries ===

impl Default for Registries {
    fn default() -> Self {
        Self {
            by_name: BTreeMap::new(),
            logins: BTreeMap::new(),
            signatures: SignaturePolicy::default(),
            patience: PATIENCE,
        }
    }
}

// === impl PullError ===

impl PullError {
    /// What one of several places said is worth for whoever wants to know why there is no image: that one is away says least,
    /// that one lacks it says little more, since mirrors need not have everything.
    fn worth(&self) -> u8 {
        match self {
            Self::Unreachable { .. } => 0,
            Self::NotFound { .. } => 1,
            Self::Unauthorized { .. }
            | Self::Answer { .. }
            | Self::Digest { .. }
            | Self::Manifest { .. }
            | Self::Unsigned { .. }
            | Self::Layer { .. }
            | Self::Disk { .. }
            | Self::Config { .. }
            | Self::Store(_) => 2,
        }
    }
}

/// Told how far a download has come.
pub(crate) type OnProgress<'a> = &'a (dyn Fn(Progress) + Send + Sync);

impl Store {
    /// Fetches what is not here yet, verifies and unpacks it. Mirrors are asked in their order, then the registry
    /// itself; the first that has it serves it.
    pub async fn pull(
        &self,
        image: &Reference,
        registries: &Registries,
        auth: Option<&Auth>,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Image, PullError> {
        let _arriving = self.arrive();
        let keys = registries.signatures.keys_for(image);
        let mut told: Option<PullError> = None;
        for source in http::sources(image, registries, auth)? {
            let fetch = Fetch::new(image, source);
            match self.pull_from(image, &fetch, keys, progress).await {
                Ok(pulled) => return Ok(pulled),
                Err(error) => {
                    debug!(%image, host = %fetch.host, %error, "not pulled from here");
                    if told.as_ref().is_none_or(|told| told.worth() < error.worth()) {
                        told = Some(error);
                    }
                }
            }
        }
        Err(told.unwrap_or_else(|| PullError::Config {
            image: image.to_string(),
            why: format!("registry {} has no address", image.registry),
        }))
    }

    async fn pull_from(
        &self,
        image: &Reference,
        fetch: &Fetch,
        keys: Option<&[PublicKey]>,
        progress: OnProgress<'_>,
    ) -> Result<Image, PullError> {
        let (digests, config, layers) = manifest_of(fetch, image.version()).await?;
        let verified_by = match keys {
            Some(keys) => Some(signature::verify(fetch, &digests, keys).await?),
            None => None,
        };
        let document = |cause| PullError::Manifest {
            image: image.to_string(),
            cause,
        };
        let text = fetch_document(fetch, &format!("blobs/{}", config.digest), "blob").await?;
        check(fetch, &config.digest, &text)?;
        let file = ConfigFile::parse(&text, layers.len()).map_err(document)?;
        let pairs: Vec<(String, Descriptor)> = file.diff_ids().iter().cloned().zip(layers).collect();
        let diff_ids = file.diff_ids().to_vec();
        let arrivals = pairs
            .iter()
            .map(|(diff_id, layer)| self.layer(fetch, diff_id, layer, progress));
        futures_util::stream::iter(arrivals.collect::<Vec<_>>())
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<()>>()
            .await?;
        let record = Record {
            id: config.digest,
            digest: digests.last().cloned().unwrap_or_default(),
            names: vec![image.to_string()],
            diff_ids,
            origin: verified_by.map_or(Origin::Registry, Origin::Signed),
            config: file.into_config(),
        };
        Ok(self.add(record)?)
    }

    /// Downloads and unpacks one layer, unless it is here.
    async fn layer(
        &self,
        fetch: &Fetch,
        diff_id: &str,
        layer: &Descriptor,
        progress: OnProgress<'_>,
    ) -> Result<(), PullError> {
        let download = self.download(&layer.digest);
        let _alone = download.lock().await;
        if self.layers.size(diff_id).is_some() {
            return Ok(());
        }
        let path = blob::download(fetch, layer, &self.dir.join("blobs"), progress).await?;
        let (layers, id, archive) = (self.layers.clone(), diff_id.to_owned(), path.clone());
        let unpacked = tokio::task::spawn_blocking(move || -> Result<(), UnpackFailed> {
            let archive = std::fs::File::open(&archive).map_err(UnpackFailed::Open)?;
            layers.unpack(&id, archive).map_err(UnpackFailed::Layer)
        })
        .await;
        let disk = |cause| PullError::Disk {
            image: fetch.image.clone(),
            path: path.clone(),
            cause,
        };
        // The compressed form is of no more use, whatever became of it; what is unreadable must not be found again.
        let removed = std::fs::remove_file(&path);
        match unpacked {
            Ok(Ok(())) => removed.map_err(disk),
            Ok(Err(UnpackFailed::Open(cause))) => Err(disk(cause)),
            Ok(Err(UnpackFailed::Layer(cause))) => Err(PullError::Layer {
                image: fetch.image.clone(),
                cause,
            }),
            Err(panic) => Err(disk(std::io::Error::other(panic))),
        }
    }
}

enum UnpackFailed {
    Open(std::io::Error),
    Layer(LayerError),
}

/// Follows lists to the manifest for this machine: the digests of all documents on the way, its own last, its config and its
/// layers, lowest first.
async fn manifest_of(fetch: &Fetch, version: &str) -> Result<(Vec<String>, Descriptor, Vec<Descriptor>), PullError> {
    let document = |cause| PullError::Manifest {
        image: fetch.image.clone(),
        cause,
    };
    let mut version = version.to_owned();
    let mut digests = Vec::new();
    for _ in 0..DEEPEST_LIST {
        let text = fetch_document(fetch, &format!("manifests/{version}"), "manifest").await?;
        if version.starts_with("sha256:") {
            check(fetch, &version, &text)?;
        }
        digests.push(digest(&text));
        match Manifest::parse(&text).map_err(document)? {
            Manifest::Image { config, layers } => return Ok((digests, config, layers)),
            Manifest::List(manifests) => version = manifest::choose(&manifests).map_err(document)?.digest.clone(),
        }
    }
    Err(document(ManifestError::Unreadable {
        what: "manifest",
        why: "it is a list of lists of lists".to_owned(),
    }))
}

async fn fetch_document(fetch: &Fetch, path: &str, what: &str) -> Result<Vec<u8>, PullError> {
    let response = fetch.get(path, &[("accept", MEDIA_TYPES.to_owned())], what).await?;
    http::body(fetch, response, LARGEST_DOCUMENT).await
}

fn check(fetch: &Fetch, expected: &str, bytes: &[u8]) -> Result<(), PullError> {
    let found = digest(bytes);
    if found == expected {
        Ok(())
    } else {
        Err(fetch.other_digest(expected, found))
    }
}
