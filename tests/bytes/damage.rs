//! Damaging bytes: flips, cuts, doubles, splices, and words that parsers trip over.

use std::time::{Duration, Instant, SystemTime};

/// What parsers of text and of numbers trip over.
const WORDS: [&[u8]; 40] = [
    b"null",
    b"true",
    b"{}",
    b"[]",
    b"\"\"",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b",",
    b":",
    b"\\u0000",
    b"\\ud800",
    b"-1",
    b"0",
    b"1e999",
    b"9223372036854775808",
    b"-9223372036854775809",
    b"4294967296",
    b"0.1",
    b"\"$patch\":\"delete\"",
    b"\"$retainKeys\":[\"a\"]",
    b"\"$setElementOrder/containers\":[]",
    b"\"$deleteFromPrimitiveList/finalizers\":[\"a\"]",
    b"\"metadata\":null",
    b"\"spec\":[]",
    b"\"managedFields\":[{}]",
    b"\"fieldsV1\":{\"k:{}\":{}}",
    b"~1",
    b"/-",
    b"%00",
    b"&a *a",
    b"- ",
    b"\n\t",
    b"!!binary ",
    b"\0",
    b"\xff\xff\xff\xff",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\xf0\x9f\x98\x80",
];

/// A source of damage.
pub struct Damage {
    seed: u64,
    state: u64,
    end: Instant,
}

// === impl Damage ===

impl Damage {
    /// For as long as these tests go on.
    pub fn new() -> Self {
        let told = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let since = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let now = u64::from(since.subsec_nanos()) ^ since.as_secs() << 30;
        let seed = told("PINTLE_BYTES_SEED").unwrap_or(now) | 1;
        let seconds = told("PINTLE_BYTES_SECONDS").unwrap_or(8);
        Self {
            seed,
            state: seed,
            end: Instant::now() + Duration::from_secs(seconds),
        }
    }

    /// Whether to go on.
    pub fn goes_on(&self) -> bool {
        Instant::now() < self.end
    }

    /// A number below `bound`, which is not 0 (Marsaglia's xorshift64).
    pub fn below(&mut self, bound: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        usize::try_from(self.state % bound as u64).unwrap_or_default()
    }

    /// One of several.
    pub fn one<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// One of `seeds`, damaged in a few places; now and then as it is.
    pub fn of(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = self.one(seeds).clone();
        for _ in 0..self.below(6) {
            let at = self.below(bytes.len() + 1);
            let end = at + self.below((bytes.len() - at).min(40) + 1);
            match self.below(7) {
                0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                1 => drop(bytes.drain(at..end)),
                2 => {
                    let again = bytes[at..end].to_vec();
                    bytes.splice(at..at, again);
                }
                3 => drop(bytes.splice(at..end, self.one(&WORDS).iter().copied())),
                4 => drop(bytes.splice(at..at, self.one(&WORDS).iter().copied())),
                5 => {
                    let other = self.one(seeds).clone();
                    let from = self.below(other.len() + 1);
                    let to = from + self.below((other.len() - from).min(60) + 1);
                    bytes.splice(at..end, other[from..to].iter().copied());
                }
                _ => bytes.truncate(if self.below(4) == 0 { at } else { bytes.len() }),
            }
        }
        bytes
    }

    /// How to see a failure again.
    pub fn again(&self, bytes: &[u8]) -> String {
        format!("PINTLE_BYTES_SEED={} {}", self.seed, bytes.escape_ascii())
    }
}
