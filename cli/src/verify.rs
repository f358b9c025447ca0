//! `pintlectl verify`: everything that has to hold, step by step, with a summary at the end.

mod fuzz;

use crate::elevate;
use anyhow::{Context, Result};
use clap::Args;
use image::Progress;
use image::clients::{self, Installed};
use qemu::Artifacts;
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// For each target of the fuzzing: what a person waits for, not what finds the last fault.
const FUZZ_SECONDS: u64 = 10;

/// What it is told.
#[derive(Args)]
pub struct Verify {
    /// Nothing but the fuzzing, so many seconds for each target
    #[arg(long, value_name = "SECONDS")]
    fuzz: Option<u64>,
    /// Only these targets of it
    #[arg(requires = "fuzz")]
    targets: Vec<String>,
}

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
pub fn run(verify: Verify) -> Result<ExitCode> {
    if let Some(seconds) = verify.fuzz {
        let fuzz = || fuzz::run(&image::source_dir(), seconds, &verify.targets);
        return Ok(summary(&[step("fuzz", fuzz)]));
    }
    elevate::ensure_root("the image and the machines of the tests need file systems and namespaces")?;
    let source = image::source_dir();
    // Those that need a registry or other programs that a host need not have find them by these.
    let mut told: Vec<(&str, OsString)> = Vec::new();
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
                told.push(("PINTLE_TOOLS_TREE", artifacts.tools.into()));
                Ok(Outcome::Passed)
            }
            Err(error) => Ok(Outcome::Failed(format!("{error:#}"))),
        }),
        step("python", || client("PINTLE_PYTHON_CLIENT", clients::python, &mut told)),
        step("javascript", || {
            client("PINTLE_JAVASCRIPT_CLIENT", clients::javascript, &mut told)
        }),
        step("tests", || {
            let mut command = image::cargo(&source);
            command.envs(told.iter().map(|(name, value)| (name, value)));
            outcome(command.args(["test", "--workspace", "--no-fail-fast"]))
        }),
        step("fuzz", || fuzz::run(&source, FUZZ_SECONDS, &[])),
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

/// Installs a client that others wrote; where it lies is told to the tests.
fn client(
    variable: &'static str,
    install: fn(&Progress) -> Result<Installed>,
    told: &mut Vec<(&'static str, OsString)>,
) -> Result<Outcome> {
    Ok(match install(&Progress::new())? {
        Installed::At(folder) => {
            told.push((variable, folder.into()));
            Outcome::Passed
        }
        Installed::NoInstaller(what) => {
            Outcome::Skipped(format!("there is no {what} here, so this client was NOT tried"))
        }
    })
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
        eprintln!("{sign}  {:10} {:>7.1} s  {why}", step.name, step.took.as_secs_f64());
    }
    match steps.iter().any(|step| matches!(step.outcome, Outcome::Failed(_))) {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}
