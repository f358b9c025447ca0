//! One request's events: `audit.k8s.io/v1` Event, one at each stage (apiserver pkg/audit/request.go).

use super::policy::{Level, Stage, Verdict};
use super::{Asker, Audit, AuditId, Sent};
use crate::body::{self, Payload};
use crate::reply;
use crate::request::{RequestInfo, ResourceInfo};
use crate::user::User;
use bytes::Bytes;
use client::Body;
use http::header::USER_AGENT;
use http::{HeaderMap, Request, Response};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Longer names of programs are cut off here (apiserver pkg/audit/request.go `maxUserAgentLength`).
const MAX_USER_AGENT: usize = 1024;

/// What is known of a request so far. Dropped before it was answered, it says so.
pub(super) struct Trail {
    audit: Arc<Audit>,
    verdict: Verdict,
    sent: Sent,
    media_type: String,
    /// What all its events have.
    known: Map<String, Value>,
    /// What came of it.
    response_status: Option<Value>,
    response_object: Option<Value>,
}

/// A body whose end is the end of its request.
struct Followed {
    body: Body,
    _trail: Trail,
}

// === impl Trail ===

impl Trail {
    /// Writes down that a request has come.
    pub(super) fn begin(
        audit: Arc<Audit>,
        verdict: Verdict,
        sent: Sent,
        asker: &Asker,
        verb: &str,
        info: &RequestInfo,
        request: &Request<Payload>,
    ) -> Self {
        let headers = request.headers();
        let id = request.extensions().get::<AuditId>().cloned();
        let id = id.unwrap_or_else(|| AuditId::of(headers));
        let mut known = json!({
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": verdict.level,
            "auditID": String::from_utf8_lossy(id.0.as_bytes()),
            "requestURI": request.uri().path_and_query().map_or("/", |uri| uri.as_str()),
            "verb": verb,
            "user": asker.proven.as_ref().map_or_else(|| json!({}), of_user),
            "sourceIPs": source_addresses(request),
            "requestReceivedTimestamp": now(),
        });
        if let (Some(proven), Ok(acting)) = (&asker.proven, &asker.acting)
            && proven != acting
        {
            known["impersonatedUser"] = of_user(acting);
        }
        if let Some(agent) = headers.get(USER_AGENT) {
            known["userAgent"] = user_agent(&String::from_utf8_lossy(agent.as_bytes())).into();
        }
        if let Some(resource) = &info.resource {
            known["objectRef"] = object_ref(resource);
        }
        let trail = Self {
            audit,
            verdict,
            sent,
            media_type: body::media_type(headers).to_owned(),
            known: known.as_object().cloned().unwrap_or_default(),
            response_status: None,
            response_object: None,
        };
        trail.write(Stage::RequestReceived);
        trail
    }

    /// Writes down that there is an answer; of one that takes long, its beginning now and its end when it comes.
    pub(super) async fn answered(mut self, response: Response<Body>, takes_long: bool) -> Response<Body> {
        self.note_sent();
        let code = response.status().as_u16();
        self.response_status = Some(json!({ "metadata": {}, "code": code }));
        if takes_long {
            self.write(Stage::ResponseStarted);
            return response.map(|body| BodyExt::boxed(Followed { body, _trail: self }));
        }
        if code < 400 && self.verdict.level < Level::RequestResponse {
            return response;
        }
        let (parts, body) = response.into_parts();
        let bytes = match body.collect().await {
            Ok(collected) => collected.to_bytes(),
            Err(cause) => {
                let failed = futures_util::stream::once(async move { Err::<Frame<Bytes>, _>(cause) });
                return Response::from_parts(parts, BodyExt::boxed(http_body_util::StreamBody::new(failed)));
            }
        };
        self.note_answer(code, body::media_type(&parts.headers), &bytes);
        Response::from_parts(parts, reply::whole(bytes))
    }

    /// What was sent, and what object that is about where the path does not say.
    fn note_sent(&mut self) {
        let Some(bytes) = self.sent.body.get().filter(|bytes| !bytes.is_empty()) else {
            return;
        };
        let reference = self.known.get("objectRef");
        let is_named = reference.is_none_or(|reference| reference.get("name").is_some());
        if is_named && self.verdict.level < Level::Request {
            return;
        }
        let Some(mut object) = self.read(&self.media_type, bytes) else {
            return;
        };
        let name = object.pointer("/metadata/name").filter(|_| !is_named).cloned();
        if let (Some(name), Some(reference)) = (name, self.known.get_mut("objectRef")) {
            reference["name"] = name;
        }
        if self.verdict.level >= Level::Request {
            self.prune(&mut object);
            self.known.insert("requestObject".to_owned(), object);
        }
    }

    fn note_answer(&mut self, code: u16, media_type: &str, bytes: &[u8]) {
        let Some(mut object) = self.read(media_type, bytes) else {
            return;
        };
        if object["kind"] == "Status" {
            let mut status = json!({ "metadata": {}, "code": code });
            for key in ["status", "message", "reason", "details"] {
                if let Some(said) = object.get(key) {
                    status[key] = said.clone();
                }
            }
            self.response_status = Some(status);
        }
        if self.verdict.level == Level::RequestResponse {
            self.prune(&mut object);
            self.response_object = Some(object);
        }
    }

    /// An object out of a body; none for what is not one, which is not written down. Patches are JSON or YAML.
    fn read(&self, media_type: &str, bytes: &[u8]) -> Option<Value> {
        let kind = match media_type {
            "application/apply-patch+yaml" => "application/yaml",
            patch if patch.ends_with("+json") => "application/json",
            other => other,
        };
        Some(body::decode(kind, bytes).ok()?.value)
    }

    fn prune(&self, object: &mut Value) {
        if !self.verdict.omit_managed_fields {
            return;
        }
        let strip = |object: &mut Value| {
            if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.remove("managedFields");
            }
        };
        strip(object);
        let items = object.get_mut("items").and_then(Value::as_array_mut);
        items.into_iter().flatten().for_each(strip);
    }

    fn write(&self, stage: Stage) {
        if self.verdict.omit_stages.contains(&stage) {
            return;
        }
        let mut event = self.known.clone();
        event.insert("stage".to_owned(), json!(stage));
        event.insert("stageTimestamp".to_owned(), now().into());
        if stage != Stage::RequestReceived {
            event.extend(
                self.response_status
                    .clone()
                    .map(|status| ("responseStatus".to_owned(), status)),
            );
            event.extend(
                self.response_object
                    .clone()
                    .map(|object| ("responseObject".to_owned(), object)),
            );
            event.insert("annotations".to_owned(), self.decision());
        }
        self.audit.log.append(format!("{}\n", Value::Object(event)).as_bytes());
    }

    /// What the authorizers said (apiserver pkg/endpoints/filters/authorization.go); a request that nobody was known for was
    /// never judged.
    fn decision(&self) -> Value {
        let Some(decision) = self.sent.decision.get() else {
            return json!({});
        };
        let word = if decision.allowed { "allow" } else { "forbid" };
        json!({ "authorization.k8s.io/decision": word, "authorization.k8s.io/reason": decision.reason })
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        let failure = |code: u16, reason: &str, message: &str| json!({ "metadata": {}, "status": "Failure", "message": message, "reason": reason, "code": code });
        if std::thread::panicking() {
            self.response_status = Some(failure(500, "InternalError", "APIServer panic'd"));
            return self.write(Stage::Panic);
        }
        let gone = "the request ran out of time, or the client went away, before there was an answer";
        self.response_status
            .get_or_insert_with(|| failure(504, "Timeout", gone));
        self.write(Stage::ResponseComplete);
    }
}

// === impl Followed ===

impl http_body::Body for Followed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn of_user(user: &User) -> Value {
    let mut described = json!({ "username": user.name, "groups": user.groups });
    if !user.uid.is_empty() {
        described["uid"] = user.uid.to_string().into();
    }
    if !user.extra.is_empty() {
        described["extra"] = json!(*user.extra);
    }
    described
}

fn object_ref(asked: &ResourceInfo) -> Value {
    let parts = [
        ("resource", &asked.resource),
        ("namespace", &asked.namespace),
        ("name", &asked.name),
        ("apiGroup", &asked.group),
        ("apiVersion", &asked.version),
        ("subresource", &asked.subresource),
    ];
    let said = parts.into_iter().filter(|(_, value)| !value.is_empty());
    said.map(|(key, value)| (key.to_owned(), Value::from(value.as_str())))
        .collect()
}

/// The client's address behind all proxies that said theirs, the connection's last; of a part of this process, loopback.
fn source_addresses(request: &Request<Payload>) -> Vec<String> {
    let mut addresses = forwarded(request.headers());
    let peer = request.extensions().get::<SocketAddr>();
    let peer = peer.map_or_else(|| "::1".to_owned(), |peer| peer.ip().to_canonical().to_string());
    if addresses.last() != Some(&peer) {
        addresses.push(peer);
    }
    addresses
}

fn forwarded(headers: &HeaderMap) -> Vec<String> {
    let said = headers.get("x-forwarded-for").and_then(|value| value.to_str().ok());
    let said = said.unwrap_or_default().split(',').map(str::trim);
    said.filter(|address| address.parse::<std::net::IpAddr>().is_ok())
        .map(str::to_owned)
        .collect()
}

fn user_agent(agent: &str) -> String {
    if agent.len() <= MAX_USER_AGENT {
        return agent.to_owned();
    }
    let end = agent.floor_char_boundary(MAX_USER_AGENT);
    format!("{}...TRUNCATED", &agent[..end])
}

/// As `metav1.MicroTime` is written.
fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}
