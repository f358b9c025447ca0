//! Who may ask a node what: a caller shows a certificate of the cluster's CA or a token that the API server knows, and the API
//! server says what it may (upstream pkg/kubelet/server/auth.go; fine-grained subresources are KEP-2862).

use super::{Refusal, chain};
use client::{Api, Transport};
use http::{HeaderMap, Method, StatusCode, header};
use identity::Subject;
use k8s_openapi::api::authentication::v1::TokenReview;
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Whoever is in it and has a certificate that says so may do anything, as the API server would say: it is one of them
/// itself, and a node is not to ask it about itself.
const MASTERS: &str = "system:masters";
/// The kubelet's defaults of `authentication.webhook.cacheTTL` and `authorization.webhook.cache(Un)AuthorizedTTL`.
const TOKEN_KEPT: Duration = Duration::from_secs(120);
const YES_KEPT: Duration = Duration::from_secs(300);
const NO_KEPT: Duration = Duration::from_secs(30);
/// Answers that are remembered: far more callers than a node has, and too few to fill its memory by guessing tokens.
const MOST_KEPT: usize = 1024;
/// An API server that does not answer by then does not know.
const PATIENCE: Duration = Duration::from_secs(10);

/// Somebody who proved who they are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Caller {
    name: String,
    groups: Vec<String>,
    uid: String,
    extra: BTreeMap<String, Vec<String>>,
    by_certificate: bool,
}

/// Decides.
pub struct Access {
    transport: Arc<dyn Transport>,
    node: String,
    tokens: Kept<[u8; 32], Option<Caller>>,
    answers: Kept<(Caller, &'static str, &'static str), bool>,
}

/// What was asked lately.
struct Kept<K, V>(Mutex<BTreeMap<K, (Instant, V)>>);

// === impl Access ===

impl Access {
    pub fn new(transport: Arc<dyn Transport>, node: &str) -> Self {
        Self {
            transport,
            node: node.to_owned(),
            tokens: Kept(Mutex::default()),
            answers: Kept(Mutex::default()),
        }
    }

    /// Who asks: by the certificate that TLS has verified, else by the token that the request bears.
    pub async fn caller(&self, certificate: Option<&Subject>, headers: &HeaderMap) -> Result<Caller, Refusal> {
        if let Some(subject) = certificate {
            return Ok(Caller {
                name: subject.common_name.clone(),
                groups: with_authenticated(subject.organizations.clone()),
                uid: String::new(),
                extra: BTreeMap::new(),
                by_certificate: true,
            });
        }
        let unauthorized = || Refusal(StatusCode::UNAUTHORIZED, "Unauthorized".to_owned());
        let token = bearer(headers).ok_or_else(unauthorized)?;
        let key: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if let Some(known) = self.tokens.get(&key) {
            return known.ok_or_else(unauthorized);
        }
        let caller = self.review(token).await?;
        self.tokens.put(key, caller.clone(), TOKEN_KEPT);
        caller.ok_or_else(unauthorized)
    }

    async fn review(&self, token: &str) -> Result<Option<Caller>, Refusal> {
        let review: TokenReview = serde_json::from_value(json!({"metadata": {}, "spec": {"token": token}}))
            .expect("it is a TokenReview because it was just written as one");
        let asked = Api::<TokenReview>::all(self.transport.clone());
        let answer = asked.create(&review);
        let answer = tokio::time::timeout(PATIENCE, answer).await.map_err(|_| silent())?;
        let review = answer.map_err(|error| {
            tracing::warn!(error = %chain(&error), "a caller's token could not be reviewed");
            Refusal(StatusCode::UNAUTHORIZED, "Unauthorized".to_owned())
        })?;
        let status = review.status.unwrap_or_default();
        let user = status.user.filter(|_| status.authenticated == Some(true));
        Ok(user.map(|user| Caller {
            name: user.username.unwrap_or_default(),
            groups: user.groups.unwrap_or_default(),
            uid: user.uid.unwrap_or_default(),
            extra: user.extra.unwrap_or_default(),
            by_certificate: false,
        }))
    }

    /// Refuses what a caller may not, in upstream's words.
    pub async fn check(&self, caller: &Caller, method: &Method, path: &str) -> Result<(), Refusal> {
        if caller.by_certificate && caller.groups.iter().any(|group| group == MASTERS) {
            return Ok(());
        }
        let (verb, parts) = (verb(method), subresources(path));
        for part in parts {
            if self.may(caller, verb, part).await? {
                return Ok(());
            }
        }
        let (name, parts) = (&caller.name, parts.join(" "));
        Err(Refusal(
            StatusCode::FORBIDDEN,
            format!("Forbidden (user={name}, verb={verb}, resource=nodes, subresource(s)=[{parts}])"),
        ))
    }

    async fn may(&self, caller: &Caller, verb: &'static str, part: &'static str) -> Result<bool, Refusal> {
        let key = (caller.clone(), verb, part);
        if let Some(known) = self.answers.get(&key) {
            return Ok(known);
        }
        let review: SubjectAccessReview = serde_json::from_value(self.question(caller, verb, part))
            .expect("it is a SubjectAccessReview because it was just written as one");
        let asked = Api::<SubjectAccessReview>::all(self.transport.clone());
        let answer = asked.create(&review);
        let answer = tokio::time::timeout(PATIENCE, answer).await.map_err(|_| silent())?;
        let answer = answer.map_err(|error| {
            tracing::warn!(error = %chain(&error), "what a caller may could not be asked");
            let name = &caller.name;
            Refusal(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("Authorization error (user={name}, verb={verb}, resource=nodes, subresource(s)=[{part}])"),
            )
        })?;
        let allowed = answer.status.is_some_and(|status| status.allowed);
        self.answers.put(key, allowed, if allowed { YES_KEPT } else { NO_KEPT });
        Ok(allowed)
    }

    fn question(&self, caller: &Caller, verb: &str, part: &str) -> Value {
        json!({"metadata": {}, "spec": {
            "user": caller.name, "groups": caller.groups, "uid": caller.uid, "extra": caller.extra,
            "resourceAttributes": {"verb": verb, "version": "v1", "resource": "nodes", "subresource": part, "name": self.node},
        }})
    }
}

// === impl Kept ===

impl<K: Ord, V: Clone> Kept<K, V> {
    fn get(&self, key: &K) -> Option<V> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, value) = kept.get(key)?;
        (Instant::now() < *until).then(|| value.clone())
    }

    fn put(&self, key: K, value: V, how_long: Duration) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if kept.len() >= MOST_KEPT {
            kept.retain(|_, (until, _)| now < *until);
        }
        if kept.len() >= MOST_KEPT {
            kept.clear();
        }
        kept.insert(key, (now + how_long, value));
    }
}

fn silent() -> Refusal {
    let why = "the API server does not answer, so nobody can be let in";
    Refusal(StatusCode::SERVICE_UNAVAILABLE, why.to_owned())
}

fn with_authenticated(mut groups: Vec<String>) -> Vec<String> {
    groups.push("system:authenticated".to_owned());
    groups
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn verb(method: &Method) -> &'static str {
    match method.as_str() {
        "POST" => "create",
        "GET" | "HEAD" => "get",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "",
    }
}

/// Subresources of nodes, any of which opens the path.
fn subresources(path: &str) -> &'static [&'static str] {
    match path.split('/').find(|part| !part.is_empty()).unwrap_or_default() {
        "stats" => &["stats"],
        "metrics" => &["metrics"],
        "logs" => &["log"],
        "checkpoint" => &["checkpoint"],
        "pods" | "runningpods" => &["pods", "proxy"],
        "healthz" => &["healthz", "proxy"],
        "configz" => &["configz", "proxy"],
        _ => &["proxy"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use client::Body;
    use futures_util::future::BoxFuture;
    use http::{Request, Response};
    use http_body_util::{BodyExt, Full};
    use std::io;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// An API server that knows one token, whose user may read metrics and health.
    #[derive(Default)]
    struct Server {
        asked: AtomicUsize,
    }

    impl Transport for Server {
        fn send(&self, request: Request<Bytes>) -> BoxFuture<'static, io::Result<Response<Body>>> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            let mut object: Value = serde_json::from_slice(request.body()).unwrap();
            object["status"] = if request.uri().path().ends_with("tokenreviews") {
                match object["spec"]["token"] == "good" {
                    true => json!({"authenticated": true, "user": {"username": "reader", "groups": ["g"]}}),
                    false => json!({"authenticated": false}),
                }
            } else {
                let part = object["spec"]["resourceAttributes"]["subresource"].as_str().unwrap();
                let allowed = object["spec"]["user"] == "reader" && ["metrics", "healthz"].contains(&part);
                json!({"allowed": allowed && object["spec"]["resourceAttributes"]["verb"] == "get"})
            };
            let body = Full::new(Bytes::from(object.to_string()));
            let body = body.map_err(|never| match never {}).boxed();
            Box::pin(async move { Ok(Response::builder().status(201).body(body).unwrap()) })
        }
    }

    fn bearing(token: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, token.parse().unwrap());
        headers
    }

    #[tokio::test]
    async fn a_token_opens_what_its_user_may_and_is_asked_about_once() {
        let server = Arc::new(Server::default());
        let access = Access::new(server.clone(), "n1");
        for headers in [
            HeaderMap::new(),
            bearing("Basic Zm9v"),
            bearing("Bearer bad"),
            bearing("Bearer bad"),
        ] {
            let refusal = access.caller(None, &headers).await.unwrap_err();
            assert_eq!(
                (refusal.0, refusal.1.as_str()),
                (StatusCode::UNAUTHORIZED, "Unauthorized")
            );
        }
        assert_eq!(server.asked.load(Ordering::SeqCst), 1);
        for _ in 0..3 {
            let caller = access.caller(None, &bearing("Bearer good")).await.unwrap();
            for path in ["/metrics", "/metrics/cadvisor", "/healthz", "/healthz/ping"] {
                access.check(&caller, &Method::GET, path).await.unwrap();
            }
            for (method, path, parts) in [
                (Method::GET, "/pods", "pods proxy"),
                (Method::GET, "/exec/a/b/c", "proxy"),
                (Method::POST, "/metrics", "metrics"),
                (Method::GET, "/stats/summary", "stats"),
            ] {
                let refusal = access.check(&caller, &method, path).await.unwrap_err();
                let verb = verb(&method);
                let expected =
                    format!("Forbidden (user=reader, verb={verb}, resource=nodes, subresource(s)=[{parts}])");
                assert_eq!((refusal.0, refusal.1), (StatusCode::FORBIDDEN, expected));
            }
        }
        // Two tokens; get of metrics, healthz, pods, proxy, stats; create of metrics.
        assert_eq!(server.asked.load(Ordering::SeqCst), 2 + 6);
    }

    #[tokio::test]
    async fn the_group_of_masters_counts_in_certificates_alone() {
        let server = Arc::new(Server::default());
        let access = Access::new(server.clone(), "n1");
        let subject = Subject {
            common_name: "kube-apiserver".to_owned(),
            organizations: vec![MASTERS.to_owned()],
        };
        let caller = access.caller(Some(&subject), &HeaderMap::new()).await.unwrap();
        access.check(&caller, &Method::POST, "/exec/a/b/c").await.unwrap();
        assert_eq!(server.asked.load(Ordering::SeqCst), 0);
        let pretender = Caller {
            by_certificate: false,
            ..caller
        };
        assert!(access.check(&pretender, &Method::POST, "/exec/a/b/c").await.is_err());
    }
}
