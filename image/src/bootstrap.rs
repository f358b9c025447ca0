//! A Debian root from Debian's mirrors: by mmdebstrap, or by debootstrap where there is no mmdebstrap and none to be had.

use crate::cache::cache_dir;
use crate::enter;
use anyhow::{Context, Result, bail};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The keys of Debian's mirrors: part of Debian, a package on others.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// debootstrap's recipes; an old one has none for a new suite, and unstable's is the one for all of them.
const RECIPES: &str = "/usr/share/debootstrap/scripts";
/// In the place of a mirror: the one that debootstrap takes by itself (debootstrap(8)); its recipe can only follow one.
const DEFAULT_MIRROR: &str = "";
/// What a program inside the tree needs of the environment to reach the mirrors as the host does.
const PROXIES: [&str; 6] = [
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
];
/// Answers Debian's question whether a just installed service may start (invoke-rc.d(8)): no.
const NO_SERVICES: &str = "#!/bin/sh\nexit 101\n";

/// Who makes roots on this host.
#[derive(Debug, PartialEq, Eq)]
enum Bootstrapper {
    Mmdebstrap(PathBuf),
    Debootstrap(PathBuf),
}

/// Makes the root of `suite` with `packages` besides the essential ones at `root`; needs root.
pub fn run(root: &Path, suite: &str, packages: &[&str]) -> Result<()> {
    fs::create_dir_all(cache_dir()).context("make the cache folder")?;
    let log = cache_dir().join("tools.log");
    let packages = packages.join(",");
    let found = bootstrapper()?;
    ensure_keyring()?;
    match found {
        Bootstrapper::Mmdebstrap(program) => {
            let mut command = Command::new(program);
            command
                .arg("--variant=apt")
                .arg(format!("--include={packages}"))
                .arg(suite)
                .arg(root);
            enter::run("make the tools tree", &mut command, &log)
        }
        Bootstrapper::Debootstrap(program) => {
            let mut command = Command::new(program);
            command.args(debootstrap_arguments(suite, root));
            enter::run("make the tools tree", &mut command, &log)?;
            // debootstrap does not weigh alternatives of dependencies; the tree's own apt does.
            install_inside(root, &packages, &log)
        }
    }
}

fn debootstrap_arguments(suite: &str, root: &Path) -> Vec<std::ffi::OsString> {
    let mut arguments = vec![
        "--variant=minbase".into(),
        suite.into(),
        root.into(),
        DEFAULT_MIRROR.into(),
    ];
    if !Path::new(RECIPES).join(suite).exists() {
        arguments.push(Path::new(RECIPES).join("sid").into());
    }
    arguments
}

fn install_inside(root: &Path, packages: &str, log: &Path) -> Result<()> {
    let policy = root.join("usr/sbin/policy-rc.d");
    fs::write(&policy, NO_SERVICES).context("forbid services in the tools tree")?;
    fs::set_permissions(&policy, PermissionsExt::from_mode(0o755))?;
    let scratch = tempfile::tempdir().context("make a folder for the tools tree's apt")?;
    let mut command = enter::command(root, scratch.path(), "apt-get");
    command
        .args(["install", "--yes", "--no-install-recommends"])
        .args(packages.split(','))
        .env("DEBIAN_FRONTEND", "noninteractive");
    for name in PROXIES {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    enter::run("fill the tools tree", &mut command, log)?;
    fs::remove_file(&policy).context("allow services in the tools tree again")
}

/// The one that is here; else the better one of those that can be installed: the only package that the host itself needs.
fn bootstrapper() -> Result<Bootstrapper> {
    if let Some(found) = installed() {
        return Ok(found);
    }
    let mut failures = Vec::new();
    for package in ["mmdebstrap", "debootstrap"] {
        match install(package) {
            Ok(()) => match installed() {
                Some(found) => return Ok(found),
                None => failures.push(format!(
                    "{package} was installed, but is in none of the folders of PATH"
                )),
            },
            Err(error) => failures.push(format!("{error:#}")),
        }
    }
    bail!(
        "make the tools tree: it needs mmdebstrap or debootstrap, and neither could be installed; install one of them: {}",
        failures.join("; ")
    )
}

fn installed() -> Option<Bootstrapper> {
    let found = find("mmdebstrap").map(Bootstrapper::Mmdebstrap);
    found.or_else(|| find("debootstrap").map(Bootstrapper::Debootstrap))
}

/// Without the keys one of them refuses and the other does not look at signatures.
fn ensure_keyring() -> Result<()> {
    match Path::new(KEYRING).exists() {
        true => Ok(()),
        false => install("debian-archive-keyring"),
    }
}

fn install(package: &str) -> Result<()> {
    eprintln!("installing {package} with apt-get: nothing else on this machine is changed");
    let log = cache_dir().join("apt.log");
    fs::write(&log, "").context("empty apt-get's log")?;
    enter::run("update the package lists", Command::new("apt-get").arg("update"), &log)?;
    let mut command = Command::new("apt-get");
    command
        .args(["install", "--yes", "--no-install-recommends", package])
        .env("DEBIAN_FRONTEND", "noninteractive");
    enter::run(&format!("install {package}"), &mut command, &log)
}

/// A program of the host; a person's PATH often lacks the folders of root's programs.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let sbin = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(sbin)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_suite_gets_the_recipe_of_unstable() {
        let words = debootstrap_arguments("no-such-suite", Path::new("/tree"));
        assert_eq!(words[..3], ["--variant=minbase", "no-such-suite", "/tree"]);
        assert_eq!(words.last().unwrap(), "/usr/share/debootstrap/scripts/sid");
    }
}
