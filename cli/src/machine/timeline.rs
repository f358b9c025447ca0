//! `pintlectl timeline`: where the boot's time went.

use super::refused;
use crate::print::{Align, seconds, table};
use anyhow::Result;
use machine_client::Connection;
use proto::machine::v1::{Mark, TimelineRequest};

/// Widest bar, in letters.
const BAR: u64 = 40;

/// Prints the boot's moments with the time between them.
pub async fn run(machine: Connection) -> Result<()> {
    let marks = machine
        .info()
        .timeline(TimelineRequest {})
        .await
        .map_err(refused)?
        .into_inner()
        .marks;
    let columns = [
        ("AT s", Align::Right),
        ("STEP s", Align::Right),
        ("MOMENT", Align::Left),
        ("", Align::Left),
    ];
    table(columns, &rows(&marks))
}

fn rows(marks: &[Mark]) -> Vec<[String; 4]> {
    let before =
        std::iter::once(marks.first().map_or(0, |first| first.at_us)).chain(marks.iter().map(|mark| mark.at_us));
    let steps = marks
        .iter()
        .zip(before)
        .map(|(mark, before)| mark.at_us.saturating_sub(before))
        .collect::<Vec<_>>();
    let longest = steps.iter().copied().max().unwrap_or(0).max(1);
    let bar = |step: u64| "█".repeat(usize::try_from((step * BAR).div_ceil(longest)).unwrap_or_default());
    let row = |(mark, step): (&Mark, &u64)| [seconds(mark.at_us), seconds(*step), mark.name.clone(), bar(*step)];
    marks.iter().zip(&steps).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_the_time_since_the_mark_before() {
        let mark = |at_us, name: &str| Mark {
            at_us,
            name: name.to_owned(),
        };
        let rows = rows(&[mark(400_000, "kernel"), mark(900_000, "pid1"), mark(2_900_000, "agent")]);
        assert_eq!(
            rows.iter().map(|row| row[1].as_str()).collect::<Vec<_>>(),
            ["0.000", "0.500", "2.000"]
        );
        assert_eq!(rows[1][3].chars().count(), 10);
        assert_eq!(rows[2][3].chars().count(), 40);
    }
}
