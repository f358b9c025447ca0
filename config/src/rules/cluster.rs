//! Rules of `[cluster]`: names, and address ranges that must not overlap.

use super::machine::not_a_label;
use super::words::{is_dns_label, is_dns_name, is_endpoint};
use crate::machine::{Cluster, MachineConfig};
use crate::place::Place;
use ipnet::IpNet;

/// A node's part of the pod addresses leaves room for a gateway, a pod and the two addresses that are nobody's.
const SMALLEST_PART_BITS: u8 = 2;

pub(super) fn check(config: &MachineConfig) -> Vec<(Place, String)> {
    let cluster = &config.cluster;
    let mut broken = Vec::new();
    if !is_dns_label(&cluster.name) {
        broken.push((Place::of("cluster.name"), not_a_label("cluster.name", &cluster.name)));
    }
    if !is_endpoint(&cluster.endpoint) {
        let message = format!(
            "`cluster.endpoint` is {:?}; write https://HOST:PORT, e.g. https://10.0.0.1:6443",
            cluster.endpoint
        );
        broken.push((Place::of("cluster.endpoint"), message));
    }
    if !is_dns_name(&cluster.dns_domain) {
        let message = format!("`cluster.dns-domain` is {:?}, which is no DNS name", cluster.dns_domain);
        broken.push((Place::of("cluster.dns-domain"), message));
    }
    broken.extend(ranges("cluster.pod-cidrs", &cluster.pod_cidrs));
    broken.extend(ranges("cluster.service-cidrs", &cluster.service_cidrs));
    broken.extend(too_small(cluster));
    broken.extend(dns(cluster));
    broken.extend(overlaps(cluster));
    broken.extend(node_address(config));
    broken
}

fn ranges(key: &str, cidrs: &[IpNet]) -> Vec<(Place, String)> {
    let mut broken = Vec::new();
    if cidrs.is_empty() {
        broken.push((
            Place::of(key),
            format!("`{key}` is empty; give one prefix, or one per address family"),
        ));
    }
    for (nth, cidr) in cidrs.iter().enumerate() {
        let place = Place::of(key).index(nth);
        if cidr.trunc() != *cidr {
            broken.push((
                place.clone(),
                format!("{cidr} has bits set behind its prefix; write {}", cidr.trunc()),
            ));
        }
        if cidrs[..nth].iter().any(|other| is_v4(other) == is_v4(cidr)) {
            broken.push((place, format!("`{key}` has two prefixes of one address family")));
        }
    }
    broken
}

fn too_small(cluster: &Cluster) -> Vec<(Place, String)> {
    let mut broken = Vec::new();
    for (nth, cidr) in cluster.pod_cidrs.iter().enumerate() {
        let part = cluster.node_part(cidr);
        let key = if is_v4(cidr) {
            "cluster.node-cidr-mask-size-ipv4"
        } else {
            "cluster.node-cidr-mask-size-ipv6"
        };
        let (place, size) = (Place::of("cluster.pod-cidrs").index(nth), Place::of(key));
        let most = cidr.max_prefix_len() - SMALLEST_PART_BITS;
        if part > most {
            broken.push((
                size,
                format!("`{key}` is {part}, which leaves a node no addresses for pods; write at most {most}"),
            ));
        } else if cidr.prefix_len() > part {
            broken.push((place, format!("{cidr} is too small: every node gets a /{part} of it")));
        }
    }
    for (nth, cidr) in cluster.service_cidrs.iter().enumerate() {
        if cidr.prefix_len() + 2 > cidr.max_prefix_len() {
            let message = format!("{cidr} is too small for Services");
            broken.push((Place::of("cluster.service-cidrs").index(nth), message));
        }
    }
    broken
}

/// What resolvers take at most: man 5 resolv.conf, MAXNS.
const MOST_NAMESERVERS: usize = 3;

fn dns(cluster: &Cluster) -> Option<(Place, String)> {
    let key = "cluster.dns-addresses";
    if cluster.dns_addresses.len() > MOST_NAMESERVERS {
        let message = format!("`{key}` names more than {MOST_NAMESERVERS} servers, and resolvers ask no further ones");
        return Some((Place::of(key).index(MOST_NAMESERVERS), message));
    }
    let message = || format!("no service range has a tenth address for DNS; say where it answers, as `{key}`");
    (cluster.dns().is_empty() && !cluster.service_cidrs.is_empty())
        .then(|| (Place::of("cluster.service-cidrs"), message()))
}

fn overlaps(cluster: &Cluster) -> Vec<(Place, String)> {
    let named = |key: &'static str, cidrs: &[IpNet]| {
        cidrs
            .iter()
            .enumerate()
            .map(|(nth, cidr)| (Place::of(key).index(nth), *cidr))
            .collect::<Vec<_>>()
    };
    let mut all = named("cluster.pod-cidrs", &cluster.pod_cidrs);
    let services = named("cluster.service-cidrs", &cluster.service_cidrs);
    let nodes = cluster.node_cidr.map(|cidr| (Place::of("cluster.node-cidr"), cidr));
    let mut broken = Vec::new();
    for (place, cidr) in services.into_iter().chain(nodes) {
        // Two prefixes share an address only where one lies in the other.
        if let Some((other, range)) = all
            .iter()
            .find(|(_, range)| range.contains(&cidr) || cidr.contains(range))
        {
            broken.push((place.clone(), format!("`{place}` {cidr} overlaps `{other}` {range}")));
        }
        all.push((place, cidr));
    }
    broken
}

/// A machine whose addresses are all fixed must have one in the nodes' network.
fn node_address(config: &MachineConfig) -> Option<(Place, String)> {
    let cidr = config.cluster.node_cidr?;
    let interfaces = &config.network.interfaces;
    if interfaces.is_empty() || interfaces.iter().any(|interface| interface.dhcp) {
        return None;
    }
    let mut fixed = interfaces.iter().flat_map(|interface| &interface.addresses);
    let message = || format!("`cluster.node-cidr` is {cidr}, but no interface has an address in it");
    (!fixed.any(|address| cidr.contains(&address.addr()))).then(|| (Place::of("cluster.node-cidr"), message()))
}

fn is_v4(cidr: &IpNet) -> bool {
    matches!(cidr, IpNet::V4(_))
}
