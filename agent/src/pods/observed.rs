//! What this node knows about one of its pods: values, changed by the pod's worker alone, read by `decide` and `status`.

use super::backoff::Backoff;
use super::probes::Probes;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerUser, ResourceRequirements};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// One pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// When this node first saw it.
    pub seen: Timestamp,
    /// Its namespaces and network.
    pub sandbox: Sandbox,
    /// What storage drivers have of it.
    pub driven: Driven,
    /// Its addresses, the first family first; the machine's for a pod on the host's network.
    pub ips: Vec<IpAddr>,
    /// Its containers and init containers, by name.
    pub containers: BTreeMap<String, Container>,
    /// Why the node ended it, e.g. `DeadlineExceeded` and a sentence.
    pub ended: Option<(String, String)>,
    /// Seconds that it has for its end, where the node says so.
    pub grace: Option<i64>,
    /// What the condition DisruptionTarget says, if the node ended it for others' sake.
    pub disruption: Option<String>,
    /// Whether it is to go: deleted in the API, or gone from it.
    pub deleted: Option<Deleted>,
    /// How it stands with other requests and limits than those that it runs with, if the pod wants them.
    pub resize: Option<Resize>,
}

/// Why a pod does not have the requests and limits that it wants (KEP-1287).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resize {
    /// The condition: `PodResizePending`, `PodResizeInProgress`.
    pub condition: &'static str,
    /// Its reason: `Infeasible`, `Deferred`, `Error`.
    pub reason: &'static str,
    /// One sentence.
    pub message: String,
}

/// That a pod was deleted, and how patient to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// Seconds between the stop signal and SIGKILL.
    pub grace: i64,
    /// Whether the API still has the pod: the node's delete ends it there.
    pub in_api: bool,
}

/// A pod's namespaces and network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Sandbox {
    /// Not made yet.
    #[default]
    Absent,
    /// The last attempt to make it failed.
    Failed {
        /// When.
        at: Timestamp,
    },
    /// Ready for containers.
    Up,
    /// Taken down after the last container ended.
    Down,
}

/// What storage drivers have mounted for a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Driven {
    /// Nothing.
    #[default]
    Nothing,
    /// Volumes, or they are at it.
    Held,
    /// They are letting go.
    Leaving,
}

/// One container.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Container {
    /// Its image on this node.
    pub image: Image,
    /// Its present or last run.
    pub run: Run,
    /// How the run before ended.
    pub before: Option<Ended>,
    /// Number of the next run; how often it was started again is one less.
    pub attempt: u32,
    /// Pauses between runs.
    pub backoff: Backoff,
    /// Pauses between pulls.
    pub pull_backoff: Backoff,
    /// Why the last attempt to start it came to nothing, for reasons outside of the container.
    pub refused: Option<Refused>,
    /// Since when it is being stopped.
    pub stopping: Option<Stopping>,
    /// The hook after the present run's start.
    pub post_start: Hook,
    /// What its probes say about the present run.
    pub probes: Probes,
    /// Whether it was stopped in order to be started again, whatever it ended with.
    pub again: bool,
    /// The image that the present or last run was made of, as the pod named it: it may want another by now.
    pub made_of: String,
    /// The requests and limits that the present run has.
    pub resources: Option<ResourceRequirements>,
    /// Those that the node has given it: the next run has them even if the pod wants others by now.
    pub allocated: Option<ResourceRequirements>,
    /// Who runs it.
    pub user: Option<ContainerUser>,
    /// The same by what status calls its ID.
    pub image_id: String,
}

/// Why a container ended that was started again with all of its pod's; upstream's word and sentence.
pub const RESTARTED: &str = "RestartingAllContainers";
/// See [`RESTARTED`].
pub const RESTARTED_MESSAGE: &str = "The container is removed because RestartAllContainers in place";

/// A container's image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Image {
    /// Not looked for since the last run ended.
    #[default]
    Unknown,
    /// Being pulled.
    Pulling,
    /// On this node: its ID, and the reference by which status names it.
    Here { id: String, named: String },
    /// Could not be had.
    Failed {
        /// `ErrImagePull`, `ErrImageNeverPull`, `InvalidImageName`.
        reason: &'static str,
        /// One sentence.
        message: String,
        /// When.
        at: Timestamp,
        /// Pauses between pulls.
        backoff: Backoff,
    },
}

/// A container's present or last run.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Run {
    /// Never started.
    #[default]
    Never,
    /// Runs.
    Running {
        /// Since when.
        since: Timestamp,
        /// Which run, from 0.
        attempt: u32,
    },
    /// Ran.
    Ended(Ended),
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Which run, from 0.
    pub attempt: u32,
    /// Exit status; 128 plus the signal's number for one that was killed.
    pub code: i32,
    /// `Completed`, `Error`, `OOMKilled`, `StartError`.
    pub reason: &'static str,
    /// Its termination message, or why it could not start.
    pub message: String,
    /// When it started; nothing for one that could not.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Timestamp,
}

/// A start that came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// `CreateContainerConfigError`, `CreateContainerError`.
    pub reason: &'static str,
    /// One sentence.
    pub message: String,
    /// When to try again.
    pub retry: Timestamp,
}

/// A container on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopping {
    /// When patience ends, for the hook before the stop, for its turn among the others and for the stop signal together.
    pub deadline: Timestamp,
    /// How far it is.
    pub stage: Stage,
    /// Whether it is to be started again, whatever it ends with.
    pub again: bool,
}

/// How far a container is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Its preStop hook runs.
    Hook,
    /// It waits until those that need it have ended.
    Turn,
    /// It was sent the stop signal.
    Signalled {
        /// When SIGKILL follows.
        kill_at: Timestamp,
    },
    /// It was sent SIGKILL.
    Killed,
}

/// A hook after a start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Hook {
    /// There is none, or it is done.
    #[default]
    Over,
    /// It runs.
    Running,
    /// It failed.
    Failed,
}

impl Hook {
    /// Whether the container counts as running as far as its hook is concerned.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Over)
    }
}

impl Observed {
    /// The container of that name; one that was never touched if there is nothing known.
    pub fn container(&self, name: &str) -> &Container {
        static NEVER: Container = Container {
            image: Image::Unknown,
            run: Run::Never,
            before: None,
            attempt: 0,
            backoff: Backoff::NONE,
            pull_backoff: Backoff::NONE,
            refused: None,
            stopping: None,
            post_start: Hook::Over,
            probes: Probes::NONE,
            again: false,
            made_of: String::new(),
            resources: None,
            allocated: None,
            user: None,
            image_id: String::new(),
        };
        self.containers.get(name).unwrap_or(&NEVER)
    }

    /// The container of that name, to be changed.
    pub fn container_mut(&mut self, name: &str) -> &mut Container {
        self.containers.entry(name.to_owned()).or_default()
    }

    /// Whether any container runs.
    pub fn runs(&self) -> bool {
        self.containers.values().any(Container::runs)
    }
}

impl Container {
    /// A new run begins.
    pub fn begin(&mut self, since: Timestamp, attempt: u32) {
        self.run = Run::Running { since, attempt };
        self.probes = Probes::NONE;
        self.again = false;
    }

    /// It begins anew with all of its pod's; upstream remembers nothing of its run but this. One that `asked` for that waits
    /// longer the next time.
    pub fn begin_anew(&mut self, asked: bool, now: Timestamp) {
        let Run::Ended(ended) = std::mem::take(&mut self.run) else {
            return;
        };
        if asked {
            self.backoff.grant(ended.finished, now);
        }
        self.before = Some(Ended {
            code: 137,
            reason: RESTARTED,
            message: RESTARTED_MESSAGE.to_owned(),
            ..ended
        });
        self.again = false;
    }

    /// Whether it begins anew and has not begun.
    pub fn is_restarting(&self) -> bool {
        let before = self.before.as_ref();
        matches!(self.run, Run::Never) && before.is_some_and(|before| before.reason == RESTARTED)
    }

    /// The present run has ended.
    pub fn end(&mut self, ended: Ended) {
        self.run = Run::Ended(ended);
        self.image = Image::Unknown;
        self.again = self.stopping.take().is_some_and(|stopping| stopping.again);
        self.post_start = Hook::Over;
        self.probes = Probes::NONE;
        self.refused = None;
    }

    /// Until when it waits before it is started again. One that was stopped to be started again waits only if the run before
    /// that one ended lately: upstream looks at its dead containers before it stops the present one.
    pub fn pause(&self, ended: &Ended, now: Timestamp) -> Option<Timestamp> {
        let is_free = self.again
            && self
                .before
                .as_ref()
                .is_none_or(|before| self.backoff.until(before.finished, ended.finished).is_none());
        if is_free {
            return None;
        }
        self.backoff.until(ended.finished, now)
    }

    /// Whether it runs.
    pub fn runs(&self) -> bool {
        matches!(self.run, Run::Running { .. })
    }

    /// How its last run ended, if it does not run.
    pub fn ended(&self) -> Option<&Ended> {
        match &self.run {
            Run::Ended(ended) => Some(ended),
            Run::Never | Run::Running { .. } => None,
        }
    }

    /// Whether its last run ended well.
    pub fn succeeded(&self) -> bool {
        self.ended().is_some_and(|ended| ended.code == 0)
    }
}
