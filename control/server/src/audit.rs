//! The audit log: who asked for what, when, and what came of it. Off unless a policy says what to write; then no event is lost
//! silently, and none is written of what the policy does not name.

mod event;
mod log;
mod policy;

pub use log::AuditFile;
pub use policy::PolicyError;

use crate::authorize::Decision;
use crate::body::Payload;
use crate::request::RequestInfo;
use crate::user::User;
use api::Verb;
use api::status::Status;
use bytes::Bytes;
use client::Body;
use event::Trail;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use log::Log;
use policy::{Level, Policy};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

/// Names a request in its answer and in the audit log; a client may choose it.
pub(crate) const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");

/// Parts of objects that are answered for as long as the client likes.
const STREAMS: [&str; 5] = ["log", "exec", "attach", "portforward", "proxy"];

/// The audit log cannot be begun.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// Its policy is none.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// Its file cannot be written.
    #[error("open the audit log {path}: {cause}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
}

/// What is written of which requests, and where.
pub struct Audit {
    policy: Policy,
    log: Log,
}

/// Who asks: who they proved to be, and whom they act as or why they may not.
pub(crate) struct Asker {
    pub(crate) proven: Option<User>,
    pub(crate) acting: Result<User, Status>,
}

/// The id of one request, on its way from the connection.
#[derive(Clone)]
pub(crate) struct AuditId(pub(crate) HeaderValue);

/// Where whoever reads a request's body, and whoever judges it, leaves that for the audit log.
#[derive(Clone, Default)]
pub(crate) struct Sent {
    body: Arc<OnceLock<Bytes>>,
    decision: Arc<OnceLock<Decision>>,
}

// === impl Asker ===

impl Asker {
    /// Somebody who proved nothing, and hears `refusal`.
    pub(crate) fn unknown(refusal: Status) -> Self {
        Self {
            proven: None,
            acting: Err(refusal),
        }
    }
}

impl From<User> for Asker {
    fn from(user: User) -> Self {
        Self {
            proven: Some(user.clone()),
            acting: Ok(user),
        }
    }
}

// === impl AuditId ===

impl AuditId {
    /// The client's, or a new one.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let asked = headers.get(AUDIT_ID).filter(|asked| !asked.is_empty());
        Self(asked.cloned().unwrap_or_else(|| {
            let id = uuid::Uuid::new_v4().to_string();
            HeaderValue::from_str(&id).expect("a UUID is a header's value because it is letters, digits and dashes")
        }))
    }
}

// === impl Sent ===

impl Sent {
    /// Leaves the body.
    pub(crate) fn leave(&self, body: &Bytes) {
        // A body is read once; were it twice, both are the same.
        let _ = self.body.set(body.clone());
    }

    /// Leaves what the authorizers said.
    pub(crate) fn judge(&self, decision: &Decision) {
        // A request is judged once.
        let _ = self.decision.set(decision.clone());
    }
}

// === impl Audit ===

impl Audit {
    /// Writes what `policy` (YAML of an `audit.k8s.io/v1` Policy) names to `file`.
    pub fn new(policy: &str, file: AuditFile) -> Result<Self, AuditError> {
        let policy = Policy::parse(policy)?;
        let path = file.path.clone();
        let log = Log::open(file).map_err(|cause| AuditError::File { path, cause })?;
        Ok(Self { policy, log })
    }

    /// Has a request answered by `respond` and writes down what the policy wants of it.
    pub(crate) async fn follow<F: Future<Output = Response<Body>>>(
        self: &Arc<Self>,
        asker: Asker,
        mut request: Request<Payload>,
        respond: impl FnOnce(Result<User, Status>, Request<Payload>) -> F,
    ) -> Response<Body> {
        let uri = request.uri();
        let Some(info) = RequestInfo::of(request.method(), uri.path(), uri.query().unwrap_or_default()) else {
            return respond(asker.acting, request).await;
        };
        let verb = match &info.resource {
            Some(resource) => resource.verb.to_string(),
            None => info.method.clone(),
        };
        let verdict = self.policy.verdict(asker.proven.as_ref(), &verb, &info);
        if verdict.level == Level::None {
            return respond(asker.acting, request).await;
        }
        let sent = Sent::default();
        request.extensions_mut().insert(sent.clone());
        let trail = Trail::begin(self.clone(), verdict, sent, &asker, &verb, &info, &request);
        let response = respond(asker.acting, request).await;
        trail.answered(response, takes_long(&info)).await
    }
}

/// Whether the answer has no foreseeable end (apiserver `longRunningRequestCheck`).
fn takes_long(info: &RequestInfo) -> bool {
    let resource = info.resource.as_ref();
    resource.is_some_and(|asked| asked.verb == Verb::Watch || STREAMS.contains(&asked.subresource.as_str()))
}
