//! All pods of this node: starting them, and finding them again.

use crate::bare::{self, BareError};
use crate::cgroup::{CgroupError, Group, Tree};
use crate::pod::SOCKET;
use crate::sweep::{self, Leftovers};
use crate::{DestroyError, Limits, Pod, PodPlan};
use linux::clone::{Executing, Execution};
use std::ffi::{CString, OsStr};
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

/// The group inside a pod's group in which pod-init itself runs: a group with controllers for its children has no processes
/// (cgroup-v2.rst, "No Internal Process Constraint"). No container's group is named so, theirs end in `.<attempt>`.
const OWN_GROUP: &str = "pod-init";
/// A pod's plan in its folder.
pub const PLAN: &str = "plan.json";
/// pod-init is ready within milliseconds; under an emulated CPU that many others share we have seen seconds.
const READY_DEADLINE: Duration = Duration::from_secs(20);
/// What pod-init writes when it listens.
pub const READY: &str = "ready";

/// Where things are.
#[derive(Clone, Debug)]
pub struct Settings {
    /// A folder a pod, on a tmpfs: `/run/pintle/pods`.
    pub root: PathBuf,
    /// The cgroup v2 tree: `/sys/fs/cgroup`. Where it is none, pods run without limits, which is logged once.
    pub cgroups: PathBuf,
    /// The supervisor's program: `/usr/bin/pod-init`.
    pub pod_init: PathBuf,
}

/// All pods of this node.
#[derive(Clone, Debug)]
pub struct Sandboxes {
    settings: Settings,
    tree: Option<Tree>,
    /// What every pod-init is given to build roots in ([`bare`]).
    bare: Arc<OwnedFd>,
}

/// Why no pods can be started.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Their folder.
    #[error("make the pods' folder {path}: {cause}")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// What their containers' roots are built in.
    #[error("make a mount namespace to build containers' roots in: {0}")]
    Bare(#[from] BareError),
}

/// Why a pod did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// One with that id runs or left something behind.
    #[error("pod {pod} exists already in {path}")]
    Exists {
        /// Pod.
        pod: String,
        /// Its folder.
        path: PathBuf,
    },
    /// The id is no file name.
    #[error(
        "{0:?} cannot name a pod: it may hold letters, digits, '-', '_' and '.', and begins with a letter or digit"
    )]
    Id(String),
    /// Its folder could not be written.
    #[error("pod {pod}: write {path}: {cause}")]
    State {
        /// Pod.
        pod: String,
        /// File or folder.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// Its cgroup could not be made.
    #[error("pod {pod}: {cause}")]
    Cgroup {
        /// Pod.
        pod: String,
        /// Which, and why.
        cause: CgroupError,
    },
    /// Its supervisor could not be started.
    #[error("pod {pod}: start {program}: {cause}")]
    Spawn {
        /// Pod.
        pod: String,
        /// Program of the supervisor.
        program: PathBuf,
        /// Why.
        cause: linux::Error,
    },
    /// Its supervisor started and gave up.
    #[error("pod {pod}: {why}")]
    NotReady {
        /// Pod.
        pod: String,
        /// In the supervisor's own words.
        why: String,
    },
}

/// Why running pods could not be looked for.
#[derive(Debug, thiserror::Error)]
#[error("look for running pods in {path}: {cause}")]
pub struct AdoptError {
    /// The folder.
    pub path: PathBuf,
    /// Why.
    pub cause: io::Error,
}

// === impl Settings ===

impl Default for Settings {
    fn default() -> Self {
        Settings {
            root: "/run/pintle/pods".into(),
            cgroups: "/sys/fs/cgroup".into(),
            pod_init: "/usr/bin/pod-init".into(),
        }
    }
}

// === impl Sandboxes ===

impl Sandboxes {
    /// Makes the folder when it is missing and the namespace that roots are built in, and says what this machine cannot limit.
    pub fn open(settings: Settings) -> Result<Sandboxes, OpenError> {
        fs::create_dir_all(&settings.root).map_err(|cause| OpenError::Folder {
            path: settings.root.clone(),
            cause,
        })?;
        let bare = Arc::new(bare::make(&settings.root)?);
        let tree = Tree::at(&settings.cgroups);
        let missing = tree.as_ref().map(Tree::missing);
        match &missing {
            None => {
                tracing::error!(path = %settings.cgroups.display(), "no cgroup v2 tree: pods run without any limits")
            }
            Some(missing) if !missing.is_empty() => {
                tracing::error!(
                    ?missing,
                    "this machine lacks cgroup v2 controllers: pods run without their limits"
                );
            }
            Some(_) => {}
        }
        Ok(Sandboxes { settings, tree, bare })
    }

    /// The group of a pod or, with a name and an attempt, of a container; nothing without a cgroup tree.
    pub fn group(&self, pod: &Path, container: Option<(&str, u32)>) -> Option<Group> {
        let path = match container {
            Some((name, attempt)) => pod.join(format!("{name}.{attempt}")),
            None => pod.to_owned(),
        };
        self.tree.as_ref().map(|tree| tree.group(&path))
    }

    /// Limits a group that holds pods, which is made when it is missing; nothing to do without a cgroup tree.
    pub fn limit(&self, group: &Path, limits: &Limits) -> Result<(), CgroupError> {
        match &self.tree {
            Some(tree) => tree.make(group, limits).map(drop),
            None => Ok(()),
        }
    }

    /// Starts a pod without containers; its pod-init outlives the caller.
    pub async fn start(&self, plan: &PodPlan) -> Result<Pod, StartError> {
        check_id(&plan.id)?;
        let dir = self.settings.root.join(&plan.id);
        self.write_state(plan, &dir)?;
        let started = self.start_in(plan, &dir).await;
        if started.is_err() {
            self.forget(plan, &dir).await;
        }
        started
    }

    fn write_state(&self, plan: &PodPlan, dir: &Path) -> Result<(), StartError> {
        let state = |path: &Path| {
            let path = path.to_owned();
            move |cause| StartError::State {
                pod: plan.id.clone(),
                path,
                cause,
            }
        };
        match fs::create_dir(dir) {
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {
                return Err(StartError::Exists {
                    pod: plan.id.clone(),
                    path: dir.to_owned(),
                });
            }
            done => done.map_err(state(dir))?,
        }
        let path = dir.join(PLAN);
        let text = serde_json::to_vec(plan).map_err(|cause| state(&path)(cause.into()))?;
        fs::write(&path, text).map_err(state(&path))
    }

    async fn start_in(&self, plan: &PodPlan, dir: &Path) -> Result<Pod, StartError> {
        let cgroup = |cause| StartError::Cgroup {
            pod: plan.id.clone(),
            cause,
        };
        let group = match &self.tree {
            Some(tree) => {
                // A group that was ever killed by cgroup.kill kills what is cloned into it (seen on 6.18), so none is used twice.
                let stale = tree.group(&plan.cgroup);
                stale.kill().and_then(|()| stale.remove()).map_err(cgroup)?;
                tree.make(&plan.cgroup, &plan.limits).map_err(cgroup)?;
                let own = tree
                    .make(&plan.cgroup.join(OWN_GROUP), &Limits::default())
                    .map_err(cgroup)?;
                Some(own.open().map_err(cgroup)?)
            }
            None => None,
        };
        let not_ready = |why: String| StartError::NotReady {
            pod: plan.id.clone(),
            why,
        };
        let (ready, executing) = self.spawn(plan, dir, group)?;
        let said = tokio::time::timeout(READY_DEADLINE, read_all(ready)).await;
        let failure = executing.failure();
        let child = executing.child;
        let pod = Pod::new(plan, child.pid, child.pidfd, dir, self.tree.as_ref())
            .map_err(|cause| not_ready(cause.to_string()))?;
        if let Some(cause) = failure {
            pod.gone().await;
            return Err(StartError::Spawn {
                pod: plan.id.clone(),
                program: self.settings.pod_init.clone(),
                cause,
            });
        }
        let failed = match said {
            Ok(Ok(said)) if said == READY => {
                tokio::spawn({
                    let pod = pod.clone();
                    async move { pod.gone().await }
                });
                return Ok(pod);
            }
            Ok(Ok(said)) => said,
            Ok(Err(cause)) => cause.to_string(),
            Err(_) => format!("pod-init was not ready within {} s", READY_DEADLINE.as_secs()),
        };
        pod.kill().await;
        Err(not_ready(failed))
    }

    fn spawn(&self, plan: &PodPlan, dir: &Path, group: Option<OwnedFd>) -> Result<(OwnedFd, Executing), StartError> {
        let program = &self.settings.pod_init;
        let failed = |cause| StartError::Spawn {
            pod: plan.id.clone(),
            program: program.clone(),
            cause,
        };
        let (ready, extra) = io::pipe().map_err(linux::Error::io("pipe2")).map_err(failed)?;
        let log = kernel_log()
            .map_err(linux::Error::io("open(/dev/null)"))
            .map_err(failed)?;
        let path = c_string(program.as_os_str());
        let arguments = [
            c_string(OsStr::new("pod-init")),
            c_string(dir.as_os_str()),
            c_string(self.settings.cgroups.as_os_str()),
        ];
        let execution = Execution {
            program: &path,
            arguments: &arguments.each_ref().map(CString::as_c_str),
            stdio: log.as_fd(),
            extra: [extra.as_fd(), self.bare.as_fd()],
        };
        let group = group.as_ref().map(AsFd::as_fd);
        let executing = linux::clone::execute(&execution, namespaces(plan), group).map_err(failed)?;
        Ok((ready.into(), executing))
    }

    /// Finds the pods that outlived an agent; what is left of dead ones is removed.
    pub async fn adopt_all(&self) -> Result<Vec<(PodPlan, Pod)>, AdoptError> {
        let root = &self.settings.root;
        let mut adopted = Vec::new();
        let entries = fs::read_dir(root).map_err(|cause| AdoptError {
            path: root.clone(),
            cause,
        })?;
        for entry in entries.flatten() {
            let dir = entry.path();
            let Some(plan) = read_plan(&dir) else {
                tracing::warn!(path = %dir.display(), "a pod's folder without a plan is removed");
                let _ = fs::remove_dir_all(&dir);
                continue;
            };
            match self.adopt(&plan, &dir).await {
                Ok(pod) => adopted.push((plan, pod)),
                Err(why) => {
                    tracing::warn!(pod = %plan.id, %why, "a dead pod's remains are removed");
                    self.forget(&plan, &dir).await;
                }
            }
        }
        Ok(adopted)
    }

    async fn adopt(&self, plan: &PodPlan, dir: &Path) -> Result<Pod, String> {
        let stream = tokio::net::UnixStream::connect(dir.join(SOCKET))
            .await
            .map_err(|cause| cause.to_string())?;
        // Who called listen(2): pod-init, which cannot be dead while its socket takes connections.
        let pid = stream
            .peer_cred()
            .ok()
            .and_then(|peer| peer.pid())
            .ok_or("its pod-init has no process ID")?;
        let pidfd = linux::pidfd::open(pid as u32).map_err(|error| error.to_string())?;
        let pod = Pod::new(plan, pid as u32, pidfd, dir, self.tree.as_ref()).map_err(|cause| cause.to_string())?;
        match tokio::time::timeout(READY_DEADLINE, pod.states()).await {
            Ok(Ok(_)) => Ok(pod),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("its pod-init does not answer".to_owned()),
        }
    }

    /// Removes what is left of a pod that did not start or has died.
    async fn forget(&self, plan: &PodPlan, dir: &Path) {
        let leftovers = Leftovers {
            pod: plan.id.clone(),
            dir: dir.to_owned(),
            cgroup: self.tree.as_ref().map(|tree| tree.group(&plan.cgroup)),
        };
        let swept = tokio::task::spawn_blocking(move || -> Result<(), DestroyError> {
            if let Some(group) = &leftovers.cgroup {
                group.kill().map_err(|error| leftovers.kept("its processes", &error))?;
            }
            sweep::sweep(&leftovers)
        })
        .await;
        match swept {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "a dead pod left something behind"),
            Err(error) => tracing::error!(pod = %plan.id, %error, "a dead pod left something behind"),
        }
    }
}

/// Which namespaces pod-init begins with. Those of a pod with users of its own belong to these, so pod-init makes them.
fn namespaces(plan: &PodPlan) -> i32 {
    match plan.users {
        Some(_) => 0,
        None => plan.namespaces(),
    }
}

fn check_id(id: &str) -> Result<(), StartError> {
    let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let first_is_word = id.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    if first_is_word && id.bytes().all(valid) {
        Ok(())
    } else {
        Err(StartError::Id(id.to_owned()))
    }
}

fn read_plan(dir: &Path) -> Option<PodPlan> {
    serde_json::from_slice(&fs::read(dir.join(PLAN)).ok()?).ok()
}

async fn read_all(pipe: OwnedFd) -> io::Result<String> {
    let mut said = String::new();
    pipe::Receiver::from_owned_fd(pipe)?.read_to_string(&mut said).await?;
    Ok(said)
}

/// Where pod-init's own words go: the kernel log, which every machine keeps, else nowhere.
fn kernel_log() -> io::Result<fs::File> {
    let open = |path| fs::OpenOptions::new().read(true).write(true).open(path);
    open("/dev/kmsg").or_else(|_| open("/dev/null"))
}

fn c_string(text: &OsStr) -> CString {
    CString::new(text.as_bytes()).expect("paths hold no zero byte because the kernel gave them or people wrote them")
}
