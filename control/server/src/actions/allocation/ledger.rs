//! What the stored Services hold, followed by a watch, and what writes under way are about to hold.

use super::{addresses, ports};
use futures_util::FutureExt;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use store::{Change, Entry, Store, Watch};

/// The Services' place in the store.
const SERVICES: &str = "services/";
/// Changes taken at once.
const BATCH: usize = 256;

/// Who holds what.
pub(super) struct Ledger {
    watch: Option<Watch>,
    addresses: HashMap<IpAddr, Arc<str>>,
    ports: HashMap<u16, Arc<str>>,
    reserved_addresses: HashSet<IpAddr>,
    reserved_ports: HashSet<u16>,
}

// === impl Ledger ===

impl Ledger {
    /// From all that is stored.
    pub(super) fn read(store: &Store) -> Self {
        let mut ledger = Self {
            watch: None,
            addresses: HashMap::new(),
            ports: HashMap::new(),
            reserved_addresses: HashSet::new(),
            reserved_ports: HashSet::new(),
        };
        ledger.read_again(store);
        ledger
    }

    /// Takes in what has changed since the last time.
    pub(super) fn catch_up(&mut self, store: &Store) {
        loop {
            let next = self
                .watch
                .as_mut()
                .and_then(|watch| watch.next_batch(BATCH).now_or_never());
            match next {
                Some(Ok(changes)) => changes.iter().for_each(|change| self.apply(change)),
                None if self.watch.is_some() => return,
                // Cut off for not having looked for long.
                Some(Err(_)) | None => {
                    self.read_again(store);
                    return;
                }
            }
        }
    }

    /// Whether anybody has or is about to have the address.
    pub(super) fn has_address(&self, address: IpAddr) -> bool {
        self.addresses.contains_key(&address) || self.reserved_addresses.contains(&address)
    }

    /// Whether anybody has or is about to have the port.
    pub(super) fn has_port(&self, port: u16) -> bool {
        self.ports.contains_key(&port) || self.reserved_ports.contains(&port)
    }

    pub(super) fn reserve(&mut self, addresses: &[IpAddr], ports: &[u16]) {
        self.reserved_addresses.extend(addresses);
        self.reserved_ports.extend(ports);
    }

    pub(super) fn give_back(&mut self, addresses: &[IpAddr], ports: &[u16]) {
        self.reserved_addresses.retain(|address| !addresses.contains(address));
        self.reserved_ports.retain(|port| !ports.contains(port));
    }

    fn read_again(&mut self, store: &Store) {
        self.addresses.clear();
        self.ports.clear();
        let snapshot = store.range(SERVICES, None, 0);
        snapshot.entries.iter().for_each(|entry| self.take(entry));
        // A revision that was just read is never forgotten already; if it were, the next look reads again.
        self.watch = store.watch(SERVICES, snapshot.revision).ok();
    }

    fn apply(&mut self, change: &Change) {
        let key = &change.entry.key;
        let gone = change.previous.as_ref().map(held).unwrap_or_default();
        for address in gone.0 {
            if self.addresses.get(&address) == Some(key) {
                self.addresses.remove(&address);
            }
        }
        for port in gone.1 {
            if self.ports.get(&port) == Some(key) {
                self.ports.remove(&port);
            }
        }
        if !change.deleted {
            self.take(&change.entry);
        }
    }

    fn take(&mut self, entry: &Entry) {
        let (addresses, ports) = held(entry);
        let key = &entry.key;
        self.addresses.extend(addresses.into_iter().map(|a| (a, key.clone())));
        self.ports.extend(ports.into_iter().map(|p| (p, key.clone())));
    }
}

fn held(entry: &Entry) -> (Vec<IpAddr>, Vec<u16>) {
    let service: Value = serde_json::from_slice(&entry.value).unwrap_or_default();
    (addresses::of(&service), ports::of(&service))
}
