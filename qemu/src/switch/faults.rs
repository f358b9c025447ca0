//! What goes wrong on the switch: partitions, loss, delay. Pure: dice and clocks are the caller's.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Faults that hold for all ports until the next are set. The default is a perfect network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Faults {
    /// Groups of machine numbers that reach only each other; a machine in no group reaches whoever is in none either.
    #[serde(default)]
    pub partition: Vec<Vec<u8>>,
    /// Of a thousand frames, how many are lost.
    #[serde(default)]
    pub loss_permille: u16,
    /// How long every frame is held up, in milliseconds.
    #[serde(default)]
    pub delay_ms: u32,
}

/// What happens to one frame on its way to one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It arrives after this long.
    Deliver(Duration),
    /// It does not.
    Lose,
}

// === impl Faults ===

impl Faults {
    /// Machine `number` reaches nobody and nobody reaches it.
    pub fn isolate(number: u8) -> Self {
        Self {
            partition: vec![vec![number]],
            ..Self::default()
        }
    }

    /// Decide about a frame between two ports; `dice` is uniform in 0..1000.
    pub fn verdict(&self, from: u8, to: u8, dice: u16) -> Verdict {
        if self.group(from) != self.group(to) || dice < self.loss_permille {
            return Verdict::Lose;
        }
        Verdict::Deliver(Duration::from_millis(self.delay_ms.into()))
    }

    fn group(&self, number: u8) -> Option<usize> {
        self.partition.iter().position(|group| group.contains(&number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts() {
        let now = Verdict::Deliver(Duration::ZERO);
        let split = Faults {
            partition: vec![vec![1, 2], vec![3]],
            ..Faults::default()
        };
        let lossy = Faults {
            loss_permille: 100,
            delay_ms: 20,
            ..Faults::default()
        };
        let late = Verdict::Deliver(Duration::from_millis(20));
        for (what, faults, from, to, dice, expected) in [
            ("a perfect network", &Faults::default(), 1, 2, 0, now),
            ("within a group", &split, 1, 2, 0, now),
            ("across groups", &split, 1, 3, 999, Verdict::Lose),
            ("from a group to the rest", &split, 2, 4, 999, Verdict::Lose),
            ("among the rest", &split, 4, 5, 0, now),
            ("unlucky", &lossy, 1, 2, 99, Verdict::Lose),
            ("lucky but late", &lossy, 1, 2, 100, late),
            ("isolated", &Faults::isolate(2), 1, 2, 500, Verdict::Lose),
            ("the others", &Faults::isolate(2), 1, 3, 500, now),
        ] {
            assert_eq!(faults.verdict(from, to, dice), expected, "{what}");
        }
    }
}
