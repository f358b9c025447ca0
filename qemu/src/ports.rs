//! Free loopback ports, chosen once per cluster so that its addresses outlive restarts.

use anyhow::{Result, bail};
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Below those that kernels give to connections by themselves (`ip_local_port_range`): on a busy host one of those is taken
/// between the choice and the start of a machine. And below a cluster's own node ports.
const FIRST: u16 = 20_000;
const COUNT: u16 = 10_000;

/// `count` different ports that nobody listens on now. Somebody may take one before we do; whoever binds says so then.
pub fn free(count: usize) -> Result<Vec<u16>> {
    /// Processes begin in different places, and no two calls of one process give the same.
    static NEXT: LazyLock<AtomicU64> = LazyLock::new(|| (RandomState::new().build_hasher().finish() >> 1).into());
    let tried = (0..COUNT).map(|_| NEXT.fetch_add(1, Ordering::Relaxed) % u64::from(COUNT));
    let ports = tried.filter_map(|offset| u16::try_from(offset).ok().map(|offset| FIRST + offset));
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let found: Vec<u16> = ports.filter(is_free).take(count).collect();
    if found.len() < count {
        bail!(
            "no {count} free ports on 127.0.0.1 from {FIRST} to {}",
            FIRST + (COUNT - 1)
        );
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_passed_over_and_nothing_is_given_twice() {
        let first = free(3).unwrap();
        let held: Vec<TcpListener> = (0..5)
            .filter_map(|step| TcpListener::bind((Ipv4Addr::LOCALHOST, first[2] + step)).ok())
            .collect();
        let second = free(3).unwrap();
        let taken: Vec<u16> = held.iter().map(|held| held.local_addr().unwrap().port()).collect();
        assert!(second.iter().all(|port| !taken.contains(port) && !first.contains(port)));
    }
}
