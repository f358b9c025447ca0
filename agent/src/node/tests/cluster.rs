//! A control plane and a node of the tests' own, and what people do with them.

use super::image;
use super::programs::{admin, control, programs};
use crate::node::{NodeContext, Paths};
use client::{Http, Transport};
use config::{Bundle, KeyPair, MachineConfig, Secrets, StaticPod};
use futures_util::{SinkExt, StreamExt};
use http_body_util::BodyExt;
use identity::tls;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// Set in the process that runs in namespaces of its own.
pub const INSIDE: &str = "PINTLE_NODE_TEST";

/// For anything that should happen: the slowest step, an image's first unpacking on two busy cores, takes 5 s.
const DEADLINE: Duration = Duration::from_secs(60);

const ADDRESS: &str = "10.77.0.11";

pub struct Cluster {
    folder: tempfile::TempDir,
    text: String,
    config: MachineConfig,
    static_pods: Mutex<Vec<StaticPod>>,
    secrets: Secrets,
    bundle: Bundle,
    admin: KeyPair,
    control: Child,
    runtime: Runtime,
    transport: Arc<dyn Transport>,
    agent: Mutex<Option<(Runtime, NodeContext)>>,
}

impl Cluster {
    /// A network, a control plane, and a node that is Ready and has the tests' image.
    pub fn start() -> Self {
        Self::with(|folder| vec![image::archive(folder)])
    }

    /// The same with the images in these archives.
    pub fn with(archives: impl FnOnce(&Path) -> Vec<PathBuf>) -> Self {
        let _ = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(std::io::stderr)
            .try_init();
        for words in [
            "link set lo up",
            "link add nic0 type veth peer name nic1",
            "link set nic0 up",
            "link set nic1 up",
            "address add 10.77.0.11/24 dev nic0",
            "route add default via 10.77.0.1",
        ] {
            let ended = Command::new("ip")
                .args(words.split(' '))
                .status()
                .expect("iproute2 is installed");
            assert!(ended.success(), "ip {words}");
        }
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "version = 1\n[machine]\nname = \"n1\"\nroles = [\"control-plane\", \"worker\"]\n\
             [node.eviction]\nmemory-mib = 1\ndisk-percent = 0\ninodes-percent = 0\nimages-percent = 0\npids-percent = 0\n\
             [cluster]\nname = \"test\"\nendpoint = \"https://{ADDRESS}:6443\"\nnode-cidr = \"10.77.0.0/24\"\n"
        );
        let config = config::parse(&text).unwrap();
        let bundle = identity::cluster::new_bundle().unwrap();
        let secrets = identity::cluster::machine_secrets(&bundle, &config).unwrap();
        let control = control(folder.path(), &text, &secrets);
        let admin = admin(&bundle);
        let identity = client::Identity {
            certificate: admin.certificate.clone().into_bytes(),
            key: admin.key.clone().into_bytes(),
        };
        let endpoint = format!("https://{ADDRESS}:6443");
        let transport = Http::new(&endpoint, bundle.cluster_ca.certificate.as_bytes(), Some(&identity)).unwrap();
        let paths = Paths::below(folder.path());
        std::fs::create_dir_all(&paths.oci).unwrap();
        let store = oci::Store::open(&paths.oci).unwrap();
        for archive in archives(folder.path()) {
            store.import(std::fs::File::open(archive).unwrap()).unwrap();
        }
        drop(store);
        let runtime = Runtime::new().unwrap();
        let cluster = Self {
            folder,
            text,
            config,
            static_pods: Mutex::default(),
            secrets,
            bundle,
            admin,
            control,
            runtime,
            transport: Arc::new(transport),
            agent: Mutex::new(None),
        };
        cluster.start_agent();
        cluster.eventually("the node is Ready", || {
            let node = cluster.ask("GET", "/api/v1/nodes/n1", None).1;
            (super::condition(&node, "Ready") == "True").then_some(())
        });
        cluster.eventually("the default service account is there", || {
            (cluster
                .ask("GET", "/api/v1/namespaces/default/serviceaccounts/default", None)
                .0
                == 200)
                .then_some(())
        });
        cluster
    }

    pub fn paths(&self) -> Paths {
        let mut paths = Paths::below(self.folder.path());
        paths.pod_init = programs().unwrap().join("pod-init");
        paths
    }

    /// A node in a runtime of its own.
    pub fn start_agent(&self) {
        let marks = Arc::new(|name: &str| eprintln!("mark {name}"));
        let mut config = self.config.clone();
        config.node.static_pods = self.static_pods.lock().unwrap().clone();
        let context = NodeContext::new(config, self.secrets.clone(), self.paths(), marks);
        let runtime = Runtime::new().unwrap();
        runtime.spawn(crate::node::run(context.clone()));
        *self.agent.lock().unwrap() = Some((runtime, context));
    }

    /// From now on the machine config has these static pods and no others.
    pub fn configure(&self, manifests: &[String]) {
        let pod = |manifest: &String| StaticPod {
            manifest: manifest.clone(),
        };
        let pods: Vec<StaticPod> = manifests.iter().map(pod).collect();
        *self.static_pods.lock().unwrap() = pods.clone();
        if let Some((_, context)) = &*self.agent.lock().unwrap() {
            context.static_pods.send_replace(pods);
        }
    }

    /// No API answers any more.
    pub fn stop_control(&mut self) {
        self.control.kill().unwrap();
        self.control.wait().unwrap();
    }

    /// It answers again, as it was.
    pub fn start_control(&mut self) {
        self.control = control(self.folder.path(), &self.text, &self.secrets);
    }

    /// Ends everything that the agent does, at once and without a word.
    pub fn kill_agent(&mut self) {
        let (runtime, _) = self.agent.lock().unwrap().take().unwrap();
        runtime.shutdown_timeout(Duration::from_secs(5));
    }

    /// Ends the node's pods as when the machine goes down.
    pub fn shut_down(&self) {
        let agent = self.agent.lock().unwrap();
        let (runtime, context) = agent.as_ref().unwrap();
        runtime.block_on(crate::pods::shutdown::run(context));
    }

    /// Sends a request as the cluster's administrator.
    pub fn ask(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let (code, text) = self.ask_text(method, path, body);
        (code, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// Merges a change into an object, lists by their keys.
    pub fn merge(&self, path: &str, change: &Value) -> (u16, Value) {
        let kind = "application/strategic-merge-patch+json";
        let (code, text) = self.send("PATCH", path, kind, change.to_string());
        (code, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    pub fn ask_text(&self, method: &str, path: &str, body: Option<Value>) -> (u16, String) {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        self.send(method, path, content_type(method), body)
    }

    fn send(&self, method: &str, path: &str, kind: &str, body: String) -> (u16, String) {
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", kind);
        let request = request.body(bytes::Bytes::from(body)).unwrap();
        self.runtime.block_on(async {
            match self.transport.send(request).await {
                Ok(reply) => {
                    let code = reply.status().as_u16();
                    let body = reply
                        .into_body()
                        .collect()
                        .await
                        .map(|body| body.to_bytes())
                        .unwrap_or_default();
                    (code, String::from_utf8_lossy(&body).into_owned())
                }
                Err(error) => (0, error.to_string()),
            }
        })
    }

    /// Asks the node itself, with a token or with nothing.
    pub fn ask_node(&self, path: &str, token: Option<&str>) -> (u16, String) {
        let port = crate::node::context::FACE_PORT;
        let run = async {
            let stream = tokio::net::TcpStream::connect((ADDRESS, port)).await.unwrap();
            let config = tls::client(tls::Trust::Authority(&self.secrets.cluster_ca), None, &["http/1.1"]).unwrap();
            let connector = tokio_rustls::TlsConnector::from(config);
            let stream = connector.connect("n1".try_into().unwrap(), stream).await.unwrap();
            let stream = hyper_util::rt::TokioIo::new(stream);
            let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            let mut request = http::Request::get(path).header("host", "n1");
            if let Some(token) = token {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            let request = request.body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
            let reply = sender.send_request(request).await.unwrap();
            let code = reply.status().as_u16();
            let body = reply.into_body().collect().await.unwrap().to_bytes();
            (code, String::from_utf8_lossy(&body).into_owned())
        };
        self.runtime
            .block_on(async { tokio::time::timeout(DEADLINE, run).await.expect("the node answers") })
    }

    /// Makes an object. Pods run even where the tests' own disk is so full that the node is tainted for it.
    pub fn create(&self, kind: &str, object: Value) {
        let mut object = object;
        if kind == "pods" {
            object["spec"]["tolerations"] = json!([{"operator": "Exists"}]);
        }
        let (code, reply) = self.ask("POST", &format!("/api/v1/namespaces/default/{kind}"), Some(object));
        assert_eq!(code, 201, "{reply:#}");
    }

    pub fn delete(&self, pod: &str) {
        let options = json!({"gracePeriodSeconds": 1});
        let (code, reply) = self.ask(
            "DELETE",
            &format!("/api/v1/namespaces/default/pods/{pod}"),
            Some(options),
        );
        assert_eq!(code, 200, "{reply:#}");
    }

    /// kubectl as the cluster's administrator; none where the machine has no such program.
    pub fn kubectl(&self) -> Option<Command> {
        let mut command = Command::new(image::found("kubectl")?);
        command
            .arg("--kubeconfig")
            .arg(self.kubeconfig())
            .current_dir(self.folder.path());
        Some(command)
    }

    /// What makes a program the cluster's administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        let text = identity::cluster::kubeconfig(&self.bundle, &format!("https://{ADDRESS}:6443")).unwrap();
        let kubeconfig = self.folder.path().join("kubeconfig");
        std::fs::write(&kubeconfig, text).unwrap();
        kubeconfig
    }

    /// A server's certificate that nobody but this cluster vouches for.
    pub fn certificate(&self) -> &KeyPair {
        &self.secrets.node
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn pod(&self, name: &str) -> Option<Value> {
        let (code, pod) = self.ask("GET", &format!("/api/v1/namespaces/default/pods/{name}"), None);
        (code == 200).then_some(pod)
    }

    pub fn wait_for(&self, name: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let last = Mutex::new(Value::Null);
        self.eventually_or(
            &format!("pod {name} is {what}"),
            || format!("{:#}", last.lock().unwrap()),
            || {
                let pod = self.pod(name)?;
                *last.lock().unwrap() = pod["status"].clone();
                holds(&pod).then_some(pod)
            },
        )
    }

    pub fn wait_until_gone(&self, name: &str) {
        self.eventually(&format!("pod {name} is gone"), || {
            self.pod(name).is_none().then_some(())
        });
    }

    pub fn wait_for_log(&self, pod: &str, container: &str, wanted: &str) {
        let path = format!("/api/v1/namespaces/default/pods/{pod}/log?container={container}");
        let last = Mutex::new(String::new());
        self.eventually_or(
            &format!("{pod}/{container} has said {wanted:?}"),
            || last.lock().unwrap().clone(),
            || {
                let (code, text) = self.ask_text("GET", &path, None);
                *last.lock().unwrap() = format!("{code} {text}");
                (code == 200 && text == wanted).then_some(())
            },
        );
    }

    pub fn wait_for_events(&self, pod: &str, field: &str, wanted: &[&str]) {
        let last = || format!("{:?}", self.events(pod, field));
        self.eventually_or("the events tell what happened", last, || {
            (self.events(pod, field) == wanted).then_some(())
        });
    }

    /// Reasons of a pod's events about one of its fields, in order.
    fn events(&self, pod: &str, field: &str) -> Vec<String> {
        let (_, list) = self.ask("GET", "/api/v1/namespaces/default/events", None);
        let mut events: Vec<Value> = list["items"].as_array().unwrap().clone();
        events.retain(|event| event["involvedObject"]["name"] == pod && event["involvedObject"]["fieldPath"] == field);
        events.sort_by_key(|event| event["metadata"]["name"].as_str().unwrap().to_owned());
        events
            .iter()
            .map(|event| event["reason"].as_str().unwrap().to_owned())
            .collect()
    }

    /// What a pod's events of one reason say, once there is any that says `wanted`.
    pub fn wait_for_event(&self, pod: &str, reason: &str, wanted: &str) {
        let said = || {
            let (_, list) = self.ask("GET", "/api/v1/namespaces/default/events", None);
            let events: Vec<Value> = list["items"].as_array().cloned().unwrap_or_default();
            let mine = events
                .into_iter()
                .filter(|event| event["involvedObject"]["name"] == pod);
            let mine = mine.map(|event| {
                format!(
                    "{}: {}",
                    event["reason"].as_str().unwrap(),
                    event["message"].as_str().unwrap()
                )
            });
            mine.collect::<Vec<_>>()
        };
        let holds = |line: &String| line.starts_with(&format!("{reason}: ")) && line.contains(wanted);
        let what = format!("{pod} has an event {reason} with {wanted:?}");
        self.eventually_or(
            &what,
            || format!("{:#?}", said()),
            || said().iter().any(holds).then_some(()),
        );
    }

    /// Output, error output and exit code of a program in a container, over the API server.
    pub fn exec(&self, pod: &str, container: &str, command: &[&str], input: &str) -> (String, String, i64) {
        let words: Vec<String> = command
            .iter()
            .map(|word| format!("&command={}", encode(word)))
            .collect();
        let path = format!(
            "/api/v1/namespaces/default/pods/{pod}/exec?container={container}&stdin=true&stdout=true&stderr=true{}",
            words.concat()
        );
        let run = async {
            let mut socket = self.websocket(&path, "v5.channel.k8s.io").await;
            let message = |channel: u8, data: &[u8]| {
                tokio_tungstenite::tungstenite::Message::Binary([&[channel], data].concat().into())
            };
            // A program that reads nothing may have ended before, and the socket with it; what it said is still there.
            let _ = socket.send(message(0, input.as_bytes())).await;
            let _ = socket.send(message(255, &[0])).await;
            let mut streams = [Vec::new(), Vec::new(), Vec::new(), Vec::new()];
            while let Some(Ok(message)) = socket.next().await {
                let data = message.into_data();
                if let Some((channel, rest)) = data.split_first() {
                    streams[usize::from(*channel)].extend_from_slice(rest);
                }
            }
            let text = |index: usize| String::from_utf8_lossy(&streams[index]).into_owned();
            let status: Value = serde_json::from_str(&text(3)).unwrap_or_else(|_| panic!("a Status ends {command:?}"));
            let code = status["details"]["causes"][0]["message"]
                .as_str()
                .map_or(0, |code| code.parse().unwrap_or(-1));
            (text(1), text(2), code)
        };
        self.runtime
            .block_on(async { tokio::time::timeout(DEADLINE, run).await.expect("exec ends") })
    }

    /// All messages of a WebSocket of one protocol, until it ends.
    pub fn messages(&self, path: &str, protocol: &str) -> Vec<Vec<u8>> {
        self.runtime.block_on(async {
            let mut socket = self.websocket(path, protocol).await;
            let mut messages = Vec::new();
            while let Some(Ok(message)) = socket.next().await {
                if !message.is_close() {
                    messages.push(message.into_data().to_vec());
                }
            }
            messages
        })
    }

    async fn websocket(
        &self,
        path: &str,
        protocol: &str,
    ) -> tokio_tungstenite::WebSocketStream<tokio_rustls::client::TlsStream<tokio::net::TcpStream>> {
        use tokio_tungstenite::tungstenite::client::IntoClientRequest;
        let stream = tokio::net::TcpStream::connect((ADDRESS, 6443)).await.unwrap();
        let trust = tls::Trust::Authority(&self.secrets.cluster_ca);
        let config = tls::client(trust, Some(&self.admin), &["http/1.1"]).unwrap();
        let name = ADDRESS.to_owned().try_into().unwrap();
        let stream = tokio_rustls::TlsConnector::from(config)
            .connect(name, stream)
            .await
            .unwrap();
        let mut request = format!("wss://{ADDRESS}:6443{path}").into_client_request().unwrap();
        request
            .headers_mut()
            .insert("sec-websocket-protocol", protocol.parse().unwrap());
        tokio_tungstenite::client_async(request, stream)
            .await
            .unwrap_or_else(|error| panic!("{path}: {error:?}"))
            .0
    }

    pub fn eventually<T>(&self, what: &str, look: impl Fn() -> Option<T>) -> T {
        self.eventually_or(what, String::new, look)
    }

    pub fn eventually_or<T>(&self, what: &str, last: impl Fn() -> String, look: impl Fn() -> Option<T>) -> T {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(
                Instant::now() < deadline,
                "it did not come true that {what}: {}",
                last()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.control.kill();
        let _ = self.control.wait();
        if let Some(agent) = self
            .agent
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take()
        {
            agent.0.shutdown_background();
        }
        // Pods outlive agents; not this one's tests.
        let run = Paths::below(self.folder.path()).run;
        let programs = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        for program in programs.filter(|program| mentions(&program.path(), &run)) {
            if let Ok(pid) = program.file_name().to_string_lossy().parse::<i32>() {
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
            }
        }
    }
}

fn mentions(process: &Path, folder: &Path) -> bool {
    let line = std::fs::read(process.join("cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).contains(&*folder.to_string_lossy())
}

/// Patches of the tests are lists of operations.
fn content_type(method: &str) -> &'static str {
    match method {
        "PATCH" => "application/json-patch+json",
        _ => "application/json",
    }
}

fn encode(word: &str) -> String {
    word.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
