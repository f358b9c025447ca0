//! Cluster addresses: out of the ServiceCIDRs, the upper part of a range first so that people find free ones in the lower
//! (KEP-3070).

use super::ledger::Ledger;
use super::{Refused, has_address};
use api::FieldError;
use api::addresses::{Cidr, from_number, number};
use api::read::{list, text};
use serde_json::{Value, json};
use std::net::IpAddr;
use store::Store;

/// The ServiceCIDR whose prefixes say which families the cluster has.
const FIRST: &str = "servicecidrs/kubernetes";

/// One prefix of a ServiceCIDR.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    first: u128,
    last: u128,
    cidr: Cidr,
    /// Where the part begins out of which addresses are given.
    upper: u128,
}

/// All ranges that addresses may come from, those of the cluster's own first.
pub(super) fn ranges(store: &Store) -> Vec<Range> {
    let mut entries = store.range("servicecidrs/", None, 0).entries;
    entries.sort_by_key(|entry| *entry.key != *FIRST);
    let objects = entries
        .iter()
        .map(|entry| serde_json::from_slice::<Value>(&entry.value));
    let usable = objects.flatten().filter(|cidr| !api::metadata::is_deleting(cidr));
    usable
        .flat_map(|cidr| list(&cidr, "/spec/cidrs").to_vec())
        .filter_map(|prefix| prefix.as_str().and_then(Cidr::parse))
        .map(Range::of)
        .collect()
}

/// `IPv4` and `IPv6`, as far as the cluster has them, in its order.
pub(super) fn families(ranges: &[Range]) -> Vec<&'static str> {
    let mut families = Vec::new();
    for range in ranges {
        if !families.contains(&range.family()) {
            families.push(range.family());
        }
    }
    families
}

/// The addresses that a Service holds.
pub(super) fn of(service: &Value) -> Vec<IpAddr> {
    if !has_address(service) {
        return Vec::new();
    }
    let all = list(service, "/spec/clusterIPs").iter().filter_map(Value::as_str);
    all.filter_map(|ip| ip.parse().ok()).collect()
}

/// Gives the Service an address for each of its families that has none yet. What it asks for by itself and did not have is
/// checked. Everything new goes into `taken`.
pub(super) fn fill(
    store: &Store,
    ledger: &Ledger,
    ranges: &[Range],
    service: &mut Value,
    old: Option<&Value>,
    taken: &mut Vec<IpAddr>,
) -> Result<(), Refused> {
    let headless = text(service, "/spec/clusterIPs/0") == "None";
    if !has_address(service) || headless {
        return Ok(());
    }
    let had = old.map(of).unwrap_or_default();
    let families = list(service, "/spec/ipFamilies").to_vec();
    let mut ips: Vec<String> = list(service, "/spec/clusterIPs")
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    let is_taken = |ip: IpAddr| ledger.has_address(ip) || store.get(&format!("ipaddresses/{ip}")).is_some();
    for (index, family) in families.iter().filter_map(Value::as_str).enumerate() {
        match ips.get(index) {
            Some(asked) => {
                let address = asked.parse::<IpAddr>().ok().filter(|ip| !had.contains(ip));
                let Some(address) = address else { continue };
                check(ranges, address, &is_taken).map_err(|why| {
                    let why = format!("failed to allocate IP {asked}: {why}");
                    Refused::Fields(vec![FieldError::invalid("spec.clusterIPs", ips.clone(), why)])
                })?;
                taken.push(address);
            }
            None => {
                let found = ranges
                    .iter()
                    .filter(|r| r.family() == family)
                    .find_map(|r| r.free(&is_taken));
                let why = "failed to allocate a serviceIP: range is full";
                let address = found.ok_or_else(|| Refused::Exhausted(why.to_owned()))?;
                ips.push(address.to_string());
                taken.push(address);
            }
        }
    }
    if let Some(first) = ips.first() {
        service["spec"]["clusterIP"] = first.as_str().into();
        service["spec"]["clusterIPs"] = json!(ips);
    }
    Ok(())
}

fn check(ranges: &[Range], address: IpAddr, is_taken: &impl Fn(IpAddr) -> bool) -> Result<(), String> {
    let of_network: Vec<&Range> = ranges.iter().filter(|r| r.cidr.contains(address)).collect();
    let Some(nearest) = of_network.first() else {
        return Err("the provided network does not match the current range".to_owned());
    };
    let inside = |r: &&Range| (r.first..=r.last).contains(&number(address));
    if !of_network.iter().copied().any(|r| inside(&r)) {
        let (network, bits) = (nearest.cidr.first(), nearest.cidr.bits);
        let why = "is not in the valid range. The range of valid IPs is";
        return Err(format!("the provided IP ({address}) {why} {network}/{bits}"));
    }
    if is_taken(address) {
        return Err("provided IP is already allocated".to_owned());
    }
    Ok(())
}

// === impl Range ===

impl Range {
    fn of(cidr: Cidr) -> Self {
        // Not the network's own address; not the broadcast address of IPv4.
        let first = number(cidr.first()) + 1;
        let last = number(cidr.last()) - u128::from(cidr.address.is_ipv4());
        let size = number(cidr.last()) - number(cidr.first()) + 1;
        let lower = if size <= 16 { 0 } else { (size / 16).clamp(16, 256) };
        Self {
            first,
            last,
            cidr,
            upper: first + lower,
        }
    }

    fn family(&self) -> &'static str {
        if self.cidr.address.is_ipv4() { "IPv4" } else { "IPv6" }
    }

    /// A free address: from a random place on in the upper part, then in the lower.
    fn free(&self, is_taken: &impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
        let lower = self.first..self.upper.min(self.last.saturating_add(1));
        let upper = self.upper..self.last.saturating_add(1);
        [upper, lower].into_iter().find_map(|part| {
            let size = part.end.checked_sub(part.start).filter(|size| *size > 0)?;
            let start = uuid::Uuid::new_v4().as_u128() % size;
            // Another part is tried before all of a huge one was looked at.
            let tries = size.min(1 << 20);
            let places = (0..tries).map(|step| part.start + (start + step) % size);
            places
                .map(|place| from_number(self.cidr.address, place))
                .find(|address| !is_taken(*address))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn range(text: &str) -> Range {
        Range::of(Cidr::parse(text).expect("the case is a prefix"))
    }

    #[test]
    fn every_address_of_a_range_is_found_once_and_then_none() {
        for (prefix, count) in [
            ("10.0.0.0/28", 14),
            ("10.0.0.0/26", 62),
            ("fd00::/124", 15),
            ("10.0.0.0/31", 0),
        ] {
            let (range, mut taken) = (range(prefix), HashSet::new());
            while let Some(address) = range.free(&|ip| taken.contains(&ip)) {
                assert!(taken.insert(address) && range.cidr.contains(address), "{address}");
                assert!(taken.len() <= count, "{prefix}");
            }
            assert_eq!(taken.len(), count, "{prefix}");
        }
    }

    #[test]
    fn the_lower_part_is_left_to_people() {
        let range = range("10.96.0.0/12");
        for _ in 0..50 {
            let address = range.free(&|_| false).expect("the range is empty");
            assert!(address > IpAddr::from([10, 96, 1, 0]), "{address}");
        }
    }

    #[test]
    fn asked_for_addresses_are_checked_as_upstream() {
        let ranges = [range("10.96.0.0/16")];
        let taken = |ip: IpAddr| ip == IpAddr::from([10, 96, 0, 1]);
        for (text, answer) in [
            ("10.96.0.2", Ok(())),
            ("10.96.0.1", Err("provided IP is already allocated")),
            (
                "10.97.0.1",
                Err("the provided network does not match the current range"),
            ),
            (
                "10.96.0.0",
                Err("the provided IP (10.96.0.0) is not in the valid range. The range of valid IPs is 10.96.0.0/16"),
            ),
        ] {
            let address = text.parse().expect("the case is an address");
            assert_eq!(check(&ranges, address, &taken), answer.map_err(str::to_owned), "{text}");
        }
    }
}
