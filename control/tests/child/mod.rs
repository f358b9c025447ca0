//! `control serve` as a child process, and a client with its administrator's certificate.
#![allow(dead_code, reason = "each test file uses a part of it")]

use bytes::Bytes;
use client::{Body, Http, Identity, Transport};
use config::Bundle;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use identity::{Authority, Leaf, Purpose};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longer than anything here takes on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A running `control serve`; killed when dropped.
pub struct Control {
    child: Child,
    pub address: String,
    bundle: PathBuf,
}

/// A reply, whole.
pub struct Reply {
    pub code: u16,
    pub headers: http::HeaderMap,
    pub bytes: Bytes,
    pub body: Value,
}

// === impl Control ===

impl Control {
    /// Starts one on `data`; returns once it is ready.
    pub async fn start(data: &Path) -> Self {
        Self::start_with(data, &[]).await
    }

    /// The same with more arguments.
    pub async fn start_with(data: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_control"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .args(arguments)
            .env("PINTLE_LOG", "error")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // The line comes once the kubeconfig is written.
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        assert!(line.starts_with("export KUBECONFIG="), "{line:?}");
        let kubeconfig = std::fs::read_to_string(data.join("kubeconfig")).unwrap();
        let address = kubeconfig
            .lines()
            .find_map(|line| line.trim().strip_prefix("server: https://"));
        let control = Self {
            child,
            address: address.unwrap().to_owned(),
            bundle: data.join("bundle.toml"),
        };
        control.ready().await;
        control
    }

    async fn ready(&self) {
        let client = self.client();
        let began = Instant::now();
        loop {
            // The last thing that a start makes.
            let path = "/apis/apiregistration.k8s.io/v1/apiservices/v1.storage.k8s.io";
            if let Some(reply) = attempt(&client, Method::GET, path, &Value::Null).await
                && reply.code == 200
            {
                return;
            }
            assert!(began.elapsed() < DEADLINE, "control is not ready");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Its number to the kernel.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The certificate of its CA.
    pub fn ca(&self) -> String {
        self.bundle().cluster_ca.certificate
    }

    fn bundle(&self) -> Bundle {
        let text = std::fs::read_to_string(&self.bundle).unwrap();
        config::parse_bundle(&text).ok().unwrap()
    }

    /// A connection of its own.
    pub fn client(&self) -> Http {
        let bundle = self.bundle();
        let ca = Authority::from_pem(&bundle.cluster_ca.certificate, &bundle.cluster_ca.key).unwrap();
        let pair = ca.issue(&Leaf {
            common_name: "kubernetes-admin".to_owned(),
            organizations: vec!["system:masters".to_owned()],
            purpose: Purpose::Client,
            ..Leaf::default()
        });
        let pair = pair.unwrap();
        let identity = Identity {
            certificate: pair.certificate.into_bytes(),
            key: pair.key.into_bytes(),
        };
        let ca = bundle.cluster_ca.certificate.as_bytes();
        Http::new(&format!("https://{}", self.address), ca, Some(&identity)).unwrap()
    }

    /// Kills it as a power cut would.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends one request with a JSON body (none for null); none if no whole reply came.
pub async fn attempt(client: &Http, method: Method, path: &str, body: &Value) -> Option<Reply> {
    let media_type = match method {
        Method::PATCH => "application/merge-patch+json",
        _ => "application/json",
    };
    let bytes = if body.is_null() {
        Bytes::new()
    } else {
        body.to_string().into()
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", media_type);
    let (parts, body) = begin(client, request.body(bytes).unwrap()).await?.into_parts();
    let bytes = tokio::time::timeout(DEADLINE, body.collect())
        .await
        .ok()?
        .ok()?
        .to_bytes();
    Some(Reply {
        code: parts.status.as_u16(),
        headers: parts.headers,
        body: serde_json::from_slice(&bytes).unwrap_or_default(),
        bytes,
    })
}

/// Sends a request; none if no reply began.
pub async fn begin(client: &Http, request: Request<Bytes>) -> Option<Response<Body>> {
    tokio::time::timeout(DEADLINE, client.send(request)).await.ok()?.ok()
}

/// The same where a reply must come.
pub async fn send(client: &Http, method: Method, path: &str, body: &Value) -> Reply {
    attempt(client, method, path, body).await.expect("a reply")
}
