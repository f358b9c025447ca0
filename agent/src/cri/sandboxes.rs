//! Sandboxes: run, stop, remove, and what becomes of them by themselves.

use super::{Cri, if_there, new_id, now, plan, status};
use crate::machine::refuse;
use crate::node::chain;
use crate::pods::host::Host;
use net::pods::HostPort;
use proto::cri::pintle::cri::v1::{Container, Sandbox};
use proto::cri::runtime::v1::{
    ContainerEventResponse, ContainerEventType as Event, LinuxContainerResources, PodSandboxConfig,
    RunPodSandboxRequest,
};
use sandbox::Network;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tonic::Status;

/// What runtimes say of a container whose end nobody saw (containerd `unknownExitCode`).
const UNKNOWN: (i32, &str) = (255, "Unknown");

/// Whose a sandbox's addresses are in the pods' network, where pods of the API stand by their UIDs.
pub fn address_owner(id: &str) -> String {
    format!("cri-{id}")
}

impl Cri {
    /// Makes a sandbox and starts it.
    pub(super) async fn run_sandbox(self: &Arc<Self>, request: RunPodSandboxRequest) -> Result<String, Status> {
        let config = request
            .config
            .ok_or_else(|| refuse::invalid("a sandbox needs a config"))?;
        let metadata = config
            .metadata
            .clone()
            .ok_or_else(|| refuse::invalid("a sandbox needs metadata"))?;
        if !status::HANDLERS.contains(&request.runtime_handler.as_str()) {
            let handler = &request.runtime_handler;
            return Err(refuse::invalid(format!("no runtime for {handler:?} is configured")));
        }
        let id = new_id()?;
        let plan = plan::sandbox(&id, &config).map_err(refuse::invalid)?;
        if plan.users.is_some() && !crate::pods::users::are_possible() {
            return Err(refuse::invalid("user namespace: this machine's kernel makes none"));
        }
        let ports = plan::host_ports(&config).map_err(refuse::invalid)?;
        let record = Sandbox {
            id: id.clone(),
            config: Some(config.clone()),
            runtime_handler: request.runtime_handler,
            created_at: now(),
            ..Sandbox::default()
        };
        let clashes =
            |known: &Sandbox| known.config.as_ref().and_then(|config| config.metadata.as_ref()) == Some(&metadata);
        if !self.sandboxes.add(&record, clashes).map_err(refuse::failed)? {
            let (name, namespace, attempt) = (&metadata.name, &metadata.namespace, metadata.attempt);
            let why = format!("attempt {attempt} of pod {namespace}/{name} has a sandbox already");
            return Err(Status::already_exists(why));
        }
        match self.start_sandbox(&id, &config, &plan, &ports).await {
            Ok(()) => {}
            Err(why) => {
                self.give_up(&id).await;
                return Err(refuse::failed(format!("run pod sandbox: {why}")));
            }
        }
        self.tell_of_sandbox(&id, Event::ContainerCreatedEvent);
        self.tell_of_sandbox(&id, Event::ContainerStartedEvent);
        tracing::info!(sandbox = %id, pod = %metadata.name, "CRI's sandbox started");
        Ok(id)
    }

    /// Namespaces, then network, then the files that its containers see; an error is one sentence.
    async fn start_sandbox(
        self: &Arc<Self>,
        id: &str,
        config: &PodSandboxConfig,
        plan: &sandbox::PodPlan,
        ports: &[HostPort],
    ) -> Result<(), String> {
        let pod = self.running.start(plan).await.map_err(|error| chain(&error))?;
        self.watch(id, pod.clone());
        let ips = match plan.network {
            Network::Host => Vec::new(),
            Network::Own => {
                let connected = self.host.connect(&address_owner(id), &pod, ports).await;
                connected.map_err(|error| chain(&error))?
            }
        };
        let dir = self.sandboxes.dir(id);
        write_files(&dir, config, plan, &ips, &self.host).map_err(|error| format!("write its files: {error}"))?;
        self.sandboxes.change(id, |record| {
            record.ips = ips.iter().map(ToString::to_string).collect();
            true
        });
        Ok(())
    }

    async fn give_up(&self, id: &str) {
        // So that its end is no news.
        self.sandboxes.change(id, |record| {
            record.stopped = true;
            true
        });
        let pod = self.live().get(id).cloned();
        if let Err(error) = self.clear(id, pod).await {
            tracing::warn!(sandbox = %id, %error, "a sandbox that did not start left something behind");
        }
        if let Err(error) = self.sandboxes.remove(id) {
            tracing::warn!(sandbox = %id, %error, "the record of a sandbox that did not start stays");
        }
    }

    /// Takes its addresses back and everything that runs away.
    async fn clear(&self, id: &str, pod: Option<sandbox::Pod>) -> Result<(), String> {
        let back = self.host.network.take_back(&address_owner(id)).await;
        back.map_err(|error| chain(&error))?;
        if let Some(pod) = pod {
            pod.destroy().await.map_err(|error| error.to_string())?;
        }
        self.live().remove(id);
        Ok(())
    }

    /// Kills whatever runs in it and gives its network back. Done again, or without a sandbox, it does nothing.
    pub(super) async fn stop_sandbox(&self, id: &str) -> Result<(), Status> {
        let Some(record) = if_there(self.sandbox(id))? else {
            return Ok(());
        };
        let id = &record.id;
        let pod = self.live().get(id).cloned();
        let stops = self
            .sandboxes
            .change(id, |record| !std::mem::replace(&mut record.stopped, true));
        for container in self.containers_of(id) {
            if let (Some(pod), status::State::Running) = (&pod, status::state(&container)) {
                // A supervisor that does not answer is dead, and then so are its containers.
                if let Ok(state) = pod.stop(&container.id, nix::libc::SIGKILL, Duration::ZERO).await {
                    self.note(&state);
                }
            }
        }
        self.clear(id, pod)
            .await
            .map_err(|why| refuse::failed(format!("stop pod sandbox {id:?}: {why}")))?;
        self.end_containers(id);
        if stops.is_some() {
            self.tell_of_sandbox(id, Event::ContainerStoppedEvent);
            tracing::info!(sandbox = %id, "CRI's sandbox stopped");
        }
        Ok(())
    }

    /// Stops it if it runs, then forgets it and its containers.
    pub(super) async fn remove_sandbox(&self, id: &str) -> Result<(), Status> {
        let Some(record) = if_there(self.sandbox(id))? else {
            return Ok(());
        };
        self.stop_sandbox(&record.id).await?;
        for container in self.containers_of(&record.id) {
            self.remove_container(&container.id).await?;
        }
        self.sandboxes.remove(&record.id).map_err(refuse::failed)?;
        let gone = ContainerEventResponse {
            container_id: record.id.clone(),
            container_event_type: Event::ContainerDeletedEvent.into(),
            created_at: now(),
            pod_sandbox_status: Some(status::sandbox(&record)),
            containers_statuses: Vec::new(),
        };
        // Nobody listens: fine.
        let _ = self.events.send(gone);
        Ok(())
    }

    /// What the caller has done to the group above, for whoever asks later.
    pub(super) fn note_resources(
        &self,
        id: &str,
        overhead: Option<LinuxContainerResources>,
        resources: Option<LinuxContainerResources>,
    ) -> Result<(), Status> {
        let record = self.sandbox(id)?;
        self.sandboxes.change(&record.id, |record| {
            let linux = record.config.get_or_insert_default().linux.get_or_insert_default();
            linux.overhead = overhead.or(linux.overhead.take());
            linux.resources = resources.or(linux.resources.take());
            true
        });
        Ok(())
    }

    /// Keeps it, and notes what happens in it for as long as it lives.
    pub(super) fn watch(self: &Arc<Self>, id: &str, pod: sandbox::Pod) {
        self.live().insert(id.to_owned(), pod.clone());
        let (cri, id) = (self.clone(), id.to_owned());
        tokio::spawn(async move {
            if let Ok(mut events) = pod.subscribe().await {
                while let Some(state) = events.next().await {
                    cri.note(&state);
                }
            }
            cri.lost(&id);
        });
    }

    /// Its supervisor is gone, and with it everything that ran in it.
    pub(super) fn lost(&self, id: &str) {
        let lost = self
            .sandboxes
            .change(id, |record| !std::mem::replace(&mut record.stopped, true));
        self.end_containers(id);
        if lost.is_some() {
            tracing::warn!(sandbox = %id, "CRI's sandbox is not running any more");
            self.tell_of_sandbox(id, Event::ContainerStoppedEvent);
        }
    }

    /// Whatever is said to run in it has ended unseen.
    fn end_containers(&self, id: &str) {
        for container in self.containers_of(id) {
            let ended = self.containers.change(&container.id, |record| {
                let runs = status::state(record) == status::State::Running;
                if runs {
                    record.finished_at = now();
                    record.exit_code = UNKNOWN.0;
                    record.reason = UNKNOWN.1.to_owned();
                }
                runs
            });
            if ended.is_some() {
                self.tell(&container.id, id, Event::ContainerStoppedEvent);
            }
        }
    }

    /// A sandbox's containers, the oldest first.
    pub(super) fn containers_of(&self, id: &str) -> Vec<Container> {
        let mut all = self.containers.all();
        all.retain(|container| container.sandbox_id == id);
        all.sort_by_key(|container| container.created_at);
        all
    }

    fn tell_of_sandbox(&self, id: &str, what: Event) {
        self.tell(id, id, what);
    }

    /// Tells whoever listens what happened to a container or to its sandbox.
    pub(super) fn tell(&self, id: &str, sandbox: &str, what: Event) {
        let statuses = self.containers_of(sandbox).iter().map(status::container).collect();
        let told = ContainerEventResponse {
            container_id: id.to_owned(),
            container_event_type: what.into(),
            created_at: now(),
            pod_sandbox_status: self.sandbox(sandbox).ok().map(|record| status::sandbox(&record)),
            containers_statuses: statuses,
        };
        // Nobody listens: fine.
        let _ = self.events.send(told);
    }
}

/// hosts, hostname and resolv.conf of a sandbox.
fn write_files(
    dir: &Path,
    config: &PodSandboxConfig,
    plan: &sandbox::PodPlan,
    ips: &[std::net::IpAddr],
    host: &Host,
) -> std::io::Result<()> {
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    let hosts = match plan.network {
        Network::Host => read(Path::new("/etc/hosts")),
        Network::Own => crate::pods::plan::hosts::of_pod(ips, &plan.hostname, "", &[]),
    };
    let resolv_conf = match &config.dns_config {
        Some(dns) => plan::resolv_conf(dns),
        None => read(&host.paths.resolv_conf),
    };
    fs::write(dir.join("hosts"), hosts)?;
    fs::write(dir.join("resolv.conf"), resolv_conf)?;
    fs::write(dir.join("hostname"), format!("{}\n", plan.hostname))
}
