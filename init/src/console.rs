//! What init says: into the kernel log, whence the kernel shows it on the console; where there is none, to stderr.

use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::io::{Write, stderr};
use std::sync::OnceLock;

/// The kernel refuses records above 1024 bytes (`PRINTKRB_RECORD_MAX`); some of that is our prefix.
const RECORD: usize = 900;

/// syslog's facility "daemon", shifted to its place; the kernel keeps 0 for itself.
const FACILITY: u8 = 3 << 3;

static KERNEL_LOG: OnceLock<File> = OnceLock::new();

/// syslog's levels, as far as we use them. The console shows [`Level::Notice`] and what is worse (see `sysctl.rs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Error = 3,
    Warning = 4,
    Notice = 5,
    Debug = 7,
}

/// From here on everything goes into the kernel log. Where that cannot be opened, all stays on stderr.
pub fn use_kernel_log() {
    if let Ok(kmsg) = OpenOptions::new().write(true).open("/dev/kmsg") {
        // Lost to a second caller: then it is open already.
        let _ = KERNEL_LOG.set(kmsg);
    }
}

/// Says `text` as `who`.
pub fn say(level: Level, who: &str, text: &str) {
    for piece in pieces(text, RECORD) {
        // Nobody is left to tell where even the log fails.
        let _ = match KERNEL_LOG.get() {
            Some(mut kmsg) => kmsg.write_all(format!("<{}>{who}: {piece}\n", FACILITY | level as u8).as_bytes()),
            None => stderr().write_all(format!("{who}: {piece}\n").as_bytes()),
        };
    }
}

/// The machine's life, as people follow it.
pub fn notice(text: impl Display) {
    say(Level::Notice, "init", &text.to_string());
}

/// Something is missing or failed, and init goes on without.
pub fn warn(text: impl Display) {
    say(Level::Warning, "init", &text.to_string());
}

/// A person must look.
pub fn error(text: impl Display) {
    say(Level::Error, "init", &text.to_string());
}

/// An error with its causes, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// Cuts `text` into pieces of at most `most` bytes, never within a character.
fn pieces(text: &str, most: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while rest.len() > most {
        let (piece, after) = rest.split_at(rest.floor_char_boundary(most));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(pieces("", 4), [""]);
        assert_eq!(pieces("abcd", 4), ["abcd"]);
        assert_eq!(pieces("abcde", 4), ["abcd", "e"]);
        assert_eq!(pieces("abcé", 4), ["abc", "é"]);
    }
}
