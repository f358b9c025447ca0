//! The host's network in namespaces of the tests' own, with a DHCP server made of a socket.

use super::*;
use crate::testing::{Netns, is_root};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsFd;

/// Answers each question it gets on its link with 192.0.2.77 for `seconds`, till it has granted it `grants` times.
fn serve_dhcp(netns: &Netns, seconds: u32, grants: usize) -> std::thread::JoinHandle<Vec<u8>> {
    let socket = netns.run(async || {
        let links = Links::here().unwrap();
        let link = links.get("eth0").await.unwrap();
        links.set_up(link.index, "eth0").await.unwrap();
        links
            .add_address(link.index, "eth0", "192.0.2.1/24".parse().unwrap())
            .await
            .unwrap();
        // Broadcasts need a route too.
        links
            .default_route(link.index, "192.0.2.254".parse().unwrap(), 0)
            .await
            .unwrap();
        UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 67)).unwrap()
    });
    socket.set_broadcast(true).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    std::thread::spawn(move || {
        let mut kinds = Vec::new();
        while kinds.iter().filter(|kind| **kind == 3).count() < grants {
            let mut message = [0; 1500];
            let (length, from) = socket.recv_from(&mut message).unwrap();
            // The type option stands first in what our client sends.
            let asked = message[242];
            kinds.push(asked);
            message[0] = 2;
            message[16..20].copy_from_slice(&[192, 0, 2, 77]);
            let mut reply = message[..240.min(length)].to_vec();
            let verdict = if asked == 1 { 2 } else { 5 };
            reply.extend([
                53, 1, verdict, 54, 4, 192, 0, 2, 1, 1, 4, 255, 255, 255, 0, 3, 4, 192, 0, 2, 1,
            ]);
            reply.extend([6, 4, 192, 0, 2, 53, 51, 4]);
            reply.extend(seconds.to_be_bytes());
            reply.push(255);
            let to = if from.ip().is_unspecified() {
                Ipv4Addr::BROADCAST.into()
            } else {
                from.ip()
            };
            socket.send_to(&reply, (to, 68)).unwrap();
        }
        kinds
    })
}

async fn wire(world: &Netns) {
    let links = Links::here().unwrap();
    links.add_wire("uplink", world.0.as_fd()).await.unwrap();
}

fn dhcp_on(name: &str) -> Interface {
    Interface {
        which: Which::Name(name.to_owned()),
        dhcp: true,
        addresses: Vec::new(),
        gateway: None,
    }
}

#[test]
fn interface_gets_its_lease_and_keeps_it() {
    if !is_root() {
        return;
    }
    let (machine, world) = (Netns::new(), Netns::new());
    machine.run(async || wire(&world).await);
    // Ten seconds is the shortest lease that the client takes at its word: renewed after five.
    let server = serve_dhcp(&world, 10, 2);
    machine.run(async || {
        let up = up(&[dhcp_on("uplink")]).await.unwrap();
        assert_eq!(*up.nameservers.borrow(), ["192.0.2.53".parse::<IpAddr>().unwrap()]);
        let net = "192.0.2.77/24".parse().unwrap();
        assert_eq!(
            addresses().await.unwrap(),
            [Address {
                interface: "uplink".to_owned(),
                net
            }]
        );
        let renewed = async {
            while !server.is_finished() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), renewed)
            .await
            .expect("the lease is renewed");
    });
    let mut asked = server.join().unwrap();
    asked.dedup();
    assert_eq!(asked, [1, 3]);
}

#[test]
fn fixed_addresses_stand_and_unknown_interfaces_are_named() {
    if !is_root() {
        return;
    }
    let (machine, world) = (Netns::new(), Netns::new());
    machine.run(async || {
        wire(&world).await;
        let net: IpNet = "10.77.0.11/24".parse().unwrap();
        let mac = Links::here().unwrap().get("uplink").await.unwrap().mac.unwrap();
        let fixed = Interface {
            which: Which::Mac(mac),
            dhcp: false,
            addresses: vec![net],
            gateway: Some("10.77.0.1".parse().unwrap()),
        };
        up(std::slice::from_ref(&fixed)).await.unwrap();
        up(&[fixed]).await.expect("a second time changes nothing");
        assert_eq!(
            addresses().await.unwrap(),
            [Address {
                interface: "uplink".to_owned(),
                net
            }]
        );
        let refused = up(&[dhcp_on("eth7")]).await.unwrap_err().to_string();
        assert!(
            refused.starts_with("no interface named eth7; this machine has uplink ("),
            "{refused}"
        );
    });
}
