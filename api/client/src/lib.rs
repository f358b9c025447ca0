//! What every loop uses to reach the cluster's state: verbs, list-then-watch caches and work queues, over any [`Transport`].

mod transport;

pub use transport::{Body, Transport};
