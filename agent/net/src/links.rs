//! One netlink conversation about links, addresses and routes, with this or with another network namespace.
//!
//! Another namespace is entered by a thread of its own that ends right after it made the socket: a socket belongs to the
//! namespace that it was made in, so no thread of the runtime ever changes place, and nobody forks.

use futures_util::TryStreamExt;
use ipnet::IpNet;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage};
use rtnetlink::{
    Handle, LinkBridgePort, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder, new_connection,
};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

/// What the kernel refused, in which conversation.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// No socket.
    #[error("open a netlink socket")]
    Socket(#[source] io::Error),
    /// The namespace cannot be entered.
    #[error("enter a pod's network namespace")]
    Enter(#[source] io::Error),
    /// A request failed.
    #[error("{what} {on}")]
    Request {
        /// What was tried.
        what: &'static str,
        /// On which link, address or route.
        on: String,
        /// What the kernel said.
        #[source]
        cause: rtnetlink::Error,
    },
    /// No such link.
    #[error("there is no interface {0}")]
    Missing(String),
}

/// A conversation with one network namespace.
#[derive(Clone)]
pub(crate) struct Links(Handle);

/// What this room wants to know about a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub index: u32,
    pub name: String,
    pub mac: Option<[u8; 6]>,
    /// An Ethernet-like device that is no loopback and nobody's child: what DHCP is asked on by default.
    pub physical: bool,
}

impl Links {
    /// Talks to the namespace of this process. Needs a tokio runtime.
    pub fn here() -> Result<Self, LinkError> {
        let (connection, handle, _) = new_connection().map_err(LinkError::Socket)?;
        tokio::spawn(connection);
        Ok(Self(handle))
    }

    /// Talks to the namespace behind `netns`.
    pub fn within(netns: BorrowedFd<'_>) -> Result<Self, LinkError> {
        let runtime = tokio::runtime::Handle::current();
        let (connection, handle, _) = std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                nix::sched::setns(netns, nix::sched::CloneFlags::CLONE_NEWNET)
                    .map_err(|errno| LinkError::Enter(errno.into()))?;
                let _entered = runtime.enter();
                new_connection().map_err(LinkError::Socket)
            });
            inside
                .join()
                .unwrap_or_else(|_| Err(LinkError::Enter(io::Error::other("the thread panicked"))))
        })?;
        tokio::spawn(connection);
        Ok(Self(handle))
    }

    /// All links, by index.
    pub async fn all(&self) -> Result<Vec<Link>, LinkError> {
        let messages: Vec<LinkMessage> = self
            .0
            .link()
            .get()
            .execute()
            .try_collect()
            .await
            .map_err(refused("list", "interfaces"))?;
        let mut links: Vec<Link> = messages.iter().map(Link::from_message).collect();
        links.sort_by_key(|link| link.index);
        Ok(links)
    }

    /// The link of that name, if there is one. The kernel is asked for it alone: a node has a link for each of its pods.
    pub async fn find(&self, name: &str) -> Result<Option<Link>, LinkError> {
        let mut found = self.0.link().get().match_name(name.to_owned()).execute();
        match found.try_next().await {
            Ok(message) => Ok(message.as_ref().map(Link::from_message)),
            Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == -(nix::errno::Errno::ENODEV as i32) => {
                Ok(None)
            }
            Err(cause) => Err(refused("look for interface", name)(cause)),
        }
    }

    /// The link of that name.
    pub async fn get(&self, name: &str) -> Result<Link, LinkError> {
        self.find(name)
            .await?
            .ok_or_else(|| LinkError::Missing(name.to_owned()))
    }

    pub async fn set_up(&self, index: u32, name: &str) -> Result<(), LinkError> {
        let message = LinkUnspec::new_with_index(index).up().build();
        self.0
            .link()
            .change(message)
            .execute()
            .await
            .map_err(refused("bring up interface", name))
    }

    pub async fn delete(&self, index: u32, name: &str) -> Result<(), LinkError> {
        self.0
            .link()
            .del(index)
            .execute()
            .await
            .map_err(refused("delete interface", name))
    }

    /// Makes a link from a message that the caller built.
    pub async fn add(&self, message: LinkMessage, name: &str) -> Result<(), LinkError> {
        self.0
            .link()
            .add(message)
            .execute()
            .await
            .map_err(refused("make interface", name))
    }

    /// Makes a veth pair whose other end starts its life as `eth0` inside `netns`.
    pub async fn add_veth(&self, name: &str, bridge: u32, netns: BorrowedFd<'_>) -> Result<(), LinkError> {
        use rtnetlink::packet_route::link::{InfoData, InfoVeth};
        let peer = LinkMessageBuilder::<LinkUnspec>::new()
            .name("eth0".to_owned())
            .setns_by_fd(netns.as_raw_fd())
            .build();
        let message = LinkVeth::new(name, "eth0")
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .controller(bridge)
            .up();
        self.add(message.build(), name).await
    }

    /// Makes a veth pair with one end here and one, `eth0`, inside `netns`: a wire.
    #[cfg(test)]
    pub async fn add_wire(&self, name: &str, netns: BorrowedFd<'_>) -> Result<(), LinkError> {
        use rtnetlink::packet_route::link::{InfoData, InfoVeth};
        let peer = LinkMessageBuilder::<LinkUnspec>::new()
            .name("eth0".to_owned())
            .setns_by_fd(netns.as_raw_fd())
            .build();
        let message = LinkVeth::new(name, "eth0").set_info_data(InfoData::Veth(InfoVeth::Peer(peer)));
        self.add(message.build(), name).await
    }

    /// Lets a bridge port send a packet back out where it came in: a pod that reaches itself through a service.
    pub async fn hairpin(&self, index: u32, name: &str) -> Result<(), LinkError> {
        let message = LinkBridgePort::new(index).hairpin(true).build();
        self.0
            .link()
            .set_port(message)
            .execute()
            .await
            .map_err(refused("set hairpin on", name))
    }

    /// Gives an address; one that is already there is fine. IPv6 addresses skip duplicate detection: this node alone
    /// gives them out, and a pod must not wait a second for its own.
    pub async fn add_address(&self, index: u32, name: &str, net: IpNet) -> Result<(), LinkError> {
        let mut request = self.0.address().add(index, net.addr(), net.prefix_len()).replace();
        if net.addr().is_ipv6() {
            let message = request.message_mut();
            message.header.flags |= rtnetlink::packet_route::address::AddressHeaderFlags::Nodad;
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
        request
            .execute()
            .await
            .map_err(refused("add address", format!("{net} to {name}")))
    }

    /// Takes an address away; one that is not there is fine.
    pub async fn remove_address(&self, index: u32, net: IpNet) -> Result<(), LinkError> {
        let messages: Vec<_> = self
            .0
            .address()
            .get()
            .set_link_index_filter(index)
            .execute()
            .try_collect()
            .await
            .map_err(refused("list", "addresses"))?;
        for message in messages {
            if address_of(&message) == Some(net) {
                self.0
                    .address()
                    .del(message)
                    .execute()
                    .await
                    .map_err(refused("remove address", net.to_string()))?;
            }
        }
        Ok(())
    }

    /// Sets the default route of the gateway's family; of several, the lowest `metric` is used.
    pub async fn default_route(&self, index: u32, gateway: IpAddr, metric: u32) -> Result<(), LinkError> {
        let message = match gateway {
            IpAddr::V4(gateway) => RouteMessageBuilder::<Ipv4Addr>::new()
                .gateway(gateway)
                .output_interface(index)
                .priority(metric)
                .build(),
            IpAddr::V6(gateway) => RouteMessageBuilder::<Ipv6Addr>::new()
                .gateway(gateway)
                .output_interface(index)
                .priority(metric)
                .build(),
        };
        let request = self.0.route().add(message).replace();
        request
            .execute()
            .await
            .map_err(refused("set the default route via", gateway.to_string()))
    }

    /// Every address with the index of its link, link-local and loopback ones left out.
    pub async fn global_addresses(&self) -> Result<Vec<(u32, IpNet)>, LinkError> {
        let messages: Vec<_> = self
            .0
            .address()
            .get()
            .execute()
            .try_collect()
            .await
            .map_err(refused("list", "addresses"))?;
        let found = messages
            .iter()
            .filter_map(|message| Some((message.header.index, address_of(message)?)));
        Ok(found.filter(|(_, net)| is_global(net.addr())).collect())
    }
}

impl Link {
    fn from_message(message: &LinkMessage) -> Self {
        let mut link = Self {
            index: message.header.index,
            name: String::new(),
            mac: None,
            physical: false,
        };
        let mut virtual_device = false;
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                LinkAttribute::Address(bytes) => link.mac = bytes.as_slice().try_into().ok(),
                LinkAttribute::LinkInfo(_) | LinkAttribute::Controller(_) => virtual_device = true,
                _ => {}
            }
        }
        let ethernet = message.header.link_layer_type == LinkLayerType::Ether;
        link.physical = ethernet && !virtual_device && !message.header.flags.contains(LinkFlags::Loopback);
        link
    }
}

fn address_of(message: &rtnetlink::packet_route::address::AddressMessage) -> Option<IpNet> {
    let mut found = None;
    for attribute in &message.attributes {
        match attribute {
            // On point-to-point links `Address` is the other end; `Local` is ours where there is one.
            AddressAttribute::Local(address) => found = Some(*address),
            AddressAttribute::Address(address) if found.is_none() => found = Some(*address),
            _ => {}
        }
    }
    debug_assert!(matches!(
        message.header.family,
        AddressFamily::Inet | AddressFamily::Inet6
    ));
    IpNet::new(found?, message.header.prefix_len).ok()
}

fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_loopback() && !address.is_link_local(),
        IpAddr::V6(address) => !address.is_loopback() && !address.is_unicast_link_local(),
    }
}

fn refused(what: &'static str, on: impl Into<String>) -> impl FnOnce(rtnetlink::Error) -> LinkError {
    let on = on.into();
    move |cause| LinkError::Request { what, on, cause }
}
