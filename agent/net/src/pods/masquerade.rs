//! Pods reach the world under the node's address: one nftables table, replaced in one transaction.

use ipnet::IpNet;
use nlink::netlink::nftables::{BaseChain, Chain, Family, NatHook, Priority, Rule};
use nlink::netlink::{Connection, Error, Nftables};

const TABLE: &str = "pintle";
const CHAIN: &str = "way-out";

/// Replaces the table: what comes from a pod of this node and leaves `cluster` gets the address of the interface that
/// it leaves by.
pub(super) async fn set(cidrs: &[IpNet], cluster: &[IpNet]) -> Result<(), Error> {
    let connection = Connection::<Nftables>::new()?;
    let stands = connection
        .list_tables_in(Family::Inet)
        .await?
        .iter()
        .any(|table| table.name == TABLE);
    let mut transaction = connection.transaction();
    if stands {
        transaction = transaction.del_table(TABLE, Family::Inet);
    }
    let nat = BaseChain::nat(NatHook::Postrouting, Priority::SrcNat);
    transaction = transaction
        .add_table(TABLE, Family::Inet)
        .add_chain(Chain::new(TABLE, CHAIN)?.family(Family::Inet).base(nat));
    for cidr in cidrs {
        transaction = transaction.add_rule(rule(cidr, cluster));
    }
    transaction.commit(&connection).await
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
