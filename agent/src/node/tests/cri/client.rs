//! A client of CRI's socket and its short ways to say things.

use crate::node::tests::cluster::Cluster;
use crate::node::tests::image;
use futures_util::{SinkExt, StreamExt};
use proto::cri::runtime::v1 as cri;
use proto::cri::runtime::v1::image_service_client::ImageServiceClient;
use proto::cri::runtime::v1::runtime_service_client::RuntimeServiceClient;
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

/// For anything that should happen.
pub const DEADLINE: Duration = Duration::from_secs(60);

pub struct Node {
    pub runtime: RuntimeServiceClient<Channel>,
    pub images: ImageServiceClient<Channel>,
    pub folder: PathBuf,
}

pub fn container_config(name: &str, script: &str) -> cri::ContainerConfig {
    cri::ContainerConfig {
        metadata: Some(cri::ContainerMetadata {
            name: name.to_owned(),
            attempt: 0,
        }),
        image: Some(cri::ImageSpec {
            image: image::NAME.to_owned(),
            ..cri::ImageSpec::default()
        }),
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        log_path: format!("{name}.log"),
        labels: HashMap::from([("container".to_owned(), name.to_owned())]),
        annotations: HashMap::from([("note".to_owned(), "kept".to_owned())]),
        linux: Some(cri::LinuxContainerConfig {
            security_context: Some(cri::LinuxContainerSecurityContext::default()),
            resources: Some(cri::LinuxContainerResources::default()),
        }),
        ..cri::ContainerConfig::default()
    }
}

pub fn context(config: &mut cri::ContainerConfig) -> &mut cri::LinuxContainerSecurityContext {
    config
        .linux
        .get_or_insert_default()
        .security_context
        .get_or_insert_default()
}

impl Node {
    pub async fn connect(cluster: &Cluster) -> Self {
        let socket = cluster.paths().cri_socket;
        let began = Instant::now();
        loop {
            let socket = socket.clone();
            let dial = tower::service_fn(move |_| {
                let socket = socket.clone();
                async move {
                    tokio::net::UnixStream::connect(socket)
                        .await
                        .map(hyper_util::rt::TokioIo::new)
                }
            });
            match Endpoint::from_static("http://cri").connect_with_connector(dial).await {
                Ok(channel) => {
                    return Self {
                        runtime: RuntimeServiceClient::new(channel.clone()),
                        images: ImageServiceClient::new(channel),
                        folder: cluster.folder().to_owned(),
                    };
                }
                Err(error) => assert!(began.elapsed() < DEADLINE, "CRI's socket: {error:?}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub fn sandbox_config(&self, name: &str) -> cri::PodSandboxConfig {
        cri::PodSandboxConfig {
            metadata: Some(cri::PodSandboxMetadata {
                name: name.to_owned(),
                uid: format!("uid-of-{name}"),
                namespace: "default".to_owned(),
                attempt: 0,
            }),
            hostname: format!("host-{name}"),
            log_directory: self.folder.join("cri-logs").join(name).display().to_string(),
            dns_config: Some(cri::DnsConfig {
                servers: vec!["10.0.0.10".to_owned()],
                searches: vec!["cri.test".to_owned()],
                options: vec!["ndots:3".to_owned()],
            }),
            labels: HashMap::from([("pod".to_owned(), name.to_owned())]),
            annotations: HashMap::from([("note".to_owned(), "kept".to_owned())]),
            linux: Some(cri::LinuxPodSandboxConfig {
                sysctls: HashMap::from([("net.ipv4.ip_unprivileged_port_start".to_owned(), "7".to_owned())]),
                security_context: Some(cri::LinuxSandboxSecurityContext {
                    privileged: true,
                    ..cri::LinuxSandboxSecurityContext::default()
                }),
                ..cri::LinuxPodSandboxConfig::default()
            }),
            ..cri::PodSandboxConfig::default()
        }
    }

    pub async fn run_sandbox(&mut self, config: cri::PodSandboxConfig, handler: &str) -> Result<String, Status> {
        let request = cri::RunPodSandboxRequest {
            config: Some(config),
            runtime_handler: handler.to_owned(),
        };
        Ok(self.runtime.run_pod_sandbox(request).await?.into_inner().pod_sandbox_id)
    }

    pub async fn sandbox(&mut self, name: &str) -> String {
        self.run_sandbox(self.sandbox_config(name), "").await.unwrap()
    }

    pub async fn stop_sandbox(&mut self, id: &str) {
        let pod_sandbox_id = id.to_owned();
        self.runtime
            .stop_pod_sandbox(cri::StopPodSandboxRequest { pod_sandbox_id })
            .await
            .unwrap();
    }

    pub async fn remove_sandbox(&mut self, id: &str) {
        let pod_sandbox_id = id.to_owned();
        self.runtime
            .remove_pod_sandbox(cri::RemovePodSandboxRequest { pod_sandbox_id })
            .await
            .unwrap();
    }

    pub async fn sandbox_status(&mut self, id: &str, verbose: bool) -> cri::PodSandboxStatusResponse {
        let pod_sandbox_id = id.to_owned();
        let request = cri::PodSandboxStatusRequest {
            pod_sandbox_id,
            verbose,
        };
        self.runtime.pod_sandbox_status(request).await.unwrap().into_inner()
    }

    pub async fn sandboxes(&mut self, state: cri::PodSandboxState) -> Vec<cri::PodSandbox> {
        let filter = cri::PodSandboxFilter {
            state: Some(cri::PodSandboxStateValue { state: state.into() }),
            ..cri::PodSandboxFilter::default()
        };
        let request = cri::ListPodSandboxRequest { filter: Some(filter) };
        self.runtime.list_pod_sandbox(request).await.unwrap().into_inner().items
    }

    pub async fn create(&mut self, sandbox: &str, config: cri::ContainerConfig) -> Result<String, Status> {
        let request = cri::CreateContainerRequest {
            pod_sandbox_id: sandbox.to_owned(),
            config: Some(config),
            sandbox_config: None,
        };
        Ok(self.runtime.create_container(request).await?.into_inner().container_id)
    }

    pub async fn created(
        &mut self,
        sandbox: &str,
        name: &str,
        script: &str,
        change: impl FnOnce(&mut cri::ContainerConfig),
    ) -> String {
        let mut config = container_config(name, script);
        change(&mut config);
        self.create(sandbox, config).await.unwrap()
    }

    pub async fn start(&mut self, id: &str) -> Result<(), Status> {
        let container_id = id.to_owned();
        self.runtime
            .start_container(cri::StartContainerRequest { container_id })
            .await
            .map(drop)
    }

    pub async fn started(
        &mut self,
        sandbox: &str,
        name: &str,
        script: &str,
        change: impl FnOnce(&mut cri::ContainerConfig),
    ) -> String {
        let id = self.created(sandbox, name, script, change).await;
        self.start(&id).await.unwrap();
        id
    }

    pub async fn stop(&mut self, id: &str, timeout: i64) {
        let container_id = id.to_owned();
        self.runtime
            .stop_container(cri::StopContainerRequest { container_id, timeout })
            .await
            .unwrap();
    }

    pub async fn remove(&mut self, id: &str) {
        let container_id = id.to_owned();
        self.runtime
            .remove_container(cri::RemoveContainerRequest { container_id })
            .await
            .unwrap();
    }

    pub async fn status(&mut self, id: &str) -> Result<cri::ContainerStatus, Status> {
        let request = cri::ContainerStatusRequest {
            container_id: id.to_owned(),
            verbose: false,
        };
        Ok(self
            .runtime
            .container_status(request)
            .await?
            .into_inner()
            .status
            .unwrap())
    }

    pub async fn containers(&mut self, sandbox: &str) -> Vec<cri::Container> {
        let filter = cri::ContainerFilter {
            pod_sandbox_id: sandbox.to_owned(),
            ..cri::ContainerFilter::default()
        };
        let request = cri::ListContainersRequest { filter: Some(filter) };
        self.runtime
            .list_containers(request)
            .await
            .unwrap()
            .into_inner()
            .containers
    }

    pub async fn wait_for(&mut self, id: &str, state: cri::ContainerState) -> cri::ContainerStatus {
        let began = Instant::now();
        loop {
            let status = self.status(id).await.unwrap();
            if status.state() == state {
                return status;
            }
            assert!(began.elapsed() < DEADLINE, "it is never {state:?}: {status:#?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Until a container has said it.
    pub async fn wait_for_log(&mut self, id: &str, wanted: &str) {
        let (log, began) = (self.status(id).await.unwrap().log_path, Instant::now());
        while !std::fs::read_to_string(&log).unwrap().contains(wanted) {
            assert!(began.elapsed() < DEADLINE, "{log} never has {wanted:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn exec_for(&mut self, id: &str, script: &str, timeout: i64) -> Result<cri::ExecSyncResponse, Status> {
        let request = cri::ExecSyncRequest {
            container_id: id.to_owned(),
            cmd: ["sh", "-c", script].map(str::to_owned).to_vec(),
            timeout,
        };
        Ok(self.runtime.exec_sync(request).await?.into_inner())
    }

    pub async fn exec(&mut self, id: &str, script: &str) -> (String, String, i32) {
        let ended = self.exec_for(id, script, 30).await.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (text(ended.stdout), text(ended.stderr), ended.exit_code)
    }
}

pub type Socket = tokio_tungstenite::WebSocketStream<tokio::net::TcpStream>;

pub async fn dial(url: &str) -> Option<Socket> {
    dial_by(url, "v5.channel.k8s.io").await
}

async fn dial_by(url: &str, protocol: &str) -> Option<Socket> {
    use tokio_tungstenite::tungstenite::client::IntoClientRequest;
    let rest = url.strip_prefix("http://").unwrap();
    let (address, _) = rest.split_once('/').unwrap();
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut request = format!("ws://{rest}").into_client_request().unwrap();
    let protocol = protocol.parse().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", protocol);
    Some(tokio_tungstenite::client_async(request, stream).await.ok()?.0)
}

/// Types, ends the input, and gives what came by channel.
pub async fn converse(url: &str, input: &str) -> [String; 4] {
    let mut socket = dial(url).await.unwrap();
    for message in [[&[0], input.as_bytes()].concat(), vec![255, 0]] {
        let message = tokio_tungstenite::tungstenite::Message::Binary(message.into());
        socket.send(message).await.unwrap();
    }
    let mut said = [const { String::new() }; 4];
    while let Some(Ok(message)) = tokio::time::timeout(DEADLINE, socket.next()).await.unwrap() {
        if let Some((channel, rest)) = message.into_data().split_first()
            && let Some(stream) = said.get_mut(usize::from(*channel))
        {
            stream.push_str(&String::from_utf8_lossy(rest));
        }
    }
    said
}

/// Says something to the port that the address names, and gives all that comes back.
pub async fn forward(url: &str, port: u16, input: &str) -> String {
    let mut socket = dial_by(&format!("{url}?port={port}"), "v4.channel.k8s.io")
        .await
        .unwrap();
    let message = [&[0], input.as_bytes()].concat();
    let message = tokio_tungstenite::tungstenite::Message::Binary(message.into());
    socket.send(message).await.unwrap();
    let mut said = Vec::new();
    while let Some(Ok(message)) = tokio::time::timeout(DEADLINE, socket.next()).await.unwrap() {
        if let Some((0, rest)) = message.into_data().split_first() {
            said.extend_from_slice(rest);
        }
    }
    assert_eq!(said.get(..2), Some(&port.to_le_bytes()[..]));
    String::from_utf8_lossy(&said[2..]).into_owned()
}
