//! A DHCPv4 client: one interface, one lease at a time, renewed for as long as the machine runs (RFC 2131).

mod lease;
mod message;
mod socket;

use crate::links::{Link, LinkError, Links};
use lease::{Lease, Phase};
use message::{Ask, Reply, Verdict};
use socket::Socket;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// What a client tells whoever keeps name servers.
pub(super) struct Change {
    /// Index of the interface.
    pub interface: u32,
    /// Name servers of its lease; none without a lease.
    pub nameservers: Vec<IpAddr>,
}

/// Pause before the first repetition; doubles each time up to [`SLOWEST`]. RFC 2131 §4.1 proposes 4 s, for links of
/// 1997; an interface that came up a moment ago loses its first packets, and boot should not wait seconds for that.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const SLOWEST: Duration = Duration::from_secs(64);

#[derive(Debug, thiserror::Error)]
enum DhcpError {
    #[error("open a DHCP socket on {0}")]
    Open(String, #[source] std::io::Error),
    #[error("send a DHCP message")]
    Send(#[source] std::io::Error),
    #[error("the DHCP server refused the address")]
    Refused,
    #[error(transparent)]
    Link(#[from] LinkError),
}

/// Gets a lease for `link`, applies it, keeps it; begins again whenever it is lost. Never ends.
pub(super) async fn keep(links: Links, link: Link, metric: u32, changes: mpsc::Sender<Change>) {
    loop {
        if let Err(error) = hold_one_lease(&links, &link, metric, &changes).await {
            tracing::warn!(interface = %link.name, cause = %describe(&error), "DHCP lease lost or refused, asking again");
        }
        tokio::time::sleep(FIRST_PAUSE).await;
    }
}

async fn hold_one_lease(
    links: &Links,
    link: &Link,
    metric: u32,
    changes: &mpsc::Sender<Change>,
) -> Result<(), DhcpError> {
    let socket = Socket::open(&link.name).map_err(|cause| DhcpError::Open(link.name.clone(), cause))?;
    let client = Client {
        socket,
        mac: link.mac.unwrap_or_default(),
    };
    let mut lease = client.acquire().await?;
    tracing::info!(interface = %link.name, address = %lease.net, server = %lease.server, seconds = lease.valid.as_secs(), "DHCP lease");
    loop {
        apply(links, link, metric, &lease, changes).await?;
        match client.renew(&lease).await {
            Ok(renewed) => {
                if renewed.net != lease.net {
                    links.remove_address(link.index, lease.net.into()).await?;
                }
                lease = renewed;
            }
            Err(error) => {
                links.remove_address(link.index, lease.net.into()).await?;
                let _ = changes
                    .send(Change {
                        interface: link.index,
                        nameservers: Vec::new(),
                    })
                    .await;
                return Err(error);
            }
        }
    }
}

async fn apply(
    links: &Links,
    link: &Link,
    metric: u32,
    lease: &Lease,
    changes: &mpsc::Sender<Change>,
) -> Result<(), DhcpError> {
    links.add_address(link.index, &link.name, lease.net.into()).await?;
    if let Some(gateway) = lease.gateway {
        links.default_route(link.index, gateway.into(), metric).await?;
    }
    let nameservers = lease.nameservers.iter().copied().map(IpAddr::V4).collect();
    let _ = changes
        .send(Change {
            interface: link.index,
            nameservers,
        })
        .await;
    Ok(())
}

struct Client {
    socket: Socket,
    mac: [u8; 6],
}

impl Client {
    /// Discover, offer, request, acknowledge; for as long as it takes.
    async fn acquire(&self) -> Result<Lease, DhcpError> {
        let mut pause = FIRST_PAUSE;
        // One transaction for all repetitions: a slow server's reply to an earlier one is good too.
        let id = transaction();
        loop {
            if let Some(offer) = self.exchange(&Ask::Discover, id, None, pause, Verdict::Offer).await? {
                let ask = Ask::Request {
                    address: offer.address,
                    server: offer.server,
                };
                if let Some(reply) = self.exchange(&ask, id, None, pause, Verdict::Acknowledged).await?
                    && let Some(lease) = Lease::from_reply(&reply)
                {
                    return Ok(lease);
                }
            }
            pause = (pause * 2).min(SLOWEST);
        }
    }

    /// Waits till the lease wants renewing, then asks its server, then anybody, until it ends.
    async fn renew(&self, lease: &Lease) -> Result<Lease, DhcpError> {
        let since = Instant::now();
        loop {
            let (phase, wait) = lease.phase(since.elapsed());
            let to = match phase {
                Phase::Bound => {
                    tokio::time::sleep(wait).await;
                    continue;
                }
                Phase::Renewing => Some(lease.server),
                Phase::Rebinding => None,
                Phase::Expired => return Err(DhcpError::Refused),
            };
            let ask = Ask::Renew {
                address: lease.net.addr(),
            };
            let reply = self
                .exchange(&ask, transaction(), to, wait, Verdict::Acknowledged)
                .await?;
            if let Some(lease) = reply.as_ref().and_then(Lease::from_reply) {
                return Ok(lease);
            }
        }
    }

    /// Sends and waits up to `patience` for the reply that is wanted; none is no error, a refusal is.
    async fn exchange(
        &self,
        ask: &Ask,
        id: u32,
        to: Option<Ipv4Addr>,
        patience: Duration,
        wanted: Verdict,
    ) -> Result<Option<Reply>, DhcpError> {
        let message = message::encode(ask, id, self.mac);
        self.socket
            .send(&message, to.unwrap_or(Ipv4Addr::BROADCAST))
            .await
            .map_err(DhcpError::Send)?;
        let reply = async {
            loop {
                let datagram = self.socket.receive().await;
                let Some(reply) = message::decode(&datagram, id, self.mac) else {
                    continue;
                };
                if reply.verdict == wanted || reply.verdict == Verdict::Refused {
                    return reply;
                }
            }
        };
        match tokio::time::timeout(patience, reply).await {
            Ok(reply) if reply.verdict == Verdict::Refused => Err(DhcpError::Refused),
            Ok(reply) => Ok(Some(reply)),
            Err(_) => Ok(None),
        }
    }
}

/// A transaction number: has to differ from a neighbour's, not to be secret.
fn transaction() -> u32 {
    use std::hash::{BuildHasher, RandomState};
    u32::try_from(RandomState::new().hash_one(0) >> 32).expect("the number fits because it was shifted")
}

fn describe(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
