//! `agent`: the node: the machine API, and the loop that makes pods real.

mod acquire;
mod boottime;
mod cdi;
mod control;
mod cri;
mod csi;
mod devices;
mod events;
mod host;
mod init;
mod machine;
mod maintenance;
mod nfs;
mod node;
mod places;
mod pods;
mod seccomp;
mod state;
mod trial;

use acquire::{Acquired, Running, Source};
use anyhow::Context;
use config::Role;
use events::Kind;
use init::Init;
use init_protocol::Request;
use machine::{Api, Machine};
use node::{NodeContext, Paths};
use places::Places;
use proto::machine::v1::Stage;
use std::convert::Infallible;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};

/// Enough for a machine API call beside the pods' loop; each thread more costs memory that is never given back.
const THREADS: usize = 2;
/// Unpacking layers and asking init block; more at once only makes them slower.
const BLOCKING_THREADS: usize = 8;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|word| word == nfs::WORD) {
        return nfs::run(arguments);
    }
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .without_time()
        .with_target(false)
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .max_blocking_threads(BLOCKING_THREADS)
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(run()),
        Err(cause) => Err(anyhow::Error::new(cause).context("start the async runtime")),
    };
    let Err(error) = ended;
    tracing::error!("agent ends: {error:#}");
    ExitCode::FAILURE
}

/// What happens, in this order; init starts the agent again should any of it fail.
async fn run() -> anyhow::Result<Infallible> {
    let machine = Machine::new(Places::machine());
    outlive_pods();
    machine.mark("agent-started");
    let running = match acquire::acquire(&machine.places) {
        Acquired::Config(running) => *running,
        Acquired::Nothing(reasons) => return Err(maintenance::wait_for_config(&machine, &reasons).await.into()),
    };
    let running = Arc::new(running);
    machine.run_with(Arc::clone(&running));
    settle(&machine, &running);
    host::set_name(&running.config.machine.name);
    let node = running
        .config
        .machine
        .roles
        .contains(&Role::Worker)
        .then(|| node_context(&machine, &running));
    if let Some(node) = &node {
        machine.run_pods_from(node.images.clone());
        tokio::spawn(follow_static_pods(Arc::clone(&machine), node.clone()));
    }
    let api = machine::serve(&machine, &running.secrets)
        .await
        .context("start the machine API")?;
    tokio::spawn(end_when_told(api, node.clone()));
    if let Some(node) = &node {
        tokio::spawn(leave_when_told(machine.init.clone(), node.clone()));
    }
    machine.mark("machine-api");
    host::bring_up(&machine, &running.config).await;
    machine.mark("network-ready");
    if running.config.machine.roles.contains(&Role::ControlPlane) {
        control::start(&machine, &running)
            .await
            .context("start the control plane")?;
        machine.mark("control-started");
    }
    match node {
        Some(node) => node::run(node).await,
        None => {
            machine.enter(Stage::Running);
            std::future::pending().await
        }
    }
}

/// The kernel kills pods before the agent, and before the supervisors that it starts; upstream's kubelet has this very number
/// (pkg/kubelet/qos/policy.go). Containers have their own.
fn outlive_pods() {
    if let Err(cause) = std::fs::write("/proc/self/oom_score_adj", "-999") {
        tracing::warn!("be spared when memory is short: {cause}");
    }
}

/// What the place asks for that the config was found in: the firmware's is kept, since the next start may have none; one on
/// trial has its time.
fn settle(machine: &Arc<Machine>, running: &Running) {
    match running.source {
        Source::State => {}
        Source::Firmware => {
            let kept = state::store(&machine.places.state, &running.text, &running.secrets_text);
            let said = match kept {
                Ok(()) => "found in fw_cfg, kept on STATE".to_owned(),
                Err(error) => {
                    format!("found in fw_cfg, not kept on STATE, so the next start needs it there again: {error}")
                }
            };
            machine.events.note(Kind::Config, &running.config.machine.name, said);
        }
        Source::Trial => trial::watch(machine, None),
    }
}

fn node_context(machine: &Arc<Machine>, running: &Running) -> NodeContext {
    let machine = Arc::clone(machine);
    let marks = Arc::new(move |name: &str| {
        machine.mark(name);
        if name == "node-ready" {
            machine.enter(Stage::Running);
        }
    });
    NodeContext::new(running.config.clone(), running.secrets.clone(), Paths::machine(), marks)
}

/// Has the node know of static pods as the machine config changes while everything runs.
async fn follow_static_pods(machine: Arc<Machine>, node: NodeContext) {
    let mut configs = machine.configs();
    while configs.changed().await.is_ok() {
        let running = configs.borrow_and_update().clone();
        let pods = running.map(|running| running.config.node.static_pods.clone());
        node.static_pods.send_if_modified(|present| match pods {
            Some(pods) if *present != pods => {
                *present = pods;
                true
            }
            Some(_) | None => false,
        });
    }
}

/// Ends the pods when init says that the machine goes down, before it says that the agent is to end.
async fn leave_when_told(init: Init, node: NodeContext) {
    let seconds = node.config.node.shutdown.grace_seconds;
    if seconds == 0 {
        return;
    }
    let mut told = match signal(SignalKind::from_raw(nix::libc::SIGPWR)) {
        Ok(told) => told,
        Err(cause) => {
            return tracing::warn!("listen for SIGPWR: {cause}; pods will not know that the machine goes down");
        }
    };
    if let Err(error) = init.ask(Request::Farewell(seconds)).await {
        return tracing::warn!("{error}; pods will not know that the machine goes down");
    }
    told.recv().await;
    pods::shutdown::run(&node).await;
}

/// Ends the agent when init says so, once its callers have their answers; whoever asked for this end is one of them. Pods
/// run on.
async fn end_when_told(api: Api, node: Option<NodeContext>) {
    told_to_end().await;
    if let Some(node) = &node {
        pods::shutdown::last_words(node).await;
    }
    api.end().await;
    std::process::exit(0)
}

/// Until SIGTERM comes.
async fn told_to_end() {
    match signal(SignalKind::terminate()) {
        Ok(mut told) => drop(told.recv().await),
        // Then SIGTERM ends the process by itself, without answers.
        Err(cause) => {
            tracing::warn!("listen for SIGTERM: {cause}");
            std::future::pending().await
        }
    }
}
