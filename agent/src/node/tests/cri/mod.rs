//! CRI on its socket, as critest (kubernetes-sigs/cri-tools, pkg/validate) expects it: what upstream's suite asserts, asked here.

mod asks;
mod client;
mod sees;

use super::cluster::Cluster;
use super::image;
use client::{Node, container_config};
use proto::cri::runtime::v1 as cri;
use tonic::{Code, Status};

/// Everything that one agent can show.
pub fn all(cluster: &Cluster) {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let mut node = Node::connect(cluster).await;
        node.says_who_it_is().await;
        node.knows_its_images().await;
        node.runs_and_removes_sandboxes().await;
        node.runs_and_removes_containers().await;
        node.executes_and_logs().await;
        node.confines().await;
        node.hands_down_capabilities().await;
        node.has_users_of_its_own().await;
        node.shows_volumes().await;
        node.has_devices_of_vendors(&cluster.paths().cdi).await;
        node.counts().await;
        node.lists_in_streams().await;
        node.pulls_with_credentials().await;
        node.streams().await;
        node.leads_to_ports().await;
        node.tells_of_events().await;
        node.keeps_nothing(cluster).await;
        // For the next agent.
        let sandbox = node.sandbox("survivor").await;
        node.started(&sandbox, "main", "exec sleep 1000", |_| {}).await;
        node.created(&sandbox, "later", "exec sleep 1000", |_| {}).await;
        node.sandbox("victim").await;
    });
}

/// What the next agent finds.
pub fn another_agent_finds_them(cluster: &Cluster) {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let mut node = Node::connect(cluster).await;
        let sandboxes = node.sandboxes(cri::PodSandboxState::SandboxReady).await;
        assert_eq!(sandboxes.len(), 2, "{sandboxes:#?}");
        let named = |name: &str| {
            let of = |sandbox: &&cri::PodSandbox| sandbox.metadata.as_ref().unwrap().name == name;
            sandboxes.iter().find(of).unwrap().id.clone()
        };
        let survivor = named("survivor");
        let containers = node.containers(&survivor).await;
        let states: Vec<_> = containers.iter().map(cri::Container::state).collect();
        assert_eq!(
            states,
            [
                cri::ContainerState::ContainerRunning,
                cri::ContainerState::ContainerCreated
            ]
        );
        assert_eq!(node.exec(&containers[0].id, "echo on").await.0, "on\n");
        node.start(&containers[1].id).await.unwrap();
        assert_eq!(node.exec(&containers[1].id, "echo on").await.0, "on\n");
        let victim = named("victim");
        let container = node.started(&victim, "main", "exec sleep 1000", |_| {}).await;
        let info = node.sandbox_status(&victim, true).await.info;
        let info: serde_json::Value = serde_json::from_str(&info["info"]).unwrap();
        let pid = i32::try_from(info["pid"].as_i64().unwrap()).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
        let status = node.wait_for(&container, cri::ContainerState::ContainerExited).await;
        assert_eq!((status.exit_code, status.reason.as_str()), (255, "Unknown"));
        let status = node.sandbox_status(&victim, false).await.status.unwrap();
        assert_eq!(status.state(), cri::PodSandboxState::SandboxNotready);
        for id in [survivor, victim] {
            node.remove_sandbox(&id).await;
        }
        node.keeps_nothing(cluster).await;
    });
}

impl Node {
    async fn says_who_it_is(&mut self) {
        let version = self
            .runtime
            .version(cri::VersionRequest::default())
            .await
            .unwrap()
            .into_inner();
        assert_eq!(
            (version.runtime_name.as_str(), version.runtime_api_version.as_str()),
            ("pintle", "v1")
        );
        let status = self
            .runtime
            .status(cri::StatusRequest { verbose: true })
            .await
            .unwrap()
            .into_inner();
        let conditions = status.status.unwrap().conditions;
        assert!(conditions.iter().all(|condition| condition.status), "{conditions:#?}");
        assert_eq!((conditions.len(), status.info.is_empty()), (2, false));
        let config = self
            .runtime
            .runtime_config(cri::RuntimeConfigRequest {})
            .await
            .unwrap()
            .into_inner();
        assert_eq!(config.linux.unwrap().cgroup_driver(), cri::CgroupDriver::Cgroupfs);
        let refused = self
            .runtime
            .checkpoint_container(cri::CheckpointContainerRequest::default())
            .await;
        assert_eq!(refused.unwrap_err().code(), Code::Unimplemented);
    }

    pub async fn image(&mut self, name: &str) -> Option<cri::Image> {
        let image = Some(cri::ImageSpec {
            image: name.to_owned(),
            ..cri::ImageSpec::default()
        });
        let request = cri::ImageStatusRequest { image, verbose: false };
        self.images.image_status(request).await.unwrap().into_inner().image
    }

    pub async fn remove_image(&mut self, name: &str) -> Result<(), Status> {
        let image = Some(cri::ImageSpec {
            image: name.to_owned(),
            ..cri::ImageSpec::default()
        });
        self.images
            .remove_image(cri::RemoveImageRequest { image })
            .await
            .map(drop)
    }

    async fn knows_its_images(&mut self) {
        let image = self.image(image::NAME).await.unwrap();
        assert_eq!(image.repo_tags, [image::NAME]);
        let hex = image.id.strip_prefix("sha256:").unwrap();
        for name in [&image.id, &hex[..12].to_owned(), &image.repo_digests[0]] {
            assert_eq!(self.image(name).await.as_ref(), Some(&image), "{name}");
        }
        assert_eq!(self.image("registry.test/none:1").await, None);
        self.remove_image("registry.test/none:1").await.unwrap();
        let all = self
            .images
            .list_images(cri::ListImagesRequest::default())
            .await
            .unwrap()
            .into_inner()
            .images;
        assert_eq!(all, [image]);
        let spec = cri::ImageSpec {
            image: "localhost:1/none:1".to_owned(),
            ..cri::ImageSpec::default()
        };
        let request = cri::PullImageRequest {
            image: Some(spec),
            ..cri::PullImageRequest::default()
        };
        let refused = self.images.pull_image(request).await.unwrap_err();
        assert!(refused.message().contains("localhost:1/none:1"), "{refused:?}");
        let disks = self
            .images
            .image_fs_info(cri::ImageFsInfoRequest {})
            .await
            .unwrap()
            .into_inner();
        assert!(disks.image_filesystems[0].used_bytes.unwrap().value > 0);
    }

    async fn runs_and_removes_sandboxes(&mut self) {
        let config = self.sandbox_config("first");
        let id = self.run_sandbox(config.clone(), "pintle").await.unwrap();
        let again = self.run_sandbox(config.clone(), "").await.unwrap_err();
        assert_eq!(again.code(), Code::AlreadyExists, "{again:?}");
        let other = self
            .run_sandbox(self.sandbox_config("other"), "kata")
            .await
            .unwrap_err();
        assert_eq!(other.message(), "no runtime for \"kata\" is configured");
        let mut mapped = self.sandbox_config("mapped");
        mapped
            .linux
            .as_mut()
            .unwrap()
            .sysctls
            .insert("vm.swappiness".to_owned(), "1".to_owned());
        assert_eq!(
            self.run_sandbox(mapped, "").await.unwrap_err().code(),
            Code::InvalidArgument
        );
        let status = self.sandbox_status(&id, false).await.status.unwrap();
        assert_eq!(status.state(), cri::PodSandboxState::SandboxReady);
        assert_eq!((&status.metadata, &status.labels), (&config.metadata, &config.labels));
        assert_eq!(
            (&status.annotations, status.runtime_handler.as_str()),
            (&config.annotations, "pintle")
        );
        assert!(status.network.unwrap().ip.starts_with("10.244."));
        let listed = self.sandboxes(cri::PodSandboxState::SandboxReady).await;
        assert_eq!(
            listed.iter().map(|item| item.id.as_str()).collect::<Vec<_>>(),
            [id.as_str()]
        );
        self.stop_sandbox(&id).await;
        self.stop_sandbox(&id).await;
        let stopped = self.sandboxes(cri::PodSandboxState::SandboxNotready).await;
        assert_eq!(stopped[0].id, id);
        let refused = self.create(&id, container_config("late", "true")).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
        self.remove_sandbox(&id).await;
        self.remove_sandbox(&id).await;
        self.stop_sandbox(&id).await;
        assert!(self.sandboxes(cri::PodSandboxState::SandboxNotready).await.is_empty());
    }

    async fn runs_and_removes_containers(&mut self) {
        let sandbox = self.sandbox("lives").await;
        let script = "trap 'exit 3' TERM; echo up; while :; do sleep 0.1; done";
        let id = self.created(&sandbox, "main", script, |_| {}).await;
        let status = self.status(&id[..12]).await.unwrap();
        assert_eq!(
            (status.state(), status.started_at),
            (cri::ContainerState::ContainerCreated, 0)
        );
        let twice = self
            .create(&sandbox, container_config("main", "true"))
            .await
            .unwrap_err();
        assert_eq!(twice.code(), Code::AlreadyExists);
        assert_eq!(
            self.remove_image(image::NAME).await.unwrap_err().code(),
            Code::FailedPrecondition
        );
        self.start(&id).await.unwrap();
        assert_eq!(self.start(&id).await.unwrap_err().code(), Code::FailedPrecondition);
        let status = self.wait_for(&id, cri::ContainerState::ContainerRunning).await;
        assert!(status.started_at >= status.created_at && status.finished_at == 0);
        assert_eq!(status.image_id, self.image(image::NAME).await.unwrap().id);
        assert_eq!(
            (status.labels["container"].as_str(), status.annotations["note"].as_str()),
            ("main", "kept")
        );
        assert_eq!(status.stop_signal(), cri::Signal::Sigterm);
        assert_eq!(status.user.unwrap().linux.unwrap().supplemental_groups, [0]);
        // Only then does its shell listen to signals.
        self.wait_for_log(&id, " stdout F up\n").await;
        self.stop(&id, 60).await;
        let status = self.status(&id).await.unwrap();
        assert_eq!(
            (status.state(), status.exit_code),
            (cri::ContainerState::ContainerExited, 3)
        );
        assert_eq!(status.reason, "Error");
        self.stop(&id, 60).await;
        self.remove(&id).await;
        self.remove(&id).await;
        assert_eq!(self.status(&id).await.unwrap_err().code(), Code::NotFound);
        let broken = self
            .created(&sandbox, "broken", "", |config| {
                config.command = vec!["/no/such".to_owned()]
            })
            .await;
        let refused = self.start(&broken).await.unwrap_err();
        assert!(refused.message().contains("/no/such"), "{refused:?}");
        let status = self.status(&broken).await.unwrap();
        assert_eq!((status.exit_code, status.reason.as_str()), (128, "StartError"));
        let running = self.started(&sandbox, "running", "exec sleep 1000", |_| {}).await;
        self.stop_sandbox(&sandbox).await;
        let status = self.status(&running).await.unwrap();
        assert_eq!(
            (status.state(), status.exit_code),
            (cri::ContainerState::ContainerExited, 137)
        );
        self.remove_sandbox(&sandbox).await;
        assert_eq!(self.status(&running).await.unwrap_err().code(), Code::NotFound);
    }

    async fn keeps_nothing(&mut self, cluster: &Cluster) {
        let paths = cluster.paths();
        for folder in [paths.cri.join("sandboxes"), paths.cri.join("containers"), paths.cri_run] {
            let left: Vec<_> = std::fs::read_dir(&folder)
                .unwrap()
                .flatten()
                .map(|entry| entry.path())
                .collect();
            assert!(left.is_empty(), "{left:?}");
        }
        assert!(crate::cri::address_owners(&cluster.paths()).is_empty());
    }
}
