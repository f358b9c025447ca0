//! Links, addresses, routes, nftables, DHCP; knows no Kubernetes.

pub mod host;
mod links;
pub mod pods;
#[cfg(test)]
mod testing;

pub use links::LinkError;
