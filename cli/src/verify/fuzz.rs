//! The fuzzing: builds the targets of `tests/fuzz` with the marks that libFuzzer follows, and runs each for a while, two at a
//! time. What reached new code is kept in the cache, so that the next run begins where this one ended.
//!
//! `cargo fuzz` is not used: installing it costs a bare machine more than the run, and it compiles all dependencies anew where
//! this takes those that the tests have compiled, instruments our own crates and optimises them a little.

use super::Outcome;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// The machine's cores, of which a build server has few.
const AT_ONCE: usize = 2;
/// MiB that a target may take; the largest was seen with 200.
const LARGEST_MIB: usize = 2048;
/// Seconds that one input may take, under load.
const SLOWEST: usize = 60;

/// Runs all targets, or those named, so many seconds each.
pub fn run(source: &Path, seconds: u64, only: &[String]) -> Result<Outcome> {
    if !has_cpp_compiler() {
        let why = "there is no C++ compiler here, which libFuzzer needs, so this was NOT done";
        return Ok(Outcome::Skipped(why.to_owned()));
    }
    let mut programs = build(source)?;
    if let Some(unknown) = only.iter().find(|name| !programs.contains_key(*name)) {
        let known: Vec<&str> = programs.keys().map(String::as_str).collect();
        bail!("{unknown:?} is no target; there are {}", known.join(", "));
    }
    programs.retain(|name, _| only.is_empty() || only.contains(name));
    let (waiting, failed) = (Mutex::new(programs.into_iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((name, program)) = next(&waiting) {
                    if let Err(error) = fuzz(source, &name, &program, seconds) {
                        eprintln!("{name}: {error:#}");
                        failed.lock().expect("nobody panics with it").push(name);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().expect("nobody panics with it");
    Ok(match failed.is_empty() {
        true => Outcome::Passed,
        false => Outcome::Failed(format!("{} failed; what each said stands above", failed.join(", "))),
    })
}

fn next<T>(waiting: &Mutex<impl Iterator<Item = T>>) -> Option<T> {
    waiting.lock().expect("nobody panics with it").next()
}

fn has_cpp_compiler() -> bool {
    let compiler = std::env::var_os("CXX").unwrap_or("c++".into());
    let version = Command::new(compiler)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    version.is_ok_and(|status| status.success())
}

/// The targets' programs by their names.
fn build(source: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let output = image::cargo(source)
        .args(["build", "--package", "fuzz", "--features", "libfuzzer", "--bins"])
        .args(["--message-format", "json-render-diagnostics"])
        // Our own crates are executed a thousand times more often than they are compiled; the others are as the tests have them.
        .args(["--config", "profile.dev.opt-level=1"])
        .args(["--config", "profile.dev.package.\"*\".opt-level=0"])
        .env("RUSTC_WORKSPACE_WRAPPER", source.join("tests/fuzz/instrument"))
        .env("CARGO_INCREMENTAL", "0")
        .stderr(Stdio::inherit())
        .output()
        .context("run cargo")?;
    if !output.status.success() {
        bail!("the targets could not be built; why stands above");
    }
    let mut programs = BTreeMap::new();
    for line in output.stdout.split(|byte| *byte == b'\n') {
        let message: serde_json::Value = serde_json::from_slice(line).unwrap_or_default();
        if let (Some(program), Some(name)) = (message["executable"].as_str(), message["target"]["name"].as_str()) {
            programs.insert(name.to_owned(), PathBuf::from(program));
        }
    }
    Ok(programs)
}

/// Runs one target; an error tells how to see again what it found.
fn fuzz(source: &Path, name: &str, program: &Path, seconds: u64) -> Result<()> {
    let folder = image::cache_dir().join("fuzz").join(name);
    let (corpus, found, log) = (folder.join("corpus"), folder.join("found"), folder.join("log"));
    for folder in [&corpus, &found] {
        fs::create_dir_all(folder).with_context(|| format!("make folder {}", folder.display()))?;
    }
    let output = File::create(&log).with_context(|| format!("write {}", log.display()))?;
    let status = Command::new(program)
        .arg(&corpus)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-rss_limit_mb={LARGEST_MIB}"))
        .arg(format!("-timeout={SLOWEST}"))
        .arg(format!("-artifact_prefix={}/", found.display()))
        .arg(format!("-dict={}", source.join("tests/fuzz/words").display()))
        .arg("-print_final_stats=1")
        .stdout(output.try_clone()?)
        .stderr(output)
        .status()
        .with_context(|| format!("run {}", program.display()))?;
    let said = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    if status.success() {
        let done = said.lines().find(|line| line.contains("DONE")).unwrap_or_default();
        eprintln!("{name:13} {}", done.replace('\t', " "));
        return Ok(());
    }
    let told = said.lines().skip_while(|line| !is_a_finding(line)).take(30);
    let told: Vec<&str> = told.collect();
    bail!(
        "ended with {status}; all that it said is in {}\n{}\nWhat it was given lies in {}; `{} FILE` sees it again, and tests/fuzz/found/{name} keeps it.",
        log.display(),
        told.join("\n"),
        found.display(),
        program.display()
    )
}

/// Where the log begins to tell of something found, and not of how it goes.
fn is_a_finding(line: &str) -> bool {
    ["panicked at", "ERROR:", "ALARM:"]
        .iter()
        .any(|word| line.contains(word))
}
