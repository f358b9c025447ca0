//! Machine configs, secrets and bundles in TOML, which people write and networks bring.

use crate::damage::Damage;

const MACHINE: &str = r#"
version = 1
[machine]
name = "n1"
roles = ["control-plane", "worker"]
[network]
nameservers = ["10.0.0.1"]
[[network.interfaces]]
name = "eth0"
dhcp = false
addresses = ["10.0.0.11/24", "fd00::11/64"]
[cluster]
name = "test"
endpoint = "https://10.0.0.11:6443"
pod-cidrs = ["10.244.0.0/16"]
service-cidrs = ["10.96.0.0/12"]
node-cidr = "10.0.0.0/24"
"#;

#[test]
fn damaged_configs_are_refused_with_a_sentence() {
    let bundle = identity::cluster::new_bundle().unwrap();
    let machine = config::parse("version = 1\n[machine]\nname = \"n1\"\nroles = [\"control-plane\"]\n[cluster]\nname = \"test\"\nendpoint = \"https://10.0.0.11:6443\"\n").ok().unwrap();
    let secrets = toml::to_string(&identity::cluster::machine_secrets(&bundle, &machine).unwrap()).unwrap();
    let bundle = toml::to_string(&bundle).unwrap();
    let seeds = [MACHINE, &secrets, &bundle].map(|text| text.as_bytes().to_vec());
    let mut damage = Damage::new();
    while damage.goes_on() {
        let bytes = damage.of(&seeds);
        let text = String::from_utf8_lossy(&bytes);
        let said = [
            config::parse(&text).err(),
            config::parse_secrets(&text, &machine).err(),
            config::parse_bundle(&text).err(),
        ];
        for problems in said.into_iter().flatten() {
            assert!(
                !config::sentence(&problems).is_empty(),
                "no sentence: {}",
                damage.again(&bytes)
            );
        }
    }
}
