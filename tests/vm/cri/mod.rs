//! CRI's socket in a booted machine: what only its kernel with cgroup v2 can show. The calls go through `kubectl exec` and a small
//! program in a pod, since the socket is reachable on the machine alone.

use crate::{DEADLINE, apply, eventually, kubectl, shared, wait_phase};
use hyper_util::rt::TokioIo;
use proto::cri::runtime::v1 as cri;
use proto::cri::runtime::v1::image_service_client::ImageServiceClient;
use proto::cri::runtime::v1::runtime_service_client::RuntimeServiceClient;
use qemu::Cluster;
use std::collections::HashMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Instant;
use tonic::transport::{Channel, Endpoint};

/// Below which the test's sandboxes are, as a kubelet would say it.
const GROUP: &str = "kubepods/cri-test";
const SOCKET: &str = "/host/run/cri.sock";

#[test]
fn cri_limits_counts_and_logs_on_a_real_kernel() {
    let cluster = shared();
    let folder = tempfile::tempdir().unwrap();
    apply(cluster, &pod());
    wait_phase(cluster, "bridge", "Running");
    put_bridge(cluster, folder.path());
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let mut node = Node::connect(cluster).await;
        node.pull().await;
        let sandbox = node.sandbox().await;
        let id = node
            .container(&sandbox, "main", "echo out; exec sleep 1000", limits(64))
            .await;
        node.is_limited(&sandbox, &id).await;
        node.is_counted(&id).await;
        node.dies_of_its_limit(&sandbox).await;
        let log = eventually(
            cluster,
            &["exec", "bridge", "--", "cat", "/host/logs/cri-test/main.log"],
            |said| said.contains(" stdout F out\n"),
        );
        assert_eq!(log.lines().count(), 1);
        node.leads_to_a_port(&sandbox).await;
        node.remove(&sandbox).await;
    });
    let groups = node_says(cluster, &format!("find /host/groups/{GROUP} -mindepth 1 -type d"));
    assert_eq!(groups, "");
    kubectl(cluster, &["delete", "pod", "bridge"]);
}

/// A pod that sees the machine's sockets, groups and logs, and its network.
fn pod() -> String {
    let image = qemu::oci_images::reference("demo");
    let paths = [
        ("run", "/run/pintle"),
        ("groups", "/sys/fs/cgroup"),
        ("logs", "/var/log/pods"),
    ];
    let volumes = paths.map(|(name, path)| format!("{{name: {name}, hostPath: {{path: {path}}}}}"));
    let mounts = paths.map(|(name, _)| format!("{{name: {name}, mountPath: /host/{name}}}"));
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: bridge}}\nspec:\n  hostNetwork: true\n  terminationGracePeriodSeconds: 1\n  volumes: [{}]\n  containers:\n  - name: main\n    image: {image}\n    command: [sh, -c, 'exec sleep 100000']\n    securityContext: {{privileged: true}}\n    volumeMounts: [{}]\n",
        volumes.join(", "),
        mounts.join(", ")
    )
}

fn node_says(cluster: &Cluster, script: &str) -> String {
    kubectl(cluster, &["exec", "bridge", "--", "sh", "-c", script])
}

fn put_bridge(cluster: &Cluster, folder: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("vm/cri/bridge.rs");
    let program = folder.join("bridge");
    let built = Command::new("rustc")
        .args([
            "--edition",
            "2024",
            "-O",
            "-C",
            "target-feature=+crt-static",
            "-C",
            "strip=symbols",
        ])
        .args(["--target", "x86_64-unknown-linux-gnu", "-o"])
        .args([&program, &source])
        .status()
        .unwrap();
    assert!(built.success());
    let mut command = cluster.kubectl_command();
    command.args([
        "exec",
        "-i",
        "bridge",
        "--",
        "sh",
        "-c",
        "cat > /tmp/bridge && chmod +x /tmp/bridge",
    ]);
    let put = command.stdin(File::open(&program).unwrap()).status().unwrap();
    assert!(put.success());
}

fn limits(memory_mib: i64) -> cri::LinuxContainerResources {
    cri::LinuxContainerResources {
        cpu_period: 50_000,
        cpu_quota: 10_000,
        cpu_shares: 512,
        memory_limit_in_bytes: memory_mib << 20,
        memory_swap_limit_in_bytes: memory_mib << 20,
        cpuset_cpus: "0".to_owned(),
        cpuset_mems: "0".to_owned(),
        unified: HashMap::from([("pids.max".to_owned(), "50".to_owned())]),
        ..cri::LinuxContainerResources::default()
    }
}

fn image() -> Option<cri::ImageSpec> {
    Some(cri::ImageSpec {
        image: qemu::oci_images::reference("demo"),
        ..cri::ImageSpec::default()
    })
}

struct Node<'a> {
    cluster: &'a Cluster,
    runtime: RuntimeServiceClient<Channel>,
    images: ImageServiceClient<Channel>,
    /// Of each connection.
    children: std::sync::Arc<std::sync::Mutex<Vec<Child>>>,
}

impl Drop for Node<'_> {
    fn drop(&mut self) {
        for child in self.children.lock().unwrap().iter_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl<'a> Node<'a> {
    async fn connect(cluster: &'a Cluster) -> Self {
        let children = std::sync::Arc::<std::sync::Mutex<Vec<Child>>>::default();
        let (kept, arguments) = (children.clone(), ["exec", "-i", "bridge", "--", "/tmp/bridge", SOCKET]);
        let command = std::sync::Mutex::new(cluster.kubectl_command());
        command.lock().unwrap().args(arguments);
        let dial = tower::service_fn(move |_| {
            // A socket as both of its standard streams: what it says is what came from the machine's socket.
            let dialled = (|| {
                let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
                let mut command = command.lock().unwrap();
                command
                    .stdin(OwnedFd::from(theirs.try_clone()?))
                    .stdout(OwnedFd::from(theirs));
                kept.lock().unwrap().push(command.spawn()?);
                // The command keeps its own copies until it is told of others, and with them the connection would never end.
                command
                    .stdin(std::process::Stdio::null())
                    .stdout(std::process::Stdio::null());
                ours.set_nonblocking(true)?;
                tokio::net::UnixStream::from_std(ours).map(TokioIo::new)
            })();
            std::future::ready(dialled)
        });
        let channel = Endpoint::from_static("http://cri")
            .connect_with_connector(dial)
            .await
            .unwrap();
        Self {
            cluster,
            runtime: RuntimeServiceClient::new(channel.clone()),
            images: ImageServiceClient::new(channel),
            children,
        }
    }

    fn says(&self, script: &str) -> String {
        node_says(self.cluster, script)
    }

    async fn pull(&mut self) {
        let request = cri::PullImageRequest {
            image: image(),
            ..cri::PullImageRequest::default()
        };
        let pulled = self.images.pull_image(request).await.unwrap().into_inner().image_ref;
        let request = cri::ImageStatusRequest {
            image: image(),
            verbose: false,
        };
        let known = self.images.image_status(request).await.unwrap().into_inner().image;
        assert_eq!(known.unwrap().id, pulled);
    }

    async fn sandbox(&mut self) -> String {
        let config = cri::PodSandboxConfig {
            metadata: Some(cri::PodSandboxMetadata {
                name: "cri-test".to_owned(),
                uid: "cri-test".to_owned(),
                namespace: "default".to_owned(),
                attempt: 0,
            }),
            hostname: "cri-test".to_owned(),
            log_directory: "/var/log/pods/cri-test".to_owned(),
            port_mappings: vec![cri::PortMapping {
                container_port: 80,
                host_port: 8091,
                ..cri::PortMapping::default()
            }],
            linux: Some(cri::LinuxPodSandboxConfig {
                cgroup_parent: format!("/{GROUP}"),
                ..cri::LinuxPodSandboxConfig::default()
            }),
            ..cri::PodSandboxConfig::default()
        };
        let request = cri::RunPodSandboxRequest {
            config: Some(config),
            ..cri::RunPodSandboxRequest::default()
        };
        self.runtime
            .run_pod_sandbox(request)
            .await
            .unwrap()
            .into_inner()
            .pod_sandbox_id
    }

    async fn container(
        &mut self,
        sandbox: &str,
        name: &str,
        script: &str,
        resources: cri::LinuxContainerResources,
    ) -> String {
        let config = cri::ContainerConfig {
            metadata: Some(cri::ContainerMetadata {
                name: name.to_owned(),
                attempt: 0,
            }),
            image: image(),
            command: ["sh", "-c", script].map(str::to_owned).to_vec(),
            log_path: format!("{name}.log"),
            linux: Some(cri::LinuxContainerConfig {
                resources: Some(resources),
                ..cri::LinuxContainerConfig::default()
            }),
            ..cri::ContainerConfig::default()
        };
        let request = cri::CreateContainerRequest {
            pod_sandbox_id: sandbox.to_owned(),
            config: Some(config),
            sandbox_config: None,
        };
        let container_id = self
            .runtime
            .create_container(request)
            .await
            .unwrap()
            .into_inner()
            .container_id;
        let request = cri::StartContainerRequest {
            container_id: container_id.clone(),
        };
        self.runtime.start_container(request).await.unwrap();
        container_id
    }

    /// The files of its group say what the caller said, and something else after an update.
    async fn is_limited(&mut self, sandbox: &str, id: &str) {
        let group = format!("/host/groups/{GROUP}/{sandbox}/{id}.0");
        let files = "cpu.max memory.max memory.swap.max cpuset.cpus cpuset.mems pids.max";
        let script = format!("cd {group} && cat {files} && wc -l < cgroup.procs");
        let said = self.says(&script);
        assert_eq!(said, "20000 100000\n67108864\n0\n0\n0\n50\n1\n");
        let update = cri::UpdateContainerResourcesRequest {
            container_id: id.to_owned(),
            linux: Some(limits(96)),
            ..cri::UpdateContainerResourcesRequest::default()
        };
        self.runtime.update_container_resources(update).await.unwrap();
        assert_eq!(self.says(&format!("cat {group}/memory.max")), "100663296\n");
    }

    async fn is_counted(&mut self, id: &str) {
        let request = cri::ExecSyncRequest {
            container_id: id.to_owned(),
            cmd: [
                "sh",
                "-c",
                "echo inside; n=0; while [ $n -lt 5000 ]; do n=$((n+1)); done; exit 3",
            ]
            .map(str::to_owned)
            .to_vec(),
            timeout: 60,
        };
        let ended = self.runtime.exec_sync(request).await.unwrap().into_inner();
        assert_eq!((ended.stdout.as_slice(), ended.exit_code), (&b"inside\n"[..], 3));
        let request = cri::ContainerStatsRequest {
            container_id: id.to_owned(),
        };
        let stats = self
            .runtime
            .container_stats(request)
            .await
            .unwrap()
            .into_inner()
            .stats
            .unwrap();
        let memory = stats.memory.unwrap();
        assert!(stats.cpu.unwrap().usage_core_nano_seconds.unwrap().value > 0);
        assert!(
            (1..96 << 20).contains(&memory.working_set_bytes.unwrap().value),
            "{memory:?}"
        );
    }

    async fn dies_of_its_limit(&mut self, sandbox: &str) {
        let eats = "dd if=/dev/zero of=/dev/null bs=40M";
        let id = self.container(sandbox, "glutton", eats, limits(15)).await;
        let began = Instant::now();
        loop {
            let request = cri::ContainerStatusRequest {
                container_id: id.clone(),
                verbose: false,
            };
            let status = self
                .runtime
                .container_status(request)
                .await
                .unwrap()
                .into_inner()
                .status
                .unwrap();
            if status.state() == cri::ContainerState::ContainerExited {
                assert_eq!((status.exit_code, status.reason.as_str()), (137, "OOMKilled"));
                return;
            }
            assert!(began.elapsed() < DEADLINE, "it lives: {status:?}");
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        }
    }

    async fn leads_to_a_port(&mut self, sandbox: &str) {
        let serve = "mkdir /www; echo there > /www/index.html; exec httpd -f -p 80 -h /www";
        self.container(sandbox, "web", serve, cri::LinuxContainerResources::default())
            .await;
        let ask = [
            "exec",
            "bridge",
            "--",
            "wget",
            "-q",
            "-O",
            "-",
            "http://127.0.0.1:8091/",
        ];
        eventually(self.cluster, &ask, |said| said == "there\n");
    }

    async fn remove(&mut self, sandbox: &str) {
        let pod_sandbox_id = sandbox.to_owned();
        let request = cri::RemovePodSandboxRequest { pod_sandbox_id };
        self.runtime.remove_pod_sandbox(request).await.unwrap();
    }
}
