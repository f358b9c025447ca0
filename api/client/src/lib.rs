//! What every loop uses to reach the cluster's state: verbs, list-then-watch caches and work queues, over any [`Transport`].

mod api;
mod backoff;
mod cache;
mod discover;
mod error;
mod event;
mod http;
mod kubeconfig;
mod object;
mod options;
mod queue;
mod reflect;
mod transport;
mod watch;

pub use api::Api;
pub use backoff::Backoff;
pub use cache::{Cache, Changes, Update};
pub use discover::{Served, discover};
pub use error::Error;
pub use event::Recorder;
pub use http::{ConnectError, Http, Identity};
pub use kubeconfig::KubeconfigError;
pub use object::{Dynamic, Key, List, Object, Resource};
pub use options::{ListOptions, Patch, WatchOptions};
pub use queue::{Queue, work};
pub use transport::{Body, Transport};
pub use watch::{Event, Watch};
