//! A service's output cut into lines, and how a line looks in the kernel log.

use crate::console::Level;

/// A line without an end is cut here: one service must not fill init's memory.
const LONGEST: usize = 8192;

/// Bytes in, lines out.
#[derive(Debug, Default)]
pub struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    /// Calls `line` for every line that `bytes` completes, without its line break.
    pub fn feed(&mut self, bytes: &[u8], mut line: impl FnMut(&[u8])) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.partial.extend(piece);
            match self.partial.strip_suffix(b"\n") {
                Some(whole) => line(whole),
                None if self.partial.len() >= LONGEST => line(&self.partial),
                None => continue,
            }
            self.partial.clear();
        }
    }

    /// Calls `line` for what is left at the end of the output.
    pub fn finish(&mut self, mut line: impl FnMut(&[u8])) {
        if !self.partial.is_empty() {
            line(&self.partial);
            self.partial.clear();
        }
    }
}

/// How a line stands in the kernel log: without the time, which the kernel adds itself, and without what would move a
/// terminal's cursor. Its level follows the word that Rust's `tracing` writes; other lines count as notices.
pub fn for_kernel_log(line: &[u8]) -> (Level, String) {
    let text = String::from_utf8_lossy(line);
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let rest = clean.trim();
    let rest = match rest.split_once(' ') {
        Some((word, after)) if is_time(word) => after.trim_start(),
        Some(_) | None => rest,
    };
    let level = match rest.split(' ').next() {
        Some("ERROR") => Level::Error,
        Some("WARN") => Level::Warning,
        Some("DEBUG" | "TRACE") => Level::Debug,
        Some(_) | None => Level::Notice,
    };
    (level, rest.to_owned())
}

/// `2026-11-20T13:08:47.123456Z`
fn is_time(word: &str) -> bool {
    word.len() >= 20
        && word.ends_with('Z')
        && word.as_bytes().get(10) == Some(&b'T')
        && word.starts_with(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fed(pieces: &[&str]) -> Vec<String> {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        let mut keep = |line: &[u8]| found.push(String::from_utf8_lossy(line).into_owned());
        pieces.iter().for_each(|piece| lines.feed(piece.as_bytes(), &mut keep));
        lines.finish(&mut keep);
        found
    }

    #[test]
    fn lines_are_put_together_across_reads() {
        let cases: [(&[&str], &[&str]); 5] = [
            (&["one\ntwo\n"], &["one", "two"]),
            (&["on", "e\ntw", "o"], &["one", "two"]),
            (&["\n\n"], &["", ""]),
            (&[""], &[]),
            (&["a", "\n"], &["a"]),
        ];
        for (pieces, wanted) in cases {
            assert_eq!(fed(pieces), wanted, "{pieces:?}");
        }
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let long = "x".repeat(LONGEST + 10);
        let lengths: Vec<usize> = fed(&[&long[..LONGEST], &long[LONGEST..]])
            .iter()
            .map(String::len)
            .collect();
        assert_eq!(lengths, [LONGEST, 10]);
    }

    #[test]
    fn levels_follow_the_word_and_the_time_goes() {
        let cases = [
            (
                "2026-11-20T13:08:47.123456Z  INFO agent: node ready",
                Level::Notice,
                "INFO agent: node ready",
            ),
            (
                "2026-11-20T13:08:47.123456Z ERROR agent: no disk",
                Level::Error,
                "ERROR agent: no disk",
            ),
            ("2026-11-20T13:08:47Z  WARN x", Level::Warning, "WARN x"),
            ("DEBUG x", Level::Debug, "DEBUG x"),
            (
                "thread 'main' panicked at src/main.rs:1:1:",
                Level::Notice,
                "thread 'main' panicked at src/main.rs:1:1:",
            ),
            ("\x1b[31mred\x1b[0m\t!", Level::Notice, "[31mred [0m !"),
            ("", Level::Notice, ""),
        ];
        for (line, level, text) in cases {
            assert_eq!(for_kernel_log(line.as_bytes()), (level, text.to_owned()), "{line:?}");
        }
    }
}
