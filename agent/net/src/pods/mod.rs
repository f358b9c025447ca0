//! The network of this node's pods: a bridge, a veth and an address for each, and a way out.

mod addresses;
mod masquerade;
mod ports;
mod store;
mod table;

use crate::links::{LinkError, Links};
use addresses::Allocator;
use ipnet::IpNet;
use ports::Ports;
use rtnetlink::LinkBridge;
use std::io;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use store::Store;

pub use ports::{HostPort, Protocol};

/// The bridge that all pods of the node hang on.
pub const BRIDGE: &str = "pintle0";

/// The pods' network of one node. Cheap to share behind an `Arc`; every call may run beside every other.
pub struct PodNetwork {
    /// One prefix per address family, in the order that the cluster named them.
    cidrs: Vec<IpNet>,
    allocator: tokio::sync::Mutex<(Allocator, Store)>,
    ports: tokio::sync::Mutex<Ports>,
}

/// Why a pod's network could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PodNetworkError {
    /// A link, an address or a route.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// Every address is taken.
    #[error("no free address in {cidr}: {taken} are given out; delete pods or give the node a larger pod CIDR")]
    Exhausted {
        /// The full prefix.
        cidr: IpNet,
        /// How many of its addresses pods have.
        taken: usize,
    },
    /// The list of given addresses.
    #[error("keep the given addresses in {path}")]
    Store {
        /// File.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// Kernel switches.
    #[error("set {path} to {value}")]
    Sysctl {
        /// File.
        path: PathBuf,
        /// What it should say.
        value: &'static str,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// The rule that lets pods out.
    #[error("set the nftables table pintle")]
    Masquerade(#[source] nlink::netlink::Error),
    /// The rules that bring ports of the machine to pods.
    #[error("set the nftables table pintle-host-ports")]
    Ports(#[source] nlink::netlink::Error),
    /// What the kernel remembers of who talked to whom.
    #[error("forget former flows to host ports")]
    Flows(#[source] nlink::netlink::Error),
    /// Two want the same.
    #[error("host port {port}/{protocol} leads to {by} already")]
    PortTaken {
        /// Which.
        port: u16,
        /// Of which protocol.
        protocol: Protocol,
        /// Who has it.
        by: String,
    },
}

impl PodNetwork {
    /// Makes the bridge with the first address of each of the node's `cidrs`, lets packets through, and hides the pods'
    /// addresses from everybody outside of `cluster`, the prefixes in which pod addresses are known. May be called
    /// again at any time, also while pods run. `folder` keeps the addresses given out while agents come and go, and is to be
    /// empty after a boot: no pod outlives one.
    pub async fn open(folder: &Path, cidrs: &[IpNet], cluster: &[IpNet]) -> Result<Self, PodNetworkError> {
        let (store, given) = Store::open(folder, "addresses")?;
        forward(cidrs)?;
        bridge(cidrs).await?;
        masquerade::set(cidrs, cluster)
            .await
            .map_err(PodNetworkError::Masquerade)?;
        let ports = Ports::open(folder, cidrs).await?;
        route_localhost(cidrs)?;
        let allocator = Allocator::new(cidrs, given);
        Ok(Self {
            cidrs: cidrs.to_vec(),
            allocator: tokio::sync::Mutex::new((allocator, store)),
            ports: tokio::sync::Mutex::new(ports),
        })
    }

    /// Gives `owner` one address of each family; the same ones however often it is asked.
    pub async fn give(&self, owner: &str) -> Result<Vec<IpAddr>, PodNetworkError> {
        let mut guard = self.allocator.lock().await;
        let (allocator, store) = &mut *guard;
        let addresses = allocator.give(owner)?;
        store.save(allocator.given())?;
        Ok(addresses)
    }

    /// Lets these ports of the machine, and no others, lead to `owner`, who has `addresses`, until it gives them back.
    pub async fn open_ports(
        &self,
        owner: &str,
        addresses: &[IpAddr],
        ports: &[HostPort],
    ) -> Result<(), PodNetworkError> {
        self.ports.lock().await.give(owner, addresses, ports).await
    }

    /// Takes the addresses of `owner` and its ports of the machine back; without any this does nothing.
    pub async fn take_back(&self, owner: &str) -> Result<(), PodNetworkError> {
        self.ports.lock().await.take_back(owner).await?;
        let mut guard = self.allocator.lock().await;
        let (allocator, store) = &mut *guard;
        if allocator.take_back(owner) {
            store.save(allocator.given())
        } else {
            Ok(())
        }
    }

    /// Takes back whatever belongs to none of `owners`: what a crash between two steps may have left.
    pub async fn keep_only(&self, owners: &[String]) -> Result<(), PodNetworkError> {
        self.ports.lock().await.keep_only(owners).await?;
        let mut guard = self.allocator.lock().await;
        let (allocator, store) = &mut *guard;
        if allocator.keep_only(owners) {
            store.save(allocator.given())
        } else {
            Ok(())
        }
    }

    /// Connects the network namespace of a pod: loopback, `eth0` with `addresses`, default routes. `owner` names the
    /// node's end. Done again for the same pod it changes nothing. The node's end goes away with the namespace.
    pub async fn attach(
        &self,
        owner: &str,
        netns: BorrowedFd<'_>,
        addresses: &[IpAddr],
    ) -> Result<(), PodNetworkError> {
        let inside = Links::within(netns)?;
        let lo = inside.get("lo").await?;
        inside.set_up(lo.index, "lo").await?;
        let eth0 = match inside.find("eth0").await? {
            Some(link) => link,
            None => {
                self.plug(owner, netns).await?;
                inside.get("eth0").await?
            }
        };
        inside.set_up(eth0.index, "eth0").await?;
        for cidr in &self.cidrs {
            let Some(address) = addresses.iter().find(|address| cidr.contains(*address)) else {
                continue;
            };
            let net =
                IpNet::new(*address, cidr.prefix_len()).expect("a prefix length is valid because a prefix has it");
            inside.add_address(eth0.index, "eth0", net).await?;
            inside.default_route(eth0.index, gateway(cidr), 0).await?;
        }
        Ok(())
    }

    async fn plug(&self, owner: &str, netns: BorrowedFd<'_>) -> Result<(), PodNetworkError> {
        let here = Links::here()?;
        let bridge = here.get(BRIDGE).await?;
        let name = veth_name(owner);
        if let Some(stale) = here.find(&name).await? {
            here.delete(stale.index, &name).await?;
        }
        here.add_veth(&name, bridge.index, netns).await?;
        let port = here.get(&name).await?;
        here.hairpin(port.index, &name).await?;
        Ok(())
    }
}

/// The node's own address among its pods: the first of the prefix.
fn gateway(cidr: &IpNet) -> IpAddr {
    match cidr {
        IpNet::V4(net) => IpAddr::V4((u32::from(net.network()) + 1).into()),
        IpNet::V6(net) => IpAddr::V6((u128::from(net.network()) + 1).into()),
    }
}

async fn bridge(cidrs: &[IpNet]) -> Result<(), LinkError> {
    let links = Links::here()?;
    if links.find(BRIDGE).await?.is_none() {
        // A fixed hardware address: otherwise the bridge takes the lowest of its ports' and changes it as pods come and go.
        let message = LinkBridge::new(BRIDGE)
            .address(vec![0x02, 0x50, 0x69, 0x6e, 0x74, 0x6c])
            .build();
        links.add(message, BRIDGE).await?;
    }
    let bridge = links.get(BRIDGE).await?;
    links.set_up(bridge.index, BRIDGE).await?;
    for cidr in cidrs {
        let net =
            IpNet::new(gateway(cidr), cidr.prefix_len()).expect("a prefix length is valid because a prefix has it");
        links.add_address(bridge.index, BRIDGE, net).await?;
    }
    Ok(())
}

/// Lets the kernel pass packets between pods and the world, in the families that pods have.
fn forward(cidrs: &[IpNet]) -> Result<(), PodNetworkError> {
    for cidr in cidrs {
        switch_on(match cidr {
            IpNet::V4(_) => "/proc/sys/net/ipv4/ip_forward",
            IpNet::V6(_) => "/proc/sys/net/ipv6/conf/all/forwarding",
        })?;
    }
    Ok(())
}

/// Lets the machine's own 127.0.0.1 reach pods by host ports; `ports` sees to it that nobody else makes use of it.
fn route_localhost(cidrs: &[IpNet]) -> Result<(), PodNetworkError> {
    match cidrs.iter().any(|cidr| matches!(cidr, IpNet::V4(_))) {
        true => switch_on(&format!("/proc/sys/net/ipv4/conf/{BRIDGE}/route_localnet")),
        false => Ok(()),
    }
}

fn switch_on(path: &str) -> Result<(), PodNetworkError> {
    // Written only when it differs: a container's /proc/sys is read-only, and a switch that stands needs no write.
    if std::fs::read_to_string(path).is_ok_and(|now| now.trim() == "1") {
        return Ok(());
    }
    std::fs::write(path, "1").map_err(|cause| PodNetworkError::Sysctl {
        path: path.into(),
        value: "1",
        cause,
    })
}

/// At most 15 bytes, IFNAMSIZ less the final zero: `veth` and 11 hex digits of the owner's FNV-1a hash.
fn veth_name(owner: &str) -> String {
    let hash = owner.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("veth{:011x}", hash & 0xfff_ffff_ffff)
}

#[cfg(test)]
mod tests;
