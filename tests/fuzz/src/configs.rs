//! Machine configs, secrets and bundles in TOML, which people write and networks bring. They are refused with a sentence.

use crate::{Target, choice, chosen};
use config::MachineConfig;
use std::sync::LazyLock;

/// Which of the three, and the text.
pub const TARGET: Target = Target {
    name: "configs",
    seeds,
    run,
};

const MACHINE: &str = include_str!("machine.toml");

static PLAIN: LazyLock<MachineConfig> = LazyLock::new(|| {
    let text = "version = 1\n[machine]\nname = \"n1\"\nroles = [\"control-plane\"]\n[cluster]\nname = \"test\"\nendpoint = \"https://10.0.0.11:6443\"\n";
    config::parse(text).unwrap_or_else(|problems| panic!("{}", config::sentence(&problems)))
});

fn seeds() -> Vec<Vec<u8>> {
    let bundle = identity::cluster::new_bundle().expect("a bundle can be made");
    let secrets = identity::cluster::machine_secrets(&bundle, &PLAIN).expect("secrets can be made");
    let secrets = toml::to_string(&secrets).expect("secrets are TOML");
    let bundle = toml::to_string(&bundle).expect("a bundle is TOML");
    let texts = [MACHINE, &secrets, &bundle];
    let texts = texts.iter().enumerate();
    texts.map(|(which, text)| chosen(&[which], text.as_bytes())).collect()
}

fn run(bytes: &[u8]) -> bool {
    let Some((which, bytes)) = choice(bytes, 3) else {
        return false;
    };
    let text = String::from_utf8_lossy(bytes);
    let problems = match which {
        0 => config::parse(&text).err(),
        1 => config::parse_secrets(&text, &PLAIN).err(),
        _ => config::parse_bundle(&text).err(),
    };
    let Some(problems) = problems else { return true };
    assert!(!config::sentence(&problems).is_empty(), "refused without a word");
    false
}
