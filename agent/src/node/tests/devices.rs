//! A device plugin of the tests' own, what the node makes of it, and what pods get.

use super::cluster::Cluster;
use super::image;
use proto::deviceplugin::v1beta1 as api;
use proto::deviceplugin::v1beta1::device_plugin_server::{DevicePlugin, DevicePluginServer};
use proto::deviceplugin::v1beta1::registration_client::RegistrationClient;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::net::{UnixListener, UnixStream};
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::transport::Endpoint;
use tonic::{Request, Response, Status};

const RESOURCE: &str = "test.pintle/dev";

/// What it was asked.
type Asked = Arc<Mutex<Vec<String>>>;

struct Plugin {
    asked: Asked,
    /// Keeps the list open.
    lists: Mutex<Vec<tokio::sync::mpsc::Sender<Result<api::ListAndWatchResponse, Status>>>>,
}

#[tonic::async_trait]
impl DevicePlugin for Plugin {
    async fn get_device_plugin_options(
        &self,
        _: Request<api::Empty>,
    ) -> Result<Response<api::DevicePluginOptions>, Status> {
        Ok(Response::new(options()))
    }

    type ListAndWatchStream = ReceiverStream<Result<api::ListAndWatchResponse, Status>>;

    async fn list_and_watch(&self, _: Request<api::Empty>) -> Result<Response<Self::ListAndWatchStream>, Status> {
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let device = |(id, health): (&str, &str)| api::Device {
            id: id.to_owned(),
            health: health.to_owned(),
            topology: None,
        };
        let devices = [("a", "Healthy"), ("b", "Healthy"), ("c", "Unhealthy")]
            .map(device)
            .to_vec();
        sender.send(Ok(api::ListAndWatchResponse { devices })).await.unwrap();
        self.lists.lock().unwrap().push(sender);
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn get_preferred_allocation(
        &self,
        request: Request<api::PreferredAllocationRequest>,
    ) -> Result<Response<api::PreferredAllocationResponse>, Status> {
        // The last ones.
        let each = request.into_inner().container_requests.into_iter().map(|request| {
            let wanted = usize::try_from(request.allocation_size).unwrap();
            let last = request.available_device_ids.into_iter().rev().take(wanted);
            api::ContainerPreferredAllocationResponse {
                device_ids: last.collect(),
            }
        });
        Ok(Response::new(api::PreferredAllocationResponse {
            container_responses: each.collect(),
        }))
    }

    async fn allocate(
        &self,
        request: Request<api::AllocateRequest>,
    ) -> Result<Response<api::AllocateResponse>, Status> {
        let each = request.into_inner().container_requests.into_iter().map(|request| {
            let ids = request.devices_ids.join(",");
            self.asked.lock().unwrap().push(format!("allocate {ids}"));
            api::ContainerAllocateResponse {
                envs: [("GIVEN".to_owned(), ids)].into(),
                mounts: vec![api::Mount {
                    container_path: "/driver".to_owned(),
                    host_path: "/proc/sys/kernel/ostype".to_owned(),
                    read_only: true,
                }],
                devices: vec![api::DeviceSpec {
                    container_path: "/dev/given".to_owned(),
                    host_path: "/dev/zero".to_owned(),
                    permissions: "rw".to_owned(),
                }],
                cdi_devices: request.devices_ids.iter().map(named).collect(),
                ..api::ContainerAllocateResponse::default()
            }
        });
        let container_responses = each.collect();
        Ok(Response::new(api::AllocateResponse { container_responses }))
    }

    async fn pre_start_container(
        &self,
        request: Request<api::PreStartContainerRequest>,
    ) -> Result<Response<api::PreStartContainerResponse>, Status> {
        let ids = request.into_inner().devices_ids.join(",");
        self.asked.lock().unwrap().push(format!("start {ids}"));
        Ok(Response::new(api::PreStartContainerResponse {}))
    }
}

/// As the vendor's file calls it.
fn named(id: &String) -> api::CdiDevice {
    api::CdiDevice {
        name: format!("{RESOURCE}={id}"),
    }
}

/// The vendor's file, in YAML as its own programs write it: what is the same for all of its devices, and what is each one's.
fn describe(folder: &Path) {
    let device = |id: &str| {
        format!(
            "- name: {id}\n  containerEdits:\n    env: [CDI_{id}=1]\n    deviceNodes:\n    - path: /dev/vendor-{id}\n      \
             hostPath: /dev/zero\n      fileMode: 0640\n      uid: 7\n"
        )
    };
    let common = "cdiVersion: 0.6.0\nkind: test.pintle/dev\ncontainerEdits:\n  env: [GIVEN=cdi]\n  mounts:\n  - hostPath: /proc/sys/kernel/ostype\n    \
         containerPath: /usr/lib/vendor/driver\n    options: [ro, nosuid, nodev, bind]\ndevices:\n";
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(
        folder.join("vendor.yaml"),
        format!("{common}{}{}", device("a"), device("b")),
    )
    .unwrap();
}

fn options() -> api::DevicePluginOptions {
    api::DevicePluginOptions {
        pre_start_required: true,
        get_preferred_allocation_available: true,
    }
}

/// Serves the plugin on a socket of its own and registers it.
async fn plug(folder: &Path, asked: &Asked) {
    let socket = folder.join("test.sock");
    let _ = std::fs::remove_file(&socket);
    let plugin = Plugin {
        asked: asked.clone(),
        lists: Mutex::default(),
    };
    let listener = UnixListenerStream::new(UnixListener::bind(&socket).unwrap());
    let server = tonic::transport::Server::builder().add_service(DevicePluginServer::new(plugin));
    tokio::spawn(server.serve_with_incoming(listener));
    let kubelet = folder.join("kubelet.sock");
    let dial = tower::service_fn(move |_| {
        let kubelet = kubelet.clone();
        async move { UnixStream::connect(kubelet).await.map(hyper_util::rt::TokioIo::new) }
    });
    let channel = Endpoint::from_static("http://kubelet")
        .connect_with_connector(dial)
        .await
        .unwrap();
    let mut node = RegistrationClient::new(channel);
    let request = |version: &str, resource: &str| api::RegisterRequest {
        version: version.to_owned(),
        endpoint: "test.sock".to_owned(),
        resource_name: resource.to_owned(),
        options: Some(options()),
    };
    for refused in [request("v1alpha", RESOURCE), request("v1beta1", "cpu")] {
        assert_eq!(
            node.register(refused).await.unwrap_err().code(),
            tonic::Code::InvalidArgument
        );
    }
    node.register(request("v1beta1", RESOURCE)).await.unwrap();
}

fn wait_for_amounts(cluster: &Cluster, capacity: &str, allocatable: &str) {
    cluster.eventually(
        &format!("the node has {capacity} devices, {allocatable} for pods"),
        || {
            let node = cluster.ask("GET", "/api/v1/nodes/n1", None).1;
            let of = |list: &str| node["status"][list][RESOURCE].clone();
            (of("capacity") == capacity && of("allocatable") == allocatable).then_some(())
        },
    );
}

fn create(cluster: &Cluster, name: &str, wanted: u32, script: &str) {
    cluster.create(
        "pods",
        json!({"metadata": {"name": name}, "spec": {"nodeName": "n1", "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "a", "image": image::NAME, "command": ["sh", "-c", script],
            "resources": {"limits": {RESOURCE: wanted.to_string()}}}]}}),
    );
}

fn refused_for_want(cluster: &Cluster, name: &str, wanted: u32, available: u32) {
    create(cluster, name, wanted, "true");
    let pod = cluster.wait_for(name, "refused", |pod| pod["status"]["phase"] == "Failed");
    assert_eq!(pod["status"]["reason"], "UnexpectedAdmissionError");
    let message = format!(
        "Pod was rejected: Allocate failed due to requested number of devices unavailable for {RESOURCE}. \
         Requested: {wanted}, Available: {available}, which is unexpected"
    );
    assert_eq!(pod["status"]["message"], Value::String(message));
    cluster.delete(name);
    cluster.wait_until_gone(name);
}

/// Everything that one agent can show; a pod keeps its devices for the next.
pub fn all(cluster: &Cluster) {
    let folder = cluster.paths().device_plugins;
    let asked = Asked::default();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    cluster.eventually("the node listens to plugins", || {
        folder.join("kubelet.sock").exists().then_some(())
    });
    runtime.block_on(plug(&folder, &asked));
    wait_for_amounts(cluster, "3", "2");
    let script = "echo $GIVEN; cat /driver /usr/lib/vendor/driver; echo x > /dev/given; echo x > /dev/vendor-b; \
                  ls -n /dev/vendor-b | { read mode links uid rest; echo $mode $uid; }; echo $CDI_a$CDI_b; exec sleep 1000";
    create(cluster, "one", 1, script);
    let why = "CDI device injection failed: unresolvable CDI devices test.pintle/dev=b";
    cluster.wait_for("one", "without the vendor's file", |pod| {
        let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
        waiting["reason"] == "CreateContainerError" && waiting["message"] == why
    });
    describe(&cluster.paths().cdi[1]);
    cluster.wait_for_log("one", "a", "cdi\nLinux\nLinux\ncrw-r----- 7\n1\n");
    let asked = asked.lock().unwrap().clone();
    assert_eq!(asked[..2], ["allocate b", "start b"]);
    assert!(asked[2..].iter().all(|call| call == "start b"), "{asked:?}");
    refused_for_want(cluster, "greedy", 2, 1);
    cluster.delete("one");
    cluster.wait_until_gone("one");
    create(cluster, "holder", 2, "echo $CDI_a$CDI_b; exec sleep 1000");
    cluster.wait_for_log("holder", "a", "11\n");
    drop(runtime);
    wait_for_amounts(cluster, "3", "0");
}

/// The next agent knows who has what, and plugins register anew.
pub fn another_agent_remembers(cluster: &Cluster) {
    let folder = cluster.paths().device_plugins;
    wait_for_amounts(cluster, "0", "0");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    cluster.eventually("the node listens to plugins", || {
        folder.join("kubelet.sock").exists().then_some(())
    });
    runtime.block_on(plug(&folder, &Asked::default()));
    wait_for_amounts(cluster, "3", "2");
    refused_for_want(cluster, "late", 1, 0);
    cluster.delete("holder");
    cluster.wait_until_gone("holder");
    create(cluster, "heir", 1, "echo $GIVEN$CDI_b; exec sleep 1000");
    cluster.wait_for_log("heir", "a", "cdi1\n");
    cluster.delete("heir");
    cluster.wait_until_gone("heir");
}
