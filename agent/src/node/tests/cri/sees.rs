//! What containers say, see and use, and what callers hear of them.

use super::client::{DEADLINE, Node, container_config, context, converse, dial, forward};
use crate::node::tests::image;
use crate::node::tests::ports::fetch;
use futures_util::{SinkExt, StreamExt};
use proto::cri::runtime::v1 as cri;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tonic::Code;

impl Node {
    pub async fn executes_and_logs(&mut self) {
        let sandbox = self.sandbox("speaks").await;
        let script = "echo out; echo err >&2; while :; do sleep 0.1; echo on; done";
        let id = self.started(&sandbox, "main", script, |_| {}).await;
        assert_eq!(
            self.exec(&id, "echo a; echo b >&2; exit 7").await,
            ("a\n".to_owned(), "b\n".to_owned(), 7)
        );
        let late = self.exec_for(&id, "exec sleep 4321", 1).await.unwrap_err();
        assert_eq!(late.code(), Code::DeadlineExceeded, "{late:?}");
        let began = Instant::now();
        while self
            .exec(&id, "cat /proc/[0-9]*/cmdline")
            .await
            .0
            .contains("sleep\u{0}4321")
        {
            assert!(began.elapsed() < DEADLINE, "a program outlives its time");
        }
        let status = self.status(&id).await.unwrap();
        let log = PathBuf::from(&status.log_path);
        assert_eq!(log, self.folder.join("cri-logs/speaks/main.log"));
        for line in [" stdout F out\n", " stderr F err\n"] {
            self.wait_for_log(&id, line).await;
        }
        let old = log.with_extension("old");
        std::fs::rename(&log, &old).unwrap();
        let container_id = id.clone();
        self.runtime
            .reopen_container_log(cri::ReopenContainerLogRequest { container_id })
            .await
            .unwrap();
        let (length, began) = (std::fs::metadata(&old).unwrap().len(), Instant::now());
        while std::fs::metadata(&log).unwrap().len() == 0 {
            assert!(began.elapsed() < DEADLINE, "the new log stays empty");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(std::fs::metadata(&old).unwrap().len(), length);
        self.remove_sandbox(&sandbox).await;
    }

    pub async fn confines(&mut self) {
        let sandbox = self.sandbox("confines").await;
        let number = |value| Some(cri::Int64Value { value });
        let id = self
            .started(&sandbox, "main", "exec sleep 1000", |config| {
                let context = context(config);
                (context.run_as_user, context.run_as_group) = (number(1001), number(1002));
                context.supplemental_groups = vec![1234, 5678];
                context.readonly_rootfs = true;
                context.no_new_privs = true;
                context.masked_paths = vec!["/bin/ls".to_owned()];
                context.seccomp = Some(cri::SecurityProfile::default());
            })
            .await;
        let (status, ..) = self.exec(&id, "cat /proc/self/status").await;
        for line in [
            "Uid:\t1001\t1001",
            "Gid:\t1002\t1002",
            "Groups:\t1234 5678",
            "NoNewPrivs:\t1",
            "Seccomp:\t2",
            "CapEff:\t0000000000000000",
        ] {
            assert!(status.contains(line), "{line}\n{status}");
        }
        assert_ne!(self.exec(&id, "ls").await.2, 0);
        assert!(
            self.exec(&id, "echo x > /tmp/x")
                .await
                .1
                .contains("Read-only file system")
        );
        let user = self.status(&id).await.unwrap().user.unwrap().linux.unwrap();
        assert_eq!(
            (user.uid, user.gid, user.supplemental_groups),
            (1001, 1002, vec![1002, 1234, 5678])
        );
        let group_alone = |config: &mut cri::ContainerConfig| context(config).run_as_group = number(5);
        let mut config = container_config("alone", "true");
        group_alone(&mut config);
        assert_eq!(
            self.create(&sandbox, config).await.unwrap_err().code(),
            Code::InvalidArgument
        );
        let files = self.exec(
            &id,
            "cat /etc/resolv.conf /etc/hostname /proc/sys/net/ipv4/ip_unprivileged_port_start",
        );
        assert_eq!(
            files.await.0,
            "search cri.test\nnameserver 10.0.0.10\noptions ndots:3\nhost-confines\n7\n"
        );
        let all = self
            .started(&sandbox, "all", "exec sleep 1000", |config| {
                context(config).privileged = true
            })
            .await;
        let (status, ..) = self
            .exec(
                &all,
                "cat /proc/self/status; echo 1 > /proc/sys/net/ipv4/ip_forward && echo may",
            )
            .await;
        assert!(status.contains("Seccomp:\t0") && status.contains("\nmay\n"), "{status}");
        self.remove_sandbox(&sandbox).await;
    }

    pub async fn shows_volumes(&mut self) {
        let sandbox = self.sandbox("volumes").await;
        let folder = self.folder.join("cri-volume");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("file"), "here\n").unwrap();
        let host_path = folder.display().to_string();
        let mount = |path: &str, host: &str, readonly| cri::Mount {
            container_path: path.to_owned(),
            host_path: host.to_owned(),
            readonly,
            ..cri::Mount::default()
        };
        let id = self
            .started(&sandbox, "main", "exec sleep 1000", |config| {
                config.mounts = vec![
                    mount("/data", &host_path, false),
                    mount("/ro", &host_path, true),
                    of_image_mount(),
                ];
                config.devices = vec![cri::Device {
                    container_path: "/dev/nothing".to_owned(),
                    host_path: "/dev/null".to_owned(),
                    permissions: "rw".to_owned(),
                }];
            })
            .await;
        let mounts = self.status(&id).await.unwrap().mounts;
        let of_image = self.image(image::NAME).await.unwrap();
        assert_eq!(mounts[2].image.as_ref().unwrap().image_ref, of_image.id);
        let script = "cat /ro/file; echo new > /data/new; cat /ro/new; echo x > /dev/nothing; cat /image/passwd";
        assert_eq!(
            self.exec(&id, script).await,
            (
                "here\nnew\nroot:x:0:0:root:/root:/bin/sh\n".to_owned(),
                String::new(),
                0
            )
        );
        assert!(
            self.exec(&id, "echo x > /ro/x")
                .await
                .1
                .contains("Read-only file system")
        );
        let mut config = container_config("writes", "true");
        config.mounts = vec![cri::Mount {
            readonly: false,
            ..of_image_mount()
        }];
        let refused = self.create(&sandbox, config).await.unwrap_err();
        assert!(refused.message().contains("needs readonly"), "{refused:?}");
        let mut config = container_config("lost", "true");
        config.mounts = vec![mount("/data", "/no/such/folder", false)];
        assert_eq!(
            self.create(&sandbox, config).await.unwrap_err().code(),
            Code::InvalidArgument
        );
        self.remove_sandbox(&sandbox).await;
    }

    pub async fn counts(&mut self) {
        let sandbox = self.sandbox("counts").await;
        let id = self
            .started(&sandbox, "main", "echo x > /tmp/x; exec sleep 1000", |_| {})
            .await;
        let container_id = id.clone();
        let request = cri::ContainerStatsRequest { container_id };
        let stats = self
            .runtime
            .container_stats(request)
            .await
            .unwrap()
            .into_inner()
            .stats
            .unwrap();
        assert!(stats.memory.unwrap().working_set_bytes.unwrap().value > 0);
        assert!(stats.writable_layer.unwrap().used_bytes.unwrap().value > 0);
        assert_eq!(stats.attributes.unwrap().metadata.unwrap().name, "main");
        let request = cri::ListPodSandboxStatsRequest::default();
        let stats = self
            .runtime
            .list_pod_sandbox_stats(request)
            .await
            .unwrap()
            .into_inner()
            .stats;
        let linux = stats[0].linux.clone().unwrap();
        assert_eq!(linux.network.unwrap().default_interface.unwrap().name, "eth0");
        assert_eq!(linux.containers.len(), 1);
        let request = cri::ListMetricDescriptorsRequest {};
        let known = self
            .runtime
            .list_metric_descriptors(request)
            .await
            .unwrap()
            .into_inner()
            .descriptors;
        let request = cri::ListPodSandboxMetricsRequest {};
        let metrics = self
            .runtime
            .list_pod_sandbox_metrics(request)
            .await
            .unwrap()
            .into_inner()
            .pod_metrics;
        assert_eq!(metrics[0].container_metrics[0].container_id, id);
        for metric in metrics[0]
            .metrics
            .iter()
            .chain(&metrics[0].container_metrics[0].metrics)
        {
            assert!(known.iter().any(|known| known.name == metric.name), "{}", metric.name);
        }
        let update = cri::UpdateContainerResourcesRequest {
            container_id: id.clone(),
            linux: Some(cri::LinuxContainerResources {
                memory_limit_in_bytes: 64 << 20,
                ..cri::LinuxContainerResources::default()
            }),
            ..cri::UpdateContainerResourcesRequest::default()
        };
        self.runtime.update_container_resources(update).await.unwrap();
        let resources = self.status(&id).await.unwrap().resources.unwrap().linux.unwrap();
        assert_eq!(resources.memory_limit_in_bytes, 64 << 20);
        self.remove_sandbox(&sandbox).await;
    }

    pub async fn streams(&mut self) {
        let sandbox = self.sandbox("streams").await;
        let echo = "while read line; do echo got $line; done";
        let id = self.started(&sandbox, "main", echo, |config| config.stdin = true).await;
        let request = cri::ExecRequest {
            container_id: id.clone(),
            cmd: ["sh", "-c", "cat; exit 4"].map(str::to_owned).to_vec(),
            stdin: true,
            stdout: true,
            stderr: true,
            ..cri::ExecRequest::default()
        };
        let url = self.runtime.exec(request.clone()).await.unwrap().into_inner().url;
        let said = converse(&url, "typed").await;
        assert_eq!(said[1], "typed");
        assert!(said[3].contains("\"4\""), "{said:?}");
        assert!(dial(&url).await.is_none(), "an address works once");
        let url = self
            .runtime
            .exec(cri::ExecRequest {
                tty: true,
                ..request.clone()
            })
            .await;
        assert_eq!(url.unwrap_err().code(), Code::InvalidArgument);
        let attach = cri::AttachRequest {
            container_id: id.clone(),
            stdin: true,
            stdout: true,
            ..cri::AttachRequest::default()
        };
        let url = self.runtime.attach(attach).await.unwrap().into_inner().url;
        let mut socket = dial(&url).await.unwrap();
        let typed = [&[0], "words\n".as_bytes()].concat();
        socket
            .send(tokio_tungstenite::tungstenite::Message::Binary(typed.into()))
            .await
            .unwrap();
        let mut said = String::new();
        while !said.contains("got words\n") {
            let message = tokio::time::timeout(DEADLINE, socket.next())
                .await
                .unwrap()
                .unwrap()
                .unwrap();
            said.push_str(&String::from_utf8_lossy(
                message.into_data().get(1..).unwrap_or_default(),
            ));
        }
        let request = cri::PortForwardRequest {
            pod_sandbox_id: sandbox.clone(),
            port: vec![80],
        };
        let url = self.runtime.port_forward(request).await.unwrap().into_inner().url;
        assert!(
            url.starts_with("http://127.0.0.1:") && url.contains("/portforward/"),
            "{url}"
        );
        self.remove_sandbox(&sandbox).await;
    }

    /// PortForward to a port where somebody listens, and a port of the machine that leads there.
    pub async fn leads_to_ports(&mut self) {
        if image::found("busybox").is_none() {
            eprintln!("SKIPPED: ports of sandboxes were not tried, because there is no busybox in PATH");
            return;
        }
        let mut config = self.sandbox_config("ports");
        config.port_mappings = vec![cri::PortMapping {
            container_port: 80,
            host_port: 8090,
            ..cri::PortMapping::default()
        }];
        let sandbox = self.run_sandbox(config.clone(), "").await.unwrap();
        let serve = "echo there > /tmp/index.html; exec busybox httpd -f -p 80 -h /tmp";
        self.started(&sandbox, "main", serve, |_| {}).await;
        let began = Instant::now();
        while fetch("127.0.0.1:8090") != "there\n" {
            assert!(began.elapsed() < DEADLINE, "the port leads nowhere");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        config.metadata.as_mut().unwrap().name = "second".to_owned();
        let refused = self.run_sandbox(config, "").await.unwrap_err();
        let said = "run pod sandbox: host port 8090/TCP leads to cri-";
        assert!(refused.message().starts_with(said), "{refused:?}");
        let request = cri::PortForwardRequest {
            pod_sandbox_id: sandbox.clone(),
            port: vec![80],
        };
        let url = self.runtime.port_forward(request).await.unwrap().into_inner().url;
        let answer = forward(&url, 80, "GET / HTTP/1.0\r\n\r\n").await;
        assert!(answer.ends_with("there\n"), "{answer:?}");
        self.remove_sandbox(&sandbox).await;
        assert_eq!(fetch("127.0.0.1:8090"), "");
    }

    pub async fn tells_of_events(&mut self) {
        use cri::ContainerEventType as Event;
        let mut events = self
            .runtime
            .get_container_events(cri::GetEventsRequest {})
            .await
            .unwrap()
            .into_inner();
        let sandbox = self.sandbox("events").await;
        let id = self.started(&sandbox, "main", "exit 5", |_| {}).await;
        self.wait_for(&id, cri::ContainerState::ContainerExited).await;
        self.remove_sandbox(&sandbox).await;
        let mut told = Vec::new();
        while told.last() != Some(&(true, Event::ContainerDeletedEvent)) {
            let event = tokio::time::timeout(DEADLINE, events.next())
                .await
                .unwrap()
                .unwrap()
                .unwrap();
            told.push((event.container_id == sandbox, event.container_event_type()));
            if told.last() == Some(&(false, Event::ContainerStoppedEvent)) {
                assert_eq!(event.containers_statuses[0].exit_code, 5);
            }
        }
        let expected = [
            (true, Event::ContainerCreatedEvent),
            (true, Event::ContainerStartedEvent),
            (false, Event::ContainerCreatedEvent),
            (false, Event::ContainerStartedEvent),
            (false, Event::ContainerStoppedEvent),
            (true, Event::ContainerStoppedEvent),
            (false, Event::ContainerDeletedEvent),
            (true, Event::ContainerDeletedEvent),
        ];
        assert_eq!(told, expected);
    }
}

/// A folder of an image, and only to be read.
fn of_image_mount() -> cri::Mount {
    cri::Mount {
        container_path: "/image".to_owned(),
        image: Some(cri::ImageSpec {
            image: image::NAME.to_owned(),
            ..cri::ImageSpec::default()
        }),
        image_sub_path: "etc".to_owned(),
        readonly: true,
        ..cri::Mount::default()
    }
}
