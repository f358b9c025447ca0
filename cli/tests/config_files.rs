//! `pintlectl config` on files: what it makes, what it refuses, and with which sentence.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

fn pintlectl(folder: &Path, line: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pintlectl"));
    command
        .current_dir(folder)
        .env("HOME", folder)
        .env_remove("PINTLE_IDENTITY")
        .env_remove("XDG_DATA_HOME");
    command
        .args(line.split(' '))
        .output()
        .expect("pintlectl runs because cargo built it")
}

fn refused(folder: &Path, line: &str) -> String {
    let output = pintlectl(folder, line);
    let said = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
    assert!(!output.status.success(), "{line} was taken");
    assert!(!said.is_empty() && !said.contains("panicked"), "{line}: {said}");
    said
}

fn done(folder: &Path, line: &str) -> String {
    let output = pintlectl(folder, line);
    assert!(
        output.status.success(),
        "{line}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const GENERATE: &str = "config generate --cluster demo --endpoint https://10.0.0.1:6443 \
    --control-plane n1=10.0.0.1/24 --worker n1 --worker n2=10.0.0.2/24@52:54:00:00:00:02 --output out";

#[test]
fn a_cluster_is_made_whole_and_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    done(here, GENERATE);
    for file in [
        "bundle.toml",
        "admin.toml",
        "kubeconfig",
        "machines/n1/secrets.toml",
        "machines/n2/secrets.toml",
    ] {
        let mode = fs::metadata(here.join("out").join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    for machine in ["n1", "n2"] {
        let files = format!("out/machines/{machine}/config.toml --secrets out/machines/{machine}/secrets.toml");
        assert!(done(here, &format!("config validate {files}")).contains("is good"));
    }
    let config = fs::read_to_string(here.join("out/machines/n2/config.toml")).unwrap();
    assert!(
        config.contains("mac = \"52:54:00:00:00:02\"") && config.contains("roles = [\"worker\"]"),
        "{config}"
    );
    let before = fs::read(here.join("out/bundle.toml")).unwrap();
    assert!(refused(here, GENERATE).contains("out is there already"));
    assert_eq!(fs::read(here.join("out/bundle.toml")).unwrap(), before);
}

#[test]
fn bad_words_on_the_command_line_leave_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    for (good, bad, sentence) in [
        (
            "--cluster demo",
            "--cluster Demo",
            "`cluster.name` is \"Demo\", which is no DNS label",
        ),
        ("https://10.0.0.1:6443", "10.0.0.1", "write https://HOST:PORT"),
        ("n2=10.0.0.2/24", "n2=10.0.0.2", "no address with a prefix length"),
        (
            "n2=10.0.0.2/24",
            "n2=10.0.0.0/24",
            "machine n2: 10.0.0.0/24 is a network's own address",
        ),
        ("--worker n1", "--control-plane n1", "n1 is named twice"),
    ] {
        let said = refused(here, &GENERATE.replacen(good, bad, 1));
        assert!(said.contains(sentence), "{bad}: {said}");
        assert_eq!(fs::read_dir(here).unwrap().count(), 0, "{bad} left something behind");
    }
}

#[test]
fn a_bad_config_is_said_with_its_line_and_a_missing_secret_with_its_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    done(here, GENERATE);
    let config = fs::read_to_string(here.join("out/machines/n1/config.toml")).unwrap();
    fs::write(here.join("bad.toml"), config.replace("roles", "rolse")).unwrap();
    let said = refused(here, "config validate bad.toml");
    assert!(
        said.contains("bad.toml:5:1: unknown key `rolse` in `machine`, did you mean `roles`?"),
        "{said}"
    );
    // The worker's secrets lack the control plane's.
    let said = refused(
        here,
        "config validate out/machines/n1/config.toml --secrets out/machines/n2/secrets.toml",
    );
    assert!(
        said.contains("`control-plane` is missing") && said.contains("pintlectl config secrets"),
        "{said}"
    );
    done(
        here,
        "config secrets --bundle out/bundle.toml out/machines/n1/config.toml --output new.toml",
    );
    done(here, "config validate out/machines/n1/config.toml --secrets new.toml");
    let login = "\n[[registry]]\nhost = \"registry.example\"\ntoken = \"t\"\n";
    let before = fs::read_to_string(here.join("new.toml")).unwrap() + login;
    fs::write(here.join("new.toml"), before).unwrap();
    done(
        here,
        "config secrets --bundle out/bundle.toml out/machines/n1/config.toml --logins-of new.toml --output newer.toml",
    );
    assert!(
        fs::read_to_string(here.join("newer.toml"))
            .unwrap()
            .contains("registry.example")
    );
    assert!(done(here, "config schema").contains("\"$schema\""));
}

#[test]
fn calls_without_anybody_to_call_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    assert!(refused(here, "info").contains("as whom? give --identity FILE"));
    assert!(refused(here, "--identity none.toml info").contains("read identity file none.toml"));
    done(here, GENERATE);
    let identity = "--identity out/admin.toml";
    assert!(refused(here, &format!("{identity} --node n9 info")).contains("it lists n1, n2"));
    assert!(refused(here, &format!("{identity} --node 127.0.0.1:1 info")).contains("Connection refused"));
    assert!(refused(here, "reset").contains("say --yes"));
}
