//! Tokens of browsers, which can give a WebSocket no header but its protocols: one of those is the token
//! (apiserver pkg/authentication/request/websocket/protocol.go).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, header};

/// What such a protocol begins with; the token follows in base64url.
const PREFIX: &str = "base64url.bearer.authorization.k8s.io.";

/// Makes a WebSocket's token an ordinary one, which nobody behind this server sees among the protocols. A token that cannot be
/// one stays where it is: it proves nothing, and no protocol has its name.
pub(crate) fn move_token(headers: &mut HeaderMap) {
    if !headers.contains_key(header::SEC_WEBSOCKET_PROTOCOL) || headers.contains_key(header::AUTHORIZATION) {
        return;
    }
    let Some((token, others)) = split(headers) else { return };
    let others = HeaderValue::from_str(&others.join(","));
    let token = HeaderValue::from_str(&format!("Bearer {token}"));
    if let (Ok(others), Ok(token)) = (others, token) {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, others);
        headers.insert(header::AUTHORIZATION, token);
    }
}

/// The one token, and the protocols besides it; there must be some.
fn split(headers: &HeaderMap) -> Option<(String, Vec<&str>)> {
    let values = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter();
    let protocols = values.filter_map(|value| value.to_str().ok());
    let protocols = protocols.flat_map(|value| value.split(',')).map(str::trim);
    let (tokens, others): (Vec<&str>, Vec<&str>) = protocols.partition(|protocol| protocol.starts_with(PREFIX));
    let [token] = tokens.as_slice() else { return None };
    let token = URL_SAFE_NO_PAD.decode(token.strip_prefix(PREFIX)?).ok()?;
    let token = String::from_utf8(token).ok().filter(|token| !token.is_empty())?;
    (!others.is_empty()).then_some((token, others))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_leaves_the_protocols() {
        for (protocols, expected) in [
            (
                "base64url.bearer.authorization.k8s.io.YS5iLmM, v4.channel.k8s.io",
                ("v4.channel.k8s.io", "Bearer a.b.c"),
            ),
            (
                "base64url.bearer.authorization.k8s.io.YS5iLmM",
                ("base64url.bearer.authorization.k8s.io.YS5iLmM", ""),
            ),
            (
                "base64url.bearer.authorization.k8s.io.!,x",
                ("base64url.bearer.authorization.k8s.io.!,x", ""),
            ),
            ("v4.channel.k8s.io", ("v4.channel.k8s.io", "")),
        ] {
            let mut headers = HeaderMap::from_iter([(header::SEC_WEBSOCKET_PROTOCOL, protocols.parse().unwrap())]);
            move_token(&mut headers);
            let of = |name| {
                headers
                    .get(name)
                    .map_or("", |value: &HeaderValue| value.to_str().unwrap())
            };
            assert_eq!(
                (of(header::SEC_WEBSOCKET_PROTOCOL), of(header::AUTHORIZATION)),
                expected,
                "{protocols}"
            );
        }
    }
}
