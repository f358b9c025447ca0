//! `agent`: the node: the machine API, and the loop that makes pods real.

mod acquire;
mod boottime;
mod control;
mod events;
mod host;
mod init;
mod machine;
mod maintenance;
mod node;
mod places;
mod pods;
mod state;

use acquire::{Acquired, Running};
use anyhow::Context;
use config::Role;
use machine::Machine;
use node::{NodeContext, Paths};
use places::Places;
use proto::machine::v1::Stage;
use std::convert::Infallible;
use std::process::ExitCode;
use std::sync::Arc;

/// Enough for a machine API call beside the pods' loop; each thread more costs memory that is never given back.
const THREADS: usize = 2;
/// Unpacking layers and asking init block; more at once only makes them slower.
const BLOCKING_THREADS: usize = 8;

fn main() -> ExitCode {
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
    machine.mark("agent-started");
    let running = match acquire::acquire(&machine.places) {
        Acquired::Config(running) => *running,
        Acquired::Nothing(reasons) => return Err(maintenance::wait_for_config(&machine, &reasons).await.into()),
    };
    let running = Arc::new(running);
    machine.run_with(Arc::clone(&running));
    host::set_name(&running.config.machine.name);
    let _api = machine::serve(&machine, &running.secrets)
        .await
        .context("start the machine API")?;
    machine.mark("machine-api");
    host::bring_up(&machine, &running.config).await;
    machine.mark("network-ready");
    if running.config.machine.roles.contains(&Role::ControlPlane) {
        control::start(&machine, &running)
            .await
            .context("start the control plane")?;
        machine.mark("control-started");
    }
    if running.config.machine.roles.contains(&Role::Worker) {
        be_a_node(&machine, &running).await
    } else {
        machine.enter(Stage::Running);
        std::future::pending().await
    }
}

async fn be_a_node(machine: &Arc<Machine>, running: &Running) -> ! {
    let marks = {
        let machine = Arc::clone(machine);
        Arc::new(move |name: &str| {
            machine.mark(name);
            if name == "node-ready" {
                machine.enter(Stage::Running);
            }
        })
    };
    let context = NodeContext {
        config: Arc::new(running.config.clone()),
        secrets: Arc::new(running.secrets.clone()),
        paths: Paths::machine(),
        marks,
        face_port: node::FACE_PORT,
    };
    node::run(context).await
}
