//! Impersonation: a user who may, acts as another (apiserver pkg/endpoints/filters/impersonation).

use crate::authorize::{Attributes, Authorizer, Resource};
use crate::query::decode;
use crate::user::{ANONYMOUS, AUTHENTICATED, Extra, UNAUTHENTICATED, User, account_groups};
use api::status::{self, Status};
use http::{HeaderMap, HeaderName, HeaderValue};

const USER: HeaderName = HeaderName::from_static("impersonate-user");
const UID: HeaderName = HeaderName::from_static("impersonate-uid");
const GROUP: HeaderName = HeaderName::from_static("impersonate-group");
/// Before the key of an extra, which is percent-encoded.
const EXTRA: &str = "impersonate-extra-";
const GROUP_NAME: &str = "authentication.k8s.io";

/// Whom the headers ask to be.
struct Wish {
    user: String,
    uid: String,
    groups: Vec<String>,
    extra: Extra,
}

/// The user that a request acts as: `user`, or whom its headers name, if `user` may be them.
pub(super) fn act_as(authorizer: &Authorizer, user: User, headers: &HeaderMap) -> Result<User, Status> {
    // Almost no request has any of them.
    if !headers.keys().any(|name| name.as_str().starts_with("impersonate-")) {
        return Ok(user);
    }
    let Some(wish) = wish(headers)? else { return Ok(user) };
    for question in questions(&wish) {
        authorizer.check(&user, &Attributes::resource("impersonate", question))?;
    }
    Ok(granted(wish))
}

fn wish(headers: &HeaderMap) -> Result<Option<Wish>, Status> {
    let all = |name: &HeaderName| -> Vec<String> { headers.get_all(name).iter().map(value).collect() };
    let one = |name: &HeaderName| headers.get(name).map(value).unwrap_or_default();
    let mut extra = Extra::new();
    for (name, text) in headers {
        if let Some(key) = name.as_str().strip_prefix(EXTRA) {
            extra.entry(decode(key, false)).or_default().push(value(text));
        }
    }
    let wish = Wish {
        user: one(&USER),
        uid: one(&UID),
        groups: all(&GROUP),
        extra,
    };
    if !wish.user.is_empty() {
        return Ok(Some(wish));
    }
    if wish.uid.is_empty() && wish.groups.is_empty() && wish.extra.is_empty() {
        return Ok(None);
    }
    Err(status::bad_request(
        "requested groups, a uid or extras without impersonating a user",
    ))
}

fn value(text: &HeaderValue) -> String {
    String::from_utf8_lossy(text.as_bytes()).into_owned()
}

/// Each part of a wish is asked for on its own.
fn questions(wish: &Wish) -> Vec<Resource<'_>> {
    let mut questions = vec![match account(&wish.user) {
        Some((namespace, name)) => Resource {
            resource: "serviceaccounts",
            namespace,
            name,
            ..Resource::default()
        },
        None => Resource {
            resource: "users",
            name: &wish.user,
            ..Resource::default()
        },
    }];
    questions.extend(wish.groups.iter().map(|group| Resource {
        resource: "groups",
        name: group,
        ..Resource::default()
    }));
    for (key, values) in &wish.extra {
        questions.extend(values.iter().map(|value| Resource {
            group: GROUP_NAME,
            resource: "userextras",
            subresource: key,
            name: value,
            ..Resource::default()
        }));
    }
    if !wish.uid.is_empty() {
        questions.push(Resource {
            group: GROUP_NAME,
            resource: "uids",
            name: &wish.uid,
            ..Resource::default()
        });
    }
    questions
}

/// A service account's namespace and name, if the user is one.
fn account(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix("system:serviceaccount:")?.split_once(':')?;
    (!namespace.is_empty() && !name.is_empty() && !name.contains(':')).then_some((namespace, name))
}

fn granted(wish: Wish) -> User {
    let mut groups = wish.groups;
    if groups.is_empty()
        && let Some((namespace, _)) = account(&wish.user)
    {
        groups.extend(account_groups(namespace));
    }
    let common = if wish.user == ANONYMOUS {
        UNAUTHENTICATED
    } else {
        AUTHENTICATED
    };
    if !groups
        .iter()
        .any(|group| group == AUTHENTICATED || group == UNAUTHENTICATED)
    {
        groups.push(common.to_owned());
    }
    User::new(&wish.user, &wish.uid, groups, wish.extra)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_accounts_get_their_groups() {
        let mut headers = HeaderMap::new();
        headers.insert(USER, HeaderValue::from_static("system:serviceaccount:n:a"));
        headers.append(
            "impersonate-extra-example.com%2fscopes",
            HeaderValue::from_static("view"),
        );
        let wish = wish(&headers).ok().flatten().unwrap();
        assert_eq!(questions(&wish).len(), 2);
        let user = granted(wish);
        assert_eq!(
            user.groups.join(","),
            "system:serviceaccounts,system:serviceaccounts:n,system:authenticated"
        );
        assert_eq!(user.extra["example.com/scopes"], ["view"]);
    }
}
