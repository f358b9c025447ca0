//! Real links in network namespaces that the tests make; they need root and say so when they have not got it.

use super::*;
use crate::testing::{Netns, is_root};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;

#[test]
fn pods_reach_each_other_the_node_and_the_world() {
    if !is_root() {
        return;
    }
    let (node, a, b, world) = (Netns::new(), Netns::new(), Netns::new(), Netns::new());
    let folder = tempfile::tempdir().unwrap();
    let cidrs: Vec<IpNet> = vec!["10.244.3.0/24".parse().unwrap(), "fd00:3::/64".parse().unwrap()];
    let cluster: Vec<IpNet> = vec!["10.244.0.0/16".parse().unwrap(), "fd00::/16".parse().unwrap()];

    // Given a node with an uplink and two pods on it,
    let (of_a, of_b) = node.run(async || {
        uplink(&world).await;
        let network = PodNetwork::open(folder.path(), &cidrs, &cluster).await.unwrap();
        let mut given = Vec::new();
        for (owner, netns) in [("uid-a", &a), ("uid-b", &b)] {
            let addresses = network.give(owner).await.unwrap();
            network.attach(owner, netns.0.as_fd(), &addresses).await.unwrap();
            given.push(addresses);
        }
        (given[0].clone(), given[1].clone())
    });
    world.run(async || {
        let links = Links::here().unwrap();
        let link = links.get("eth0").await.unwrap();
        links.set_up(link.index, "eth0").await.unwrap();
        links
            .add_address(link.index, "eth0", "192.0.2.9/24".parse().unwrap())
            .await
            .unwrap();
    });

    // then a pod reaches the other in both families,
    for address in &of_b {
        let listener = b.run(async || TcpListener::bind((*address, 0)).unwrap());
        let port = listener.local_addr().unwrap().port();
        let seen = a.run(async || TcpStream::connect((*address, port)).unwrap().local_addr().unwrap().ip());
        assert_eq!(listener.accept().unwrap().1.ip(), seen);
        assert!(of_a.contains(&seen), "{seen}");
    }
    // and the world, which sees the node's address.
    let outside = world.run(async || UdpSocket::bind((Ipv4Addr::new(192, 0, 2, 9), 0)).unwrap());
    outside
        .set_read_timeout(Some(std::time::Duration::from_secs(5)))
        .unwrap();
    let to = outside.local_addr().unwrap();
    a.run(async || {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.send_to(b"hello", to).unwrap();
    });
    assert_eq!(outside.recv_from(&mut [0; 16]).unwrap().1.ip().to_string(), "192.0.2.1");
}

async fn uplink(world: &Netns) {
    let links = Links::here().unwrap();
    links.add(LinkBridge::new("up").build(), "up").await.unwrap();
    let up = links.get("up").await.unwrap();
    links.set_up(up.index, "up").await.unwrap();
    links
        .add_address(up.index, "up", "192.0.2.1/24".parse().unwrap())
        .await
        .unwrap();
    links.add_veth("uplink", up.index, world.0.as_fd()).await.unwrap();
}

#[test]
fn restarted_agent_finds_network_and_addresses_as_they_were() {
    if !is_root() {
        return;
    }
    let (node, pod) = (Netns::new(), Netns::new());
    let folder = tempfile::tempdir().unwrap();
    let cidrs: Vec<IpNet> = vec!["10.244.3.0/24".parse().unwrap()];
    let before = node.run(async || {
        let network = PodNetwork::open(folder.path(), &cidrs, &cidrs).await.unwrap();
        let addresses = network.give("uid-a").await.unwrap();
        network.attach("uid-a", pod.0.as_fd(), &addresses).await.unwrap();
        addresses
    });
    node.run(async || {
        let network = PodNetwork::open(folder.path(), &cidrs, &cidrs).await.unwrap();
        assert_eq!(network.give("uid-a").await.unwrap(), before);
        network.attach("uid-a", pod.0.as_fd(), &before).await.unwrap();
        assert_eq!(
            network.give("uid-b").await.unwrap(),
            ["10.244.3.3".parse::<IpAddr>().unwrap()]
        );
        network.keep_only(&["uid-b".to_owned()]).await.unwrap();
    });
    let book = std::fs::read_to_string(folder.path().join("addresses")).unwrap();
    assert_eq!(book, "uid-b 10.244.3.3\n");
}

#[test]
fn node_end_of_a_pod_goes_away_with_its_namespace() {
    if !is_root() {
        return;
    }
    let node = Netns::new();
    let folder = tempfile::tempdir().unwrap();
    let cidrs: Vec<IpNet> = vec!["10.244.3.0/24".parse().unwrap()];
    node.run(async || {
        let network = PodNetwork::open(folder.path(), &cidrs, &cidrs).await.unwrap();
        let pod = Netns::new();
        let addresses = network.give("uid-a").await.unwrap();
        network.attach("uid-a", pod.0.as_fd(), &addresses).await.unwrap();
        let links = Links::here().unwrap();
        assert!(links.find(&veth_name("uid-a")).await.unwrap().is_some());
        drop(pod);
        let gone = async {
            while links.find(&veth_name("uid-a")).await.unwrap().is_some() {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(10), gone)
            .await
            .expect("the veth goes away");
    });
}
