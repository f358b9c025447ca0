//! Cuts a network into equal parts and knows which are free.

use crate::context::PodNetwork;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Nothing is left.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pod network {network} has no /{part} left: all {parts} are in use; give the cluster a larger one")]
pub struct Full {
    /// Of which network.
    pub network: IpNet,
    /// The parts' prefix length.
    pub part: u8,
    /// How many there are.
    pub parts: u64,
}

/// One network and its parts that are in use.
#[derive(Clone, Debug)]
pub struct Allocator {
    network: IpNet,
    part: u8,
    used: BTreeSet<u64>,
}

impl Allocator {
    /// All free. A network smaller than a part is one part.
    pub fn new(pods: PodNetwork) -> Allocator {
        let PodNetwork { network, part } = pods;
        Allocator {
            network: network.trunc(),
            part: part.max(network.prefix_len()),
            used: BTreeSet::new(),
        }
    }

    /// The first free part.
    pub fn allocate(&mut self) -> Result<IpNet, Full> {
        let taken = self
            .used
            .iter()
            .enumerate()
            .take_while(|(index, used)| *index as u64 == **used)
            .count() as u64;
        if taken >= self.parts() {
            return Err(Full {
                network: self.network,
                part: self.part,
                parts: self.parts(),
            });
        }
        self.used.insert(taken);
        Ok(self.at(taken))
    }

    /// Marks every part that `range` touches; nothing if it is not of this network.
    pub fn occupy(&mut self, range: IpNet) {
        let touched = self.touched(range);
        self.used.extend(touched.into_iter().flatten());
    }

    /// Makes every part that `range` touches free.
    pub fn release(&mut self, range: IpNet) {
        for part in self.touched(range).into_iter().flatten() {
            self.used.remove(&part);
        }
    }

    /// How many parts there are, at most 2^16: more nodes than a cluster has.
    fn parts(&self) -> u64 {
        1 << (self.part - self.network.prefix_len()).min(16)
    }

    fn shift(&self) -> u32 {
        u32::from(self.network.max_prefix_len() - self.part)
    }

    fn at(&self, index: u64) -> IpNet {
        match self.network {
            IpNet::V4(network) => {
                let bits = u32::from(network.network()) | ((index << self.shift()) as u32);
                Ipv4Net::new_assert(Ipv4Addr::from(bits), self.part).into()
            }
            IpNet::V6(network) => {
                let bits = u128::from(network.network()) | (u128::from(index) << self.shift());
                Ipv6Net::new_assert(Ipv6Addr::from(bits), self.part).into()
            }
        }
    }

    fn touched(&self, range: IpNet) -> Option<std::ops::RangeInclusive<u64>> {
        let index = |address: u128, base: u128| ((address - base) >> self.shift()) as u64;
        let (first, last, base) = match (range, self.network) {
            (IpNet::V4(range), IpNet::V4(network)) if network.contains(&range) => {
                let base = u32::from(network.network());
                (
                    u32::from(range.network()).into(),
                    u32::from(range.broadcast()).into(),
                    base.into(),
                )
            }
            (IpNet::V6(range), IpNet::V6(network)) if network.contains(&range) => (
                u128::from(range.network()),
                u128::from(range.broadcast()),
                u128::from(network.network()),
            ),
            _ => return None,
        };
        let last = index(last, base).min(self.parts().saturating_sub(1));
        Some(index(first, base)..=last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    fn pods(network: &str, part: u8) -> PodNetwork {
        PodNetwork {
            network: net(network),
            part,
        }
    }

    #[test]
    fn parts_are_given_in_order_reused_and_never_twice() {
        let mut given = Allocator::new(pods("10.244.0.0/22", 24));
        given.occupy(net("10.244.1.0/24"));
        given.occupy(net("192.168.0.0/24"));
        given.occupy(net("fd00::/64"));
        assert_eq!(given.allocate(), Ok(net("10.244.0.0/24")));
        assert_eq!(given.allocate(), Ok(net("10.244.2.0/24")));
        assert_eq!(given.allocate(), Ok(net("10.244.3.0/24")));
        let full = given.allocate().unwrap_err();
        assert_eq!(
            full.to_string(),
            "the pod network 10.244.0.0/22 has no /24 left: all 4 are in use; give the cluster a larger one"
        );
        given.release(net("10.244.2.0/24"));
        assert_eq!(given.allocate(), Ok(net("10.244.2.0/24")));
    }

    #[test]
    fn larger_and_smaller_ranges_that_somebody_else_gave_out_are_respected() {
        let mut given = Allocator::new(pods("10.244.0.0/16", 24));
        given.occupy(net("10.244.0.0/23"));
        given.occupy(net("10.244.2.128/25"));
        assert_eq!(given.allocate(), Ok(net("10.244.3.0/24")));
    }

    #[test]
    fn ipv6_and_networks_of_one_part_work() {
        let mut given = Allocator::new(pods("fd00:10:244::/48", 64));
        assert_eq!(given.allocate(), Ok(net("fd00:10:244::/64")));
        assert_eq!(given.allocate(), Ok(net("fd00:10:244:1::/64")));
        let mut small = Allocator::new(pods("10.1.2.0/26", 24));
        assert_eq!(small.allocate(), Ok(net("10.1.2.0/26")));
        assert!(small.allocate().is_err());
        let mut large = Allocator::new(pods("10.244.0.0/16", 21));
        assert_eq!(large.allocate(), Ok(net("10.244.0.0/21")));
        assert_eq!(large.allocate(), Ok(net("10.244.8.0/21")));
    }
}
