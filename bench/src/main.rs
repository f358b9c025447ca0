//! Measures any Kubernetes API server through its kubeconfig: the same requests against Pintle and against another.
//!
//! One line of JSON a result on standard output, a table for people on standard error.

mod fan_out;
mod latency;
mod list;
mod machine;
mod node;
mod pods;
mod process;
mod report;
mod start;
mod target;
mod writes;

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};
use report::Report;
use std::path::PathBuf;
use std::time::Duration;
use target::Target;

/// Requests are many small allocations, and the cores are the server's too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures an API server.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    /// Which server; by default $KUBECONFIG.
    #[arg(long, env = "KUBECONFIG", global = true)]
    kubeconfig: Option<PathBuf>,
    /// The server's process, whose memory and CPU time are read beside.
    #[arg(long, global = true)]
    server_pid: Option<u32>,
    /// Where objects are made; it is created, and deleted in the end.
    #[arg(long, default_value = "bench", global = true)]
    namespace: String,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Everything, with the numbers of the project's targets.
    All,
    /// Rates and latencies of create, update, patch and get of ConfigMaps.
    Writes {
        /// How many connections, each with one request at a time; several runs if given more than once.
        #[arg(long, default_values_t = [1, 64])]
        connections: Vec<usize>,
        /// How long each run lasts.
        #[arg(long, default_value_t = 5)]
        seconds: u64,
    },
    /// LIST of many Pods: time, bytes, the server's memory; and what one object costs.
    List {
        /// How many Pods are made first.
        #[arg(long, default_value_t = 100_000)]
        objects: usize,
    },
    /// Watchers of one namespace: events a second, lag.
    FanOut(fan_out::Load),
    /// Pods on real nodes: create to Running as a watcher sees it, and how many start a second.
    Pods {
        /// A container image whose program goes on until it is killed.
        #[arg(long)]
        image: String,
        /// How many pods each measurement makes; the nodes must have room for twice as many.
        #[arg(long, default_value_t = 50)]
        pods: usize,
    },
    /// Containers without a cluster: create, start and delete by Pintle's sandbox, and by other runtimes, on this machine.
    Node(node::Asked),
    /// The same in a virtual machine, beside crun and runc.
    Machine(machine::Asked),
    /// The time from starting a server until /readyz says ok.
    Start {
        /// How many times.
        #[arg(long, default_value_t = 5)]
        times: usize,
        /// The server's program and arguments.
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the async runtime")?;
    runtime.block_on(run(arguments))
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let mut report = Report::default();
    if let What::Node(asked) = arguments.what {
        // On a thread that hears the kernel itself, as the agent's workers are.
        let measured = tokio::spawn(async move {
            let outcome = node::measure(&asked, &mut report).await;
            report.table();
            outcome
        });
        return measured.await.context("measure containers")?;
    }
    if let What::Machine(asked) = &arguments.what {
        return tokio::task::block_in_place(|| machine::measure(asked));
    }
    let Some(kubeconfig) = arguments.kubeconfig else {
        bail!("no API server given: set KUBECONFIG or use --kubeconfig");
    };
    let target = Target::new(kubeconfig, arguments.namespace, arguments.server_pid);
    if let What::Start { times, command } = &arguments.what {
        start::measure(&target, command, *times, &mut report).await?;
        report.table();
        return Ok(());
    }
    target.prepare().await?;
    let outcome = measure(&target, &arguments.what, &mut report).await;
    // What was measured before a failure is still true.
    report.table();
    let cleaned = target.clean().await;
    outcome.and(cleaned)
}

async fn measure(target: &Target, what: &What, report: &mut Report) -> anyhow::Result<()> {
    match what {
        What::Writes { connections, seconds } => {
            for connections in connections {
                writes::measure(target, *connections, Duration::from_secs(*seconds), report).await?;
            }
        }
        What::List { objects } => list::measure(target, *objects, report).await?,
        What::FanOut(load) => fan_out::measure(target, *load, report).await?,
        What::All => {
            process::idle(target, report).await?;
            for connections in [1, 64] {
                writes::measure(target, connections, Duration::from_secs(5), report).await?;
            }
            for writers in [1, 64] {
                fan_out::measure(target, fan_out::Load::of(writers), report).await?;
            }
            list::measure(target, 100_000, report).await?;
        }
        What::Pods { image, pods } => pods::measure(target, &pods::Asked { image, pods: *pods }, report).await?,
        What::Start { .. } | What::Node(_) | What::Machine(_) => {}
    }
    Ok(())
}
