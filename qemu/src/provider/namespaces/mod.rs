//! Machines without a hypervisor: the root tree and its init as PID 1 of namespaces of their own, on this host's kernel.
//!
//! Whatever a host cannot give is said ([`host_lacks`]) and reported by the machine itself, never faked.

mod cgroup;
mod forward;
mod network;
mod root;

use super::{Ended, Power, Provider};
use crate::MachinePlan;
use crate::founding::HARNESS_ADDRESS;
use crate::machine::last_lines;
use crate::plan::{ClusterPlan, KUBERNETES_PORT, MACHINE_API_PORT};
use crate::switch::Faults;
use anyhow::{Context, Result, bail, ensure};
use network::Network;
use nix::sched::{CloneFlags, unshare};
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// init's exit code when the machine wants to start again (init/src/power.rs).
const EXIT_REBOOT: i32 = 80;
/// init's exit code when the machine is off.
const EXIT_POWER_OFF: i32 = 81;
/// Where machines of this provider reach the registry, on [`HARNESS_ADDRESS`].
const REGISTRY_PORT: u16 = 5000;

/// Runs machines as processes in namespaces.
pub struct Namespaces {
    network: Arc<Network>,
}

/// A running machine's switches.
struct Case {
    init: OwnedFd,
    is_reset: Arc<AtomicBool>,
}

/// What machines of this provider go without on this host, a sentence each.
pub fn host_lacks() -> Vec<String> {
    let mut lacks =
        vec!["no firmware, no kernel of its own, no verified root: this proves pods, not the OS".to_owned()];
    let controllers = cgroup::MOUNTS
        .iter()
        .find_map(|mount| std::fs::read_to_string(format!("{mount}/cgroup.controllers")).ok());
    let has = |name: &str| {
        controllers
            .iter()
            .any(|list| list.split_whitespace().any(|word| word == name))
    };
    let missing: Vec<&str> = ["cpu", "memory", "pids"]
        .into_iter()
        .filter(|name| !has(name))
        .collect();
    if !missing.is_empty() {
        let missing = missing.join(", ");
        lacks.push(format!(
            "this host offers no cgroup v2 controllers for {missing}: pods run without those limits"
        ));
    }
    lacks
}

// === impl Namespaces ===

impl Namespaces {
    /// For these machines; starts their network, and the forwarders between it and this host's loopback.
    pub fn start(plan: &ClusterPlan, machines: &[MachinePlan]) -> Result<Self> {
        ensure!(
            rustix::process::geteuid().is_root(),
            "the namespaces provider needs root, because it makes namespaces and mounts: run it as root or with sudo"
        );
        let network = Arc::new(Network::start(HARNESS_ADDRESS)?);
        for machine in machines {
            let address = machine.cluster_address();
            open_port(
                &network,
                machine.ports.kubernetes,
                SocketAddrV4::new(address, KUBERNETES_PORT),
            )?;
            open_port(
                &network,
                machine.ports.machine_api,
                SocketAddrV4::new(address, MACHINE_API_PORT),
            )?;
        }
        let listener = network.listen(SocketAddrV4::new(HARNESS_ADDRESS, REGISTRY_PORT))?;
        let registry = SocketAddrV4::new(Ipv4Addr::LOCALHOST, plan.registry_port);
        forward::start(listener, move || TcpStream::connect(registry))?;
        for lack in host_lacks() {
            tracing::warn!("{lack}");
        }
        Ok(Self { network })
    }

    /// Start init on the calling thread, which must be a fresh one: it never leaves the namespaces that it makes.
    fn spawn(&self, plan: &MachinePlan) -> Result<Child> {
        let console = File::options().create(true).append(true).open(&plan.console);
        let console = console.with_context(|| format!("open {}", plan.console.display()))?;
        let nothing = File::open("/dev/null").context("open /dev/null")?;
        root::place_config(plan)?;
        let all = CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWPID
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWIPC;
        unshare(all).context("make namespaces for a machine")?;
        self.network
            .plug_in(plan.number, &File::open("/proc/thread-self/ns/net")?)?;
        root::enter(plan)?;
        let mut init = Command::new("/usr/bin/init");
        init.env_clear()
            .env("PINTLE_PROVIDER", "namespaces")
            .env("PINTLE_MACHINE", host_name(plan))
            .current_dir("/")
            .stdin(nothing)
            .stdout(console.try_clone()?)
            .stderr(console);
        linux::lifeline::die_with_thread(&mut init);
        init.spawn()
            .with_context(|| format!("start init of {}", plan.spec.name))
    }

    fn run_here(&self, plan: &MachinePlan, started: &mut dyn FnMut(Arc<dyn Power>)) -> Result<Ended> {
        let mut child = self.spawn(plan)?;
        let is_reset = Arc::new(AtomicBool::new(false));
        started(Arc::new(Case {
            init: pidfd_open(rustix::process::Pid::from_child(&child), PidfdFlags::empty())?,
            is_reset: is_reset.clone(),
        }));
        let status = child.wait().context("wait for a machine's init")?;
        cgroup::sweep(&host_name(plan));
        match (status.code(), status.signal()) {
            (Some(EXIT_REBOOT), _) => Ok(Ended::Reboot),
            (Some(EXIT_POWER_OFF), _) => Ok(Ended::PowerOff),
            (None, Some(_)) if is_reset.load(Ordering::Relaxed) => Ok(Ended::Reboot),
            (None, Some(signal)) if signal == Signal::KILL.as_raw() => Ok(Ended::PowerOff),
            (Some(_) | None, _) => bail!("init of {} ended with {status}", plan.spec.name),
        }
    }
}

impl Provider for Namespaces {
    fn run(&self, plan: &MachinePlan, started: &mut (dyn FnMut(Arc<dyn Power>) + Send)) -> Result<Ended> {
        let run = || self.run_here(plan, started);
        let ended = std::thread::scope(|scope| scope.spawn(run).join());
        let ended = ended.map_err(|_| anyhow::anyhow!("the thread of {} panicked", plan.spec.name))?;
        ended.with_context(|| {
            let console = std::fs::read_to_string(&plan.console).unwrap_or_default();
            format!(
                "run {} in namespaces; its console ends with\n{}\n",
                plan.spec.name,
                last_lines(&console, 5)
            )
        })
    }

    fn set_faults(&self, faults: Faults) -> Result<()> {
        ensure!(
            faults == Faults::default(),
            "the namespaces provider cannot disturb its network: its switch is the host kernel's; use the provider qemu"
        );
        Ok(())
    }
}

// === impl Case ===

impl Power for Case {
    fn cut(&self) -> Result<()> {
        match pidfd_send_signal(&self.init, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error).context("kill a machine's init"),
        }
    }

    fn reset(&self) -> Result<()> {
        self.is_reset.store(true, Ordering::Relaxed);
        self.cut()
    }

    /// What a kernel sends to PID 1 upon these keys (reboot(2), `LINUX_REBOOT_CMD_CAD_OFF`).
    fn ctrl_alt_del(&self) -> Result<()> {
        pidfd_send_signal(&self.init, Signal::INT).context("send SIGINT to a machine's init")
    }
}

/// A name for the machine that no other on this host has.
fn host_name(plan: &MachinePlan) -> String {
    format!("{}.{}", plan.cluster, plan.spec.name)
}

/// Forward `port` of this host's loopback to a machine.
fn open_port(network: &Arc<Network>, port: u16, target: SocketAddrV4) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let listener = listener.with_context(|| format!("listen on port {port} of 127.0.0.1 for {target}"))?;
    let network = network.clone();
    forward::start(listener, move || network.dial(target))
}
