//! Container images: pull, verify, unpack, keep; knows no Kubernetes.

mod extract;
mod image;
mod import;
mod intact;
mod layers;
mod manifest;
mod progress;
mod reference;
mod registry;
mod store;

pub use extract::UnpackError;
pub use image::{Config, Image};
pub use import::ImportError;
pub use layers::LayerError;
pub use manifest::ManifestError;
pub use progress::Progress;
pub use reference::{BadReference, Reference};
pub use registry::{Auth, BadKey, PublicKey, PullError, Registries, Registry, SignaturePolicy, SignatureRule};
pub use store::{Store, StoreError};
