//! The layer-2 network between virtual machines: a small learning switch in this process, over Unix sockets.
//!
//! Needs no privileges and no packet leaves the host. What goes wrong on it is injected here ([`Faults`]).

mod faults;
mod serve;
mod table;
mod wire;

pub use faults::{Faults, Verdict};
pub use serve::Switch;
pub use table::{Mac, Table};
