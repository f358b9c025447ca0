//! One line of a log in CRI's format: `<RFC 3339 time> <stdout|stderr> <P|F> <text>`; P means that the line goes on.

use jiff::Timestamp;

/// A piece of a log line, without its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Its time as it was written.
    pub time: &'a [u8],
    /// `stdout` or `stderr`; nothing for what is not in the format.
    pub stream: &'a [u8],
    /// Whether it ends the line.
    pub is_full: bool,
    /// Its text.
    pub text: &'a [u8],
}

impl<'a> Line<'a> {
    /// Reads one; a line that is not in the format is text without a time.
    pub fn parse(bytes: &'a [u8]) -> Self {
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let mut parts = bytes.splitn(4, |byte| *byte == b' ');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(time), Some(stream @ (b"stdout" | b"stderr")), Some(tag @ (b"P" | b"F")), Some(text)) => Self {
                time,
                stream,
                is_full: tag == b"F",
                text,
            },
            _ => Self {
                time: b"",
                stream: b"",
                is_full: true,
                text: bytes,
            },
        }
    }

    /// Whether it was written at `since` or later; one without a time always was.
    pub fn is_since(&self, since: Timestamp) -> bool {
        let time = std::str::from_utf8(self.time)
            .ok()
            .and_then(|text| text.parse::<Timestamp>().ok());
        time.is_none_or(|time| time >= since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_what_is_none_is_text() {
        let full = Line::parse(b"2026-11-20T13:00:00.000000001Z stdout F hello  world\n");
        assert_eq!(
            (full.time, full.is_full, full.text),
            (&b"2026-11-20T13:00:00.000000001Z"[..], true, &b"hello  world"[..])
        );
        assert!(!Line::parse(b"2026-11-20T13:00:00Z stderr P half").is_full);
        assert_eq!(Line::parse(b"2026-11-20T13:00:00Z stdout F \n").text, b"");
        assert_eq!(Line::parse(b"nonsense\n").text, b"nonsense");
        let since = |text: &str| full.is_since(text.parse().unwrap());
        assert!(since("2026-11-20T13:00:00Z") && !since("2026-11-20T13:00:01Z"));
    }
}
