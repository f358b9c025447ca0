//! The kernel command line: the words that init looks at.

use std::fs;

/// The kernel command line as the boot loader left it.
#[derive(Clone, Debug, Default)]
pub struct CommandLine {
    text: String,
}

impl CommandLine {
    /// This boot's; empty where `/proc` is not mounted.
    pub fn of_this_boot() -> Self {
        CommandLine::new(&fs::read_to_string("/proc/cmdline").unwrap_or_default())
    }

    /// From its text.
    pub fn new(text: &str) -> Self {
        CommandLine {
            text: text.trim_end().to_owned(),
        }
    }

    /// The value of the last `key=value`; later words win, as they do in the kernel.
    pub fn value(&self, key: &str) -> Option<&str> {
        let values = self
            .text
            .split_ascii_whitespace()
            .filter_map(|word| word.split_once('='));
        values
            .filter(|(found, _)| *found == key)
            .map(|(_, value)| value)
            .next_back()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_wins_and_prefixes_do_not_count() {
        let line = CommandLine::new("console=ttyS0 roothash=aa quiet xroothash=cc roothash=bb\n");
        assert_eq!(line.value("roothash"), Some("bb"));
        assert_eq!(line.value("quiet"), None);
        assert_eq!(line.value("root"), None);
    }
}
