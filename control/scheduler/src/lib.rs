//! Which node a pod runs on: a pure choice in [`place`] and a thin loop around it.
//!
//! Filters and scores are upstream's, by name and weight, of Kubernetes v1.36; every node is filtered and scored.

mod affinity;
mod cluster;
mod filter;
mod place;
mod pod;
mod queue;
mod report;
mod run;
mod score;
mod seen;

pub use cluster::Cluster;
pub use filter::Reason;
pub use place::{Placement, Unplaceable, place};
pub use pod::Pod;
pub use run::run;
