//! Open ports as nftables rules, as the CNI plugin `portmap` has them: whatever comes to an address of the machine at an open
//! port goes on to the pod; what the pod could not answer by the same way gets the machine's address on it.

use super::{Open, Protocol};
use crate::pods::{BRIDGE, table};
use ipnet::IpNet;
use nlink::netlink::netfilter::{ConntrackFilter, IpProtocol};
use nlink::netlink::nftables::{
    BaseChain, Chain, ChainName, CmpOp, Expr, Family, FibFlags, Field, FilterHook, Match, NatHook, NatStatement,
    PayloadBase, Priority, Register, Rule, Transaction,
};
use nlink::netlink::types::route::RouteType;
use nlink::netlink::{Connection, Error, Netfilter};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

const TABLE: &str = "pintle-host-ports";
/// What comes from elsewhere.
const FROM_OUTSIDE: &str = "from-outside";
/// What the machine itself sends.
const FROM_HERE: &str = "from-here";
/// One rule a port.
const PORTS: &str = "ports";
/// Where answers are made to come back by.
const WAY_BACK: &str = "way-back";
/// Keeps the machine's loopback addresses to itself.
const GUARD: &str = "guard";
/// On packets that go to a pod by its port of the machine, from one chain to another; `portmap`'s bit.
const MARK: u32 = 0x2000;
/// A protocol's number in IP headers.
const SCTP: u8 = 132;

/// Replaces the table: these ports are open and no others. Connections that stand go on.
pub(super) async fn set(cidrs: &[IpNet], open: &[Open]) -> Result<(), Error> {
    table::replace(TABLE, |transaction| {
        let transaction = chains(transaction)?;
        let ports = open.iter().map(port);
        let rules = [fixed()?, way_back(cidrs)].concat().into_iter().chain(ports);
        Ok(rules.fold(transaction, Transaction::add_rule))
    })
    .await
}

fn chains(transaction: Transaction) -> Result<Transaction, Error> {
    let nat = |hook, priority| BaseChain::nat(hook, priority);
    let base = [
        (FROM_OUTSIDE, nat(NatHook::Prerouting, Priority::DstNat)),
        (FROM_HERE, nat(NatHook::Output, Priority::DstNat)),
        (WAY_BACK, nat(NatHook::Postrouting, Priority::SrcNat)),
        // Before conntrack gives answers their first destination back, which may be 127.0.0.1.
        (GUARD, BaseChain::filter(FilterHook::Prerouting, Priority::Raw)),
    ];
    let ports = Chain::new(TABLE, PORTS)?.family(Family::Inet);
    base.into_iter()
        .try_fold(transaction.add_chain(ports), |transaction, (name, base)| {
            Ok(transaction.add_chain(Chain::new(TABLE, name)?.family(Family::Inet).base(base)))
        })
}

fn rule(chain: &str) -> Rule {
    Rule::new(TABLE, chain).family(Family::Inet)
}

fn fixed() -> Result<Vec<Rule>, Error> {
    let to_ports = |chain| {
        let to_this_machine = rule(chain).match_fib_type(FibFlags::DADDR, RouteType::Local);
        Ok::<_, Error>(to_this_machine.jump(ChainName::new(PORTS)?))
    };
    // `route_localnet` lets packets between 127.0.0.1 and pods pass the bridge; no pod may make use of it by itself.
    let from_pods = || rule(GUARD).match_iif(BRIDGE);
    Ok(vec![
        to_ports(FROM_OUTSIDE)?,
        to_ports(FROM_HERE)?,
        from_pods().match_daddr_v4(Ipv4Addr::LOCALHOST, 8).drop(),
        from_pods().match_saddr_v4(Ipv4Addr::LOCALHOST, 8).drop(),
    ])
}

/// A pod answers its neighbours on the bridge, itself and 127.0.0.1 directly, and they would not know the answer.
fn way_back(cidrs: &[IpNet]) -> Vec<Rule> {
    let localhost = IpNet::from(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let localhost = IpNet::new(localhost.addr(), 8).expect("8 is a prefix length because an IPv4 address has 32 bits");
    let sources = cidrs.iter().chain([&localhost]);
    let rules = sources.map(|source| {
        rule(WAY_BACK)
            .match_mark_masked(MARK, MARK)
            .match_saddr(source.network(), source.prefix_len())
            .masquerade()
    });
    rules.collect()
}

fn port(open: &Open) -> Rule {
    let family: u8 = match open.to {
        std::net::SocketAddr::V4(_) => 2,
        std::net::SocketAddr::V6(_) => 10,
    };
    let rule = rule(PORTS).then(Match::eq(Field::NfProto, family));
    let rule = match open.address {
        Some(address) => rule.match_daddr(address, if address.is_ipv4() { 32 } else { 128 }),
        None => rule,
    };
    let rule = match open.protocol {
        Protocol::Tcp => rule.match_tcp_dport(open.port),
        Protocol::Udp => rule.match_udp_dport(open.port),
        Protocol::Sctp => sctp_dport(rule.match_l4proto(SCTP), open.port),
    };
    rule.set_mark_masked(MARK, MARK)
        .nat(NatStatement::dnat(open.to.ip()).port(open.to.port()))
}

/// The destination port is where TCP has it, too: the second two bytes of the header.
fn sctp_dport(rule: Rule, port: u16) -> Rule {
    rule.expr(Expr::Payload {
        dreg: Register::R0,
        base: PayloadBase::Transport,
        offset: 2,
        len: 2,
    })
    .expr(Expr::Cmp {
        sreg: Register::R0,
        op: CmpOp::Eq,
        data: port.to_be_bytes().to_vec(),
    })
}

/// UDP has no connections that would end by themselves: a client that keeps sending from one port would go on to the pod that
/// it reached first, or to none.
pub(super) async fn forget_flows(changed: &[Open]) -> Result<(), Error> {
    let udp = changed.iter().filter(|open| open.protocol == Protocol::Udp);
    let ports: BTreeSet<u16> = udp.map(|open| open.port).collect();
    if ports.is_empty() {
        return Ok(());
    }
    let connection = Connection::<Netfilter>::new()?;
    for port in ports {
        let flows = ConntrackFilter::new().proto(IpProtocol::Udp).orig_dst_port(port);
        connection.flush_conntrack_matching(&flows).await?;
    }
    Ok(())
}
