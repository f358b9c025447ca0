//! Calls machines: who calls (the identity file), the connection, and failures as one sentence each.

mod connect;
mod explain;
mod identity_file;

pub use connect::{ConnectError, Connection, Credentials, Timed, connect};
pub use explain::explain;
pub use identity_file::{IdentityFile, IdentityFileError, MachineAddress};
