//! Which frame goes out of which ports: learning by source address, flooding what is unknown. Pure.

use std::collections::HashMap;

/// A hardware address.
pub type Mac = [u8; 6];

/// What the switch has learned. A port is the number of the machine behind it.
#[derive(Debug, Default)]
pub struct Table {
    ports: HashMap<Mac, u8>,
}

// === impl Table ===

impl Table {
    /// Learn where `frame`'s sender lives and say where it goes: among `connected`, never back. Frames too short to
    /// carry two addresses go nowhere.
    pub fn forward(&mut self, from: u8, frame: &[u8], connected: &[u8]) -> Vec<u8> {
        let (Some(target), Some(source)) = (mac_at(frame, 0), mac_at(frame, 6)) else {
            return Vec::new();
        };
        if !is_group(source) {
            self.ports.insert(source, from);
        }
        let known = self.ports.get(&target).copied().filter(|_| !is_group(target));
        connected
            .iter()
            .copied()
            .filter(|port| *port != from && known.is_none_or(|home| home == *port))
            .collect()
    }

    /// A cable was pulled: what was behind it may turn up elsewhere.
    pub fn forget(&mut self, port: u8) {
        self.ports.retain(|_, home| *home != port);
    }
}

/// Broadcast and multicast have the lowest bit of the first byte set (IEEE 802).
fn is_group(mac: Mac) -> bool {
    mac[0] & 1 == 1
}

fn mac_at(frame: &[u8], offset: usize) -> Option<Mac> {
    frame.get(offset..offset + 6)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BROADCAST: Mac = [0xff; 6];

    fn mac(n: u8) -> Mac {
        [2, 0, 0, 0, 0, n]
    }

    fn frame(to: Mac, from: Mac) -> Vec<u8> {
        [&to[..], &from[..], &[8, 0, 1, 2]].concat()
    }

    #[test]
    fn learns_floods_and_forgets() {
        let all = [1, 2, 3];
        let mut table = Table::default();
        let steps: [(&str, u8, Mac, Mac, &[u8]); 6] = [
            ("unknown target floods", 1, mac(2), mac(1), &[2, 3]),
            ("a learned target gets it alone", 2, mac(1), mac(2), &[1]),
            ("broadcast floods", 3, BROADCAST, mac(3), &[1, 2]),
            ("to oneself goes nowhere", 1, mac(1), mac(1), &[]),
            ("a group address as source is not learned", 1, mac(2), BROADCAST, &[2]),
            ("a machine that moved is found again", 3, BROADCAST, mac(2), &[1, 2]),
        ];
        for (what, from, to, source, expected) in steps {
            assert_eq!(table.forward(from, &frame(to, source), &all), expected, "{what}");
        }
        assert_eq!(
            table.forward(1, &frame(mac(2), mac(1)), &all),
            [3],
            "mac 2 moved to port 3"
        );
        table.forget(3);
        assert_eq!(
            table.forward(1, &frame(mac(2), mac(1)), &all),
            [2, 3],
            "forgotten means flooded"
        );
    }

    #[test]
    fn stumps_are_dropped() {
        assert!(Table::default().forward(1, &[0; 11], &[1, 2]).is_empty());
    }
}
