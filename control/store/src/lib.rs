//! The revisioned store: keys and bytes, a revision per write, watch from any revision, compaction; knows no Kubernetes.
//!
//! Every write gets the next revision of one counter for the whole store, is durable before it is acknowledged (many
//! writes share one fsync), and reaches watchers in revision order, each exactly once. Of the past five to ten minutes
//! are kept, in memory; [`Store::compact`] forgets more.

mod draft;
mod embedded;
mod engine;
mod etcd;
mod seal;
pub mod snapshot;
mod store;
mod view;
mod watch;
mod writer;

pub use embedded::{Damage, DiskError, OpenError};
pub use engine::{Change, Entry, Expect, Kept, Revision, Snapshot, Write};
pub use etcd::{EtcdError, EtcdOptions};
pub use seal::{SEAL_KEY_BYTES, SealError, SealKey, Seals};
pub use store::{Store, WriteError};
pub use view::Compacted;
pub use watch::{Lagged, Notice, Watch};
