//! An API server for tests: real TLS on loopback, a store in a throw-away folder, certificates of its own.
#![allow(dead_code, reason = "each test file uses a part of it")]

pub mod definitions;
pub mod kubectl;

use bytes::Bytes;
use client::{Http, Identity, Transport};
use config::{Bundle, KeyPair};
use http::{Method, Request};
use http_body_util::BodyExt;
use identity::tls::{self, Callers};
use identity::{Authority, Leaf, Purpose};
use serde_json::{Value, json};
use server::{InProcess, Nodes, PROTOCOLS, Server, Tokens};
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::Store;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Who issues service-account tokens here.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

pub const MAPS: &str = "/api/v1/namespaces/default/configmaps";
pub const PODS: &str = "/api/v1/namespaces/default/pods";
pub const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// A running server.
pub struct Cluster {
    pub folder: TempDir,
    pub server: Arc<Server>,
    pub store: Store,
    pub address: String,
    pub bundle: Bundle,
    pub stop: CancellationToken,
}

/// A reply, whole.
pub struct Reply {
    pub code: u16,
    pub headers: http::HeaderMap,
    /// Read from JSON or protobuf, whatever the reply says that it is; null where it is neither.
    pub body: Value,
    pub text: String,
}

/// Lines of a watch.
pub struct Lines {
    body: client::Body,
    rest: Vec<u8>,
}

// === impl Cluster ===

impl Cluster {
    /// Starts one, with the namespaces `default` and `kube-node-lease` and a network for Services.
    pub async fn start() -> Self {
        Self::with_nodes(|_| Nodes::none()).await
    }

    /// Starts one with the default roles and bindings, and the namespaces that they are in.
    pub async fn with_policy() -> Self {
        let cluster = Self::start().await;
        let admin = cluster.in_process();
        for name in ["kube-system", "kube-public"] {
            let made = post(&*admin, "/api/v1/namespaces", &json!({"metadata": {"name": name}})).await;
            assert_eq!(made.code, 201, "{}", made.text);
        }
        server::reconcile_policy(&admin).await.unwrap();
        cluster
    }

    /// Starts one that reaches nodes.
    pub async fn with_nodes(nodes: impl FnOnce(&Bundle) -> Nodes) -> Self {
        let folder = TempDir::new().unwrap();
        let bundle = identity::cluster::new_bundle().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let own = issue(&bundle, "kube-apiserver", &[], names, Purpose::Server);
        let tls = tls::server(&own, Callers::MayBeOf(&bundle.cluster_ca.certificate), &PROTOCOLS).unwrap();
        let store = Store::open(folder.path()).unwrap();
        let tokens = Tokens::new(&bundle.service_account_key, ISSUER).unwrap();
        let server = Server::new(store.clone(), nodes(&bundle), tokens, &address);
        let stop = CancellationToken::new();
        tokio::spawn(server::listen(server.clone(), listener, tls, stop.clone()));
        let cluster = Self {
            folder,
            server,
            store,
            address,
            bundle,
            stop,
        };
        let admin = cluster.in_process();
        for name in ["default", "kube-node-lease"] {
            let made = send(
                &*admin,
                Method::POST,
                "/api/v1/namespaces",
                "",
                &json!({"metadata": {"name": name}}),
            )
            .await;
            assert_eq!(made.code, 201, "{}", made.text);
        }
        let network = json!({"metadata": {"name": "kubernetes"}, "spec": {"cidrs": ["10.96.0.0/12"]}});
        let made = post(&*admin, "/apis/networking.k8s.io/v1/servicecidrs", &network).await;
        assert_eq!(made.code, 201, "{}", made.text);
        // No controllers run here, and no pod runs without an account.
        let account = json!({"metadata": {"name": "default"}});
        let made = post(&*admin, "/api/v1/namespaces/default/serviceaccounts", &account).await;
        assert_eq!(made.code, 201, "{}", made.text);
        cluster
    }

    pub fn in_process(&self) -> Arc<dyn Transport> {
        Arc::new(InProcess::new(self.server.clone(), "system:test"))
    }

    /// A client over the wire with a certificate of the cluster's CA.
    pub fn user(&self, name: &str, groups: &[&str]) -> Http {
        let pair = issue(&self.bundle, name, groups, Vec::new(), Purpose::Client);
        self.connect(Some(&pair))
    }

    pub fn admin(&self) -> Http {
        self.user("kubernetes-admin", &["system:masters"])
    }

    pub fn anonymous(&self) -> Http {
        self.connect(None)
    }

    pub fn connect(&self, pair: Option<&KeyPair>) -> Http {
        let identity = pair.map(|pair| Identity {
            certificate: pair.certificate.clone().into_bytes(),
            key: pair.key.clone().into_bytes(),
        });
        let ca = self.bundle.cluster_ca.certificate.as_bytes();
        Http::new(&format!("https://{}", self.address), ca, identity.as_ref()).unwrap()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

// === impl Reply ===

impl Reply {
    /// The sentence of a refusal.
    pub fn message(&self) -> String {
        text(&self.body, "/message")
    }

    pub fn warnings(&self) -> Vec<String> {
        let values = self.headers.get_all("warning");
        values.iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    }
}

/// A certificate of the cluster's CA.
pub fn issue(bundle: &Bundle, name: &str, groups: &[&str], names: Vec<String>, purpose: Purpose) -> KeyPair {
    let ca = Authority::from_pem(&bundle.cluster_ca.certificate, &bundle.cluster_ca.key).unwrap();
    let organizations = groups.iter().map(|group| (*group).to_owned()).collect();
    ca.issue(&Leaf {
        common_name: name.to_owned(),
        organizations,
        names,
        purpose,
    })
    .unwrap()
}

/// Sends one request with a JSON body (none for null) and reads the reply.
pub async fn send(transport: &dyn Transport, method: Method, path: &str, media_type: &str, body: &Value) -> Reply {
    let bytes = if body.is_null() {
        Bytes::new()
    } else {
        body.to_string().into()
    };
    raw(transport, method, path, &[("content-type", media_type)], bytes).await
}

pub async fn get(transport: &dyn Transport, path: &str) -> Reply {
    send(transport, Method::GET, path, "", &Value::Null).await
}

pub async fn post(transport: &dyn Transport, path: &str, body: &Value) -> Reply {
    send(transport, Method::POST, path, "application/json", body).await
}

pub async fn put(transport: &dyn Transport, path: &str, body: &Value) -> Reply {
    send(transport, Method::PUT, path, "application/json", body).await
}

pub async fn merge(transport: &dyn Transport, path: &str, body: &Value) -> Reply {
    send(transport, Method::PATCH, path, "application/merge-patch+json", body).await
}

pub async fn delete(transport: &dyn Transport, path: &str) -> Reply {
    send(transport, Method::DELETE, path, "", &Value::Null).await
}

/// The same with any headers and bytes.
pub async fn raw(
    transport: &dyn Transport,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> Reply {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
        request = request.header(*name, *value);
    }
    let response = tokio::time::timeout(DEADLINE, transport.send(request.body(body).unwrap())).await;
    let (parts, body) = response.expect("a reply in time").unwrap().into_parts();
    let bytes = tokio::time::timeout(DEADLINE, body.collect())
        .await
        .expect("a body in time")
        .unwrap()
        .to_bytes();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let is_protobuf = parts.headers.get("content-type").is_some_and(|value| value == PROTOBUF);
    let body = if is_protobuf {
        server::protobuf::decode(&bytes).unwrap()
    } else {
        serde_json::from_slice(&bytes).unwrap_or_default()
    };
    Reply {
        code: parts.status.as_u16(),
        headers: parts.headers,
        body,
        text,
    }
}

/// Begins a watch; returns once its head is there.
pub async fn watch(transport: &dyn Transport, path: &str, accept: &str) -> Lines {
    let mut request = Request::builder().uri(path);
    if !accept.is_empty() {
        request = request.header("accept", accept);
    }
    let response = tokio::time::timeout(DEADLINE, transport.send(request.body(Bytes::new()).unwrap())).await;
    let response = response.expect("the head of a watch comes at once").unwrap();
    assert_eq!(response.status().as_u16(), 200);
    Lines {
        body: response.into_body(),
        rest: Vec::new(),
    }
}

// === impl Lines ===

impl Lines {
    /// The next event; none at the end.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = tokio::time::timeout(DEADLINE, self.body.frame())
                .await
                .expect("an event in time")?;
            if let Ok(data) = frame.unwrap().into_data() {
                self.rest.extend_from_slice(&data);
            }
        }
    }

    /// The next event of a watch in protobuf: its type and its object.
    pub async fn next_frame(&mut self) -> Option<(String, Value)> {
        let length = self.take(4).await?;
        let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
        let event = self.take(length).await.expect("a frame is whole");
        // WatchEvent { type = 1, object = 2 { raw = 1 } }.
        let (kind, rest) = field(&event);
        let (object, _) = field(field(rest).0);
        Some((
            String::from_utf8(kind.to_vec()).unwrap(),
            server::protobuf::decode(object).unwrap(),
        ))
    }

    /// So many bytes; none at the end.
    async fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.rest.len() < count {
            let frame = tokio::time::timeout(DEADLINE, self.body.frame())
                .await
                .expect("an event in time")?;
            if let Ok(data) = frame.unwrap().into_data() {
                self.rest.extend_from_slice(&data);
            }
        }
        Some(self.rest.drain(..count).collect())
    }

    /// Type and name of the next event.
    pub async fn brief(&mut self) -> String {
        match self.next().await {
            Some(event) => format!("{} {}", text(&event, "/type"), text(&event, "/object/metadata/name")),
            None => "END".to_owned(),
        }
    }
}

/// Waits until it holds.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < DEADLINE, "{what}: not in time");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The first field of a protobuf message, which has a length, and what follows it.
fn field(message: &[u8]) -> (&[u8], &[u8]) {
    let (mut length, mut at) = (0, 1);
    for shift in (0..).step_by(7) {
        length |= usize::from(message[at] & 0x7f) << shift;
        at += 1;
        if message[at - 1] & 0x80 == 0 {
            break;
        }
    }
    message[at..].split_at(length)
}

/// Text at a JSON pointer, or empty.
pub fn text(value: &Value, pointer: &str) -> String {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// A ConfigMap.
pub fn config_map(name: &str, labels: &Value, data: &Value) -> Value {
    json!({"metadata": {"name": name, "labels": labels}, "data": data})
}

/// A pod.
pub fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "busybox"}]}})
}
