//! Bootstrap tokens: Secrets in `kube-system` by which a new machine asks for its first certificate (upstream
//! plugin/pkg/auth/authenticator/token/bootstrap).

use crate::user::{Extra, User};
use api::metadata;
use api::read::text;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::Value;
use store::Store;

/// The group of whoever shows one.
const GROUP: &str = "system:bootstrappers";
const KIND: &str = "bootstrap.kubernetes.io/token";

/// Whom `token` speaks for; none if it is not of this sort, or is not good.
pub(super) fn user(store: &Store, token: &str, now: Timestamp) -> Option<User> {
    let (id, secret) = token
        .split_once('.')
        .filter(|(id, secret)| is_word(id, 6) && is_word(secret, 16))?;
    let entry = store.get(&format!("secrets/kube-system/bootstrap-token-{id}"))?;
    let object: Value = serde_json::from_slice(&entry.value).ok()?;
    if text(&object, "/type") != KIND || metadata::is_deleting(&object) {
        return None;
    }
    let data = |key: &str| {
        let bytes = STANDARD.decode(text(&object, &format!("/data/{key}"))).ok()?;
        String::from_utf8(bytes).ok()
    };
    if data("token-id")? != id || !is_same(&data("token-secret")?, secret) {
        return None;
    }
    if data("usage-bootstrap-authentication").as_deref() != Some("true") {
        return None;
    }
    if let Some(end) = data("expiration").filter(|end| !end.is_empty())
        && end.parse::<Timestamp>().map_or(true, |end| end <= now)
    {
        return None;
    }
    let extra = data("auth-extra-groups").unwrap_or_default();
    let extra: Vec<String> = extra
        .split(',')
        .map(str::trim)
        .filter(|group| !group.is_empty())
        .map(str::to_owned)
        .collect();
    if !extra.iter().all(|group| is_group(group)) {
        return None;
    }
    let groups = std::iter::once(GROUP.to_owned()).chain(extra);
    Some(User::authenticated(
        &format!("system:bootstrap:{id}"),
        "",
        groups,
        Extra::new(),
    ))
}

fn is_word(text: &str, length: usize) -> bool {
    text.len() == length
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// `system:bootstrappers:` and letters, digits, colons and hyphens that neither begin nor end with a sign.
fn is_group(group: &str) -> bool {
    let Some(rest) = group.strip_prefix("system:bootstrappers:") else {
        return false;
    };
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = rest.as_bytes();
    bytes.first().copied().is_some_and(is_letter)
        && bytes.last().copied().is_some_and(is_letter)
        && bytes.iter().all(|byte| is_letter(*byte) || matches!(byte, b':' | b'-'))
}

/// In a time that does not tell where they differ.
fn is_same(a: &str, b: &str) -> bool {
    let differing = a
        .bytes()
        .zip(b.bytes())
        .fold(0, |differing, (a, b)| differing | (a ^ b));
    a.len() == b.len() && differing == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_below_the_bootstrappers() {
        for (group, expected) in [
            ("system:bootstrappers:kubeadm:default-node-token", true),
            ("system:bootstrappers:", false),
            ("system:masters", false),
            ("system:bootstrappers:-a", false),
        ] {
            assert_eq!(is_group(group), expected, "{group}");
        }
        assert!(is_same("abc", "abc") && !is_same("abc", "abd") && !is_same("abc", "ab"));
    }
}
