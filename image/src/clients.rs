//! The clients that other people drive the Kubernetes API with, each as its own installer gets it from its own registry.

use crate::cache::{Inputs, product};
use crate::progress::Progress;
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The Python client, with the versions of Kubernetes in its name.
const PYTHON: &str = "kubernetes==37.0.2";
/// The JavaScript client: the last line that Node 18 to 24 run; 2.x needs Node 22.
const JAVASCRIPT: &str = "@kubernetes/client-node@1.4.0";

/// Half a minute each on a slow line; a registry that says nothing for so long says nothing.
const INSTALL_DEADLINE: Duration = Duration::from_secs(600);

/// What became of a client.
pub enum Installed {
    /// In this folder.
    At(PathBuf),
    /// The host has no such installer, or it does not start.
    NoInstaller(String),
}

/// The Python client: a folder for `PYTHONPATH`.
pub fn python(progress: &Progress) -> Result<Installed> {
    let Some(version) = answer("python3", &["-m", "pip", "--version"]) else {
        return Ok(Installed::NoInstaller("python3 -m pip".to_owned()));
    };
    // Compiled parts fit one Python only, which pip names with itself.
    let inputs = Inputs::new("client of python 1").text(PYTHON).text(&version);
    let folder = product("client-python", inputs, |into| {
        let step = progress.step("python client");
        let arguments = ["-m", "pip", "install", "--quiet", "--no-input", "--no-cache-dir"];
        let mut pip = Command::new("python3");
        pip.args(arguments)
            .args(["--disable-pip-version-check", "--root-user-action=ignore", "--target"])
            .arg(into)
            .arg(PYTHON);
        install(pip)?;
        step.done(None);
        Ok(())
    })?;
    Ok(Installed::At(folder))
}

/// The JavaScript client: a folder with `node_modules` in it.
pub fn javascript(progress: &Progress) -> Result<Installed> {
    if answer("npm", &["--version"]).is_none() || answer("node", &["--version"]).is_none() {
        return Ok(Installed::NoInstaller("npm and node".to_owned()));
    }
    let inputs = Inputs::new("client of javascript 1").text(JAVASCRIPT);
    let folder = product("client-javascript", inputs, |into| {
        let step = progress.step("javascript client");
        let downloads = tempfile::tempdir()?;
        let mut npm = Command::new("npm");
        npm.args([
            "install",
            "--silent",
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            "--cache",
        ])
        .arg(downloads.path())
        .arg("--prefix")
        .arg(into)
        .arg(JAVASCRIPT);
        install(npm)?;
        step.done(None);
        Ok(())
    })?;
    Ok(Installed::At(folder))
}

/// What a program says of itself; none if there is no such program or it fails.
fn answer(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then_some(said)
}

fn install(mut command: Command) -> Result<()> {
    let words = words(&command);
    let mut child = command
        .stdin(Stdio::null())
        .spawn()
        .with_context(|| format!("start `{words}`"))?;
    let end = Instant::now() + INSTALL_DEADLINE;
    loop {
        if let Some(status) = child.try_wait()? {
            match status.success() {
                true => return Ok(()),
                false => bail!("`{words}` ended with {status}; its words stand above"),
            }
        }
        if Instant::now() > end {
            child.kill()?;
            child.wait()?;
            bail!("`{words}` did not end within {} s", INSTALL_DEADLINE.as_secs());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn words(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
