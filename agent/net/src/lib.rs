//! Links, addresses, routes, nftables, DHCP; knows no Kubernetes.

pub mod host;
