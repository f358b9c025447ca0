//! Certificate authorities, the certificates they issue, and the roles that certificates carry; no files, no network.
//!
//! ECDSA P-256 throughout: every client knows it, keys are made in microseconds, ring signs it in constant time.

mod authority;
mod clock;
pub mod cluster;
mod request;
mod role;
mod subject;
pub mod tls;

pub use authority::{Authority, IssueError, Leaf, Purpose, new_key, self_signed};
pub use clock::Clock;
pub use request::{Request, RequestError};
pub use role::{Role, UnknownRole};
pub use subject::{Subject, SubjectError, fingerprint};
