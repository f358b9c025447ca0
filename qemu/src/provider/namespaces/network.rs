//! The network between machines in namespaces: a bridge in a network namespace of the harness's own.
//!
//! One thread lives in that namespace; whatever has to be made there (sockets, links) is sent to it as a job.

use crate::plan::cluster_mac;
use anyhow::{Context, Result, anyhow};
use nix::sched::{CloneFlags, unshare};
use rtnetlink::packet_route::link::{InfoData, InfoVeth};
use rtnetlink::{Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth};
use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with};
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::mpsc::{Receiver, Sender, channel};
use tokio::runtime::Runtime;

const BRIDGE: &str = "machines";
/// Interface numbers are ours to choose in a namespace of our own; chosen, nothing has to be looked up.
const BRIDGE_INDEX: u32 = 1000;
/// The loopback interface is the first of every network namespace.
const LOOPBACK_INDEX: u32 = 1;
const PREFIX_LENGTH: u8 = 24;

type Job = Box<dyn FnOnce(&Runtime) + Send>;

/// The network namespace with the bridge; it lasts as long as this value.
pub struct Network {
    jobs: Sender<Job>,
}

// === impl Network ===

impl Network {
    /// Make it, with `own` as the harness's address in it.
    pub fn start(own: Ipv4Addr) -> Result<Self> {
        let (jobs, received) = channel();
        let (ready, is_ready) = channel();
        std::thread::Builder::new()
            .name("machines' network".to_owned())
            .spawn(move || live(&received, own, &ready))
            .context("start the network's thread")?;
        is_ready.recv().context("hear from the network's thread")??;
        Ok(Self { jobs })
    }

    /// Give the network namespace `netns` a cable to the bridge: `eth0`, with machine `number`'s hardware address.
    pub fn plug_in(&self, number: u8, netns: &File) -> Result<()> {
        let netns = netns.try_clone()?;
        self.inside(move |runtime| runtime.block_on(plug_in(number, &netns)))?
            .with_context(|| format!("connect machine {number} to the bridge"))
    }

    /// Listen inside.
    pub fn listen(&self, address: SocketAddrV4) -> Result<TcpListener> {
        self.inside(move |_| TcpListener::bind(address))?
            .with_context(|| format!("listen on {address} between the machines"))
    }

    /// Connect to a machine. The socket belongs to the namespace that it was made in; connecting it can take place here.
    pub fn dial(&self, address: SocketAddrV4) -> io::Result<TcpStream> {
        let make = |_: &Runtime| socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None);
        let socket = self.inside(make).map_err(io::Error::other)??;
        connect(&socket, &address)?;
        Ok(TcpStream::from(socket))
    }

    fn inside<T: Send + 'static>(&self, job: impl FnOnce(&Runtime) -> T + Send + 'static) -> Result<T> {
        let (sender, result) = channel();
        let job = move |runtime: &Runtime| drop(sender.send(job(runtime)));
        let gone = || anyhow!("the thread of the machines' network has ended");
        self.jobs.send(Box::new(job)).map_err(|_| gone())?;
        result.recv().map_err(|_| gone())
    }
}

/// The thread in the namespace.
fn live(jobs: &Receiver<Job>, own: Ipv4Addr, ready: &Sender<Result<()>>) {
    let made = make(own);
    let runtime = match made {
        Ok(runtime) => {
            // Whoever asked waits for this.
            let _ = ready.send(Ok(()));
            runtime
        }
        Err(error) => {
            let _ = ready.send(Err(error));
            return;
        }
    };
    while let Ok(job) = jobs.recv() {
        job(&runtime);
    }
}

fn make(own: Ipv4Addr) -> Result<Runtime> {
    unshare(CloneFlags::CLONE_NEWNET).context("make a network namespace for the machines")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let links = links()?;
        let up = LinkUnspec::new_with_index(LOOPBACK_INDEX).up();
        links.link().change(up.build()).execute().await.context("bring up lo")?;
        let bridge = LinkBridge::new(BRIDGE).index(BRIDGE_INDEX).up();
        links
            .link()
            .add(bridge.build())
            .execute()
            .await
            .context("make the bridge between machines")?;
        let address = links.address().add(BRIDGE_INDEX, own.into(), PREFIX_LENGTH);
        address.execute().await.context("give the bridge its address")
    })?;
    Ok(runtime)
}

async fn plug_in(number: u8, netns: &File) -> Result<()> {
    let links = links()?;
    let index = BRIDGE_INDEX + u32::from(number);
    // The last run's cable goes with its namespace, but not at once; there may be none.
    let _ = links.link().del(index).execute().await;
    let peer = LinkMessageBuilder::<LinkUnspec>::new()
        .name("eth0")
        .address(mac_bytes(&cluster_mac(number)))
        .setns_by_fd(netns.as_raw_fd())
        .build();
    let cable = LinkVeth::new(&format!("machine{number}"), "eth0")
        .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
        .index(index)
        .controller(BRIDGE_INDEX)
        .up();
    links.link().add(cable.build()).execute().await?;
    Ok(())
}

/// A conversation with the namespace of the calling thread.
fn links() -> Result<Handle> {
    let (connection, handle, _) = rtnetlink::new_connection().context("open a netlink socket")?;
    tokio::spawn(connection);
    Ok(handle)
}

/// `52:54:…` as bytes.
fn mac_bytes(text: &str) -> Vec<u8> {
    text.split(':')
        .filter_map(|byte| u8::from_str_radix(byte, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn what_listens_inside_is_reached_from_here_and_only_by_dialing() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: making a network namespace needs root");
            return;
        }
        let network = Network::start(Ipv4Addr::new(10, 77, 0, 1)).unwrap();
        let address = SocketAddrV4::new(Ipv4Addr::new(10, 77, 0, 1), 5000);
        let listener = network.listen(address).unwrap();
        let mut client = network.dial(address).unwrap();
        let (mut served, _) = listener.accept().unwrap();
        client.write_all(b"hi").unwrap();
        drop(client);
        let mut heard = String::new();
        served.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "hi");
    }

    #[test]
    fn a_machine_gets_its_cable_and_again_after_its_end() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: making a network namespace needs root");
            return;
        }
        let network = Network::start(Ipv4Addr::new(10, 77, 0, 1)).unwrap();
        for _ in 0..3 {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap();
                    let own = File::open("/proc/thread-self/ns/net").unwrap();
                    network.plug_in(1, &own).unwrap();
                    let table = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
                    assert!(table.contains("eth0:"), "{table}");
                });
            });
        }
    }
}
