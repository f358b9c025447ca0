//! What was measured: a line of JSON at once, a table in the end.

use serde::Serialize;

/// One number with its name and unit.
#[derive(Serialize)]
struct Line<'a> {
    benchmark: &'a str,
    measure: &'a str,
    value: f64,
    unit: &'a str,
}

/// All numbers so far.
#[derive(Default)]
pub struct Report {
    rows: Vec<[String; 4]>,
}

// === impl Report ===

impl Report {
    /// Prints one number as JSON and keeps it for the table.
    pub fn add(&mut self, benchmark: &str, measure: &str, value: f64, unit: &str) {
        let line = Line {
            benchmark,
            measure,
            value,
            unit,
        };
        println!(
            "{}",
            serde_json::to_string(&line).expect("a line can be written because it holds text and a number")
        );
        self.rows.push([
            benchmark.to_owned(),
            measure.to_owned(),
            rounded(value),
            unit.to_owned(),
        ]);
    }

    /// Prints the table for people.
    pub fn table(&self) {
        let width = |column: usize| self.rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
        let widths = [width(0), width(1), width(2)];
        for [benchmark, measure, value, unit] in &self.rows {
            eprintln!(
                "{benchmark:<0$}  {measure:<1$}  {value:>2$} {unit}",
                widths[0], widths[1], widths[2]
            );
        }
    }
}

/// Three digits that mean something.
fn rounded(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}
