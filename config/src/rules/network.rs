//! Rules of `[network]`.

use super::words::{is_dns_name, is_mac};
use crate::machine::{Interface, Network};
use crate::place::Place;

/// The kernel's IFNAMSIZ, less the closing zero.
const LONGEST_NAME: usize = 15;

pub(super) fn check(network: &Network) -> Vec<(Place, String)> {
    let mut broken = Vec::new();
    for (nth, interface) in network.interfaces.iter().enumerate() {
        let place = Place::of("network.interface").index(nth);
        let earlier = &network.interfaces[..nth];
        broken.extend(selector(interface, earlier, &place));
        broken.extend(addresses(interface, earlier, &place));
    }
    for name in network.hosts.keys().filter(|name| !is_dns_name(name)) {
        broken.push((
            Place::of("network.hosts").key(name),
            format!("{name:?} is no host name"),
        ));
    }
    broken
}

fn selector(interface: &Interface, earlier: &[Interface], place: &Place) -> Option<(Place, String)> {
    match (&interface.mac, &interface.name) {
        (None, None) => Some((
            place.clone(),
            format!("`{place}` says neither `mac` nor `name`; say which interface is meant"),
        )),
        (Some(_), Some(_)) => Some((
            place.clone(),
            format!("`{place}` says both `mac` and `name`; one of them selects"),
        )),
        (Some(mac), None) if !is_mac(mac) => Some((
            place.key("mac"),
            format!("{mac:?} is no hardware address like 52:54:00:12:34:56"),
        )),
        (Some(mac), None) => earlier
            .iter()
            .any(|other| other.mac.as_ref().is_some_and(|other| other.eq_ignore_ascii_case(mac)))
            .then(|| (place.key("mac"), format!("interface {mac} stands here twice"))),
        (None, Some(name)) if name.is_empty() || name.len() > LONGEST_NAME || name.contains(['/', ' ', ':']) => Some((
            place.key("name"),
            format!("{name:?} is no interface name; at most {LONGEST_NAME} letters, e.g. eth0"),
        )),
        (None, Some(name)) => earlier
            .iter()
            .any(|other| other.name.as_ref() == Some(name))
            .then(|| (place.key("name"), format!("interface {name} stands here twice"))),
    }
}

fn addresses(interface: &Interface, earlier: &[Interface], place: &Place) -> Vec<(Place, String)> {
    let mut broken = Vec::new();
    if !interface.dhcp && interface.addresses.is_empty() {
        broken.push((
            place.clone(),
            format!("`{place}` has no `addresses` and does not ask `dhcp`; give it one of them"),
        ));
    }
    for (nth, address) in interface.addresses.iter().enumerate() {
        let at = place.key("addresses").index(nth);
        let width = address.max_prefix_len();
        if address.prefix_len() == 0 {
            broken.push((
                at.clone(),
                format!("address {address} has prefix length 0; its network would be everything"),
            ));
        } else if address.prefix_len() + 1 < width && address.addr() == address.network() {
            broken.push((
                at.clone(),
                format!("{address} is a network's own address; give the interface's address in it"),
            ));
        }
        let taken = interface.addresses[..nth]
            .iter()
            .chain(earlier.iter().flat_map(|other| &other.addresses));
        if taken.into_iter().any(|other| other.addr() == address.addr()) {
            broken.push((at, format!("address {} stands here twice", address.addr())));
        }
    }
    let reachable = |gateway| interface.addresses.iter().any(|address| address.contains(&gateway));
    if let Some(gateway) = interface.gateway
        && !interface.dhcp
        && !reachable(gateway)
    {
        broken.push((
            place.key("gateway"),
            format!("gateway {gateway} is in none of the interface's networks"),
        ));
    }
    broken
}
