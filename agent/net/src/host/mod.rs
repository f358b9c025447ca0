//! The machine's own interfaces: brought up at boot from a list, kept with DHCP leases from then on.

mod dhcp;
#[cfg(test)]
mod tests;

use crate::links::{Link, LinkError, Links};
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// How long [`up`] waits for first leases: a DHCP server on the same link answers within milliseconds, one behind a
/// switch port that still learns within 2 s; whoever answers later is heard in the background.
const FIRST_LEASE: Duration = Duration::from_secs(5);

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
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The config names an interface that the machine has not got.
    #[error("no interface {which}; this machine has {present}")]
    NoInterface {
        /// What the config names.
        which: Which,
        /// What there is instead, each with its hardware address.
        present: String,
    },
}

impl std::fmt::Display for Which {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Mac(mac) => write!(f, "with hardware address {}", mac_text(mac)),
            Self::Name(name) => write!(f, "named {name}"),
        }
    }
}

/// Brings up loopback and `interfaces`; returns when every fixed address stands and every DHCP client has its first
/// lease or has waited a few seconds, after which it goes on asking in the background.
pub async fn up(interfaces: &[Interface]) -> Result<Up, HostError> {
    let links = Links::here()?;
    let present = links.all().await?;
    let chosen = interfaces
        .iter()
        .map(|interface| choose(interface, &present))
        .collect::<Result<Vec<_>, _>>()?;
    if let Some(lo) = present.iter().find(|link| link.name == "lo") {
        links.set_up(lo.index, "lo").await?;
    }
    let (changes, leases) = mpsc::channel(8);
    let mut asking = 0;
    for (interface, link) in interfaces.iter().zip(chosen) {
        links.set_up(link.index, &link.name).await?;
        for net in &interface.addresses {
            links.add_address(link.index, &link.name, *net).await?;
        }
        if let Some(gateway) = interface.gateway {
            links.default_route(link.index, gateway, metric(link)).await?;
        }
        if interface.dhcp {
            asking += 1;
            tokio::spawn(dhcp::keep(links.clone(), link.clone(), metric(link), changes.clone()));
        }
    }
    Ok(Up {
        nameservers: first_leases(leases, asking).await,
    })
}

/// Every Ethernet interface that the machine has now, to be configured by DHCP: what an empty list in a config means.
pub async fn ethernet() -> Result<Vec<Interface>, HostError> {
    let links = Links::here()?.all().await?;
    let physical = links.into_iter().filter(|link| link.physical);
    Ok(physical
        .map(|link| Interface {
            which: Which::Name(link.name),
            dhcp: true,
            addresses: Vec::new(),
            gateway: None,
        })
        .collect())
}

/// All addresses of the machine now, in interface order, without loopback, link-local and the pods' bridge.
pub async fn addresses() -> Result<Vec<Address>, HostError> {
    let links = Links::here()?;
    let names: BTreeMap<u32, String> = links
        .all()
        .await?
        .into_iter()
        .map(|link| (link.index, link.name))
        .collect();
    let mut found = Vec::new();
    for (index, net) in links.global_addresses().await? {
        match names.get(&index) {
            Some(name) if name != crate::pods::BRIDGE => found.push((
                index,
                Address {
                    interface: name.clone(),
                    net,
                },
            )),
            _ => {}
        }
    }
    found.sort_by_key(|(index, _)| *index);
    Ok(found.into_iter().map(|(_, address)| address).collect())
}

fn choose<'a>(interface: &Interface, present: &'a [Link]) -> Result<&'a Link, HostError> {
    let wanted = |link: &&Link| match &interface.which {
        Which::Mac(mac) => link.mac.as_ref() == Some(mac),
        Which::Name(name) => &link.name == name,
    };
    present.iter().find(wanted).ok_or_else(|| {
        let names = present
            .iter()
            .filter(|link| link.name != "lo")
            .map(|link| match &link.mac {
                Some(mac) => format!("{} ({})", link.name, mac_text(mac)),
                None => link.name.clone(),
            });
        let names: Vec<String> = names.collect();
        let present = if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        };
        HostError::NoInterface {
            which: interface.which.clone(),
            present,
        }
    })
}

/// The interface that comes first has the better default route.
fn metric(link: &Link) -> u32 {
    100 + link.index
}

/// Waits till each of `asking` clients has said something, at most [`FIRST_LEASE`]; then a task goes on listening.
async fn first_leases(mut leases: mpsc::Receiver<dhcp::Change>, asking: usize) -> watch::Receiver<Vec<IpAddr>> {
    let (sender, receiver) = watch::channel(Vec::new());
    let mut known: BTreeMap<u32, Vec<IpAddr>> = BTreeMap::new();
    let everybody = async {
        while known.len() < asking {
            let Some(change) = leases.recv().await else { break };
            known.insert(change.interface, change.nameservers);
        }
    };
    if tokio::time::timeout(FIRST_LEASE, everybody).await.is_err() {
        tracing::warn!(
            leases = known.len(),
            asking,
            "not every interface has a DHCP lease yet, asking on"
        );
    }
    sender.send_replace(known.values().flatten().copied().collect());
    tokio::spawn(async move {
        while let Some(change) = leases.recv().await {
            known.insert(change.interface, change.nameservers);
            sender.send_replace(known.values().flatten().copied().collect());
        }
    });
    receiver
}

fn mac_text(mac: &[u8; 6]) -> String {
    mac.iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<Vec<_>>()
        .join(":")
}
