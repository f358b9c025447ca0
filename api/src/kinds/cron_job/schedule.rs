//! Cron schedules as upstream reads them (robfig/cron `ParseStandard`): five fields, names of months and days, `@daily` and
//! its siblings, `@every 5m`.

use std::ops::RangeInclusive;

/// When something happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// At minutes that fit five fields.
    At(Fields),
    /// Every so many seconds, at least one.
    Every(u64),
}

/// The five fields, one bit for each value that fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    /// 0–59.
    pub minutes: u64,
    /// 0–23.
    pub hours: u64,
    /// 1–31.
    pub days: u64,
    /// 1–12.
    pub months: u64,
    /// 0–6 from Sunday.
    pub weekdays: u64,
    /// Whether the day of the month was `*`: else either day may fit.
    pub any_day: bool,
    /// Whether the weekday was `*`.
    pub any_weekday: bool,
}

/// Why a text is no schedule, in upstream's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each says it")]
pub enum ScheduleError {
    #[error("empty spec string")]
    Empty,
    #[error("expected exactly 5 fields, found {count}: [{fields}]")]
    FieldCount { count: usize, fields: String },
    #[error("unrecognized descriptor: {0}")]
    Descriptor(String),
    #[error("failed to parse duration {0}: time: invalid duration")]
    Duration(String),
    #[error("too many hyphens: {0}")]
    Hyphens(String),
    #[error("too many slashes: {0}")]
    Slashes(String),
    #[error("failed to parse int from {0}: strconv.Atoi: parsing \"{0}\": invalid syntax")]
    Number(String),
    #[error("negative number ({number}) not allowed: {text}")]
    Negative { number: i64, text: String },
    #[error("beginning of range ({start}) below minimum ({least}): {text}")]
    Below { start: u32, least: u32, text: String },
    #[error("end of range ({end}) above maximum ({most}): {text}")]
    Above { end: u32, most: u32, text: String },
    #[error("beginning of range ({start}) beyond end of range ({end}): {text}")]
    Backwards { start: u32, end: u32, text: String },
    #[error("step of range should be a positive number: {0}")]
    Step(String),
}

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// What one field may be.
struct Bounds {
    range: RangeInclusive<u32>,
    /// Names of its values, from the least on.
    names: &'static [&'static str],
}

impl Schedule {
    /// Reads a schedule; a leading `TZ=…` or `CRON_TZ=…` is passed over.
    pub fn parse(text: &str) -> Result<Self, ScheduleError> {
        if text.is_empty() {
            return Err(ScheduleError::Empty);
        }
        let text = match text.split_once(' ') {
            Some((zone, rest)) if zone.starts_with("TZ=") || zone.starts_with("CRON_TZ=") => rest.trim(),
            Some(_) | None => text,
        };
        if text.starts_with('@') {
            return descriptor(text);
        }
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields[..] else {
            return Err(ScheduleError::FieldCount {
                count: fields.len(),
                fields: fields.join(" "),
            });
        };
        let plain = |range| Bounds { range, names: &[] };
        Ok(Schedule::At(Fields {
            minutes: field(minutes, &plain(0..=59))?,
            hours: field(hours, &plain(0..=23))?,
            days: field(days, &plain(1..=31))?,
            months: field(
                months,
                &Bounds {
                    range: 1..=12,
                    names: &MONTHS,
                },
            )?,
            weekdays: field(
                weekdays,
                &Bounds {
                    range: 0..=6,
                    names: &WEEKDAYS,
                },
            )?,
            any_day: is_star(days),
            any_weekday: is_star(weekdays),
        }))
    }
}

fn is_star(field: &str) -> bool {
    field
        .split(',')
        .any(|part| matches!(part.split('/').next(), Some("*" | "?")))
}

fn descriptor(text: &str) -> Result<Schedule, ScheduleError> {
    let same = match text {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        other => {
            let Some(every) = other.strip_prefix("@every ") else {
                return Err(ScheduleError::Descriptor(text.to_owned()));
            };
            let seconds = seconds(every).ok_or_else(|| ScheduleError::Duration(text.to_owned()))?;
            return Ok(Schedule::Every(seconds.max(1)));
        }
    };
    Schedule::parse(same)
}

/// `1h30m` as whole seconds (Go's `time.ParseDuration`, fractions cut).
fn seconds(text: &str) -> Option<u64> {
    let (mut total, mut rest) = (0.0, text);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        let unit_end = rest[end..]
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .map_or(rest.len(), |at| at + end);
        total += number
            * match &rest[end..unit_end] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 0.001,
                "us" | "µs" => 0.000_001,
                "ns" => 0.000_000_001,
                _ => return None,
            };
        rest = &rest[unit_end..];
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is not negative, and a cut is meant"
    )]
    (!text.is_empty()).then_some(total as u64)
}

/// The values of a field: `1,5-9,*/15`.
fn field(text: &str, bounds: &Bounds) -> Result<u64, ScheduleError> {
    text.split(',')
        .filter(|part| !part.is_empty())
        .try_fold(0, |bits, part| Ok(bits | range(part, bounds)?))
}

fn range(text: &str, bounds: &Bounds) -> Result<u64, ScheduleError> {
    let parts: Vec<&str> = text.split('/').collect();
    let ends: Vec<&str> = parts[0].split('-').collect();
    let (least, most) = (*bounds.range.start(), *bounds.range.end());
    let (start, mut end) = match ends[..] {
        ["*" | "?"] => (least, most),
        [one] => (value(one, bounds)?, value(one, bounds)?),
        [from, to] => (value(from, bounds)?, value(to, bounds)?),
        _ => return Err(ScheduleError::Hyphens(text.to_owned())),
    };
    let step = match parts[..] {
        [_] => 1,
        [_, step] => {
            // "5/15" goes on to the end.
            if ends.len() == 1 {
                end = most;
            }
            number(step)?
        }
        _ => return Err(ScheduleError::Slashes(text.to_owned())),
    };
    let text = text.to_owned();
    if start < least {
        Err(ScheduleError::Below { start, least, text })
    } else if end > most {
        Err(ScheduleError::Above { end, most, text })
    } else if start > end {
        Err(ScheduleError::Backwards { start, end, text })
    } else if step == 0 {
        Err(ScheduleError::Step(text))
    } else {
        let every = usize::try_from(step).unwrap_or(usize::MAX);
        Ok((start..=end).step_by(every).fold(0, |bits, at| bits | 1 << at))
    }
}

/// A number, or the name of one.
fn value(text: &str, bounds: &Bounds) -> Result<u32, ScheduleError> {
    let lower = text.to_lowercase();
    match bounds.names.iter().position(|name| *name == lower) {
        Some(at) => Ok(bounds.range.start() + u32::try_from(at).unwrap_or_default()),
        None => number(text),
    }
}

fn number(text: &str) -> Result<u32, ScheduleError> {
    let number: i64 = text.parse().map_err(|_| ScheduleError::Number(text.to_owned()))?;
    u32::try_from(number).map_err(|_| ScheduleError::Negative {
        number,
        text: text.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Fields {
        match Schedule::parse(text) {
            Ok(Schedule::At(fields)) => fields,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn fields_name_values() {
        assert_eq!(at("*/15 * * * *").minutes, 1 | 1 << 15 | 1 << 30 | 1 << 45);
        assert_eq!(at("0 9-17/4 * * *").hours, 1 << 9 | 1 << 13 | 1 << 17);
        assert_eq!(at("0 0 1,15 jan-MAR *").months, 0b1110);
        assert_eq!(at("0 0 * * Mon,fri").weekdays, 1 << 1 | 1 << 5);
        assert_eq!(at("50/5 * * * *").minutes, 1 << 50 | 1 << 55);
        let weekly = at("@weekly");
        assert_eq!(
            (
                weekly.minutes,
                weekly.hours,
                weekly.weekdays,
                weekly.any_day,
                weekly.any_weekday
            ),
            (1, 1, 1, true, false)
        );
        assert_eq!(Schedule::parse("@every 1h30m"), Ok(Schedule::Every(5400)));
        assert_eq!(at("TZ=UTC 0 0 * * *"), at("@daily"));
    }

    #[test]
    fn mistakes_are_named_as_upstream() {
        for (text, message) in [
            ("", "empty spec string"),
            ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            (
                "x * * * *",
                "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax",
            ),
            ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
            ("1/2/3 * * * *", "too many slashes: 1/2/3"),
            ("@often", "unrecognized descriptor: @often"),
        ] {
            assert_eq!(
                Schedule::parse(text).map_err(|e| e.to_string()),
                Err(message.to_owned()),
                "{text}"
            );
        }
    }
}
