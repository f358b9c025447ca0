//! Pulling from registries (OCI distribution spec).

use crate::{Image, Progress, Reference, Store};
use std::collections::BTreeMap;

/// Where to ask for which registry.
#[derive(Clone, Debug, Default)]
pub struct Registries {
    /// Registry as names have it, e.g. `docker.io` → base URLs to ask instead, in this order; the scheme decides about TLS.
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// PEM of certificate authorities that are trusted besides the public ones.
    pub authorities: Vec<String>,
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
}

impl Store {
    /// Fetches what is not here yet, verifies and unpacks it.
    pub async fn pull(
        &self,
        image: &Reference,
        registries: &Registries,
        auth: Option<&Auth>,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Image, PullError> {
        let _ = (image, registries, auth, progress);
        unimplemented!()
    }
}
