//! What may be a name, a label, a key or a port, with upstream's sentences (apimachinery `util/validation`).

const LABEL_MAX: usize = 63;
const SUBDOMAIN_MAX: usize = 253;

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const SUBDOMAIN_WITH_UNDERSCORES: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9_]([-_a-z0-9]*[a-z0-9_])?(\\.[a-z0-9_]([-_a-z0-9]*[a-z0-9_])?)*')";
const HTTP_HEADER: &str = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
const ENV_NAME: &str = "a valid environment variable name must consist only of printable ASCII characters other than '=' (regex used for validation is '^[ -<>-~]+$')";
const WILDCARD: &str = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const C_IDENTIFIER: &str = "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')";

/// The alphabet of generated names: no vowels, no letters that look like digits.
const SUFFIX: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// Five characters for `generateName` out of five random bytes.
pub fn suffix(random: [u8; 5]) -> String {
    random
        .iter()
        .map(|b| char::from(SUFFIX[usize::from(*b) % SUFFIX.len()]))
        .collect()
}

fn too_long(limit: usize) -> String {
    format!("must be no more than {limit} bytes")
}

fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    ends(bytes.first())
        && ends(bytes.last())
        && bytes
            .iter()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

fn is_qualified_part(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    ends(bytes.first())
        && ends(bytes.last())
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// A DNS label: `my-name`. An empty answer means that it is one.
pub fn dns1123_label(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > LABEL_MAX {
        wrong.push(too_long(LABEL_MAX));
    }
    if !is_label(text) {
        wrong.push(LABEL.to_owned());
    }
    wrong
}

/// Labels joined by dots: `example.com`.
pub fn dns1123_subdomain(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > SUBDOMAIN_MAX {
        wrong.push(too_long(SUBDOMAIN_MAX));
    }
    if !text.split('.').all(is_label) {
        wrong.push(SUBDOMAIN.to_owned());
    }
    wrong
}

/// The same where names may have underscores, as in search lists.
pub fn dns1123_subdomain_with_underscores(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > SUBDOMAIN_MAX {
        wrong.push(too_long(SUBDOMAIN_MAX));
    }
    let is_part = |part: &str| {
        let edge = |b: Option<&u8>| b.is_some_and(|b| *b != b'-');
        let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
        edge(part.as_bytes().first()) && edge(part.as_bytes().last()) && part.bytes().all(known)
    };
    if !text.split('.').all(is_part) {
        wrong.push(SUBDOMAIN_WITH_UNDERSCORES.to_owned());
    }
    wrong
}

/// A DNS label that starts with a letter, as Services need.
pub fn dns1035_label(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > LABEL_MAX {
        wrong.push(too_long(LABEL_MAX));
    }
    if !is_label(text) || !text.starts_with(|c: char| c.is_ascii_lowercase()) {
        wrong.push(LABEL_1035.to_owned());
    }
    wrong
}

/// A label's or annotation's key, a finalizer, a resource: `name` or `example.com/name`.
pub fn qualified_name(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let name = match text.split('/').collect::<Vec<_>>()[..] {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                wrong.push("prefix part must be non-empty".to_owned());
            } else {
                wrong.extend(
                    dns1123_subdomain(prefix)
                        .into_iter()
                        .map(|m| format!("prefix part {m}")),
                );
            }
            name
        }
        _ => {
            let tail = " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
            return vec![format!("a qualified name {QUALIFIED}{tail}")];
        }
    };
    if name.is_empty() {
        wrong.push("name part must be non-empty".to_owned());
    } else if name.len() > LABEL_MAX {
        wrong.push(format!("name part {}", too_long(LABEL_MAX)));
    }
    if !is_qualified_part(name) {
        wrong.push(format!("name part {QUALIFIED}"));
    }
    wrong
}

/// A label's value; may be empty.
pub fn label_value(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > LABEL_MAX {
        wrong.push(too_long(LABEL_MAX));
    }
    if !text.is_empty() && !is_qualified_part(text) {
        wrong.push(LABEL_VALUE.to_owned());
    }
    wrong
}

/// A key of a ConfigMap or Secret; becomes a file name.
pub fn config_key(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > SUBDOMAIN_MAX {
        wrong.push(too_long(SUBDOMAIN_MAX));
    }
    if text.is_empty()
        || !text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    {
        wrong.push(CONFIG_KEY.to_owned());
    }
    match text {
        "." => wrong.push("must not be '.'".to_owned()),
        ".." => wrong.push("must not be '..'".to_owned()),
        _ if text.starts_with("..") => wrong.push("must not start with '..'".to_owned()),
        _ => {}
    }
    wrong
}

/// An environment variable's name (relaxed since 1.34).
pub fn env_name(text: &str) -> Vec<String> {
    if text.is_empty() || !text.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=') {
        return vec![ENV_NAME.to_owned()];
    }
    Vec::new()
}

/// A DNS name whose first label may be `*` alone: `*.example.com`.
pub fn wildcard_subdomain(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if text.len() > SUBDOMAIN_MAX {
        wrong.push(too_long(SUBDOMAIN_MAX));
    }
    if !text
        .strip_prefix("*.")
        .is_some_and(|rest| rest.split('.').all(is_label))
    {
        wrong.push(WILDCARD.to_owned());
    }
    wrong
}

/// A DNS name of at least `segments` labels; none where it is one, else the sentence for it.
pub fn qualified_domain(text: &str, segments: usize) -> Option<String> {
    let wrong = dns1123_subdomain(text);
    if !wrong.is_empty() {
        return Some(wrong.join(","));
    }
    let many = if segments == 2 { "two" } else { "three" };
    (text.split('.').count() < segments)
        .then(|| format!("should be a domain with at least {many} segments separated by dots"))
}

/// A domain and a path, such as `acme.io/foo`.
pub fn domain_prefixed_path(text: &str) -> Vec<String> {
    let halves = text
        .split_once('/')
        .filter(|(host, path)| !host.is_empty() && !path.is_empty());
    let Some((host, path)) = halves else {
        return vec!["must be a domain-prefixed path (such as \"acme.io/foo\")".to_owned()];
    };
    let mut wrong = dns1123_subdomain(host);
    let known = |b: u8| b.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&b);
    if !path.bytes().all(known) {
        let regex = "[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+";
        wrong.push(format!("Invalid path (regex used for validation is '{regex}')"));
    }
    wrong
}

/// The name of an HTTP header.
pub fn http_header(text: &str) -> Vec<String> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Vec::new();
    }
    vec![HTTP_HEADER.to_owned()]
}

/// A name of programs: letters, digits and underscores.
pub fn c_identifier(text: &str) -> Vec<String> {
    let bytes = text.as_bytes();
    let first = bytes.first().is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_');
    if first && bytes.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_') {
        return Vec::new();
    }
    vec![C_IDENTIFIER.to_owned()]
}

/// One segment of a URL's path, for kinds whose names are not DNS names.
pub fn path_segment(text: &str) -> Vec<String> {
    match text {
        "." => vec!["may not be '.'".to_owned()],
        ".." => vec!["may not be '..'".to_owned()],
        _ => ['/', '%']
            .iter()
            .filter(|c| text.contains(**c))
            .map(|c| format!("may not contain '{c}'"))
            .collect(),
    }
}

/// A port's number.
pub fn port(number: i64) -> Vec<String> {
    if (1..=65535).contains(&number) {
        Vec::new()
    } else {
        vec!["must be between 1 and 65535, inclusive".to_owned()]
    }
}

/// A container port's name (IANA service name).
pub fn port_name(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut when = |bad: bool, message: &str| {
        if bad {
            wrong.push(message.to_owned());
        }
    };
    let bytes = text.as_bytes();
    let known = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
    when(text.len() > 15, "must be no more than 15 characters");
    when(
        !bytes.iter().all(known),
        "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
    );
    when(
        !bytes.iter().any(u8::is_ascii_lowercase),
        "must contain at least one letter (a-z)",
    );
    when(text.contains("--"), "must not contain consecutive hyphens");
    when(
        text.is_empty() || text.starts_with('-') || text.ends_with('-'),
        "must not begin or end with a hyphen",
    );
    wrong
}

/// A user or group number.
pub fn user_id(number: i64) -> Vec<String> {
    if (0..=i64::from(i32::MAX)).contains(&number) {
        Vec::new()
    } else {
        vec!["must be between 0 and 2147483647, inclusive".to_owned()]
    }
}

/// An address of either family, in canonical form or not.
pub fn ip(text: &str) -> Vec<String> {
    if text.parse::<std::net::IpAddr>().is_ok() {
        Vec::new()
    } else {
        vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Check = fn(&str) -> Vec<String>;

    #[test]
    fn good_names_pass_and_bad_ones_do_not() {
        let long = "a".repeat(64);
        let cases: &[(Check, &[&str], &[&str])] = &[
            (
                dns1123_label,
                &["a", "1", "a-b", "123-abc"],
                &["", "A", "-a", "a-", "a.b", "a_b", &long],
            ),
            (
                dns1123_subdomain,
                &["a", "a.b", "a-1.b", &long],
                &["", "a..b", ".a", "a.", "a-.b", "A.b"],
            ),
            (dns1035_label, &["a", "a1", "a-b"], &["1a", "", "a-", &long]),
            (
                qualified_name,
                &["a", "A_b.c", "x.y/A", "x/1"],
                &["", "/a", "a/", "a/b/c", "X/a", "-a", &long],
            ),
            (label_value, &["", "a", "A_b.C-1"], &["-a", "a b", "a/", &long]),
            (
                config_key,
                &["a", ".a", "A_b-c.d"],
                &["", ".", "..", "..a", "a/b", "a b"],
            ),
            (
                env_name,
                &["A", "a.b", "with space", "1"],
                &["", "A=B", "\u{e9}", "a\n"],
            ),
            (
                port_name,
                &["http", "a-1", "1a"],
                &["", "1", "A", "a--b", "-a", "a-", "abcdefghijklmnop"],
            ),
            (path_segment, &["a", "a:b", "A"], &[".", "..", "a/b", "a%b"]),
            (
                wildcard_subdomain,
                &["*.a", "*.a.b"],
                &["*", "a.b", "*.", "*a.b", "*.*.a", "*.A"],
            ),
            (
                domain_prefixed_path,
                &["a/b", "acme.io/a/b", "a/B~"],
                &["", "a", "a/", "/a", "A/b", "a/b c"],
            ),
            (c_identifier, &["a", "_a1", "A"], &["", "1a", "a-b", "a.b"]),
            (
                ip,
                &["10.0.0.1", "::1", "2001:db8::1"],
                &["", "10.0.0", "a", "10.0.0.1/8"],
            ),
        ];
        for (number, (check, good, bad)) in cases.iter().enumerate() {
            for text in *good {
                assert_eq!(check(text), Vec::<String>::new(), "rule {number}: {text:?}");
            }
            for text in *bad {
                assert!(!check(text).is_empty(), "rule {number}: {text:?}");
            }
        }
    }

    #[test]
    fn suffixes_come_from_the_upstream_alphabet() {
        assert_eq!(suffix([0, 1, 26, 27, 255]), "bc9bq");
    }
}
