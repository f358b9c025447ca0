//! One running pod, as the agent holds it.

use crate::cgroup::{Group, Tree};
use crate::connection::Connection;
use crate::protocol::{Reply, Request};
use crate::sweep::{self, Leftovers};
use crate::{ContainerPlan, ContainerState, Exec, ExecError, ExecPlan, PodPlan};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// How long a killed pod-init may take to be gone.
const DEATH_DEADLINE: Duration = Duration::from_secs(10);

/// A pod whose pod-init runs; cheap to clone. Dropping it leaves the pod running.
#[derive(Clone, Debug)]
pub struct Pod {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    id: String,
    pid: u32,
    process: AsyncFd<OwnedFd>,
    socket: PathBuf,
    leftovers: Leftovers,
}

/// Changes of a pod's containers, the present ones first.
#[derive(Debug)]
pub struct Events {
    connection: Connection,
}

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

// === impl Pod ===

impl Pod {
    pub(crate) fn new(
        plan: &PodPlan,
        pid: u32,
        pidfd: OwnedFd,
        dir: &Path,
        tree: Option<&Tree>,
    ) -> std::io::Result<Pod> {
        #[expect(
            deprecated,
            reason = "an OwnedFd keeps the promise that the new constructor is unsafe for"
        )]
        let process = AsyncFd::with_interest(pidfd, Interest::READABLE)?;
        let inner = Inner {
            id: plan.id.clone(),
            pid,
            process,
            socket: dir.join(SOCKET),
            leftovers: Leftovers {
                pod: plan.id.clone(),
                dir: dir.to_owned(),
                cgroup: tree.map(|tree| tree.group(&plan.cgroup)),
            },
        };
        Ok(Pod { inner: Arc::new(inner) })
    }

    /// As in its plan.
    pub fn id(&self) -> &str {
        &self.inner.id
    }

    /// Process ID of its pod-init; `/proc/<pid>/ns/net` is the pod's network.
    pub fn pid(&self) -> u32 {
        self.inner.pid
    }

    /// Its cgroup, on a machine that has those.
    pub(crate) fn group(&self) -> Option<&Group> {
        self.inner.leftovers.cgroup.as_ref()
    }

    /// Starts one attempt of a container; returns when its program runs.
    pub async fn start_container(&self, plan: &ContainerPlan) -> Result<ContainerState, StartContainerError> {
        let failed = match self.call(&Request::Start(Box::new(plan.clone()))).await? {
            Reply::State(state) => return Ok(state),
            Reply::Refused(why) => StartContainerError::NotPrepared(why),
            Reply::NotExecuted(why) => StartContainerError::NotExecuted(why),
            other => return Err(self.refused(other).into()),
        };
        self.forget(&plan.name, plan.attempt).await?;
        Err(failed)
    }

    /// Sends a signal to a container's first process.
    pub async fn signal(&self, container: &str, signal: i32) -> Result<(), CallError> {
        let request = Request::Signal {
            name: container.to_owned(),
            signal,
        };
        self.call_done(&request).await
    }

    /// Sends `signal`, after `grace` SIGKILL; returns when the container has ended (at once if it had). Goes on without the agent.
    pub async fn stop(&self, container: &str, signal: i32, grace: Duration) -> Result<ContainerState, CallError> {
        let request = Request::Stop {
            name: container.to_owned(),
            signal,
            grace_ms: grace.as_millis().try_into().unwrap_or(u64::MAX),
        };
        match self.call(&request).await? {
            Reply::State(state) => Ok(state),
            other => Err(self.refused(other)),
        }
    }

    /// Runs one program more in a running container.
    pub async fn exec(&self, plan: &ExecPlan) -> Result<Exec, ExecError> {
        let mut connection = self.ask(&Request::Exec(Box::new(plan.clone()))).await?;
        match connection.reply().await.map_err(|cause| self.unanswered(cause))? {
            Reply::Running => {
                let exec = Exec::new(self.id(), plan.tty, plan.stdin, connection);
                exec.map_err(|cause| self.unanswered(cause).into())
            }
            Reply::NotExecuted(why) => Err(ExecError::NotExecuted(why)),
            other => Err(self.refused(other).into()),
        }
    }

    /// Reads along with a running container, and writes to its input if it has one and `stdin` says so.
    pub async fn attach(&self, container: &str, stdin: bool, stdout: bool, stderr: bool) -> Result<Exec, CallError> {
        let request = Request::Attach {
            name: container.to_owned(),
            stdin,
            stdout,
            stderr,
        };
        let mut connection = self.ask(&request).await?;
        match connection.reply().await.map_err(|cause| self.unanswered(cause))? {
            reply @ Reply::Attached { .. } => {
                Exec::attached(self.id(), &reply, connection).map_err(|cause| self.unanswered(cause))
            }
            other => Err(self.refused(other)),
        }
    }

    /// Has a running container's log begun anew, after somebody has renamed its file.
    pub async fn reopen_log(&self, container: &str) -> Result<(), CallError> {
        let name = container.to_owned();
        self.call_done(&Request::ReopenLog { name }).await
    }

    /// Forgets an ended attempt, its cgroup and its scratch folder; its log stays.
    pub async fn remove_container(&self, container: &str, attempt: u32) -> Result<(), CallError> {
        let request = Request::Remove {
            name: container.to_owned(),
            attempt,
        };
        self.call_done(&request).await?;
        self.forget(container, attempt).await
    }

    /// Removes what an attempt keeps on disk.
    async fn forget(&self, container: &str, attempt: u32) -> Result<(), CallError> {
        let record = sweep::record(&self.inner.leftovers.dir, container, attempt);
        let forgotten = tokio::task::spawn_blocking(move || sweep::remove_record(&record)).await;
        let why = match forgotten {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(cause)) => cause.to_string(),
            Err(panic) => panic.to_string(),
        };
        Err(self.refused(Reply::Refused(format!(
            "remove the scratch folder of {container}: {why}"
        ))))
    }

    /// All attempts that were not removed, in the order of their starts.
    pub async fn states(&self) -> Result<Vec<ContainerState>, CallError> {
        match self.call(&Request::States).await? {
            Reply::States { containers, .. } => Ok(containers),
            other => Err(self.refused(other)),
        }
    }

    /// All states now, then every change.
    pub async fn subscribe(&self) -> Result<Events, CallError> {
        let connection = self.ask(&Request::Subscribe).await?;
        Ok(Events { connection })
    }

    /// Waits until pod-init is gone, which nothing but [`Pod::destroy`] or an accident brings about.
    pub async fn gone(&self) {
        // An error could only say that there is nothing to wait for.
        let _ = self.inner.process.readable().await;
        // ECHILD: it outlived the agent that started it and PID 1 has it now.
        let _ = linux::pidfd::reap(self.inner.process.get_ref());
    }

    /// Kills whatever runs in the pod and removes its cgroups, mounts, scratch folders and state folder. Works on a dead pod, too.
    pub async fn destroy(&self) -> Result<(), DestroyError> {
        let leftovers = self.inner.leftovers.clone();
        match &leftovers.cgroup {
            Some(group) => group.kill().map_err(|error| leftovers.kept("its processes", &error))?,
            // Containers die with pod-init in any case; asking lets them be gone before it is.
            None => drop(tokio::time::timeout(DEATH_DEADLINE, self.call(&Request::Shutdown)).await),
        }
        if !self.kill().await {
            return Err(leftovers.kept("its pod-init", &"it did not die of SIGKILL"));
        }
        let swept = tokio::task::spawn_blocking(move || sweep::sweep(&leftovers)).await;
        swept.unwrap_or_else(|panic| Err(self.inner.leftovers.kept("its state", &panic)))
    }

    /// Kills pod-init; whether it is gone.
    pub(crate) async fn kill(&self) -> bool {
        // ESRCH: dead already.
        let _ = linux::pidfd::signal(self.inner.process.get_ref(), KILL);
        tokio::time::timeout(DEATH_DEADLINE, self.gone()).await.is_ok()
    }

    async fn ask(&self, request: &Request) -> Result<Connection, CallError> {
        Connection::ask(&self.inner.socket, request)
            .await
            .map_err(|cause| self.unanswered(cause))
    }

    async fn call(&self, request: &Request) -> Result<Reply, CallError> {
        let mut connection = self.ask(request).await?;
        connection.reply().await.map_err(|cause| self.unanswered(cause))
    }

    async fn call_done(&self, request: &Request) -> Result<(), CallError> {
        match self.call(request).await? {
            Reply::Done => Ok(()),
            other => Err(self.refused(other)),
        }
    }

    fn unanswered(&self, cause: std::io::Error) -> CallError {
        CallError::Unanswered {
            pod: self.inner.id.clone(),
            socket: self.inner.socket.clone(),
            why: cause.to_string(),
        }
    }

    fn refused(&self, reply: Reply) -> CallError {
        let pod = self.inner.id.clone();
        match reply {
            Reply::NoContainer(why) => CallError::NoContainer { pod, why },
            Reply::Refused(why) | Reply::NotExecuted(why) => CallError::Refused { pod, why },
            other => CallError::Refused {
                pod,
                why: format!("its pod-init answered {other:?}, which does not answer what it was asked"),
            },
        }
    }
}

/// SIGKILL, man 7 signal.
const KILL: i32 = 9;

/// pod-init's socket in a pod's folder.
pub const SOCKET: &str = "control.sock";

// === impl Events ===

impl Events {
    /// The next state; nothing when pod-init is gone. Safe to cancel.
    pub async fn next(&mut self) -> Option<ContainerState> {
        match self.connection.reply().await {
            Ok(Reply::State(state)) => Some(state),
            Ok(_) | Err(_) => None,
        }
    }
}
