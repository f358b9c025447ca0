//! The string formats that are judged (kube-openapi `strfmt`); upstream ignores all others, and so do we.

use base64::Engine;

/// Whether `text` is of that format. A format that is not known fits everything.
pub(super) fn fits(format: &str, text: &str) -> bool {
    match format {
        "date-time" | "datetime" => text.parse::<jiff::Timestamp>().is_ok(),
        "date" => text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok(),
        "duration" => is_duration(text),
        "uuid" | "uuid3" | "uuid4" | "uuid5" => is_uuid(text),
        "ipv4" => text.parse::<std::net::Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<std::net::Ipv6Addr>().is_ok(),
        "cidr" => is_cidr(text),
        "byte" => base64::engine::general_purpose::STANDARD
            .decode(text.replace(['\r', '\n'], ""))
            .is_ok(),
        "uri" => text.split_once(':').is_some_and(|(scheme, _)| is_scheme(scheme)),
        "email" => text
            .split_once('@')
            .is_some_and(|(name, host)| !name.is_empty() && !host.is_empty()),
        "hostname" => !text.is_empty() && text.len() <= 255 && text.split('.').all(is_host_label),
        "mac" => is_mac(text),
        _ => true,
    }
}

/// Go's durations, `1h30m`, and strfmt's words, `3 days`.
fn is_duration(text: &str) -> bool {
    const UNITS: &[&str] = &[
        "ns", "us", "µs", "μs", "ms", "s", "m", "h", "d", "w", "nano", "nanos", "micro", "micros", "milli", "millis",
        "sec", "secs", "second", "seconds", "min", "mins", "minute", "minutes", "hr", "hrs", "hour", "hours", "day",
        "days", "wk", "wks", "week", "weeks",
    ];
    if text == "0" {
        return true;
    }
    let mut rest = text.trim_start_matches(['-', '+']);
    let mut parts = 0;
    while !rest.is_empty() {
        let number = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let tail = rest[number..].trim_start();
        let unit = tail.find(|c: char| !c.is_alphabetic()).unwrap_or(tail.len());
        if number == 0 || rest[..number].parse::<f64>().is_err() || !UNITS.contains(&&tail[..unit]) {
            return false;
        }
        rest = tail[unit..].trim_start();
        parts += 1;
    }
    parts > 0
}

fn is_uuid(text: &str) -> bool {
    let digits = text.bytes().filter(|b| *b != b'-');
    let dashes = text.bytes().filter(|b| *b == b'-').count();
    (dashes == 4 || dashes == 0) && digits.clone().count() == 32 && digits.clone().all(|b| b.is_ascii_hexdigit())
}

fn is_cidr(text: &str) -> bool {
    text.split_once('/').is_some_and(|(address, length)| {
        let most = match address.parse::<std::net::IpAddr>() {
            Ok(std::net::IpAddr::V4(_)) => 32,
            Ok(std::net::IpAddr::V6(_)) => 128,
            Err(_) => return false,
        };
        length.parse::<u8>().is_ok_and(|length| length <= most)
    })
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

fn is_host_label(label: &str) -> bool {
    let ends = |c: char| c.is_alphanumeric();
    label.starts_with(ends) && label.ends_with(ends) && label.chars().all(|c| c.is_alphanumeric() || c == '-')
}

fn is_mac(text: &str) -> bool {
    let parts: Vec<&str> = text.split([':', '-']).collect();
    matches!(parts.len(), 6 | 8 | 20) && parts.iter().all(|p| p.len() == 2 && u8::from_str_radix(p, 16).is_ok())
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn formats_are_told_apart() {
        for (format, good, bad) in [
            ("date-time", "2026-11-20T13:08:07Z", "yesterday"),
            ("date", "2026-11-20", "2026-11-40"),
            ("duration", "1h30m", "soon"),
            ("uuid", "c56a4180-65aa-42ec-a945-5fd21dec0538", "c56a4180"),
            ("ipv4", "10.0.0.1", "10.0.0"),
            ("ipv6", "::1", "10.0.0.1"),
            ("cidr", "10.0.0.0/8", "10.0.0.0/33"),
            ("byte", "YQ==", "%"),
            ("uri", "https://example.com", "example"),
            ("hostname", "a.example", "-a"),
            ("mac", "00:11:22:33:44:55", "00:11"),
        ] {
            assert!(fits(format, good), "{format} {good}");
            assert!(!fits(format, bad), "{format} {bad}");
        }
        assert!(fits("nobody-knows", "x"));
    }
}
