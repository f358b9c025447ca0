//! One running pod, as the agent holds it.

use crate::{ContainerPlan, ContainerState, Exec, ExecError, ExecPlan};
use std::path::PathBuf;
use std::time::Duration;

/// A pod whose pod-init runs; cheap to clone. Dropping it leaves the pod running.
#[derive(Clone, Debug)]
pub struct Pod {
    id: String,
    pid: u32,
}

/// Changes of a pod's containers, the present ones first.
#[derive(Debug)]
pub struct Events {}

/// Why pod-init did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// pod-init is gone or does not answer.
    #[error("pod {pod}: its pod-init does not answer on {socket}: {why}")]
    Unanswered {
        /// Pod.
        pod: String,
        /// Where it was asked.
        socket: PathBuf,
        /// What failed.
        why: String,
    },
    /// There is no such container, or it is not in the state that the request needs.
    #[error("pod {pod}: {why}")]
    NoContainer {
        /// Pod.
        pod: String,
        /// Which, and why not.
        why: String,
    },
    /// The request was understood and could not be carried out.
    #[error("pod {pod}: {why}")]
    Refused {
        /// Pod.
        pod: String,
        /// What failed.
        why: String,
    },
}

/// Why a container did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartContainerError {
    /// Its namespaces, mounts, limits or identity could not be made.
    #[error("{0}")]
    NotPrepared(String),
    /// All that was made, but its program could not be executed, e.g. `exec /no/such: No such file or directory in the image`.
    #[error("{0}")]
    NotExecuted(String),
    /// Anything else.
    #[error(transparent)]
    Call(#[from] CallError),
}

/// What of a pod could not be removed.
#[derive(Debug, thiserror::Error)]
#[error("pod {pod}: {what} could not be removed: {why}")]
pub struct DestroyError {
    /// Pod.
    pub pod: String,
    /// What is left.
    pub what: String,
    /// Why.
    pub why: String,
}

impl Pod {
    /// As in its plan.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Process ID of its pod-init; `/proc/<pid>/ns/net` is the pod's network.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Starts one attempt of a container; returns when its program runs.
    pub async fn start_container(&self, plan: &ContainerPlan) -> Result<ContainerState, StartContainerError> {
        let _ = plan;
        unimplemented!()
    }

    /// Sends a signal to a container's first process.
    pub async fn signal(&self, container: &str, signal: i32) -> Result<(), CallError> {
        let _ = (container, signal);
        unimplemented!()
    }

    /// Sends `signal`, after `grace` SIGKILL; returns when the container has ended (at once if it had). Goes on without the agent.
    pub async fn stop(&self, container: &str, signal: i32, grace: Duration) -> Result<ContainerState, CallError> {
        let _ = (container, signal, grace);
        unimplemented!()
    }

    /// Runs one program more in a running container.
    pub async fn exec(&self, plan: &ExecPlan) -> Result<Exec, ExecError> {
        let _ = plan;
        unimplemented!()
    }

    /// Forgets an ended attempt, its cgroup and its scratch folder; its log stays.
    pub async fn remove_container(&self, container: &str, attempt: u32) -> Result<(), CallError> {
        let _ = (container, attempt);
        unimplemented!()
    }

    /// All attempts that were not removed, in the order of their starts.
    pub async fn states(&self) -> Result<Vec<ContainerState>, CallError> {
        unimplemented!()
    }

    /// All states now, then every change.
    pub async fn subscribe(&self) -> Result<Events, CallError> {
        unimplemented!()
    }

    /// Kills whatever runs in the pod and removes its cgroups, mounts, scratch folders and state folder. Works on a dead pod, too.
    pub async fn destroy(&self) -> Result<(), DestroyError> {
        unimplemented!()
    }
}

impl Events {
    /// The next state; nothing when pod-init is gone.
    pub async fn next(&mut self) -> Option<ContainerState> {
        unimplemented!()
    }
}
