//! Pods reach the world under the node's address: one nftables table, replaced in one transaction.

use super::table;
use ipnet::IpNet;
use nlink::netlink::Error;
use nlink::netlink::nftables::{BaseChain, Chain, Family, NatHook, Priority, Rule};

const TABLE: &str = "pintle";
const CHAIN: &str = "way-out";

/// Replaces the table: what comes from a pod of this node and leaves `cluster` gets the address of the interface that
/// it leaves by.
pub(super) async fn set(cidrs: &[IpNet], cluster: &[IpNet]) -> Result<(), Error> {
    table::replace(TABLE, |transaction| {
        let nat = BaseChain::nat(NatHook::Postrouting, Priority::SrcNat);
        let chain = Chain::new(TABLE, CHAIN)?.family(Family::Inet).base(nat);
        let rules = cidrs.iter().map(|cidr| rule(cidr, cluster));
        Ok(rules.fold(transaction.add_chain(chain), |transaction, rule| {
            transaction.add_rule(rule)
        }))
    })
    .await
}

fn rule(cidr: &IpNet, cluster: &[IpNet]) -> Rule {
    let rule = Rule::new(TABLE, CHAIN)
        .family(Family::Inet)
        .match_saddr(cidr.network(), cidr.prefix_len());
    let same_family = cluster
        .iter()
        .filter(|known| known.addr().is_ipv4() == cidr.addr().is_ipv4());
    let rule = same_family.fold(rule, |rule, known| {
        rule.match_daddr_not(known.network(), known.prefix_len())
    });
    rule.masquerade()
}
