//! Whom a service account's token speaks for: its claims, held against the objects that it is bound to as they are now
//! (upstream pkg/serviceaccount `validator`).

use super::{last_used, token::LASTING_ISSUER};
use crate::user::{CREDENTIAL_ID, Extra, User, account_groups, account_user};
use api::read::{self, text};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};
use store::Store;

/// An object whose deletion has begun vouches so many seconds longer: its last requests are about ending.
const LEEWAY: i64 = 60;

/// A token whose signature was good, and what it says.
#[derive(Debug)]
pub struct Claims {
    namespace: String,
    account: String,
    expires: i64,
    not_before: i64,
    /// Whom it is meant for.
    pub(super) audiences: Vec<String>,
    bound: Vec<Bound>,
    user: User,
}

/// An object that must still be there.
#[derive(Debug)]
struct Bound {
    what: &'static str,
    key: String,
    proof: Proof,
}

/// How it is known to be the same object as then.
#[derive(Debug)]
enum Proof {
    Uid(String),
    /// It is a Secret and has the token (in base64) still.
    Token(String),
}

/// What a token says that stands in a Secret (upstream pkg/serviceaccount/legacy.go).
pub(super) fn lasting_claims(namespace: &str, account: &str, uid: &str, secret: &str) -> Value {
    json!({
        "iss": LASTING_ISSUER,
        "kubernetes.io/serviceaccount/namespace": namespace,
        "kubernetes.io/serviceaccount/secret.name": secret,
        "kubernetes.io/serviceaccount/service-account.name": account,
        "kubernetes.io/serviceaccount/service-account.uid": uid,
        "sub": account_user(namespace, account),
    })
}

// === impl Claims ===

impl Claims {
    /// From the claims of a token; none if it is no service account's.
    pub fn of(claims: &Value) -> Option<Self> {
        let own = claims.get("kubernetes.io")?;
        let namespace = text(own, "/namespace").to_owned();
        let account = text(own, "/serviceaccount/name").to_owned();
        let uid = text(own, "/serviceaccount/uid");
        if namespace.is_empty() || account.is_empty() || text(claims, "/sub") != account_user(&namespace, &account) {
            return None;
        }
        let mut bound = vec![Bound {
            what: "service account",
            key: format!("serviceaccounts/{namespace}/{account}"),
            proof: Proof::Uid(uid.to_owned()),
        }];
        let mut extra = Extra::new();
        let mut more = |key: &str, value: &str| {
            if !value.is_empty() {
                extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value.to_owned()]);
            }
        };
        for (kind, key) in [
            ("pod", format!("pods/{namespace}/")),
            ("secret", format!("secrets/{namespace}/")),
            ("node", "nodes/".to_owned()),
        ] {
            let (name, uid) = (text(own, &format!("/{kind}/name")), text(own, &format!("/{kind}/uid")));
            if name.is_empty() {
                continue;
            }
            if kind != "secret" {
                more(&format!("{kind}-name"), name);
                more(&format!("{kind}-uid"), uid);
            }
            // The node of a bound pod is told, and only a token bound to a node alone depends on it.
            if kind != "node" || read::some(own, "/pod").is_none() {
                bound.push(Bound {
                    what: kind,
                    key: format!("{key}{name}"),
                    proof: Proof::Uid(uid.to_owned()),
                });
            }
        }
        let id = text(claims, "/jti");
        if !id.is_empty() {
            extra.insert(CREDENTIAL_ID.to_owned(), vec![format!("JTI={id}")]);
        }
        let name = account_user(&namespace, &account);
        let user = User::authenticated(&name, uid, account_groups(&namespace), extra);
        Some(Self {
            namespace,
            account,
            expires: read::int(claims, "/exp"),
            not_before: read::int(claims, "/nbf"),
            audiences: audiences(claims),
            bound,
            user,
        })
    }

    /// The same of a token that stands in a Secret, for as long as it does; it is meant for whoever issues the others.
    pub(super) fn of_lasting(claims: &Value, token: &str, issuer: &str) -> Option<Self> {
        let said = |key: &str| {
            claims
                .get(format!("kubernetes.io/serviceaccount/{key}"))
                .and_then(Value::as_str)
        };
        let (namespace, secret) = (said("namespace")?, said("secret.name")?);
        let (account, uid) = (said("service-account.name")?, said("service-account.uid")?);
        let name = account_user(namespace, account);
        if text(claims, "/sub") != name {
            return None;
        }
        let bound = |what, key: String, proof| Bound { what, key, proof };
        let of_account = format!("serviceaccounts/{namespace}/{account}");
        let token = Proof::Token(STANDARD.encode(token));
        Some(Self {
            namespace: namespace.to_owned(),
            account: account.to_owned(),
            expires: i64::MAX,
            not_before: 0,
            audiences: vec![issuer.to_owned()],
            bound: vec![
                bound("service account", of_account, Proof::Uid(uid.to_owned())),
                bound("secret", format!("secrets/{namespace}/{secret}"), token),
            ],
            user: User::authenticated(&name, uid, account_groups(namespace), Extra::new()),
        })
    }

    /// Namespace and name of the Secret that the token stands in, if it does.
    pub(super) fn lasting(&self) -> Option<(&str, &str)> {
        let mut bound = self.bound.iter();
        let secret = bound.find(|bound| matches!(bound.proof, Proof::Token(_)))?;
        Some((&self.namespace, secret.key.rsplit('/').next()?))
    }

    /// The user, if the token holds now; else why it does not.
    pub(super) fn user(&self, store: &Store, now: Timestamp) -> Result<User, String> {
        let seconds = now.as_second();
        if seconds >= self.expires {
            return Err("service account token has expired".to_owned());
        }
        if seconds < self.not_before {
            return Err("service account token is not valid yet".to_owned());
        }
        for bound in &self.bound {
            self.is_there(store, bound, now)?;
        }
        Ok(self.user.clone())
    }

    fn is_there(&self, store: &Store, bound: &Bound, now: Timestamp) -> Result<(), String> {
        let lost = || match bound.what {
            "service account" => format!("serviceaccounts {:?} not found", self.account),
            _ => "service account token has been invalidated".to_owned(),
        };
        let entry = store.get(&bound.key).ok_or_else(lost)?;
        let object: Value = serde_json::from_slice(&entry.value).unwrap_or_default();
        let metadata = object.get("metadata").unwrap_or(&Value::Null);
        let uid = match &bound.proof {
            Proof::Uid(uid) => uid,
            Proof::Token(token) if text(&object, "/data/token") == token && !is_deleting(metadata) => {
                return last_used::refusal(&object, &self.namespace, &self.account).map_or(Ok(()), Err);
            }
            Proof::Token(_) => return Err(lost()),
        };
        if text(metadata, "/uid") != uid {
            return Err(match bound.what {
                "service account" => format!(
                    "service account UID ({}) does not match claim ({})",
                    text(metadata, "/uid"),
                    uid
                ),
                what => format!(
                    "{what} UID ({}) does not match service account {what} ref claim ({})",
                    text(metadata, "/uid"),
                    uid
                ),
            });
        }
        let ended = text(metadata, "/deletionTimestamp").parse::<Timestamp>().ok();
        if ended.is_some_and(|ended| now.as_second() - ended.as_second() > LEEWAY) {
            return Err(format!(
                "service account token has been invalidated: {} {}/{} is gone",
                bound.what, self.namespace, self.account
            ));
        }
        Ok(())
    }
}

fn is_deleting(metadata: &Value) -> bool {
    read::some(metadata, "/deletionTimestamp").is_some()
}

/// `aud` is a text or a list of them (RFC 7519 §4.1.3).
fn audiences(claims: &Value) -> Vec<String> {
    match claims.get("aud") {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_that_contradict_themselves_are_none() {
        let good = json!({
            "sub": "system:serviceaccount:n:a", "aud": ["x"], "jti": "j",
            "kubernetes.io": { "namespace": "n", "serviceaccount": { "name": "a", "uid": "u" }, "pod": { "name": "p", "uid": "q" },
                               "node": { "name": "m", "uid": "r" } },
        });
        let claims = Claims::of(&good).unwrap();
        assert_eq!(claims.audiences, ["x"]);
        assert_eq!(&*claims.user.name, "system:serviceaccount:n:a");
        assert_eq!(
            claims.user.groups.join(","),
            "system:serviceaccounts,system:serviceaccounts:n,system:authenticated"
        );
        assert_eq!(claims.user.extra["authentication.kubernetes.io/node-name"], ["m"]);
        assert_eq!(claims.user.extra[CREDENTIAL_ID], ["JTI=j"]);
        assert_eq!(
            claims.bound.iter().map(|b| b.what).collect::<Vec<_>>(),
            ["service account", "pod"]
        );
        let mut other = good.clone();
        other["sub"] = json!("system:serviceaccount:n:b");
        assert!(Claims::of(&other).is_none());
        assert!(Claims::of(&json!({ "sub": "a" })).is_none());
    }
}
