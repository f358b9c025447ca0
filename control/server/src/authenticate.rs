//! Who asks: a client certificate, a bearer token, or nobody; and whom they ask to be.

mod bootstrap;
mod impersonate;
pub(crate) mod last_used;
mod service_account;
mod token;
mod websocket;

pub use token::{Tokens, TokensError};
pub(crate) use websocket::move_token;

use crate::audit::Asker;
use crate::authorize::Authorizer;
use crate::user::User;
use api::status;
use http::{HeaderMap, header};
use jiff::Timestamp;
use last_used::LastUsed;
use ring::digest;
use serde_json::Value;
use service_account::Claims;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use store::Store;
use token::LASTING_ISSUER;

/// Paths that anybody may ask for (the anonymous paths of upstream's AuthenticationConfiguration, and `/version`, which
/// `system:public-info-viewer` shows to everybody).
const PUBLIC: &[&str] = &["/healthz", "/livez", "/readyz", "/version"];
/// Tokens whose signature is remembered; a pod's token is used for an hour, so this is for some thousand pods.
const REMEMBERED: usize = 8192;

/// Why a token was not accepted, for TokenReview; clients themselves hear no more than 401.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("[invalid bearer token, {0}]")]
pub(crate) struct Unaccepted(String);

/// A token's user, and for whom else the token is meant.
pub(crate) struct Shown {
    pub(crate) user: User,
    /// Those of the asked-for audiences that the token is meant for.
    pub(crate) audiences: Vec<String>,
}

/// All ways to prove who one is.
pub(crate) struct Authenticator {
    store: Store,
    pub(crate) tokens: Tokens,
    /// Claims of tokens whose signature was good, by the tokens' digests: a signature costs more than everything else
    /// about a request.
    known: Mutex<HashMap<[u8; 32], Arc<Claims>>>,
    pub(crate) last_used: LastUsed,
}

// === impl Authenticator ===

impl Authenticator {
    pub(crate) fn new(store: Store, tokens: Tokens) -> Self {
        Self {
            store,
            tokens,
            known: Mutex::default(),
            last_used: LastUsed::default(),
        }
    }

    /// Who asks, and whom their request acts as. `connection` is whom its connection's certificate speaks for, if it showed one.
    pub(crate) fn asker(
        &self,
        authorizer: &Authorizer,
        connection: Option<User>,
        headers: &HeaderMap,
        path: &str,
    ) -> Asker {
        let proven = match (connection, headers.get(header::AUTHORIZATION)) {
            (Some(user), _) => Ok(user),
            (None, Some(shown)) => self.bearer(shown.as_bytes()).ok_or_else(status::unauthorized),
            (None, None) if is_public(path) => Ok(User::anonymous()),
            (None, None) => Err(status::unauthorized()),
        };
        match proven {
            Ok(user) => Asker {
                acting: impersonate::act_as(authorizer, user.clone(), headers),
                proven: Some(user),
            },
            Err(refusal) => Asker::unknown(refusal),
        }
    }

    fn bearer(&self, header: &[u8]) -> Option<User> {
        let text = std::str::from_utf8(header).ok()?;
        let (scheme, token) = text.trim().split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let own = [self.tokens.issuer().to_owned()];
        self.token(token.trim(), &own).ok().map(|shown| shown.user)
    }

    /// Whom a token speaks for towards one of `audiences`.
    pub(crate) fn token(&self, token: &str, audiences: &[String]) -> Result<Shown, Unaccepted> {
        let now = Timestamp::now();
        let refused = |why: &str| Unaccepted(why.to_owned());
        if let Some(claims) = self.claims(token) {
            let meant: Vec<String> = audiences
                .iter()
                .filter(|audience| claims.audiences.contains(audience))
                .cloned()
                .collect();
            if meant.is_empty() {
                return Err(refused("token audiences do not match"));
            }
            let user = claims.user(&self.store, now).map_err(Unaccepted)?;
            if let Some((namespace, secret)) = claims.lasting() {
                self.last_used.note(namespace, secret, now);
            }
            return Ok(Shown { user, audiences: meant });
        }
        let user = bootstrap::user(&self.store, token, now).ok_or_else(|| refused("unknown token"))?;
        Ok(Shown {
            user,
            audiences: audiences.to_vec(),
        })
    }

    pub(crate) fn lasting_token(&self, namespace: &str, account: &str, uid: &str, secret: &str) -> Option<String> {
        self.tokens
            .sign(&service_account::lasting_claims(namespace, account, uid, secret))
    }

    /// The claims of a token whose signature is good.
    fn read(&self, token: &str, claims: &Value) -> Option<Claims> {
        match claims.get("iss")? == LASTING_ISSUER {
            true => Claims::of_lasting(claims, token, self.tokens.issuer()),
            false => Claims::of(claims),
        }
    }

    fn claims(&self, token: &str) -> Option<Arc<Claims>> {
        let mut digest = [0; 32];
        digest.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
        let known = || {
            self.known
                .lock()
                .expect("the memory is whole because nobody panics while holding it")
        };
        if let Some(claims) = known().get(&digest) {
            return Some(claims.clone());
        }
        let claims = Arc::new(self.read(token, &self.tokens.verify(token)?)?);
        let mut known = known();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(digest, claims.clone());
        Some(claims)
    }
}

fn is_public(path: &str) -> bool {
    PUBLIC.iter().any(|root| {
        path.strip_prefix(root)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}
