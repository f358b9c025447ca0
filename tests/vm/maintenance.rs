//! A machine without a config waits for one, reachable and with its fingerprint on the console.

use crate::{pintlectl, text};
use qemu::ClusterSpec;
use qemu::testing::{HEALTHY_DEADLINE, cluster};

#[test]
fn a_machine_without_config_takes_one_and_becomes_a_node() {
    let mut spec = ClusterSpec::new("blank", 1);
    spec.machines[0].is_configured = false;
    let cluster = cluster(spec).unwrap();
    let machine = cluster.machine(0);
    // A serial line shows a line as it is written: the words after the fingerprint say that it is whole.
    let console = machine
        .wait_console(" config apply --secrets", 0, crate::DEADLINE)
        .unwrap();
    let words: Vec<&str> = console.split_whitespace().collect();
    let at = words.iter().position(|word| word.contains("--fingerprint")).unwrap();
    let fingerprint = words[at].split_once('=').map_or(words[at + 1], |(_, value)| value);
    let address = machine.machine_api().to_string();
    let target = ["--node", &address, "--fingerprint", fingerprint];

    let folder = &machine.plan().folder;
    let config = folder.join("config.toml");
    let secrets = folder.join("secrets.toml");
    let broken = tempfile::NamedTempFile::new().unwrap();
    let with_typo = std::fs::read_to_string(&config)
        .unwrap()
        .replace("[machine]", "[machine]\nnmae = \"x\"");
    std::fs::write(broken.path(), with_typo).unwrap();

    let apply = |config: &std::path::Path| {
        let (config, secrets) = (config.display().to_string(), secrets.display().to_string());
        let arguments = [&target[..], &["config", "apply", &config, "--secrets", &secrets]].concat();
        pintlectl(&cluster, &arguments)
    };
    let refused = apply(broken.path());
    assert!(!refused.status.success());
    let why = text(&refused.stderr);
    assert!(why.contains("nmae") && why.contains("name"), "{why}");

    let taken = apply(&config);
    assert!(taken.status.success(), "{}", text(&taken.stderr));
    cluster.wait_healthy(HEALTHY_DEADLINE).unwrap();
    cluster.remove().unwrap();
}
