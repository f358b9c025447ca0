//! Everything that parses bytes from outside, and what must hold whatever the bytes are.
//!
//! `targets/` makes a program of each [`Target`] for libFuzzer, which looks for bytes that reach new code; `tests/fuzz.rs` runs
//! what they begin from, and what was found once, without it. `pintlectl verify --fuzz SECONDS` builds and runs the programs.
#![allow(clippy::unwrap_used)] // a target says what must hold by failing

mod api_server;
pub mod archives;
mod beginnings;
pub mod certificates;
pub mod configs;
pub mod frames;
pub mod layers;
pub mod objects;
pub mod patches;
pub mod protobuf;
pub mod requests;
#[path = "../../../control/server/tests/samples/mod.rs"]
mod samples;
pub mod tokens;
pub mod words;

/// Something that takes bytes.
#[derive(Debug)]
pub struct Target {
    /// As its program is called.
    pub name: &'static str,
    /// Good bytes, to begin from.
    seeds: fn() -> Vec<Vec<u8>>,
    /// Takes them and checks what must hold; whether they were good.
    run: fn(&[u8]) -> bool,
}

/// All of them.
pub const TARGETS: [&Target; 11] = [
    &archives::TARGET,
    &certificates::TARGET,
    &configs::TARGET,
    &frames::TARGET,
    &layers::TARGET,
    &objects::TARGET,
    &patches::TARGET,
    &protobuf::TARGET,
    &requests::TARGET,
    &tokens::TARGET,
    &words::TARGET,
];

// === impl Target ===

impl Target {
    /// Good bytes, to begin from.
    pub fn seeds(&self) -> Vec<Vec<u8>> {
        (self.seeds)()
    }

    /// Takes some bytes; whether they were good. Panics when something does not hold that must.
    pub fn check(&self, bytes: &[u8]) -> bool {
        (self.run)(bytes)
    }

    /// Puts the seeds in the first folder of the command line, where libFuzzer is about to look for what to begin from.
    pub fn begin(&self) {
        let Some(folder) = std::env::args().skip(1).find(|word| !word.starts_with('-')) else {
            return;
        };
        let folder = std::path::Path::new(&folder);
        if folder.is_dir() {
            for (nth, seed) in self.seeds().iter().enumerate() {
                std::fs::write(folder.join(format!("seed-{nth}")), seed).expect("the folder can be written");
            }
        }
    }
}

/// A small number in front of an input, and what follows it.
fn choice(bytes: &[u8], of: usize) -> Option<(usize, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    Some((usize::from(*first) % of, rest))
}

/// Inputs that begin with small numbers.
fn chosen(numbers: &[usize], bytes: &[u8]) -> Vec<u8> {
    let numbers = numbers
        .iter()
        .map(|number| u8::try_from(*number).expect("choices are few"));
    numbers.chain(bytes.iter().copied()).collect()
}
