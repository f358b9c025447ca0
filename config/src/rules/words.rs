//! The grammars of names that come from elsewhere: DNS (RFC 1123), Kubernetes labels, hardware addresses, URLs.

/// A DNS label: at most 63 of a-z, 0-9 and dashes, no dash at either end.
pub(super) fn is_dns_label(word: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&word.len()) && word.bytes().all(inner) && !word.starts_with('-') && !word.ends_with('-')
}

/// DNS labels with dots between, at most 253 letters.
pub(super) fn is_dns_name(word: &str) -> bool {
    word.len() <= 253 && word.split('.').all(is_dns_label)
}

/// A Kubernetes label's key: `name` or `dns.prefix/name` (apimachinery "IsQualifiedName").
pub(super) fn is_label_key(word: &str) -> bool {
    match word.split_once('/') {
        Some((prefix, name)) => is_dns_name(prefix) && is_label_name(name),
        None => is_label_name(word),
    }
}

/// A Kubernetes label's value: empty, or as a label's name.
pub(super) fn is_label_value(word: &str) -> bool {
    word.is_empty() || is_label_name(word)
}

fn is_label_name(word: &str) -> bool {
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    word.len() <= 63 && edge(word.bytes().next()) && edge(word.bytes().last()) && word.bytes().all(inner)
}

/// Six pairs of hex digits with colons between.
pub(super) fn is_mac(word: &str) -> bool {
    let pair = |pair: &str| pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit());
    word.split(':').count() == 6 && word.split(':').all(pair)
}

/// `https://host:port`, the host a DNS name, an IPv4 address or an IPv6 address in brackets.
pub(super) fn is_endpoint(word: &str) -> bool {
    let Some((host, port)) = word.strip_prefix("https://").and_then(|rest| rest.rsplit_once(':')) else {
        return false;
    };
    let host_is_good = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => is_dns_name(host),
    };
    host_is_good && port.parse::<u16>().is_ok_and(|port| port != 0)
}
