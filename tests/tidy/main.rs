//! The tidy check: what a program can see of ARCHITECTURE.md's invariants and of the code style.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

mod dependencies;
mod layers;
mod sources;

use std::path::{Path, PathBuf};

/// The checkout.
fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent()
        .expect("tests is a room of the workspace because cargo compiled it there")
        .to_owned()
}

/// `cargo metadata`, with or without the packages of others.
fn metadata(arguments: &[&str]) -> serde_json::Value {
    let output = std::process::Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .args(arguments)
        .current_dir(workspace())
        .output()
        .expect("cargo starts because it started this test");
    assert!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON because its format is stable")
}

/// Fails with all findings at once.
fn assert_none(rule: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{rule}:\n  {}", findings.join("\n  "));
}
