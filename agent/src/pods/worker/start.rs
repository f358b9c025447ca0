//! Starting one container, and reading what it left to say.

use super::Worker;
use super::ask::Moment;
use crate::cdi;
use crate::pods::observed::{Ended, Hook, Image, Refused, Run};
use crate::pods::{plan, spec};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, ContainerUser, LinuxContainerUser, PodSpec};
use sandbox::StartContainerError;
use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// When a container that could not be planned is looked at again: the ConfigMap may be there by then.
const RETRY: SignedDuration = SignedDuration::from_secs(5);

/// Most of a termination message that is kept, upstream's limit.
const MESSAGE_BYTES: u64 = 4096;
/// Most of a log that stands in for one: the last 2 KiB, of at most 80 lines.
const LOG_BYTES: u64 = 2048;
const LOG_LINES: usize = 80;

impl Worker {
    pub(super) async fn start(&mut self, name: &str) {
        let pod = self.pod.clone();
        let (Some(spec), Some(container)) = (
            &spec::as_allocated(&pod, &self.observed),
            spec::any_container(&pod, name),
        ) else {
            return;
        };
        let mut container = container.into_owned();
        if let Some(allocated) = &self.observed.container(name).allocated {
            container.resources = Some(allocated.clone());
        }
        let Some(sandbox) = self.sandbox.clone() else { return };
        let plan = match self.plan(spec, &container).await {
            Ok(plan) => self.with_cpus(spec, plan),
            Err(message) => return self.refuse(name, "CreateContainerConfigError", message),
        };
        let plan = match self.with_cdi(plan) {
            Ok(plan) => plan,
            // Upstream's runtime refuses here, not the kubelet.
            Err(why) => return self.refuse(name, "CreateContainerError", why.to_string()),
        };
        self.clear_old(name).await;
        let now = Timestamp::now();
        match sandbox.start_container(&plan).await {
            Ok(state) => {
                self.begin(name, now);
                let attempt = plan.attempt;
                self.host
                    .events
                    .normal(&self.pod, name, "Created", "Container created".to_owned());
                self.host
                    .events
                    .normal(&self.pod, name, "Started", "Container started".to_owned());
                tracing::info!(pod = %spec::full_name(&pod), container = name, attempt, "container started");
                let since = super::timestamp(state.started_at);
                let known = self.observed.container_mut(name);
                known.begin(since, attempt);
                known.made_of = container.image.clone().unwrap_or_default();
                known.user = Some(user(&plan.user));
                if self.run_hook(name, Moment::PostStart) {
                    self.observed.container_mut(name).post_start = Hook::Running;
                }
                self.state(&state);
            }
            Err(StartContainerError::NotExecuted(message)) => {
                self.begin(name, now);
                self.host
                    .events
                    .normal(&self.pod, name, "Created", "Container created".to_owned());
                self.host
                    .events
                    .warning(&self.pod, name, "Failed", format!("Error: {message}"));
                let attempt = plan.attempt;
                let finished = Timestamp::now();
                let ended = Ended {
                    attempt,
                    code: 128,
                    reason: "StartError",
                    message,
                    started: None,
                    finished,
                };
                self.end_container(name, ended);
                self.announce_backoff(name);
            }
            Err(error) => self.refuse(name, "CreateContainerError", error.to_string()),
        }
    }

    /// Says which CPUs the container may use: its own, or those that nobody has for himself. Pods that are not Guaranteed have
    /// the latter from the group that all of them are in.
    fn with_cpus(&self, spec: &PodSpec, mut plan: sandbox::ContainerPlan) -> sandbox::ContainerPlan {
        let cpus = &self.host.machine.cpus;
        if !cpus.is_used() || spec::qos(spec) != spec::Qos::Guaranteed {
            return plan;
        }
        let own = self.host.ledger.pinned(&self.uid(), &plan.name);
        if own.is_some() {
            // It has them wholly; a quota would only hold it back now and then.
            plan.limits.cpu_quota_us = None;
        }
        let set = own.unwrap_or_else(|| cpus.shared(&self.host.ledger.all_pinned()));
        plan.limits.cpus = Some(crate::pods::cpus::list(&set));
        plan
    }

    /// Adds what files of vendors say of devices that a plugin has named.
    fn with_cdi(&self, mut plan: sandbox::ContainerPlan) -> Result<sandbox::ContainerPlan, cdi::NotInjected> {
        let given = self.host.devices.artifacts(&self.uid(), &plan.name).into_iter();
        let names: Vec<String> = given.flat_map(|artifacts| artifacts.cdi).collect();
        cdi::inject(&mut plan, &names, &self.host.paths.cdi)?;
        Ok(plan)
    }

    /// The run before this one becomes history, and the next restart has to wait longer.
    fn begin(&mut self, name: &str, now: Timestamp) {
        let container = self.observed.container_mut(name);
        container.refused = None;
        container.attempt += 1;
        container.resources = container.allocated.clone();
        if let Image::Here { id, named } = &container.image {
            container.image_id = if named.is_empty() { id.clone() } else { named.clone() };
        }
        if let Run::Ended(ended) = std::mem::take(&mut container.run) {
            container.backoff.grant(ended.finished, now);
            container.before = Some(ended);
        }
    }

    fn refuse(&mut self, name: &str, reason: &'static str, message: String) {
        self.host
            .events
            .warning(&self.pod, name, "Failed", format!("Error: {message}"));
        let retry = Timestamp::now() + RETRY;
        self.observed.container_mut(name).refused = Some(Refused { reason, message, retry });
    }

    /// Fetches whatever the plan needs and makes it; an error is one sentence.
    async fn plan(&self, spec: &PodSpec, container: &Container) -> Result<sandbox::ContainerPlan, String> {
        let name = &container.name;
        let known = self.observed.container(name);
        let Image::Here { .. } = &known.image else {
            return Err("its image is not here".to_owned());
        };
        let image_name = container.image.as_deref().unwrap_or_default();
        let image = self
            .host
            .images
            .local(image_name)
            .ok_or_else(|| format!("image {image_name:?} is gone"))?;
        let lookups = self.host.look_up(&self.pod, &plan::env::references(container)).await;
        let lookups = lookups?;
        let volumes = self.prepare_volumes().await?;
        let lookups = plan::Lookups {
            services: self.host.services_of(&self.pod, spec).await?,
            env_files: crate::pods::volumes::env_file::read(spec, container, &volumes),
            ..lookups
        };
        let ips = &self.observed.ips;
        let env = plan::env::resolve(&self.pod, container, ips, &self.host.machine, &lookups);
        let env = env.map_err(|refusal| refusal.0)?;
        let hostname = self.host.names(&self.pod)?.kernel;
        let mut files = self.files();
        let seccomp = self.local_filter(spec, container)?;
        let attempt = known.attempt;
        let message = self.message_file(name, attempt);
        make_empty(&message).map_err(|error| format!("make {}: {error}", message.display()))?;
        let path = container
            .termination_message_path
            .as_deref()
            .unwrap_or("/dev/termination-log");
        files.push((message, PathBuf::from(path)));
        let log = self.log_file(name, attempt);
        if let Some(folder) = log.parent() {
            fs::create_dir_all(folder).map_err(|error| format!("make {}: {error}", folder.display()))?;
        }
        let mut plan = plan::container(&plan::Inputs {
            pod: &self.pod,
            spec,
            container,
            attempt,
            passwd: image.text("etc/passwd"),
            group: image.text("etc/group"),
            image: &image,
            hostname: &hostname,
            env: &env,
            seccomp,
            volumes: &volumes,
            files: &files,
            scratch: self.host.scratch_dir(&self.uid()).join(name).join(attempt.to_string()),
            log,
            machine: &self.host.machine,
        })
        .map_err(|refusal| refusal.0)?;
        // From here on the volumes' files are touched, by this agent and by pod-init.
        crate::nfs::answers(&self.host.pod_dir(&self.uid())).await?;
        crate::pods::volumes::sub_path::prepare(container, &plan)?;
        for artifacts in self.host.devices.artifacts(&self.uid(), name) {
            plan::with_devices(&mut plan, artifacts);
        }
        self.host.devices.before_start(&self.uid(), name).await?;
        Ok(plan)
    }

    /// The filter in a file of this node that the container wants; an error is one sentence.
    fn local_filter(&self, spec: &PodSpec, container: &Container) -> Result<Option<sandbox::Seccomp>, String> {
        let Some(name) = plan::security::local_profile(spec, container) else {
            return Ok(None);
        };
        let stays = Path::new(name)
            .components()
            .all(|part| matches!(part, std::path::Component::Normal(_)));
        if name.is_empty() || !stays {
            return Err(format!("invalid seccomp profile {name:?}"));
        }
        let capabilities = plan::security::capabilities(container);
        crate::seccomp::load(&self.host.paths.seccomp.join(name), &capabilities).map(Some)
    }

    /// Forgets the attempt before and the logs of those before that one: upstream keeps one dead container.
    async fn clear_old(&self, name: &str) {
        let next = self.observed.container(name).attempt;
        if let (Some(sandbox), Some(last)) = (&self.sandbox, next.checked_sub(1)) {
            // Not there after a restart of the machine, which is as well.
            let _ = sandbox.remove_container(name, last).await;
            let _ = fs::remove_dir_all(self.host.scratch_dir(&self.uid()).join(name).join(last.to_string()));
        }
        if let Some(oldest) = next.checked_sub(2) {
            for log in sandbox::log_files(&self.log_file(name, oldest)) {
                let _ = fs::remove_file(log);
            }
            let _ = fs::remove_file(self.message_file(name, oldest));
        }
    }

    fn log_file(&self, name: &str, attempt: u32) -> PathBuf {
        self.host.log_dir(&self.pod).join(name).join(format!("{attempt}.log"))
    }

    fn message_file(&self, name: &str, attempt: u32) -> PathBuf {
        self.host
            .pod_dir(&self.uid())
            .join("containers")
            .join(name)
            .join(format!("{attempt}.message"))
    }

    /// What a container left in its message file, or, where the pod wants it, the end of its log when it failed.
    pub(super) fn termination_message(&self, name: &str, attempt: u32, code: i32) -> String {
        let written = head(&self.message_file(name, attempt)).unwrap_or_default();
        let spec = spec::any_container(&self.pod, name);
        let policy = spec
            .as_ref()
            .and_then(|spec| spec.termination_message_policy.as_deref());
        let falls_back = policy == Some("FallbackToLogsOnError") && code != 0 && written.is_empty();
        if falls_back {
            log_tail(&self.log_file(name, attempt)).unwrap_or_default()
        } else {
            written
        }
    }
}

/// Who runs a container, as its status says it.
fn user(user: &sandbox::User) -> ContainerUser {
    // The primary group is one of them, as containerd has it.
    let others = user.groups.iter().filter(|group| **group != user.gid);
    let groups = std::iter::once(&user.gid).chain(others).map(|group| i64::from(*group));
    ContainerUser {
        linux: Some(LinuxContainerUser {
            uid: user.uid.into(),
            gid: user.gid.into(),
            supplemental_groups: Some(groups.collect()),
        }),
    }
}

/// Writable by whoever the container runs as.
fn make_empty(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let file = fs::File::create(path)?;
    file.set_permissions(fs::Permissions::from_mode(0o666))
}

fn head(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MESSAGE_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn log_tail(path: &Path) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    let length = file.metadata()?.len();
    // Each line is longer in the log by its time and stream, about 40 bytes.
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_BYTES * 4)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let mut tail = String::new();
    for line in &lines[lines.len().saturating_sub(LOG_LINES)..] {
        // Time, stream, whether it is whole, and what was said.
        let mut parts = line.splitn(4, ' ').skip(2);
        if let (Some(tag), Some(said)) = (parts.next(), parts.next()) {
            tail.push_str(said);
            tail.push_str(if tag == "F" { "\n" } else { "" });
        }
    }
    let limit = usize::try_from(LOG_BYTES).unwrap_or(usize::MAX);
    while tail.len() > limit {
        tail.remove(0);
    }
    Ok(tail)
}
