//! Who has which address: a pure book, one address per family and owner, the next free one after the last given.

use super::PodNetworkError;
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Owner to addresses.
pub(super) type Given = BTreeMap<String, Vec<IpAddr>>;

/// The book of one node.
pub(super) struct Allocator {
    pools: Vec<Pool>,
    given: Given,
}

struct Pool {
    cidr: IpNet,
    /// Where the last search ended, counted from the network address: an address is not given again right after it
    /// came back, while others may still believe in its old owner.
    last: u128,
}

impl Allocator {
    /// Continues the book `given`; addresses outside of `cidrs` stay with their owners until they come back.
    pub fn new(cidrs: &[IpNet], given: Given) -> Self {
        let pools = cidrs.iter().map(|cidr| Pool { cidr: *cidr, last: 1 }).collect();
        Self { pools, given }
    }

    /// The book as it stands.
    pub fn given(&self) -> &Given {
        &self.given
    }

    /// One address of each pool for `owner`, or nothing at all.
    pub fn give(&mut self, owner: &str) -> Result<Vec<IpAddr>, PodNetworkError> {
        if let Some(addresses) = self.given.get(owner) {
            return Ok(addresses.clone());
        }
        let taken: BTreeSet<IpAddr> = self.given.values().flatten().copied().collect();
        let mut addresses = Vec::with_capacity(self.pools.len());
        for pool in &mut self.pools {
            let Some(address) = pool.next_free(&taken) else {
                let taken = taken.iter().filter(|address| pool.cidr.contains(*address)).count();
                return Err(PodNetworkError::Exhausted { cidr: pool.cidr, taken });
            };
            addresses.push(address);
        }
        self.given.insert(owner.to_owned(), addresses.clone());
        Ok(addresses)
    }

    /// Whether `owner` had any.
    pub fn take_back(&mut self, owner: &str) -> bool {
        self.given.remove(owner).is_some()
    }

    /// Whether anything changed.
    pub fn keep_only(&mut self, owners: &[String]) -> bool {
        let before = self.given.len();
        self.given.retain(|owner, _| owners.contains(owner));
        before != self.given.len()
    }
}

impl Pool {
    fn next_free(&mut self, taken: &BTreeSet<IpAddr>) -> Option<IpAddr> {
        // The network address, the node's own and, in IPv4, the broadcast address are never given.
        let first = 2;
        let size = 1_u128
            .checked_shl((self.cidr.max_prefix_len() - self.cidr.prefix_len()).into())
            .unwrap_or(u128::MAX);
        let end = if matches!(self.cidr, IpNet::V4(_)) {
            size.saturating_sub(1)
        } else {
            size
        };
        let room = end.checked_sub(first).filter(|room| *room > 0)?;
        // Among one more candidate than there are taken addresses, one is free.
        let tries = room.min(taken.len() as u128 + 1);
        for step in 1..=tries {
            let offset = first + (self.last + step - first) % room;
            let address = nth(&self.cidr, offset);
            if !taken.contains(&address) {
                self.last = offset;
                return Some(address);
            }
        }
        None
    }
}

fn nth(cidr: &IpNet, offset: u128) -> IpAddr {
    match cidr {
        IpNet::V4(net) => {
            let offset = u32::try_from(offset).expect("the offset fits because it is below an IPv4 prefix's size");
            IpAddr::V4((u32::from(net.network()) + offset).into())
        }
        IpNet::V6(net) => IpAddr::V6((u128::from(net.network()) + offset).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book(cidrs: &[&str]) -> Allocator {
        let cidrs: Vec<IpNet> = cidrs.iter().map(|cidr| cidr.parse().unwrap()).collect();
        Allocator::new(&cidrs, Given::new())
    }

    fn text(addresses: &[IpAddr]) -> String {
        addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn addresses_start_after_the_nodes_own_and_stay_with_their_owner() {
        let mut book = book(&["10.244.1.0/24", "fd00:1::/64"]);
        assert_eq!(text(&book.give("a").unwrap()), "10.244.1.2 fd00:1::2");
        assert_eq!(text(&book.give("b").unwrap()), "10.244.1.3 fd00:1::3");
        assert_eq!(text(&book.give("a").unwrap()), "10.244.1.2 fd00:1::2");
    }

    #[test]
    fn address_comes_round_again_only_after_all_others() {
        let mut book = book(&["10.0.0.0/29"]);
        assert_eq!(text(&book.give("a").unwrap()), "10.0.0.2");
        assert!(book.take_back("a"));
        let given: Vec<String> = (0..4).map(|n| text(&book.give(&n.to_string()).unwrap())).collect();
        assert_eq!(given, ["10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"]);
        assert_eq!(text(&book.give("last").unwrap()), "10.0.0.2");
    }

    #[test]
    fn full_prefix_gives_nothing_in_any_family() {
        let mut book = book(&["fd00::/64", "10.0.0.0/30"]);
        book.give("a").unwrap();
        let refused = book.give("b").unwrap_err().to_string();
        assert!(
            refused.starts_with("no free address in 10.0.0.0/30: 1 are given out"),
            "{refused}"
        );
        assert_eq!(book.given().len(), 1);
        assert!(book.take_back("a"));
        assert_eq!(text(&book.give("b").unwrap().split_off(1)), "10.0.0.2");
    }

    #[test]
    fn what_a_crash_left_behind_comes_back() {
        let mut book = book(&["10.0.0.0/24"]);
        for owner in ["a", "b", "c"] {
            book.give(owner).unwrap();
        }
        assert!(book.keep_only(&["b".to_owned()]));
        assert!(!book.keep_only(&["b".to_owned()]));
        assert_eq!(book.given().keys().collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn prefix_without_room_is_full_at_once() {
        for cidr in ["10.0.0.0/31", "10.0.0.0/32", "fd00::/127"] {
            assert!(book(&[cidr]).give("a").is_err(), "{cidr}");
        }
    }
}
