//! What cargo's aliases add to a command line and people do not mean.

use std::ffi::OsString;

/// Commands that have an alias in `.cargo/config.toml`.
const ALIASES: [&[&str]; 3] = [&["cluster", "up"], &["cluster", "down"], &["verify"]];

/// `cargo up -- --nodes 2` arrives as `pintlectl cluster up -- --nodes 2`; for clap, what follows `--` is no option.
pub fn swallow_separator(all: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut all: Vec<OsString> = all.into_iter().collect();
    for alias in ALIASES {
        let end = 1 + alias.len();
        let is_it = all
            .get(1..end)
            .is_some_and(|words| words.iter().zip(alias).all(|(word, known)| word == known));
        if is_it && all.get(end).is_some_and(|word| word == "--") {
            all.remove(end);
            break;
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_aliases_separator_goes() {
        for (given, expected) in [
            ("pintlectl cluster up -- --nodes 2", "pintlectl cluster up --nodes 2"),
            ("pintlectl cluster up --nodes 2", "pintlectl cluster up --nodes 2"),
            ("pintlectl cluster down --", "pintlectl cluster down"),
            ("pintlectl verify -- --fast", "pintlectl verify --fast"),
            ("pintlectl kubectl exec p -- ls", "pintlectl kubectl exec p -- ls"),
            ("pintlectl", "pintlectl"),
        ] {
            let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
            assert_eq!(swallow_separator(words(given)), words(expected), "{given}");
        }
    }
}
