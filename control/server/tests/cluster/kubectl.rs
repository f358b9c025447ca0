//! The real kubectl, of PATH or of the tools tree, with a kubeconfig for a test's cluster.

use super::Cluster;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// One kubectl with one kubeconfig.
pub struct Kubectl {
    pub program: PathBuf,
    pub kubeconfig: PathBuf,
}

// === impl Kubectl ===

impl Kubectl {
    pub fn of(cluster: &Cluster) -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let program = std::env::split_paths(&path)
            .map(|folder| folder.join("kubectl"))
            .chain(std::env::var_os("PINTLE_TOOLS_TREE").map(|tools| Path::new(&tools).join("usr/bin/kubectl")))
            .find(|program| program.is_file());
        let Some(program) = program else {
            eprintln!(
                "SKIPPED: there is no kubectl in PATH nor under $PINTLE_TOOLS_TREE, so nothing here was tried with one"
            );
            return None;
        };
        let kubeconfig = cluster.folder.path().join("kubeconfig");
        let text = identity::cluster::kubeconfig(&cluster.bundle, &format!("https://{}", cluster.address)).unwrap();
        std::fs::write(&kubeconfig, text).unwrap();
        Some(Self { program, kubeconfig })
    }

    /// What it printed; it must succeed.
    pub async fn run(&self, arguments: &str, input: &str) -> String {
        let output = self.output(arguments, input).await;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "kubectl {arguments}: {}{printed}",
            String::from_utf8_lossy(&output.stderr)
        );
        printed
    }

    /// What it complained about; it must fail.
    pub async fn fail(&self, arguments: &str, input: &str) -> String {
        let output = self.output(arguments, input).await;
        assert!(!output.status.success(), "kubectl {arguments} succeeded");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    pub async fn output(&self, arguments: &str, input: &str) -> Output {
        let mut command = Command::new(&self.program);
        command
            .args(["--kubeconfig"])
            .arg(&self.kubeconfig)
            .args(arguments.split(' '));
        command.env("HOME", self.kubeconfig.parent().unwrap());
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let input = input.to_owned();
        tokio::task::spawn_blocking(move || {
            let mut child = command.spawn().unwrap();
            child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
            child.wait_with_output().unwrap()
        })
        .await
        .unwrap()
    }
}
