//! A signal's name as images and pods write it, as its number.

use nix::sys::signal::Signal;

/// The real-time signals that programs may have, as glibc counts: it keeps the first two for itself, man 7 signal.
const REAL_TIME: std::ops::RangeInclusive<i32> = 34..=64;

/// `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`; nothing for what is no signal.
pub fn signal(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return (1..=64).contains(&number).then_some(number);
    }
    let name = match text.strip_prefix("SIG").unwrap_or(text) {
        // Other names for the same.
        "CLD" => "CHLD",
        "IOT" => "ABRT",
        "POLL" => "IO",
        name => name,
    };
    let offset = |rest: &str| {
        if rest.is_empty() {
            Some(0)
        } else {
            rest.parse::<i32>().ok()
        }
    };
    let real_time = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(rest), _) => offset(rest).map(|offset| REAL_TIME.start() + offset),
        (None, Some(rest)) => offset(rest).map(|offset| REAL_TIME.end() + offset),
        (None, None) => None,
    };
    let known = || format!("SIG{name}").parse::<Signal>().ok().map(|signal| signal as i32);
    real_time.filter(|number| REAL_TIME.contains(number)).or_else(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_signals() {
        for (text, number) in [
            ("SIGTERM", Some(15)),
            ("USR1", Some(10)),
            ("9", Some(9)),
            ("SIGCLD", Some(17)),
            ("SIGRTMIN+3", Some(37)),
            ("SIGRTMAX-1", Some(63)),
            ("0", None),
            ("65", None),
            ("SIGRTMIN+99", None),
            ("SIGNONSENSE", None),
            ("", None),
        ] {
            assert_eq!(signal(text), number, "{text}");
        }
    }
}
