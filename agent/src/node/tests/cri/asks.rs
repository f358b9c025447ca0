//! What callers ask for beyond the usual: users of their own, ambient capabilities, images behind credentials.

use super::client::{Node, container_config, context};
use crate::node::tests::registry;
use futures_util::StreamExt;
use proto::cri::runtime::v1 as cri;
use serde_json::json;
use std::collections::HashMap;
use std::path::PathBuf;
use tonic::Code;

impl Node {
    pub async fn hands_down_capabilities(&mut self) {
        let sandbox = self.sandbox("ambient").await;
        let id = self
            .started(&sandbox, "main", "exec sleep 1000", |config| {
                let context = context(config);
                context.run_as_user = Some(cri::Int64Value { value: 1001 });
                context.capabilities = Some(cri::Capability {
                    add_ambient_capabilities: vec!["NET_BIND_SERVICE".to_owned()],
                    ..cri::Capability::default()
                });
            })
            .await;
        let (status, ..) = self.exec(&id, "cat /proc/self/status").await;
        for line in ["Uid:\t1001\t", "CapAmb:\t0000000000000400", "CapEff:\t0000000000000400"] {
            assert!(status.contains(line), "{line}\n{status}");
        }
        let mut config = container_config("labelled", "true");
        context(&mut config).selinux_options = Some(cri::SeLinuxOption {
            r#type: "container_t".to_owned(),
            ..cri::SeLinuxOption::default()
        });
        let refused = self.create(&sandbox, config).await.unwrap_err();
        assert_eq!(
            (refused.code(), refused.message()),
            (Code::InvalidArgument, "SELinux is not supported")
        );
        self.remove_sandbox(&sandbox).await;
    }

    pub async fn has_users_of_its_own(&mut self) {
        if !crate::pods::users::are_possible() {
            eprintln!("SKIPPED: users of sandboxes were not tried, because this kernel makes no user namespaces");
            return;
        }
        let range = vec![cri::IdMapping {
            host_id: 131_072,
            container_id: 0,
            length: 65536,
        }];
        let mut config = self.sandbox_config("users");
        let linux = config.linux.as_mut().unwrap();
        linux.security_context = Some(cri::LinuxSandboxSecurityContext {
            namespace_options: Some(cri::NamespaceOption {
                userns_options: Some(cri::UserNamespace {
                    mode: cri::NamespaceMode::Pod.into(),
                    uids: range.clone(),
                    gids: range.clone(),
                }),
                ..cri::NamespaceOption::default()
            }),
            ..cri::LinuxSandboxSecurityContext::default()
        });
        let sandbox = self.run_sandbox(config, "").await.unwrap();
        let folder = self.folder.join("cri-users");
        std::fs::create_dir_all(&folder).unwrap();
        let host_path = folder.display().to_string();
        let mount = |path: &str, mappings: &[cri::IdMapping]| cri::Mount {
            container_path: path.to_owned(),
            host_path: host_path.clone(),
            uid_mappings: mappings.to_vec(),
            gid_mappings: mappings.to_vec(),
            ..cri::Mount::default()
        };
        let id = self
            .started(&sandbox, "main", "exec sleep 1000", |config| {
                config.mounts = vec![mount("/ours", &range), mount("/theirs", &[])];
            })
            .await;
        let (map, ..) = self.exec(&id, "cat /proc/self/uid_map").await;
        assert_eq!(
            map.split_ascii_whitespace().collect::<Vec<_>>(),
            ["0", "131072", "65536"]
        );
        assert_eq!(self.exec(&id, "echo x > /ours/x && cat /theirs/x").await.0, "x\n");
        let (owners, ..) = self.exec(&id, "ls -ln /ours/x /theirs/x").await;
        let owners: Vec<&str> = owners
            .lines()
            .filter_map(|line| line.split_ascii_whitespace().nth(2))
            .collect();
        assert_eq!(owners, ["0", "65534"]);
        let refused = self.exec(&id, "echo y > /theirs/y").await;
        assert!(
            refused.1.contains("Permission denied"),
            "the machine's folder is not the sandbox's: {refused:?}"
        );
        self.remove_sandbox(&sandbox).await;
    }

    /// By the field and by annotations; the later of the folders counts more.
    pub async fn has_devices_of_vendors(&mut self, folders: &[PathBuf; 2]) {
        let sandbox = self.sandbox("vendors").await;
        let named = |config: &mut cri::ContainerConfig, name: &str| {
            config.cdi_devices = vec![cri::CdiDevice { name: name.to_owned() }];
        };
        let mut config = container_config("early", "true");
        named(&mut config, "vendor.test/card=1");
        let refused = self.create(&sandbox, config).await.unwrap_err();
        let why = "CDI device injection failed: unresolvable CDI devices vendor.test/card=1";
        assert_eq!((refused.code(), refused.message()), (Code::InvalidArgument, why));
        for (folder, word) in folders.iter().zip(["static", "dynamic"]) {
            let device = |name: &str| {
                let path = format!("/dev/card{name}");
                json!({"name": name, "containerEdits": {"env": [format!("CARD{name}={word}")],
                    "deviceNodes": [{"path": path, "type": "c", "major": 1, "minor": 3, "gid": 44}]}})
            };
            let spec = json!({"cdiVersion": "0.7.0", "kind": "vendor.test/card", "devices": [device("1"), device("2")],
                "containerEdits": {"additionalGids": [44], "mounts": [{"hostPath": folder, "containerPath": "/specs",
                    "options": ["ro", "noexec"]}]}});
            std::fs::create_dir_all(folder).unwrap();
            std::fs::write(folder.join("card.json"), spec.to_string()).unwrap();
        }
        let id = self
            .started(&sandbox, "main", "exec sleep 1000", |config| {
                named(config, "vendor.test/card=1");
                let asked = ("cdi.k8s.io/vendor".to_owned(), "vendor.test/card=2".to_owned());
                config.annotations.extend([asked]);
            })
            .await;
        let script = "echo $CARD1 $CARD2; echo x > /dev/card1; ls -n /dev/card2 | { read mode links uid gid rest; echo $mode $gid; }; \
             ls /specs";
        assert_eq!(
            self.exec(&id, script).await,
            (
                "dynamic dynamic\ncrw-rw-rw- 44\ncard.json\n".to_owned(),
                String::new(),
                0
            )
        );
        let (status, ..) = self.exec(&id, "cat /proc/self/status").await;
        assert!(status.contains("Groups:\t44"), "{status}");
        assert!(
            self.exec(&id, "echo > /specs/x")
                .await
                .1
                .contains("Read-only file system")
        );
        for folder in folders {
            std::fs::remove_dir_all(folder).unwrap();
        }
        self.remove_sandbox(&sandbox).await;
    }

    pub async fn pulls_with_credentials(&mut self) {
        let registry = registry::serve(&self.folder, registry::Callers::Me);
        let name = format!("{registry}/shell:1");
        let pull = |auth: Option<cri::AuthConfig>| cri::PullImageRequest {
            image: Some(cri::ImageSpec {
                image: name.clone(),
                ..cri::ImageSpec::default()
            }),
            auth,
            sandbox_config: None,
        };
        let refused = self.images.pull_image(pull(None)).await.unwrap_err();
        assert!(refused.message().contains(&name), "{refused:?}");
        assert_eq!(self.image(&name).await, None);
        let auth = cri::AuthConfig {
            username: "me".to_owned(),
            password: "secret".to_owned(),
            ..cri::AuthConfig::default()
        };
        let pulled = self.images.pull_image(pull(Some(auth))).await.unwrap().into_inner();
        let image = self.image(&name).await.unwrap();
        assert_eq!(
            (&image.id, image.repo_tags.as_slice()),
            (&pulled.image_ref, std::slice::from_ref(&name))
        );
        self.remove_image(&name).await.unwrap();
        assert_eq!(self.image(&name).await, None);
    }

    /// The same items as in lists, chosen by the same filters.
    pub async fn lists_in_streams(&mut self) {
        let sandbox = self.sandbox("streamed").await;
        let id = self.started(&sandbox, "main", "exec sleep 1000", |_| {}).await;
        let labelled = |value: &str| HashMap::from([("container".to_owned(), value.to_owned())]);
        for (value, expected) in [("main", vec![id.clone()]), ("other", vec![])] {
            let filter = Some(cri::ContainerFilter {
                label_selector: labelled(value),
                ..cri::ContainerFilter::default()
            });
            let request = cri::StreamContainersRequest { filter };
            let mut messages = self.runtime.stream_containers(request).await.unwrap().into_inner();
            let mut ids = Vec::new();
            while let Some(message) = messages.next().await {
                ids.extend(message.unwrap().containers.into_iter().map(|container| container.id));
            }
            assert_eq!(ids, expected, "containers");
            let filter = Some(cri::ContainerStatsFilter {
                label_selector: labelled(value),
                ..cri::ContainerStatsFilter::default()
            });
            let request = cri::StreamContainerStatsRequest { filter };
            let mut messages = self.runtime.stream_container_stats(request).await.unwrap().into_inner();
            let mut ids = Vec::new();
            while let Some(message) = messages.next().await {
                let stats = message.unwrap().container_stats.into_iter();
                ids.extend(stats.filter_map(|stats| Some(stats.attributes?.id)));
            }
            assert_eq!(ids, expected, "stats");
        }
        let request = cri::StreamPodSandboxesRequest::default();
        let mut messages = self.runtime.stream_pod_sandboxes(request).await.unwrap().into_inner();
        let first = messages.next().await.unwrap().unwrap().pod_sandboxes;
        assert!(first.iter().any(|item| item.id == sandbox), "{first:?}");
        self.remove_sandbox(&sandbox).await;
    }
}
