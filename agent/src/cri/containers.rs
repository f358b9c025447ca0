//! Containers: create, start, stop, update, remove, and what becomes of them by themselves.

use super::{Cri, if_there, nanoseconds, new_id, now, plan, status};
use crate::cdi;
use crate::machine::refuse;
use proto::cri::pintle::cri::v1::Container;
use proto::cri::runtime::v1::{
    ContainerConfig, ContainerEventType as Event, CreateContainerRequest, LinuxContainerResources,
};
use sandbox::{CallError, ContainerPlan, ContainerState, StartContainerError};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tonic::Status;

/// What runtimes say of a container whose program could not be started (containerd `errorStartExitCode`).
const NOT_STARTED: (i32, &str) = (128, "StartError");

impl Cri {
    /// Plans a container and keeps the plan; nothing runs yet.
    pub(super) async fn create_container(&self, request: CreateContainerRequest) -> Result<String, Status> {
        let sandbox = self.sandbox(&request.pod_sandbox_id)?;
        self.running(&sandbox.id)?;
        let mut config = request
            .config
            .ok_or_else(|| refuse::invalid("a container needs a config"))?;
        let metadata = config
            .metadata
            .clone()
            .ok_or_else(|| refuse::invalid("a container needs metadata"))?;
        let sandbox_config = sandbox.config.clone().unwrap_or_default();
        let name = config.image.clone().unwrap_or_default().image;
        let image = self.need_image(&name).await?;
        let mut layers = Vec::new();
        for mount in &mut config.mounts {
            layers.push(match &mut mount.image {
                Some(spec) if !spec.image.is_empty() => {
                    let image = self.need_image(&spec.image).await?;
                    // Callers see in its status which image it was (KEP-5365).
                    spec.image_ref = image.id;
                    image.layers
                }
                Some(_) | None => Vec::new(),
            });
        }
        let id = new_id()?;
        let dir = self.containers.dir(&id);
        let files = self.sandboxes.dir(&sandbox.id);
        let hostname = std::fs::read_to_string(files.join("hostname")).unwrap_or_default();
        let inputs = plan::Inputs {
            id: &id,
            config: &config,
            sandbox: &sandbox_config,
            hostname: hostname.trim(),
            image: &image,
            layers,
            files: &files,
            scratch: dir.join("scratch"),
            log: log_path(&sandbox_config.log_directory, &config.log_path, &dir),
        };
        let mut plan = plan::container(&inputs).map_err(refuse::invalid)?;
        self.inject(&mut plan, &config).map_err(refuse::invalid)?;
        let record = Container {
            id: id.clone(),
            sandbox_id: sandbox.id.clone(),
            image_id: image.id.clone(),
            image_ref: super::images::digests(&image)
                .into_iter()
                .next()
                .unwrap_or_else(|| image.id.clone()),
            plan: serde_json::to_string(&plan).map_err(refuse::failed)?,
            created_at: now(),
            stop_signal: plan::stop_signal(&config, &image.config),
            config: Some(config),
            ..Container::default()
        };
        let clashes = |known: &Container| {
            let theirs = known.config.as_ref().and_then(|config| config.metadata.as_ref());
            known.sandbox_id == sandbox.id && theirs == Some(&metadata)
        };
        if !self.containers.add(&record, clashes).map_err(refuse::failed)? {
            let (name, attempt) = (&metadata.name, metadata.attempt);
            let why = format!(
                "pod sandbox {:?} has attempt {attempt} of container {name} already",
                sandbox.id
            );
            return Err(Status::already_exists(why));
        }
        self.hold_image(&record);
        self.tell(&id, &sandbox.id, Event::ContainerCreatedEvent);
        Ok(id)
    }

    /// Devices that vendors' files describe, by the field of today and by annotations as before it.
    fn inject(&self, plan: &mut ContainerPlan, config: &ContainerConfig) -> Result<(), cdi::NotInjected> {
        let named = config.cdi_devices.iter().map(|device| device.name.clone());
        let names: Vec<String> = named.chain(cdi::of_annotations(config.annotations.iter())?).collect();
        cdi::inject(plan, &names, &self.host.paths.cdi)
    }

    /// Starts one that was created; only once.
    pub(super) async fn start_container(&self, id: &str) -> Result<(), Status> {
        let record = self.container(id)?;
        let state = status::state(&record);
        if state != status::State::Created {
            let state = state.as_str_name();
            return Err(refuse::not_now(format!(
                "container {:?} is in state {state}, not created",
                record.id
            )));
        }
        let pod = self.running(&record.sandbox_id)?;
        let plan: ContainerPlan = serde_json::from_str(&record.plan).map_err(refuse::failed)?;
        match pod.start_container(&plan).await {
            Ok(state) => {
                self.note(&state);
                Ok(())
            }
            Err(StartContainerError::Call(error)) => Err(call_failed(&error)),
            Err(error) => {
                let message = error.to_string();
                self.containers.change(&record.id, |record| {
                    record.finished_at = now();
                    record.exit_code = NOT_STARTED.0;
                    record.reason = NOT_STARTED.1.to_owned();
                    record.message = message.clone();
                    true
                });
                self.tell(&record.id, &record.sandbox_id, Event::ContainerStoppedEvent);
                Err(Status::unknown(format!("start container {:?}: {message}", record.id)))
            }
        }
    }

    /// Asks it to stop and kills it when the time is over; one that does not run, or is not there, has stopped.
    pub(super) async fn stop_container(&self, id: &str, timeout_s: i64) -> Result<(), Status> {
        let Some(record) = if_there(self.container(id))? else {
            return Ok(());
        };
        if status::state(&record) != status::State::Running {
            return Ok(());
        }
        let Ok(pod) = self.running(&record.sandbox_id) else {
            return Ok(());
        };
        let grace = Duration::from_secs(u64::try_from(timeout_s).unwrap_or(0));
        match pod.stop(&record.id, record.stop_signal, grace).await {
            Ok(state) => {
                self.note(&state);
                Ok(())
            }
            Err(CallError::NoContainer { .. }) => Ok(()),
            Err(error) => Err(call_failed(&error)),
        }
    }

    /// Kills it if it runs, then forgets it; its log stays.
    pub(super) async fn remove_container(&self, id: &str) -> Result<(), Status> {
        let Some(record) = if_there(self.container(id))? else {
            return Ok(());
        };
        self.stop_container(&record.id, 0).await?;
        let pod = self.live().get(&record.sandbox_id).cloned();
        if let Some(pod) = pod
            && record.started_at > 0
        {
            match pod.remove_container(&record.id, 0).await {
                // A dead supervisor has forgotten it, and its disk goes with the record.
                Ok(()) | Err(CallError::NoContainer { .. } | CallError::Unanswered { .. }) => {}
                Err(error) => return Err(call_failed(&error)),
            }
        }
        self.host.directory.let_go(&holder(&record.id));
        self.containers.remove(&record.id).map_err(refuse::failed)?;
        self.tell(&record.id, &record.sandbox_id, Event::ContainerDeletedEvent);
        Ok(())
    }

    /// Gives it other limits; what the caller does not say stays.
    pub(super) async fn update_container(&self, id: &str, wanted: &LinuxContainerResources) -> Result<(), Status> {
        let record = self.container(id)?;
        if status::state(&record) == status::State::Exited {
            return Err(refuse::not_now(format!("container {:?} has ended", record.id)));
        }
        let mut config = record.config.clone().unwrap_or_default();
        let resources = config.linux.get_or_insert_default().resources.get_or_insert_default();
        plan::merge(resources, wanted);
        let limits = plan::limits(resources).map_err(refuse::invalid)?;
        let mut plan: ContainerPlan = serde_json::from_str(&record.plan).map_err(refuse::failed)?;
        plan.limits = limits.clone();
        let text = serde_json::to_string(&plan).map_err(refuse::failed)?;
        if status::state(&record) == status::State::Running {
            let sandbox = self.sandbox(&record.sandbox_id)?;
            let above = plan::sandbox(&sandbox.id, &sandbox.config.unwrap_or_default()).map_err(refuse::failed)?;
            let group = self.running.group(&above.cgroup, Some((&record.id, 0)));
            refuse::blocking(move || match group {
                Some(group) => group.limit_anew(&limits).map_err(refuse::failed),
                None => Ok(()),
            })
            .await?;
        }
        self.containers.change(&record.id, |record| {
            record.config = Some(config);
            record.plan = text;
            true
        });
        Ok(())
    }

    /// Somebody has renamed its log.
    pub(super) async fn reopen_log(&self, id: &str) -> Result<(), Status> {
        let (record, pod) = self.running_container(id)?;
        pod.reopen_log(&record.id).await.map_err(|error| call_failed(&error))
    }

    /// What its supervisor says of it.
    pub(super) fn note(&self, state: &ContainerState) {
        let _order = self.noting.lock().expect("this holds because nobody panics with it");
        let mut told = Vec::new();
        let changed = self.containers.change(&state.name, |record| {
            if record.started_at == 0 {
                record.started_at = nanoseconds(state.started_at);
                told.push(Event::ContainerStartedEvent);
            }
            if let (Some(ended), 0) = (&state.ended, record.finished_at) {
                record.finished_at = nanoseconds(ended.at);
                record.exit_code = ended.exit_code;
                record.reason = status::reason(ended).to_owned();
                told.push(Event::ContainerStoppedEvent);
            }
            !told.is_empty()
        });
        if let Some(record) = changed {
            for event in told {
                self.tell(&record.id, &record.sandbox_id, event);
            }
        }
    }

    /// Nobody removes its image before it goes itself.
    pub(super) fn hold_image(&self, record: &Container) {
        self.host.directory.hold(&holder(&record.id), &record.image_id);
    }

    async fn need_image(&self, name: &str) -> Result<oci::Image, Status> {
        let images = self.host.images.clone();
        let wanted = name.to_owned();
        let found = refuse::blocking(move || super::images::find(&images, &wanted)).await?;
        found.ok_or_else(|| Status::not_found(format!("image {name:?} is not on this node")))
    }
}

fn holder(id: &str) -> String {
    format!("CRI's container {id}")
}

/// Below the sandbox's folder, where the caller looks for it; else where it goes with the container.
fn log_path(folder: &str, path: &str, own: &Path) -> PathBuf {
    match (folder.is_empty(), path.is_empty()) {
        (false, false) => Path::new(folder).join(path),
        (_, _) => own.join("log"),
    }
}

pub(super) fn call_failed(error: &CallError) -> Status {
    match error {
        CallError::NoContainer { .. } => refuse::not_now(error),
        CallError::Unanswered { .. } | CallError::Refused { .. } => refuse::failed(error),
    }
}
