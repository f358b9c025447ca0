//! Records in CRI's words, and which of them a filter means. Pure.

use proto::cri::pintle::cri::v1::{Container, Sandbox};
use proto::cri::runtime::v1 as cri;
use std::collections::HashMap;

pub use proto::cri::runtime::v1::ContainerState as StateName;

/// Handlers that a sandbox may name; empty is the default, and there is only one way to run it.
pub const HANDLERS: [&str; 2] = ["", "pintle"];

/// What a container is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing yet.
    Created,
    /// Its program runs.
    Running,
    /// It has ended, or could not be started.
    Exited,
}

impl State {
    /// In CRI's words.
    pub fn name(self) -> StateName {
        match self {
            State::Created => StateName::ContainerCreated,
            State::Running => StateName::ContainerRunning,
            State::Exited => StateName::ContainerExited,
        }
    }

    /// For people.
    pub fn as_str_name(self) -> &'static str {
        self.name().as_str_name()
    }
}

/// What a container is doing, by when it did what.
pub fn state(record: &Container) -> State {
    match (record.started_at, record.finished_at) {
        (0, 0) => State::Created,
        (_, 0) => State::Running,
        (_, _) => State::Exited,
    }
}

/// Why a container ended, in one word.
pub fn reason(ended: &sandbox::Ended) -> &'static str {
    match (ended.oom_killed, ended.exit_code) {
        (true, _) => "OOMKilled",
        (false, 0) => "Completed",
        (false, _) => "Error",
    }
}

fn sandbox_state(record: &Sandbox) -> cri::PodSandboxState {
    match record.stopped {
        true => cri::PodSandboxState::SandboxNotready,
        false => cri::PodSandboxState::SandboxReady,
    }
}

/// A sandbox's status.
pub fn sandbox(record: &Sandbox) -> cri::PodSandboxStatus {
    let config = record.config.clone().unwrap_or_default();
    let context = config.linux.and_then(|linux| linux.security_context);
    let options = context
        .and_then(|context| context.namespace_options)
        .unwrap_or_default();
    let mut ips = record.ips.iter().filter(|_| !record.stopped).cloned();
    let ip = ips.next().unwrap_or_default();
    cri::PodSandboxStatus {
        id: record.id.clone(),
        metadata: config.metadata,
        state: sandbox_state(record).into(),
        created_at: record.created_at,
        network: Some(cri::PodSandboxNetworkStatus {
            ip,
            additional_ips: ips.map(|ip| cri::PodIp { ip }).collect(),
        }),
        linux: Some(cri::LinuxPodSandboxStatus {
            namespaces: Some(cri::Namespace { options: Some(options) }),
        }),
        labels: config.labels,
        annotations: config.annotations,
        runtime_handler: record.runtime_handler.clone(),
    }
}

/// A sandbox in a list.
pub fn sandbox_item(record: &Sandbox) -> cri::PodSandbox {
    let config = record.config.clone().unwrap_or_default();
    cri::PodSandbox {
        id: record.id.clone(),
        metadata: config.metadata,
        state: sandbox_state(record).into(),
        created_at: record.created_at,
        labels: config.labels,
        annotations: config.annotations,
        runtime_handler: record.runtime_handler.clone(),
    }
}

/// A container's status.
pub fn container(record: &Container) -> cri::ContainerStatus {
    let config = record.config.clone().unwrap_or_default();
    let plan: Option<sandbox::ContainerPlan> = serde_json::from_str(&record.plan).ok();
    let user = plan.as_ref().map(|plan| cri::ContainerUser {
        linux: Some(cri::LinuxContainerUser {
            uid: plan.user.uid.into(),
            gid: plan.user.gid.into(),
            supplemental_groups: supplemental(&plan.user),
        }),
    });
    let log = plan.map(|plan| plan.log.display().to_string()).unwrap_or_default();
    let has_log = !config.log_path.is_empty();
    cri::ContainerStatus {
        id: record.id.clone(),
        metadata: config.metadata.clone(),
        state: state(record).name().into(),
        created_at: record.created_at,
        started_at: record.started_at,
        finished_at: record.finished_at,
        exit_code: record.exit_code,
        image: spec(&config, record),
        image_ref: record.image_ref.clone(),
        reason: record.reason.clone(),
        message: record.message.clone(),
        labels: config.labels.clone(),
        annotations: config.annotations.clone(),
        mounts: config.mounts.clone(),
        log_path: if has_log { log } else { String::new() },
        resources: Some(cri::ContainerResources {
            linux: config.linux.as_ref().and_then(|linux| linux.resources.clone()),
        }),
        image_id: record.image_id.clone(),
        user,
        stop_signal: signal(record.stop_signal).into(),
    }
}

/// As the kernel shows them: with the primary group, which upstream's runtimes count among them.
fn supplemental(user: &sandbox::User) -> Vec<i64> {
    let mut groups: Vec<i64> = std::iter::once(user.gid)
        .chain(user.groups.iter().copied())
        .map(i64::from)
        .collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

/// What was asked for, with the image that it led to.
fn spec(config: &cri::ContainerConfig, record: &Container) -> Option<cri::ImageSpec> {
    let spec = config.image.clone()?;
    Some(cri::ImageSpec {
        image_ref: record.image_id.clone(),
        ..spec
    })
}

fn signal(number: i32) -> cri::Signal {
    let names = (1..=65).filter_map(|value| cri::Signal::try_from(value).ok());
    let number_of = |signal: &cri::Signal| {
        let name = signal.as_str_name().replace("PLUS", "+").replace("MINUS", "-");
        crate::pods::plan::signal(&name)
    };
    let mut known = names.filter(|signal| number_of(signal) == Some(number));
    known.next().unwrap_or(cri::Signal::RuntimeDefault)
}

/// A container in a list.
pub fn container_item(record: &Container) -> cri::Container {
    let config = record.config.clone().unwrap_or_default();
    cri::Container {
        id: record.id.clone(),
        pod_sandbox_id: record.sandbox_id.clone(),
        image: spec(&config, record),
        metadata: config.metadata,
        image_ref: record.image_ref.clone(),
        state: state(record).name().into(),
        created_at: record.created_at,
        labels: config.labels,
        annotations: config.annotations,
        image_id: record.image_id.clone(),
    }
}

/// Whether a filter means a sandbox; without any it means each.
pub fn means_sandbox(filter: Option<&cri::PodSandboxFilter>, record: &Sandbox) -> bool {
    let Some(filter) = filter else { return true };
    let labels = record.config.as_ref().map(|config| &config.labels);
    record.id.starts_with(&filter.id)
        && filter.state.is_none_or(|state| state.state() == sandbox_state(record))
        && labels_fit(&filter.label_selector, labels)
}

/// Whether a filter means a container.
pub fn means_container(filter: Option<&cri::ContainerFilter>, record: &Container) -> bool {
    let Some(filter) = filter else { return true };
    let labels = record.config.as_ref().map(|config| &config.labels);
    record.id.starts_with(&filter.id)
        && record.sandbox_id.starts_with(&filter.pod_sandbox_id)
        && filter.state.is_none_or(|wanted| wanted.state() == state(record).name())
        && labels_fit(&filter.label_selector, labels)
}

/// Whether all labels of a selector are there.
pub fn labels_fit(selector: &HashMap<String, String>, labels: Option<&HashMap<String, String>>) -> bool {
    let has = |(name, value): (&String, &String)| labels.is_some_and(|labels| labels.get(name) == Some(value));
    selector.iter().all(has)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_what_its_times_say() {
        let at = |started_at, finished_at| Container {
            started_at,
            finished_at,
            ..Container::default()
        };
        let states = [at(0, 0), at(1, 0), at(1, 2), at(0, 2)].map(|record| state(&record));
        assert_eq!(states, [State::Created, State::Running, State::Exited, State::Exited]);
    }

    #[test]
    fn filters_are_joined_by_and() {
        let config = cri::PodSandboxConfig {
            labels: HashMap::from([("a".to_owned(), "b".to_owned())]),
            ..cri::PodSandboxConfig::default()
        };
        let record = Sandbox {
            id: "abc".to_owned(),
            config: Some(config),
            ..Sandbox::default()
        };
        let filter = |id: &str, state: Option<cri::PodSandboxState>, value: &str| cri::PodSandboxFilter {
            id: id.to_owned(),
            state: state.map(|state| cri::PodSandboxStateValue { state: state.into() }),
            label_selector: HashMap::from([("a".to_owned(), value.to_owned())]),
        };
        let ready = Some(cri::PodSandboxState::SandboxReady);
        let not_ready = Some(cri::PodSandboxState::SandboxNotready);
        for (filter, means) in [
            (filter("", None, "b"), true),
            (filter("ab", ready, "b"), true),
            (filter("b", ready, "b"), false),
            (filter("", not_ready, "b"), false),
            (filter("", None, "c"), false),
        ] {
            assert_eq!(means_sandbox(Some(&filter), &record), means, "{filter:?}");
        }
        assert!(means_sandbox(None, &record));
    }

    #[test]
    fn signals_are_told_by_their_names() {
        assert_eq!(signal(15), cri::Signal::Sigterm);
        assert_eq!(signal(37), cri::Signal::Sigrtminplus3);
        assert_eq!(signal(0), cri::Signal::RuntimeDefault);
    }
}
