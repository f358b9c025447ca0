//! The revisioned store: keys and bytes, a revision per write, watch from any revision, compaction; knows no Kubernetes.
//!
//! Every write gets the next revision of one counter for the whole store, is durable before it is acknowledged (many
//! writes share one fsync), and reaches watchers in revision order, each exactly once.

mod engine;

pub use engine::{Change, Entry, Expect, Revision, Snapshot, Write};
