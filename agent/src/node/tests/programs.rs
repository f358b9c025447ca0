//! The programs that a test cluster is made of, and who may do anything in it.

use config::{Bundle, KeyPair, Secrets};
use identity::{Authority, Leaf, Purpose};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

/// The folder with `control` and `pod-init`, or which of them is not built.
pub fn programs() -> Result<PathBuf, String> {
    let myself = std::env::current_exe().unwrap();
    let folder = myself.ancestors().nth(2).unwrap().to_owned();
    for name in ["control", "pod-init"] {
        if !folder.join(name).exists() {
            return Err(format!(
                "the program {name} in {} (cargo build -p {name})",
                folder.display()
            ));
        }
    }
    Ok(folder)
}

/// A control plane with everything in `folder`; as it was where there was one.
pub fn control(folder: &Path, config: &str, secrets: &Secrets) -> Child {
    std::fs::write(folder.join("config.toml"), config).unwrap();
    std::fs::write(folder.join("secrets.toml"), toml::to_string(secrets).unwrap()).unwrap();
    let mut command = Command::new(programs().unwrap().join("control"));
    command.arg("run");
    for (option, name) in [
        ("--config", "config.toml"),
        ("--secrets", "secrets.toml"),
        ("--data", "control"),
    ] {
        command.arg(option).arg(folder.join(name));
    }
    command.spawn().unwrap()
}

/// The cluster's administrator.
pub fn admin(bundle: &Bundle) -> KeyPair {
    let authority = Authority::from_pem(&bundle.cluster_ca.certificate, &bundle.cluster_ca.key).unwrap();
    let leaf = Leaf {
        common_name: "kubernetes-admin".to_owned(),
        organizations: vec!["system:masters".to_owned()],
        names: Vec::new(),
        purpose: Purpose::Client,
    };
    authority.issue(&leaf).unwrap()
}
