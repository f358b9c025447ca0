//! Host ports in network namespaces of the tests' own; those need root and say so when they have not got it.

use super::*;
use crate::links::Links;
use crate::pods::PodNetwork;
use crate::testing::{Netns, is_root};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// For anything that should happen; what should not is refused at once.
const DEADLINE: Duration = Duration::from_secs(10);

fn host_port(protocol: Protocol, address: Option<&str>, port: u16, pod_port: u16) -> HostPort {
    HostPort {
        protocol,
        address: address.map(|address| address.parse().unwrap()),
        port,
        pod_port,
    }
}

#[test]
fn open_ports_are_written_and_read() {
    let to: IpAddr = "10.244.3.2".parse().unwrap();
    let to_v6: IpAddr = "fd00:3::2".parse().unwrap();
    let cases = [
        (
            host_port(Protocol::Tcp, None, 80, 8080),
            "TCP,*,80,10.244.3.2:8080 TCP,*,80,[fd00:3::2]:8080",
        ),
        (
            host_port(Protocol::Udp, Some("192.0.2.1"), 53, 53),
            "UDP,192.0.2.1,53,10.244.3.2:53",
        ),
        // Unspecified: everything, but of its family.
        (host_port(Protocol::Tcp, Some("0.0.0.0"), 1, 2), "TCP,*,1,10.244.3.2:2"),
        (host_port(Protocol::Sctp, Some("::"), 1, 2), "SCTP,*,1,[fd00:3::2]:2"),
    ];
    for (port, expected) in cases {
        let open = resolved(&port, &[to, to_v6]);
        let written: Vec<String> = open.iter().map(ToString::to_string).collect();
        assert_eq!(written.join(" "), expected);
        let read: Vec<Open> = written.iter().map(|word| word.parse().unwrap()).collect();
        assert_eq!(read, open);
    }
    for torn in [
        "",
        "TCP,*,80",
        "ICMP,*,80,10.0.0.1:1",
        "TCP,*,80,10.0.0.1:1,",
        "TCP,all,80,10.0.0.1:1",
        "TCP,*,80000,10.0.0.1:1",
    ] {
        assert!(torn.parse::<Open>().is_err(), "{torn}");
    }
}

/// A node with an address that the world knows, the world, and two pods, the first with ports of the machine.
struct World {
    node: Netns,
    world: Netns,
    pods: [Netns; 2],
    addresses: Vec<IpAddr>,
    folder: tempfile::TempDir,
    cidrs: Vec<IpNet>,
}

impl World {
    fn new() -> Self {
        let (node, world) = (Netns::new(), Netns::new());
        let mut made = Self {
            pods: [Netns::new(), Netns::new()],
            addresses: Vec::new(),
            folder: tempfile::tempdir().unwrap(),
            cidrs: vec!["10.244.3.0/24".parse().unwrap(), "fd00:3::/64".parse().unwrap()],
            node,
            world,
        };
        made.node.run(async || {
            let links = Links::here().unwrap();
            let lo = links.get("lo").await.unwrap();
            links.set_up(lo.index, "lo").await.unwrap();
            links.add(rtnetlink::LinkBridge::new("up").build(), "up").await.unwrap();
            let up = links.get("up").await.unwrap();
            links.set_up(up.index, "up").await.unwrap();
            for address in ["192.0.2.1/24", "192.0.2.2/24"] {
                links
                    .add_address(up.index, "up", address.parse().unwrap())
                    .await
                    .unwrap();
            }
            links.add_veth("uplink", up.index, made.world.0.as_fd()).await.unwrap();
        });
        made.world.run(async || {
            let links = Links::here().unwrap();
            let link = links.get("eth0").await.unwrap();
            links.set_up(link.index, "eth0").await.unwrap();
            links
                .add_address(link.index, "eth0", "192.0.2.9/24".parse().unwrap())
                .await
                .unwrap();
        });
        made.addresses = made.node.run(async || {
            let network = made.network().await;
            let mut given = Vec::new();
            for (owner, netns) in ["a", "b"].iter().zip(&made.pods) {
                let addresses = network.give(owner).await.unwrap();
                network.attach(owner, netns.0.as_fd(), &addresses).await.unwrap();
                given.push(addresses);
            }
            given.swap_remove(0)
        });
        made
    }

    async fn network(&self) -> PodNetwork {
        PodNetwork::open(self.folder.path(), &self.cidrs, &self.cidrs)
            .await
            .unwrap()
    }

    async fn open(&self, ports: &[HostPort]) {
        self.network()
            .await
            .open_ports("a", &self.addresses, ports)
            .await
            .unwrap();
    }
}

/// Says to everybody who comes who they are.
fn serve(pod: &Netns, port: u16) {
    let listener = pod.run(async || TcpListener::bind(("::", port)).unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let peer = stream.peer_addr().unwrap().ip().to_canonical();
            let _ = stream.write_all(peer.to_string().as_bytes());
        }
    });
}

/// What `serve` says to whoever asks from `netns`; nothing where nobody answers.
fn ask(netns: &Netns, at: &str) -> Option<String> {
    netns.run(async || {
        let mut stream = TcpStream::connect_timeout(&at.parse().unwrap(), DEADLINE).ok()?;
        let mut said = String::new();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.read_to_string(&mut said).ok()?;
        Some(said)
    })
}

/// The same, asked with that address of its own as the sender's.
fn ask_as(netns: &Netns, sender: &str, at: &str) -> Option<String> {
    netns.run(async || {
        let socket = tokio::net::TcpSocket::new_v4().ok()?;
        socket.bind(format!("{sender}:0").parse().unwrap()).ok()?;
        let dialled = tokio::time::timeout(DEADLINE, socket.connect(at.parse().unwrap())).await;
        let mut said = String::new();
        let mut stream = dialled.ok()?.ok()?;
        tokio::time::timeout(DEADLINE, stream.read_to_string(&mut said))
            .await
            .ok()?
            .ok()?;
        Some(said)
    })
}

#[test]
fn ports_of_the_machine_lead_to_the_pod_from_everywhere() {
    if !is_root() {
        return;
    }
    let world = World::new();
    serve(&world.pods[0], 8080);
    let everywhere = host_port(Protocol::Tcp, None, 80, 8080);
    let at_one_address = host_port(Protocol::Tcp, Some("192.0.2.2"), 81, 8080);
    world.node.run(async || world.open(&[everywhere, at_one_address]).await);

    // The pod knows who it is from outside, and everybody gets their answer.
    assert_eq!(ask(&world.world, "192.0.2.1:80").as_deref(), Some("192.0.2.9"));
    let [itself, neighbour] = &world.pods;
    assert_eq!(ask(&world.node, "192.0.2.1:80").as_deref(), Some("192.0.2.1"));
    assert_eq!(
        ask_as(&world.node, "192.0.2.2", "127.0.0.1:80").as_deref(),
        Some("192.0.2.2")
    );
    let gateway = Some("10.244.3.1");
    assert_eq!(ask(&world.node, "127.0.0.1:80").as_deref(), gateway);
    assert_eq!(ask(neighbour, "192.0.2.1:80").as_deref(), gateway);
    assert_eq!(ask(itself, "192.0.2.1:80").as_deref(), gateway);
    assert_eq!(ask(neighbour, "[fd00:3::1]:80").as_deref(), Some("fd00:3::1"));
    // One address is not another, and no other port is open.
    assert_eq!(ask(&world.world, "192.0.2.2:81").as_deref(), Some("192.0.2.9"));
    for closed in ["192.0.2.1:81", "192.0.2.1:8080"] {
        assert_eq!(ask(&world.world, closed), None, "{closed}");
    }
    assert_eq!(ask(&world.node, "127.0.0.1:81"), None);

    // They are as they were for an agent that begins anew, until the pod goes.
    world.node.run(async || drop(world.network().await));
    assert_eq!(ask(&world.world, "192.0.2.1:80").as_deref(), Some("192.0.2.9"));
    world
        .node
        .run(async || world.network().await.take_back("a").await.unwrap());
    assert_eq!(ask(&world.world, "192.0.2.1:80"), None);
    assert_eq!(std::fs::read_to_string(world.folder.path().join("ports")).unwrap(), "");
}

#[test]
fn a_port_has_one_owner_at_a_time() {
    if !is_root() {
        return;
    }
    let world = World::new();
    let at = |address| host_port(Protocol::Tcp, address, 80, 8080);
    world.node.run(async || {
        let network = world.network().await;
        network
            .open_ports("a", &world.addresses, &[at(Some("192.0.2.1"))])
            .await
            .unwrap();
        let other: Vec<IpAddr> = vec!["10.244.3.3".parse().unwrap()];
        let refused = network.open_ports("b", &other, &[at(None)]).await.unwrap_err();
        assert_eq!(refused.to_string(), "host port 80/TCP leads to a already");
        let udp = host_port(Protocol::Udp, None, 80, 8080);
        network
            .open_ports("b", &other, &[at(Some("192.0.2.2")), udp])
            .await
            .unwrap();
        network.keep_only(&["b".to_owned()]).await.unwrap();
        network.open_ports("b", &other, &[at(None)]).await.unwrap();
    });
    let book = std::fs::read_to_string(world.folder.path().join("ports")).unwrap();
    assert_eq!(book, "b TCP,*,80,10.244.3.3:8080\n");
}

/// A client that keeps its port reaches the pod that has the port now.
#[test]
fn datagrams_follow_the_port_to_its_next_owner() {
    if !is_root() {
        return;
    }
    let world = World::new();
    let listen = |pod: &Netns| {
        let socket = pod.run(async || UdpSocket::bind(("0.0.0.0", 5353)).unwrap());
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        socket
    };
    let (first, second) = (listen(&world.pods[0]), listen(&world.pods[1]));
    let port = host_port(Protocol::Udp, None, 53, 5353);
    let client = world.world.run(async || UdpSocket::bind("192.0.2.9:4000").unwrap());
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut buffer = [0; 16];
    world.node.run(async || world.open(&[port]).await);
    client.send_to(b"one", "192.0.2.1:53").unwrap();
    let (_, from) = first.recv_from(&mut buffer).unwrap();
    first.send_to(b"yes", from).unwrap();
    assert_eq!(client.recv_from(&mut buffer).unwrap().1.to_string(), "192.0.2.1:53");
    world.node.run(async || {
        let network = world.network().await;
        network.take_back("a").await.unwrap();
        network
            .open_ports("b", &["10.244.3.3".parse().unwrap()], &[port])
            .await
            .unwrap();
    });
    client.send_to(b"two", "192.0.2.1:53").unwrap();
    assert_eq!(second.recv_from(&mut buffer).unwrap().0, 3);
}

/// What lets 127.0.0.1 reach pods does not let pods reach the machine's 127.0.0.1.
#[test]
fn pods_cannot_reach_the_machines_loopback() {
    if !is_root() {
        return;
    }
    let world = World::new();
    let secret = world.node.run(async || UdpSocket::bind("127.0.0.1:99").unwrap());
    let open = world.node.run(async || UdpSocket::bind("10.244.3.1:99").unwrap());
    open.set_read_timeout(Some(DEADLINE)).unwrap();
    secret.set_nonblocking(true).unwrap();
    world.pods[0].run(async || {
        // A pod with CAP_NET_ADMIN may route 127.0.0.1 away from its own loopback.
        std::fs::write("/proc/sys/net/ipv4/conf/all/route_localnet", "1").unwrap();
        for words in [
            "route del table local 127.0.0.1 dev lo",
            "route del table local 127.0.0.0/8 dev lo",
            "route add 127.0.0.1 via 10.244.3.1 dev eth0",
        ] {
            let ended = std::process::Command::new("ip")
                .args(words.split(' '))
                .status()
                .unwrap();
            assert!(ended.success(), "ip {words}");
        }
        let socket = UdpSocket::bind("10.244.3.2:0").unwrap();
        socket.send_to(b"steal", "127.0.0.1:99").unwrap();
        socket.send_to(b"ask", "10.244.3.1:99").unwrap();
    });
    // They go the same way, so the first is there when the second is.
    assert_eq!(open.recv_from(&mut [0; 16]).unwrap().0, 3);
    let stolen = secret.recv_from(&mut [0; 16]).unwrap_err();
    assert_eq!(stolen.kind(), std::io::ErrorKind::WouldBlock);
}
