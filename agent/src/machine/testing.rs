//! What tests of the machine API share: a config with its secrets, made as `pintlectl config generate` makes them.

use config::Bundle;

/// A machine's config and secrets as TOML, of a cluster of its own.
pub fn machine(name: &str, role: &str) -> (String, String) {
    let bundle = identity::cluster::new_bundle().unwrap();
    machine_of(&bundle, name, role)
}

/// A machine's config and secrets as TOML.
pub fn machine_of(bundle: &Bundle, name: &str, role: &str) -> (String, String) {
    let text = format!(
        r#"version = 1

[machine]
name = "{name}"
roles = ["{role}"]

[cluster]
name = "test"
endpoint = "https://10.77.0.11:6443"
"#
    );
    let config = config::parse(&text).unwrap_or_else(|problems| panic!("{}", config::sentence(&problems)));
    let secrets = identity::cluster::machine_secrets(bundle, &config).unwrap();
    (text, toml::to_string(&secrets).unwrap())
}
