//! Which ports of the machine lead to which pods: the book of them, in a file, so that they stay open while agents come and go.

mod rules;

use super::PodNetworkError;
use super::store::Store;
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::str::FromStr;

/// A port of the machine that leads to one of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// Of which protocol.
    pub protocol: Protocol,
    /// At which of the machine's addresses; without one at all, at an unspecified one at all of its family.
    pub address: Option<IpAddr>,
    /// Its number on the machine.
    pub port: u16,
    /// Its number in the pod.
    pub pod_port: u16,
}

/// Protocols that have ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP, where the kernel tracks it.
    Sctp,
}

/// A port of one address family that is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Open {
    protocol: Protocol,
    /// Without one: at all of the machine's of the family.
    address: Option<IpAddr>,
    port: u16,
    to: SocketAddr,
}

/// The book and its rules in the kernel.
pub(super) struct Ports {
    store: Store,
    open: BTreeMap<String, Vec<Open>>,
    cidrs: Vec<IpNet>,
}

// === impl Protocol ===

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        })
    }
}

impl FromStr for Protocol {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        match word {
            "TCP" => Ok(Self::Tcp),
            "UDP" => Ok(Self::Udp),
            "SCTP" => Ok(Self::Sctp),
            _ => Err(()),
        }
    }
}

// === impl Open ===

/// One word of the book: protocol, address or `*`, port and whereto, with commas between.
impl fmt::Display for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.address.map_or("*".to_owned(), |address| address.to_string());
        write!(f, "{},{address},{},{}", self.protocol, self.port, self.to)
    }
}

impl FromStr for Open {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        let parts: Vec<&str> = word.split(',').collect();
        let [protocol, address, port, to] = parts[..] else {
            return Err(());
        };
        Ok(Self {
            protocol: protocol.parse()?,
            address: match address {
                "*" => None,
                address => Some(address.parse().map_err(drop)?),
            },
            port: port.parse().map_err(drop)?,
            to: to.parse().map_err(drop)?,
        })
    }
}

impl Open {
    fn clashes(&self, other: &Self) -> bool {
        let meet = self.address.is_none() || other.address.is_none() || self.address == other.address;
        let of_one_family = self.to.is_ipv4() == other.to.is_ipv4();
        meet && of_one_family && (self.protocol, self.port) == (other.protocol, other.port)
    }
}

// === impl Ports ===

impl Ports {
    /// Opens again what was open.
    pub async fn open(folder: &Path, cidrs: &[IpNet]) -> Result<Self, PodNetworkError> {
        let (store, open) = Store::open(folder, "ports")?;
        let ports = Self {
            store,
            open,
            cidrs: cidrs.to_vec(),
        };
        ports.set().await?;
        Ok(ports)
    }

    /// Gives `owner`, who has `addresses`, exactly these `wanted` ports.
    pub async fn give(
        &mut self,
        owner: &str,
        addresses: &[IpAddr],
        wanted: &[HostPort],
    ) -> Result<(), PodNetworkError> {
        let wanted: Vec<Open> = wanted.iter().flat_map(|port| resolved(port, addresses)).collect();
        if self.of(owner) == wanted {
            return Ok(());
        }
        self.are_free(owner, &wanted)?;
        let before = self.open.insert(owner.to_owned(), wanted.clone()).unwrap_or_default();
        self.changed(&[before, wanted].concat()).await
    }

    /// Closes the ports of `owner`; without any this does nothing.
    pub async fn take_back(&mut self, owner: &str) -> Result<(), PodNetworkError> {
        match self.open.remove(owner) {
            Some(closed) => self.changed(&closed).await,
            None => Ok(()),
        }
    }

    /// Closes whatever belongs to none of `owners`.
    pub async fn keep_only(&mut self, owners: &[String]) -> Result<(), PodNetworkError> {
        let gone = self.open.extract_if(.., |owner, _| !owners.contains(owner));
        let closed: Vec<Open> = gone.flat_map(|(_, ports)| ports).collect();
        match closed.is_empty() {
            true => Ok(()),
            false => self.changed(&closed).await,
        }
    }

    fn of(&self, owner: &str) -> &[Open] {
        self.open.get(owner).map(Vec::as_slice).unwrap_or_default()
    }

    fn are_free(&self, owner: &str, wanted: &[Open]) -> Result<(), PodNetworkError> {
        let others = self.open.iter().filter(|(other, _)| *other != owner);
        for (other, ports) in others {
            if let Some(taken) = wanted.iter().find(|port| ports.iter().any(|open| open.clashes(port))) {
                return Err(PodNetworkError::PortTaken {
                    port: taken.port,
                    protocol: taken.protocol,
                    by: other.clone(),
                });
            }
        }
        Ok(())
    }

    /// `which`: the ports that lead elsewhere now.
    async fn changed(&self, which: &[Open]) -> Result<(), PodNetworkError> {
        self.store.save(&self.open)?;
        self.set().await?;
        rules::forget_flows(which).await.map_err(PodNetworkError::Flows)
    }

    async fn set(&self) -> Result<(), PodNetworkError> {
        let open: Vec<Open> = self.open.values().flatten().copied().collect();
        rules::set(&self.cidrs, &open).await.map_err(PodNetworkError::Ports)
    }
}

/// One for each address of the pod that can be reached by it.
fn resolved(port: &HostPort, addresses: &[IpAddr]) -> Vec<Open> {
    let of_family = |address: &&IpAddr| port.address.is_none_or(|at| at.is_ipv4() == address.is_ipv4());
    let open = |address: &IpAddr| Open {
        protocol: port.protocol,
        address: port.address.filter(|at| !at.is_unspecified()),
        port: port.port,
        to: SocketAddr::new(*address, port.pod_port),
    };
    addresses.iter().filter(of_family).map(open).collect()
}

#[cfg(test)]
mod tests;
