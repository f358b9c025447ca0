//! Who gives us the machine: its own kernel and disk, or a host that lent a set of namespaces.

use std::env;

/// The environment variable by which the harness says that it lends namespaces.
pub const VARIABLE: &str = "PINTLE_PROVIDER";

/// Where the machine comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// A kernel of our own: verified root, partitions, watchdog, kernel log.
    Machine,
    /// Namespaces on a host: the root tree, /state and /var are mounted already, the kernel is the host's.
    Namespaces,
}

impl Provider {
    /// What this process was started with.
    pub fn of_this_process() -> Self {
        match env::var(VARIABLE).as_deref() {
            Ok("namespaces") => Provider::Namespaces,
            Ok(_) | Err(_) => Provider::Machine,
        }
    }
}
