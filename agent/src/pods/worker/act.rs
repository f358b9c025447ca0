//! The worker's hands: each action changes what is observed, so that the next decision is another one.

use super::ask::Moment;
use super::volumes::BEING_PULLED;
use super::{Flow, Input, Worker};
use crate::pods::decide::{Action, Why};
use crate::pods::observed::{Driven, Image, Sandbox, Stage, Stopping};
use crate::pods::{plan, spec, volumes};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodSpec, Secret};
use sandbox::Network;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

impl Worker {
    pub(super) async fn act(&mut self, action: &Action) -> Flow {
        match action {
            Action::MakeSandbox => self.make_sandbox().await,
            Action::Pull(container) => self.pull(container).await,
            Action::Start(container) => self.start(container).await,
            Action::Probe { container, kind, due } => self.probe(container, *kind, *due),
            Action::Stop { container, grace, why } => self.stop(container, *grace, *why),
            Action::Signal { container, kill_at } => self.signal(container, *kill_at),
            Action::Kill(container) => self.kill(container).await,
            Action::BeginAnew => self.begin_anew().await,
            Action::TearDown => self.tear_down().await,
            Action::Finish => return Flow::Over,
            Action::End { reason, message } => {
                self.host.events.normal(&self.pod, "", *reason, message.clone());
                self.observed.ended = Some(((*reason).to_owned(), message.clone()));
            }
        }
        Flow::On
    }

    async fn make_sandbox(&mut self) {
        if let Some(old) = self.sandbox.take() {
            // Its supervisor died: what is left of it goes first.
            if let Err(error) = old.destroy().await {
                tracing::warn!(pod = %spec::full_name(&self.pod), %error, "what is left of a pod stays");
            }
            self.sandboxes += 1;
        }
        match self.sandbox_from_nothing().await {
            Ok(()) => self.observed.sandbox = Sandbox::Up,
            // Its end is an input, which tries again at once.
            Err((BEING_PULLED, _)) => self.observed.sandbox = Sandbox::Failed { at: Timestamp::now() },
            Err((reason, message)) => {
                tracing::warn!(pod = %spec::full_name(&self.pod), message, "pod cannot be made yet");
                self.host.events.warning(&self.pod, "", reason, message);
                self.observed.sandbox = Sandbox::Failed { at: Timestamp::now() };
            }
        }
    }

    /// Volumes, then all else; an error is an event's reason and sentence.
    async fn sandbox_from_nothing(&mut self) -> Result<(), (&'static str, String)> {
        let pod = self.pod.clone();
        let Some(spec) = &pod.spec else {
            return Err(("FailedCreatePodSandBox", "the pod has no spec".to_owned()));
        };
        let images = self.have_volume_images();
        let driven = self.have_driven_volumes().await;
        let servers = self.have_nfs_volumes().await;
        self.have_raw_disks().await?;
        servers?;
        driven?;
        images?;
        self.prepare_volumes()
            .await
            .map_err(|message| ("FailedMount", message))?;
        let made = self.sandbox_with_volumes(&pod, spec).await;
        if spec.host_users == Some(false) {
            self.host.directory.starts.count(&made);
        }
        made.map_err(|message| {
            (
                "FailedCreatePodSandBox",
                format!("Failed to create pod sandbox: {message}"),
            )
        })
    }

    /// Namespaces, then network, then managed files; an error is one sentence.
    async fn sandbox_with_volumes(&mut self, pod: &Pod, spec: &PodSpec) -> Result<(), String> {
        self.host.has_runtime(spec).await?;
        let hostname = self.host.names(pod)?.kernel;
        let users = (spec.host_users == Some(false)).then(|| self.host.users.give(&self.uid()));
        let users = users.transpose().map_err(|error| crate::node::chain(&error))?;
        let plan = plan::pod(pod, spec, hostname, self.sandboxes, users, &self.host.machine);
        let made = match self.host.sandboxes.start(&plan).await {
            Ok(made) => made,
            Err(error) => {
                // A name is used once: the next attempt gets another.
                self.sandboxes += 1;
                return Err(crate::node::chain(&error));
            }
        };
        self.sandbox = Some(made.clone());
        self.watch_sandbox();
        self.observed.ips = match plan.network {
            Network::Host => self.host.machine.ips.clone(),
            Network::Own => self
                .host
                .connect(&self.uid(), &made, &plan::host_ports(spec))
                .await
                .map_err(|error| crate::node::chain(&error))?,
        };
        self.write_files()
            .map_err(|error| format!("write the pod's files: {error}"))
    }

    /// Reports what happens in the sandbox, for as long as it lives.
    pub(super) fn watch_sandbox(&self) {
        let (Some(sandbox), sender) = (self.sandbox.clone(), self.sender.clone()) else {
            return;
        };
        tokio::spawn(async move {
            if let Ok(mut events) = sandbox.subscribe().await {
                while let Some(state) = events.next().await {
                    if sender.send(Input::State(state)).is_err() {
                        return;
                    }
                }
            }
            let _ = sender.send(Input::SandboxGone);
        });
    }

    /// hosts, resolv.conf and hostname, the node's gift to every container.
    fn write_files(&self) -> std::io::Result<()> {
        let Some(spec) = &self.pod.spec else { return Ok(()) };
        let dir = self.host.pod_dir(&self.uid());
        fs::create_dir_all(&dir)?;
        let aliases = spec.host_aliases.as_deref().unwrap_or_default();
        let names = self.host.names(&self.pod).map_err(std::io::Error::other)?;
        let hosts = if spec::host_network(&self.pod) {
            plan::hosts::of_machine(&read_or_empty(Path::new("/etc/hosts")), aliases)
        } else {
            plan::hosts::of_pod(&self.observed.ips, &names.host, &names.domain, aliases)
        };
        fs::write(dir.join("etc-hosts"), hosts)?;
        let machine = read_or_empty(&self.host.paths.resolv_conf);
        let resolv_conf = plan::dns::resolv_conf(&machine, &self.host.dns, &self.pod);
        for message in resolv_conf.exceeded {
            self.host.events.warning(&self.pod, "", "DNSConfigForming", message);
        }
        fs::write(dir.join("resolv.conf"), resolv_conf.text)?;
        fs::write(dir.join("hostname"), format!("{}\n", names.kernel))
    }

    /// Where the pod's managed files are, and where containers see them.
    pub(super) fn files(&self) -> Vec<(PathBuf, PathBuf)> {
        let dir = self.host.pod_dir(&self.uid());
        let file = |name: &str, seen: &str| (dir.join(name), PathBuf::from(seen));
        vec![
            file("etc-hosts", "/etc/hosts"),
            file("resolv.conf", "/etc/resolv.conf"),
            file("hostname", "/etc/hostname"),
        ]
    }

    async fn pull(&mut self, name: &str) {
        let Some(spec) = spec::any_container(&self.pod, name) else {
            return;
        };
        let image = spec.image.clone().unwrap_or_default();
        let policy = spec.image_pull_policy.clone().unwrap_or_default();
        self.observed.container_mut(name).image = Image::Pulling;
        let is_here = self.host.images.local(&image).is_some();
        if !is_here || policy == "Always" {
            self.host
                .events
                .normal(&self.pod, name, "Pulling", format!("Pulling image {image:?}"));
        }
        let (host, pod, sender) = (self.host.clone(), self.pod.clone(), self.sender.clone());
        let container = name.to_owned();
        tokio::spawn(async move {
            let secrets = pull_secrets(&host, &pod).await;
            let result = host.images.have(&image, &policy, &secrets).await;
            let _ = sender.send(Input::Pulled {
                container,
                result: Box::new(result),
            });
        });
    }

    pub(super) fn stop(&mut self, name: &str, grace: i64, why: Why) {
        self.host.events.normal(&self.pod, name, "Killing", why.message(name));
        tracing::info!(pod = %spec::full_name(&self.pod), container = name, grace, ?why, "container is to stop");
        // Without time there is no hook.
        let has_hook = grace > 0 && self.run_hook(name, Moment::PreStop);
        self.observed.container_mut(name).stopping = Some(Stopping {
            deadline: Timestamp::now() + SignedDuration::from_secs(grace.max(0)),
            stage: if has_hook { Stage::Hook } else { Stage::Turn },
            again: why.again(),
        });
    }

    fn signal(&mut self, name: &str, kill_at: Timestamp) {
        let Some(sandbox) = self.sandbox.clone() else { return };
        if let Some(stopping) = &mut self.observed.container_mut(name).stopping {
            stopping.stage = Stage::Signalled { kill_at };
        }
        let signal = self.stop_signal(name);
        let grace = kill_at.duration_since(Timestamp::now());
        let grace = Duration::try_from(grace).unwrap_or_default();
        let container = name.to_owned();
        tokio::spawn(async move {
            // Its end is heard through the subscription; a supervisor that does not answer is heard there too.
            if let Err(error) = sandbox.stop(&container, signal, grace).await {
                tracing::debug!(container, %error, "stop was not answered");
            }
        });
    }

    async fn kill(&mut self, name: &str) {
        let Some(sandbox) = &self.sandbox else { return };
        if let Err(error) = sandbox.signal(name, nix::libc::SIGKILL).await {
            tracing::debug!(container = name, %error, "SIGKILL was not delivered");
        }
        if let Some(stopping) = &mut self.observed.container_mut(name).stopping {
            stopping.stage = Stage::Killed;
        }
        self.unblock_nfs(name);
    }

    /// All containers but ephemeral ones begin anew; the supervisor forgets their runs, too, lest another agent takes them for
    /// ends that ask for the same once more.
    async fn begin_anew(&mut self) {
        let pod = self.pod.clone();
        let now = Timestamp::now();
        let asked = spec::restart_sources(&pod, &self.observed).map(|spec| spec.name.clone());
        let asked: Vec<String> = asked.collect();
        tracing::info!(pod = %spec::full_name(&pod), because_of = ?asked, "all containers begin anew");
        for spec in spec::init_containers(&pod).iter().chain(spec::containers(&pod)) {
            let known = self.observed.container_mut(&spec.name);
            known.begin_anew(asked.contains(&spec.name), now);
            if let (Some(sandbox), Some(last)) = (&self.sandbox, known.attempt.checked_sub(1)) {
                let _ = sandbox.remove_container(&spec.name, last).await;
            }
        }
    }

    /// The container's own stop signal, else the image's, SIGTERM where there is none or one that is no signal.
    fn stop_signal(&self, name: &str) -> i32 {
        let spec = spec::any_container(&self.pod, name);
        let spec = spec.as_deref();
        let own = spec.and_then(|spec| spec.lifecycle.as_ref()?.stop_signal.clone());
        let image = || self.host.images.local(spec?.image.as_deref()?);
        let text = own
            .or_else(|| image().map(|image| image.config.stop_signal))
            .unwrap_or_default();
        plan::signal(&text).unwrap_or(nix::libc::SIGTERM)
    }

    async fn tear_down(&mut self) {
        let uid = self.uid();
        if let Some(sandbox) = &self.sandbox
            && let Err(error) = sandbox.destroy().await
        {
            tracing::warn!(pod = %spec::full_name(&self.pod), %error, "pod not taken down yet");
            self.unblock_nfs("");
            // The decision is the same again; not in a circle without a pause.
            return tokio::time::sleep(Duration::from_secs(1)).await;
        }
        self.sandbox = None;
        if let Err(error) = self.host.network.take_back(&uid).await {
            tracing::warn!(pod = %spec::full_name(&self.pod), %error, "addresses not taken back yet");
        }
        self.host.tokens.forget(&uid);
        self.host.forget_objects(&uid);
        self.host.devices.take_back(&uid);
        self.observed.sandbox = Sandbox::Down;
        if self.observed.driven == Driven::Held {
            return self.give_back();
        }
        if let Err(error) = volumes::take_away(&self.host.pod_dir(&uid)) {
            tracing::warn!(pod = %spec::full_name(&self.pod), %error, "volumes not taken away");
        }
    }

    pub(super) fn uid(&self) -> String {
        self.pod.metadata.uid.clone().unwrap_or_default()
    }
}

/// The pod's pull secrets; those that cannot be read are as good as none.
pub(super) async fn pull_secrets(host: &super::Host, pod: &k8s_openapi::api::core::v1::Pod) -> Vec<Secret> {
    let names = pod
        .spec
        .iter()
        .flat_map(|spec| spec.image_pull_secrets.iter().flatten());
    let secrets = names.map(|reference| reference.name.clone()).collect();
    let references = plan::References {
        secrets,
        ..plan::References::default()
    };
    let found = host.look_up(pod, &references).await.unwrap_or_default();
    found.secrets.into_values().flatten().collect()
}

fn read_or_empty(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
