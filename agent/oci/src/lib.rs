//! Container images: pull, verify, unpack, keep; knows no Kubernetes.

mod image;
mod progress;
mod reference;
mod registry;
mod store;

pub use image::{Config, Image};
pub use progress::Progress;
pub use reference::{BadReference, Reference};
pub use registry::{Auth, PullError, Registries};
pub use store::{ImportError, Store, StoreError};
