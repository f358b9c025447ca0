//! `pintlectl health`: is the cluster healthy? The definition is the harness's, so tests and people see the same.

use super::{Target, block_on};
use crate::print::line;
use anyhow::{Context, Result};
use clap::Args;
use qemu::health::{Findings, examine};
use qemu::kubernetes::Kubernetes;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Between two looks while waiting.
const LOOK: Duration = Duration::from_millis(500);

/// What it is told.
#[derive(Args)]
pub struct Health {
    /// Kubeconfig. Default: the one beside the identity file.
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Wait so many seconds for health.
    #[arg(long, default_value_t = 0, value_name = "SECONDS")]
    wait: u64,
}

/// Prints what was found; fails where something is wrong.
pub fn run(target: &Target, told: &Health) -> Result<ExitCode> {
    let identity = target.identity_file()?;
    let kubeconfig = match &told.kubeconfig {
        Some(path) => path.clone(),
        None => target.identity_path()?.with_file_name("kubeconfig"),
    };
    let kubernetes = Kubernetes::from_kubeconfig(&kubeconfig).with_context(|| {
        format!(
            "use kubeconfig {}; say --kubeconfig FILE for another",
            kubeconfig.display()
        )
    })?;
    let deadline = Instant::now() + Duration::from_secs(told.wait);
    let findings = block_on(async {
        loop {
            let findings = examine(&identity, &kubernetes).await;
            if findings.problems().is_empty() || Instant::now() >= deadline {
                return Ok(findings);
            }
            tokio::time::sleep(LOOK).await;
        }
    })?;
    print(&identity.cluster, &findings)
}

fn print(cluster: &str, findings: &Findings) -> Result<ExitCode> {
    let problems = findings.problems();
    if problems.is_empty() {
        let count = findings.machines.len();
        line(format!(
            "{cluster} is healthy: {count} machine{} answer, the API server is ready, nodes are Ready",
            if count == 1 { "" } else { "s" }
        ))?;
        return Ok(ExitCode::SUCCESS);
    }
    line(format!("{cluster} is not healthy:"))?;
    for problem in problems {
        line(format!("  {problem}"))?;
    }
    Ok(ExitCode::FAILURE)
}
