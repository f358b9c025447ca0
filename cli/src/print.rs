//! What commands print: lines and tables, sizes and times as people read them.

use anyhow::Result;
use std::io::{self, Write};
use std::time::Duration;

/// A line on stdout. An error where nobody reads any more, as with `| head`; see [`is_closed`].
pub fn line(text: impl std::fmt::Display) -> Result<()> {
    Ok(writeln!(io::stdout(), "{text}")?)
}

/// Bytes on stdout as they are, at once.
pub fn bytes(data: &[u8]) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(data)?;
    Ok(out.flush()?)
}

/// Whether a command ended because its reader went away, which is no failure.
pub fn is_closed(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// How a column stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A table: names and alignment of its columns, then rows.
pub fn table<const N: usize>(columns: [(&str, Align); N], rows: &[[String; N]]) -> Result<()> {
    for text in laid_out(columns, rows) {
        line(text)?;
    }
    Ok(())
}

fn laid_out<const N: usize>(columns: [(&str, Align); N], rows: &[[String; N]]) -> Vec<String> {
    let widths = columns.iter().enumerate().map(|(nth, (name, _))| {
        rows.iter()
            .map(|row| row[nth].chars().count())
            .chain([name.chars().count()])
            .max()
            .unwrap_or(0)
    });
    let widths = widths.collect::<Vec<_>>();
    let head = columns.map(|(name, _)| name.to_owned());
    let line = |row: &[String; N]| {
        let cells = row
            .iter()
            .zip(&widths)
            .zip(&columns)
            .map(|((cell, &width), (_, align))| match align {
                Align::Left => format!("{cell:<width$}"),
                Align::Right => format!("{cell:>width$}"),
            });
        cells.collect::<Vec<_>>().join("   ").trim_end().to_owned()
    };
    std::iter::once(&head).chain(rows).map(line).collect()
}

/// `1.5 MiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{bytes} B")
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

/// `3d 4h`, `2h 5m`, `3m 20s`, `12s`.
pub fn age(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, minutes) => format!("{minutes}m {}s", seconds % 60),
        (0, hours, minutes) => format!("{hours}h {minutes}m"),
        (days, hours, _) => format!("{days}d {hours}h"),
    }
}

/// Microseconds as seconds with three digits: `1.234`.
pub fn seconds(us: u64) -> String {
    format!("{}.{:03}", us / 1_000_000, us / 1000 % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_align_words_left_and_numbers_right() {
        let rows = [["a", "10"], ["long", "7"]].map(|row| row.map(str::to_owned));
        let lines = laid_out([("NAME", Align::Left), ("N", Align::Right)], &rows);
        assert_eq!(lines, ["NAME    N", "a      10", "long    7"]);
    }

    #[test]
    fn sizes_and_times() {
        assert_eq!(
            (size(12), size(1536), size(3 << 30)),
            ("12 B".into(), "1.5 KiB".into(), "3.0 GiB".into())
        );
        for (s, text) in [(5, "5s"), (65, "1m 5s"), (7260, "2h 1m"), (90000, "1d 1h")] {
            assert_eq!(age(Duration::from_secs(s)), text);
        }
        assert_eq!(seconds(1_234_567), "1.234");
    }
}
