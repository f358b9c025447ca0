//! How a registry asks who we are, and what is answered (RFC 7235, RFC 7617, distribution's "Token Authentication").

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

/// A `WWW-Authenticate` header.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// Fetch a token there, with this query.
    Bearer { realm: String, query: String },
    /// Send user name and password.
    Basic,
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
}

impl Challenge {
    pub(super) fn parse(header: &str) -> Challenge {
        let Some((scheme, rest)) = header.split_once(' ') else {
            return Challenge::Basic;
        };
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Challenge::Basic;
        }
        let mut realm = String::new();
        let mut query = Vec::new();
        for (key, value) in parameters(rest) {
            match key.as_str() {
                "realm" => realm = value,
                "service" | "scope" => query.push(format!("{key}={}", escape(&value))),
                _ => {}
            }
        }
        Challenge::Bearer {
            realm,
            query: query.join("&"),
        }
    }
}

/// `key="value, perhaps with commas", key=value`.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut parameters = Vec::new();
    let mut rest = text;
    while let Some((key, after)) = rest.split_once('=') {
        let key = key.trim_matches([' ', ',']).to_ascii_lowercase();
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(',').unwrap_or((after, "")),
        };
        parameters.push((key, value.trim().to_owned()));
        rest = next;
    }
    parameters
}

fn escape(value: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~' | b':' | b'/');
    value
        .bytes()
        .map(|b| {
            if plain(b) {
                (b as char).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

pub(super) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

pub(super) fn token(text: &[u8]) -> Option<String> {
    let answer: Answer = serde_json::from_slice(text).ok()?;
    answer.token.or(answer.access_token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_understood() {
        let docker = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/nginx:pull,push""#;
        assert_eq!(
            Challenge::parse(docker),
            Challenge::Bearer {
                realm: "https://auth.docker.io/token".to_owned(),
                query: "service=registry.docker.io&scope=repository:library/nginx:pull%2Cpush".to_owned(),
            }
        );
        assert_eq!(Challenge::parse(r#"Basic realm="x""#), Challenge::Basic);
    }

    #[test]
    fn tokens_have_two_names() {
        assert_eq!(token(br#"{"token":"a"}"#).unwrap(), "a");
        assert_eq!(token(br#"{"access_token":"b"}"#).unwrap(), "b");
        assert_eq!(token(b"{}"), None);
    }
}
