//! The control plane in one process: API server, scheduler, controllers.

mod audit;
mod bootstrap;
mod plane;
mod run;
mod seal;
mod serve;

use anyhow::Context;
use clap::{Parser, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;
use tracing_subscriber::EnvFilter;

/// Requests are many small allocations on one thread that another frees.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Two cores are the smallest machine; more workers would only cost memory while they idle.
const WORKERS: usize = 2;

/// Runs Pintle's control plane.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// As a part of a machine, with what its agent wrote.
    Run {
        /// The machine config.
        #[arg(long)]
        config: PathBuf,
        /// Its secrets.
        #[arg(long)]
        secrets: PathBuf,
        /// The folder that keeps the cluster's state.
        #[arg(long)]
        data: PathBuf,
    },
    /// Alone on any host, with certificates of its own making.
    Serve {
        /// The folder that keeps the cluster's state, its certificates and a kubeconfig.
        #[arg(long)]
        data: PathBuf,
        /// Where to listen; port 0 takes a free one.
        #[arg(long, default_value = "127.0.0.1:6443")]
        listen: SocketAddr,
        /// Keep the cluster's state in this etcd instead of in the folder: `http://host:port`, several separated by commas.
        #[arg(long, value_delimiter = ',', value_name = "ENDPOINTS")]
        etcd: Vec<String>,
        /// Write down requests as this `audit.k8s.io/v1` Policy says.
        #[arg(long, value_name = "FILE", requires = "audit_log")]
        audit_policy: Option<PathBuf>,
        /// Write them to this file, one JSON event a line.
        #[arg(long, value_name = "FILE", requires = "audit_policy")]
        audit_log: Option<PathBuf>,
        /// Print each state change, not only what a person must look at.
        #[arg(long)]
        verbose: bool,
    },
}

/// A huge page stays whole while a corner of it is in use: an idle control plane held 26 MB so, of which it used 11.
fn keep_pages_small() {
    if let Err(cause) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::warn!(%cause, "huge pages could not be switched off for this process; it will hold more memory");
    }
}

/// Each client's connection is a file: as many as the host allows.
fn take_all_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: maximum,
        maximum,
    };
    if current != maximum
        && let Err(cause) = setrlimit(Resource::Nofile, all)
    {
        tracing::warn!(%cause, ?current, "the limit of open files could not be raised; it bounds the number of clients");
    }
}

fn main() -> anyhow::Result<()> {
    let Arguments { command } = Arguments::parse();
    let level = if matches!(command, Command::Serve { verbose: false, .. }) {
        "warn"
    } else {
        "info"
    };
    let filter = EnvFilter::try_from_env("PINTLE_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
    keep_pages_small();
    take_all_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .context("start the async runtime")?;
    runtime.block_on(async {
        match command {
            Command::Run { config, secrets, data } => run::run(&config, &secrets, &data).await,
            Command::Serve {
                data,
                listen,
                etcd,
                audit_policy,
                audit_log,
                verbose: _,
            } => {
                let files = audit_policy.zip(audit_log);
                let audit = files.map(|(policy, log)| audit::of_files(&policy, &log)).transpose()?;
                serve::serve(&data, listen, &etcd, audit).await
            }
        }
    })
}
