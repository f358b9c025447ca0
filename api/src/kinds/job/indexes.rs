//! Indexes of an indexed job as text: `1,3-5,7` (batch `validateIndexesFormat`).

/// First and last of each interval, in growing order.
pub(super) type Intervals = Vec<(i64, i64)>;

/// Reads them; each is below `completions`.
pub(super) fn parse(text: &str, completions: i64) -> Result<Intervals, String> {
    let mut intervals = Intervals::new();
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let (first, last) = interval(part, completions)?;
        if let Some((_, before)) = intervals.last().filter(|(_, before)| *before >= first) {
            return Err(format!("non-increasing order, previous: {before}, current: {first}"));
        }
        intervals.push((first, last));
    }
    Ok(intervals)
}

/// How many there are.
pub(super) fn count(intervals: &Intervals) -> i64 {
    intervals.iter().map(|(first, last)| last - first + 1).sum()
}

/// The lowest index of the first two intervals that have one in common. What cannot be read has none.
pub(super) fn common(completed: &str, failed: &str, completions: i64) -> Option<i64> {
    let read = |text: &str| -> Intervals {
        let parts = text.split(',').filter(|part| !part.is_empty());
        parts.filter_map(|part| interval(part, completions).ok()).collect()
    };
    let (completed, failed) = (read(completed), read(failed));
    let (mut a, mut b) = (completed.iter().peekable(), failed.iter().peekable());
    loop {
        let ((first, last), (from, to)) = (**a.peek()?, **b.peek()?);
        if first <= to && from <= last {
            return Some(first.max(from));
        }
        if first <= from {
            a.next();
        } else {
            b.next();
        }
    }
}

fn interval(part: &str, completions: i64) -> Result<(i64, i64), String> {
    let limits: Vec<&str> = part.split('-').collect();
    if limits.len() > 2 {
        return Err(format!(
            "the fragment {part:?} violates the requirement that an index interval can have at most two parts separated by '-'"
        ));
    }
    let first = index(limits[0], completions)?;
    let Some(last) = limits.get(1) else {
        return Ok((first, first));
    };
    let last = index(last, completions)?;
    if first >= last {
        return Err(format!("non-increasing order, previous: {first}, current: {last}"));
    }
    Ok((first, last))
}

fn index(text: &str, completions: i64) -> Result<i64, String> {
    let number = text.parse::<i64>();
    let number = number.map_err(|_| format!("cannot convert string to integer for index: {text:?}"))?;
    if number >= completions {
        return Err(format!("too large index: {text:?}"));
    }
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_grow() {
        for (text, expected) in [
            ("", Ok(0)),
            ("0", Ok(1)),
            ("0,2-4,6", Ok(5)),
            ("3-1", Err("non-increasing order, previous: 3, current: 1")),
            ("3,3", Err("non-increasing order, previous: 3, current: 3")),
            ("10", Err("too large index: \"10\"")),
            ("a", Err("cannot convert string to integer for index: \"a\"")),
            ("1,", Err("cannot convert string to integer for index: \"\"")),
            (
                "1-2-3",
                Err(
                    "the fragment \"1-2-3\" violates the requirement that an index interval can have at most two parts separated by '-'",
                ),
            ),
        ] {
            let read = parse(text, 10).map(|intervals| count(&intervals));
            assert_eq!(read, expected.map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn what_both_have_is_found() {
        for (completed, failed, expected) in [
            ("0-2", "3,5", None),
            ("0-2,5", "3-6", Some(5)),
            ("4", "0-9", Some(4)),
            ("", "1", None),
            ("x,1", "1", Some(1)),
        ] {
            assert_eq!(common(completed, failed, 10), expected, "{completed} {failed}");
        }
    }
}
