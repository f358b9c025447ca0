//! An API server in this process, and objects of every kind to put into it.

use crate::beginnings;
use bytes::{Bytes, BytesMut};
use client::Transport;
use http::{Method, Request};
use http_body_util::BodyExt;
use identity::Leaf;
use identity::tls::{self, Callers};
use serde_json::{Value, json};
use server::{InProcess, Nodes, Server, Tokens};
use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::Store;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

pub const JSON: &str = "application/json";
pub const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const FORMS: [&str; 5] = [
    JSON,
    "application/yaml",
    "application/json;as=Table;v=v1;g=meta.k8s.io",
    "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
    PROTOBUF,
];
/// A request that takes longer hangs; an unoptimised build under load stays far below.
const DEADLINE: Duration = Duration::from_secs(60);
/// How long a stream that has no end is looked at.
const GLANCE: Duration = Duration::from_millis(5);
/// Requests after which a new server begins, so that none grows.
const LIFE: usize = 20_000;

/// Where objects of a kind are, and its rules unless it is a custom one.
#[derive(Clone)]
pub struct Place {
    pub collection: String,
    pub rules: Option<&'static api::Rules>,
}

/// What was answered.
pub struct Reply {
    pub code: u16,
    pub body: Bytes,
}

/// The server.
pub struct Api {
    runtime: Runtime,
    transport: Arc<dyn Transport>,
    requests: usize,
    _folder: tempfile::TempDir,
}

thread_local! {
    static API: RefCell<Option<Api>> = const { RefCell::new(None) };
}

/// With this thread's server.
pub fn with<R>(act: impl FnOnce(&mut Api) -> R) -> R {
    API.with_borrow_mut(|api| {
        if api.as_ref().is_some_and(|api| api.requests > LIFE) {
            *api = None;
        }
        act(api.get_or_insert_with(Api::start))
    })
}

// === impl Api ===

impl Api {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        // In memory where that is possible: what is looked for is not in the disk.
        let memory = Path::new("/dev/shm");
        let folder = tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir()).unwrap();
        let tokens = Tokens::new(&identity::new_key().unwrap(), "https://issuer.test").unwrap();
        let store = Store::open(folder.path()).unwrap();
        let server = Server::new(store, Nodes::none(), tokens, "127.0.0.1:6443");
        runtime.block_on(listen(&server));
        let transport = Arc::new(InProcess::new(server, "system:test"));
        let mut api = Self {
            runtime,
            transport,
            requests: 0,
            _folder: folder,
        };
        let default = || json!({"metadata": {"name": "default"}});
        api.make("/api/v1/namespaces", &default());
        api.make("/api/v1/namespaces/default/serviceaccounts", &default());
        let network = json!({"metadata": {"name": "kubernetes"}, "spec": {"cidrs": ["10.96.0.0/12"]}});
        api.make("/apis/networking.k8s.io/v1/servicecidrs", &network);
        let definition = beginnings::definition("things", "Thing");
        api.make("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &definition);
        // Names are accepted in the background, which goes on while somebody asks.
        let end = Instant::now() + DEADLINE;
        while api.get("/apis/example.com/v1/namespaces/default/things").is_none() {
            assert!(Instant::now() < end, "custom objects are never served");
            api.runtime
                .block_on(async { tokio::time::sleep(Duration::from_millis(1)).await });
        }
        api
    }

    /// Makes an object that nobody doubts.
    pub fn make(&mut self, collection: &str, object: &Value) {
        let reply = self.send(Method::POST, collection, JSON, JSON, object.to_string().into());
        let reply = reply.expect("this is a request");
        assert_eq!(reply.code, 201, "{collection}: {object}: {:?}", reply.body);
    }

    /// None for what is no request at all.
    pub fn send(&mut self, method: Method, path: &str, media_type: &str, accept: &str, body: Bytes) -> Option<Reply> {
        let request = Request::builder().method(method).uri(path);
        let request = request.header("content-type", media_type).header("accept", accept);
        Some(self.answer(request.body(body).ok()?))
    }

    /// What the server says to it.
    pub fn answer(&mut self, request: Request<Bytes>) -> Reply {
        self.requests += 1;
        let shown = format!("{} {}", request.method(), request.uri());
        let is_endless = ["watch", "follow"]
            .iter()
            .any(|word| shown.to_lowercase().contains(word));
        let answer = self.transport.send(request);
        let reply = self.runtime.block_on(async {
            let whole = async {
                let response = answer.await.expect("a request in this process is answered");
                let code = response.status().as_u16();
                Reply {
                    code,
                    body: body(response.into_body(), is_endless).await,
                }
            };
            tokio::time::timeout(DEADLINE, whole).await
        });
        let reply = reply.unwrap_or_else(|_| panic!("no answer to {shown}"));
        assert!(!is_a_mistake(&reply), "{:?} to {shown}", reply.body);
        reply
    }

    /// GETs one object; none if it is not there.
    pub fn get(&mut self, path: &str) -> Option<Value> {
        let reply = self.send(Method::GET, path, JSON, JSON, Bytes::new())?;
        (reply.code == 200).then(|| serde_json::from_slice(&reply.body).expect("an answer is JSON"))
    }

    /// Everything of a kind can be had in every form.
    pub fn is_readable(&mut self, place: &Place) {
        let has_protobuf = place
            .rules
            .is_some_and(|rules| server::protobuf::is_known(&rules.api_version(), rules.kind));
        for form in FORMS.into_iter().filter(|form| *form != PROTOBUF || has_protobuf) {
            let reply = self.send(Method::GET, &place.collection, JSON, form, Bytes::new());
            let reply = reply.expect("this is a request");
            assert_eq!(reply.code, 200, "{} as {form}: {:?}", place.collection, reply.body);
            if form == PROTOBUF {
                server::protobuf::decode(&reply.body).expect("what is sent can be read");
            }
        }
    }

    /// Deletes an object, whatever holds it; a server in which one stays is not used again.
    pub fn forget(&mut self, place: &Place, name: &str) {
        let path = format!("{}/{}", place.collection, escaped(name.as_bytes()));
        let gone = format!("{path}?gracePeriodSeconds=0");
        self.send(Method::DELETE, &gone, JSON, JSON, Bytes::new());
        let Some(mut left) = self.get(&path) else { return };
        if place.collection.ends_with("/namespaces") {
            left["spec"]["finalizers"] = json!([]);
            let body = left.to_string().into();
            self.send(Method::PUT, &format!("{path}/finalize"), JSON, JSON, body);
        }
        let free = json!({"metadata": {"finalizers": null}}).to_string().into();
        self.send(Method::PATCH, &path, "application/merge-patch+json", JSON, free);
        if self.get(&path).is_some() {
            self.requests = LIFE + 1;
        }
    }
}

/// Begins to listen, which nobody hears, for what a server does besides: it serves custom kinds as they are defined.
async fn listen(server: &Arc<Server>) {
    let own = identity::self_signed(&Leaf::default()).expect("a certificate can be made");
    let tls = tls::server(&own, Callers::Anybody, &server::PROTOCOLS).expect("a certificate is good for TLS");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
    tokio::spawn(server::listen(server.clone(), listener, tls, CancellationToken::new()));
}

/// All of a body, or of one that may have no end what comes at once.
async fn body(mut body: client::Body, is_endless: bool) -> Bytes {
    let mut bytes = BytesMut::new();
    loop {
        let next = body.frame();
        let frame = match is_endless {
            true => tokio::time::timeout(GLANCE, next).await.unwrap_or_default(),
            false => next.await,
        };
        let Some(frame) = frame else { return bytes.freeze() };
        if let Ok(data) = frame.expect("an answer is whole").into_data() {
            bytes.extend_from_slice(&data);
        }
    }
}

/// A server's own mistakes. A patch that no rule covers is one to upstream too, and says so without a reason.
fn is_a_mistake(reply: &Reply) -> bool {
    if reply.code < 500 {
        return false;
    }
    let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    body["reason"] == "InternalError"
}

/// What no URI may have, percent-encoded.
pub fn escaped(text: &[u8]) -> String {
    let escape = |byte: &u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' => char::from(*byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.iter().map(escape).collect()
}
