//! Clients that were not written here drive `control serve`: kube-rs, and those of Python and JavaScript, which `cargo verify`
//! installs.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

mod child;
#[path = "clients/kube_rs.rs"]
mod kube_rs;

use child::Control;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The client that verify installed; none, said loudly, where it did not.
fn installed(variable: &str) -> Option<PathBuf> {
    let folder = std::env::var_os(variable).map(PathBuf::from);
    if folder.is_none() {
        eprintln!("SKIPPED: ${variable} names no client, so none was tried; `cargo verify` installs it");
    }
    folder
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

/// Runs a script to its good end. It waits for nothing longer than a minute by itself.
async fn run(mut command: Command) {
    let output = tokio::task::spawn_blocking(move || command.stdin(Stdio::null()).output().unwrap());
    let output = output.await.unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_client_does_everything() {
    let Some(client) = installed("PINTLE_PYTHON_CLIENT") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let _control = Control::start(folder.path()).await;
    let mut python = Command::new("python3");
    python
        .env("PYTHONPATH", client)
        .arg(script("python.py"))
        .arg(folder.path().join("kubeconfig"));
    run(python).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_javascript_client_does_everything() {
    let Some(client) = installed("PINTLE_JAVASCRIPT_CLIENT") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let _control = Control::start(folder.path()).await;
    let mut node = Command::new("node");
    node.arg(script("javascript.mjs"))
        .arg(client)
        .arg(folder.path().join("kubeconfig"));
    run(node).await;
}
