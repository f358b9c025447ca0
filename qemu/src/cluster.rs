//! A cluster as tests and the command line hold it.

use crate::kubernetes::Kubernetes;
use crate::plan::{ClusterPlan, MachinePorts};
use crate::supervisor::{MachineStatus, Reply, Request, ask};
use crate::switch::Faults;
use crate::{
    Artifacts, ClusterFolder, ClusterSpec, Machine, Supervisor, founding, health, ports, provider, tools, wait,
};
use anyhow::{Context, Result, bail, ensure};
use machine_client::IdentityFile;
use rustix::process::{Pid, Signal};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// Killing processes takes milliseconds, unless the host's disk is stuck.
const STOP_DEADLINE: Duration = Duration::from_secs(30);

/// Above what a thousand pods take to go under emulation; only a hang reaches it.
const KUBECTL_DEADLINE: Duration = Duration::from_secs(600);

/// A cluster that exists: its folder, and whoever supervises it.
pub struct Cluster {
    folder: ClusterFolder,
    plan: ClusterPlan,
    supervisor: Option<Supervisor>,
}

/// A line of `pintlectl cluster list`.
pub struct Listed {
    /// The cluster.
    pub cluster: Cluster,
    /// Its machines; `None` when nobody supervises it.
    pub machines: Option<Vec<MachineStatus>>,
}

// === impl Cluster ===

impl Cluster {
    /// A new cluster's files; nothing runs yet.
    pub fn create(spec: ClusterSpec, artifacts: Artifacts) -> Result<Self> {
        spec.check()?;
        let folder = ClusterFolder::of(&spec.name)?;
        ensure!(
            !folder.plan().exists(),
            "a cluster named {:?} exists already",
            spec.name
        );
        std::fs::create_dir_all(folder.path()).with_context(|| format!("make {}", folder.path().display()))?;
        let free = ports::free(1 + 2 * spec.machines.len())?;
        let ports = free[1..].chunks_exact(2).map(|pair| MachinePorts {
            kubernetes: pair[0],
            machine_api: pair[1],
        });
        let plan = ClusterPlan {
            registry_port: free[0],
            ports: ports.collect(),
            spec,
            artifacts,
        };
        founding::write(&folder, &plan)?;
        let cluster = Self {
            folder,
            plan,
            supervisor: None,
        };
        cluster.write_plan()?;
        Ok(cluster)
    }

    /// The cluster of this name.
    pub fn open(name: &str) -> Result<Self> {
        let folder = ClusterFolder::of(name)?;
        let path = folder.plan();
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("there is no cluster named {name:?}: read {}", path.display()))?;
        let plan = serde_json::from_str(&text).with_context(|| format!("understand {}", path.display()))?;
        Ok(Self {
            folder,
            plan,
            supervisor: None,
        })
    }

    /// All clusters of this user.
    pub fn list() -> Result<Vec<Listed>> {
        let mut all = Vec::new();
        for name in ClusterFolder::names()? {
            // A folder without a plan is one that is being made or removed.
            if let Ok(cluster) = Self::open(&name) {
                let machines = cluster.status().ok();
                all.push(Listed { cluster, machines });
            }
        }
        Ok(all)
    }

    /// Start it, supervised by this process: its machines live as long as this value.
    pub fn supervise_here(&mut self) -> Result<()> {
        self.supervisor = Some(Supervisor::start(&self.folder, &self.plan)?);
        Ok(())
    }

    /// Start it, supervised by this process, until somebody asks to stop.
    pub fn supervise_until_stopped(self) -> Result<()> {
        Supervisor::start(&self.folder, &self.plan)?.wait();
        Ok(())
    }

    /// Switch all off and let the next start boot `artifacts`: with empty disks, or with what is on them now.
    pub fn renew(&mut self, artifacts: Artifacts, keeps_disks: bool) -> Result<()> {
        if self.status().is_ok() {
            for machine in self.machines() {
                machine.power_cut()?;
            }
            self.stop()?;
        }
        for machine in self.machines() {
            match keeps_disks {
                true => provider::carry_over(&machine.plan, &artifacts)?,
                false => provider::wipe(&machine.plan)?,
            }
        }
        self.plan.artifacts = artifacts;
        self.write_plan()
    }

    /// Its files.
    pub fn folder(&self) -> &ClusterFolder {
        &self.folder
    }

    /// Everything decided about it.
    pub fn plan(&self) -> &ClusterPlan {
        &self.plan
    }

    /// Machine `index`, from 0.
    pub fn machine(&self, index: usize) -> Machine<'_> {
        Machine {
            cluster: self,
            plan: self.plan.machines(&self.folder).swap_remove(index),
        }
    }

    /// All machines, in order.
    pub fn machines(&self) -> Vec<Machine<'_>> {
        let plans = self.plan.machines(&self.folder).into_iter();
        plans.map(|plan| Machine { cluster: self, plan }).collect()
    }

    /// What the supervisor knows of the machines.
    pub fn status(&self) -> Result<Vec<MachineStatus>> {
        match ask(&self.folder.supervisor_socket(), &Request::Status)? {
            Reply::Status(machines) => Ok(machines),
            reply @ (Reply::Done | Reply::Refused(_)) => bail!("the supervisor answers {reply:?} to a status request"),
        }
    }

    /// The administrator's identity towards its machines.
    pub fn identity(&self) -> Result<IdentityFile> {
        let path = self.folder.admin();
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        Ok(IdentityFile::parse(&text)?)
    }

    /// Its Kubernetes API, as its administrator.
    pub fn kubernetes(&self) -> Result<Kubernetes> {
        Kubernetes::from_kubeconfig(&self.folder.kubeconfig())
    }

    /// What keeps it from being healthy, a sentence each; see [`health`].
    pub fn problems(&self) -> Result<Vec<String>> {
        let (identity, kubernetes) = (self.identity()?, self.kubernetes()?);
        block_on(async { health::examine(&identity, &kubernetes).await.problems() })
    }

    /// Wait until it is healthy.
    pub fn wait_healthy(&self, deadline: Duration) -> Result<()> {
        let what = format!("cluster {} to be healthy", self.plan.spec.name);
        wait::until(&what, deadline, || {
            let problems = self.problems().map_err(|error| format!("{error:#}"))?;
            match problems.is_empty() {
                true => Ok(()),
                false => Err(format!(
                    "{}; consoles lie in {}",
                    problems.join("; "),
                    self.folder.path().display()
                )),
            }
        })
    }

    /// What goes wrong on the network between machines, from now on.
    pub fn set_faults(&self, faults: Faults) -> Result<()> {
        self.ask(&Request::Faults { faults })
    }

    /// kubectl of the tools tree, as the cluster's administrator.
    pub fn kubectl_command(&self) -> Command {
        let mut command = tools::command(&self.plan.artifacts.tools, "kubectl");
        command.env("KUBECONFIG", self.folder.kubeconfig());
        command
    }

    /// Run kubectl to its end, which must come by itself: some of its commands wait for others without a deadline.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<Output> {
        let what = || format!("run kubectl {}", arguments.join(" "));
        let mut command = self.kubectl_command();
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().with_context(what)?;
        let process = Pid::from_child(&child);
        let (ended, end) = mpsc::channel::<()>();
        let output = std::thread::scope(|scope| {
            scope.spawn(move || {
                if end.recv_timeout(KUBECTL_DEADLINE) == Err(RecvTimeoutError::Timeout) {
                    // It may end at this moment.
                    let _ = rustix::process::kill_process(process, Signal::KILL);
                }
            });
            let output = child.wait_with_output();
            drop(ended);
            output
        });
        let output = output.with_context(what)?;
        let killed = output.status.signal() == Some(Signal::KILL.as_raw());
        ensure!(!killed, "{} for {KUBECTL_DEADLINE:?}: it did not end", what());
        Ok(output)
    }

    /// Switch every machine off and end the supervisor; disks stay.
    pub fn stop(&mut self) -> Result<()> {
        if self.status().is_ok() {
            self.ask(&Request::Stop)?;
        }
        self.supervisor = None;
        wait::until("the supervisor's end", STOP_DEADLINE, || match self.status() {
            Ok(_) => Err("it still answers".to_owned()),
            Err(_) => Ok(()),
        })
    }

    /// Stop it and remove all that it has.
    pub fn remove(mut self) -> Result<()> {
        self.stop()?;
        std::fs::remove_dir_all(self.folder.path()).with_context(|| format!("remove {}", self.folder.path().display()))
    }

    pub(crate) fn ask(&self, request: &Request) -> Result<()> {
        match ask(&self.folder.supervisor_socket(), request)? {
            Reply::Done => Ok(()),
            Reply::Refused(why) => bail!("{why}"),
            Reply::Status(_) => bail!("the supervisor answers {request:?} with a status"),
        }
    }

    fn write_plan(&self) -> Result<()> {
        let path = self.folder.plan();
        let text = serde_json::to_string_pretty(&self.plan)?;
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    }
}

/// Run `future` to its end, on a thread of its own, because the caller's may belong to a runtime.
pub(crate) fn block_on<T: Send>(future: impl Future<Output = T> + Send) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("start an async runtime")?;
    let run = || runtime.block_on(future);
    Ok(std::thread::scope(|scope| scope.spawn(run).join()).expect("it ends because nothing in it panics"))
}
