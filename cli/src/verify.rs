//! `pintlectl verify`: everything that has to hold, step by step, with a summary at the end.

use crate::elevate;
use anyhow::{Context, Result};
use clap::Args;
use image::Progress;
use qemu::Artifacts;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// What it is told.
#[derive(Args)]
pub struct Verify {}

/// What became of a step.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed(String),
    /// The host lacks what the step needs.
    Skipped(String),
}

struct Step {
    name: &'static str,
    outcome: Outcome,
    took: Duration,
}

/// All steps, also after one that failed: a person wants to see everything at once.
pub fn run(_told: Verify) -> Result<ExitCode> {
    elevate::ensure_root("the image and the machines of the tests need file systems and namespaces")?;
    let source = image::source_dir();
    let mut tools = None;
    let steps = [
        step("format", || component(&source, "fmt", &["fmt", "--all", "--check"])),
        step("lints", || {
            component(
                &source,
                "clippy",
                &[
                    "clippy",
                    "--quiet",
                    "--workspace",
                    "--all-targets",
                    "--",
                    "--deny",
                    "warnings",
                ],
            )
        }),
        step("image", || match Artifacts::build(&Progress::new()) {
            Ok(artifacts) => {
                tools = Some(artifacts.tools);
                Ok(Outcome::Passed)
            }
            Err(error) => Ok(Outcome::Failed(format!("{error:#}"))),
        }),
        step("tests", || tests(&source, tools.as_deref())),
    ];
    elevate::give_back_builds()?;
    Ok(summary(&steps))
}

fn step(name: &'static str, run: impl FnOnce() -> Result<Outcome>) -> Step {
    eprintln!("=== {name}");
    let start = Instant::now();
    let outcome = run().unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")));
    Step {
        name,
        outcome,
        took: start.elapsed(),
    }
}

/// A cargo command that is a component of its own, which a bare machine may lack.
fn component(source: &Path, name: &str, arguments: &[&str]) -> Result<Outcome> {
    let version = image::cargo(source)
        .args([name, "--version"])
        .output()
        .context("run cargo")?;
    if version.status.success() {
        return cargo(source, arguments);
    }
    Ok(Outcome::Skipped(format!(
        "cargo {name} is not installed here, so this was NOT checked"
    )))
}

/// Those that need a registry or other programs that a host need not have find them in the tools tree.
fn tests(source: &Path, tools: Option<&Path>) -> Result<Outcome> {
    let mut command = image::cargo(source);
    if let Some(tools) = tools {
        command.env("PINTLE_TOOLS_TREE", tools);
    }
    outcome(command.args(["test", "--workspace", "--no-fail-fast"]))
}

fn cargo(source: &Path, arguments: &[&str]) -> Result<Outcome> {
    outcome(image::cargo(source).args(arguments))
}

fn outcome(command: &mut Command) -> Result<Outcome> {
    let status = command.status().context("run cargo")?;
    let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
    Ok(match status.success() {
        true => Outcome::Passed,
        false => Outcome::Failed(format!(
            "`cargo {}` ended with {status}; its words stand above",
            words.join(" ")
        )),
    })
}

fn summary(steps: &[Step]) -> ExitCode {
    eprintln!("\n=== summary");
    for step in steps {
        let (sign, why) = match &step.outcome {
            Outcome::Passed => ("passed ", ""),
            Outcome::Failed(why) => ("FAILED ", why.as_str()),
            Outcome::Skipped(why) => ("SKIPPED", why.as_str()),
        };
        eprintln!("{sign}  {:8} {:>7.1} s  {why}", step.name, step.took.as_secs_f64());
    }
    match steps.iter().any(|step| matches!(step.outcome, Outcome::Failed(_))) {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}
