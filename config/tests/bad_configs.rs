//! What is wrong with a machine config is said in one sentence, with its place; tables of bad ones and their sentences.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

use config::{Effect, diff, parse, parse_secrets, schema};

const GOOD: &str = r#"version = 1

[machine]
name = "n1"
roles = ["control-plane", "worker"]

[machine.labels]
zone = "a"

[[network.interface]]
mac = "52:54:00:00:02:01"
addresses = ["10.77.0.11/24"]
gateway = "10.77.0.1"

[network.hosts]
"registry.test" = "10.0.2.2"

[cluster]
name = "demo"
endpoint = "https://10.77.0.11:6443"
node-cidr = "10.77.0.0/24"

[control-plane]
cert-sans = ["api.test"]

[[oci.registry]]
host = "registry.test:5000"
mirrors = ["https://10.0.2.2:5000"]
ca = "-----BEGIN CERTIFICATE-----"

[node]
max-pods = 250

[node.shutdown]
grace-seconds = 40
"#;

#[test]
fn the_good_one_is_taken() {
    let config = parse(GOOD).unwrap_or_else(|problems| panic!("{}", config::sentence(&problems)));
    assert_eq!(config.cluster.dns_domain, "cluster.local");
}

#[test]
fn dns_is_at_the_tenth_address_of_the_service_range_or_where_it_is_said_to_be() {
    let dns = |lines: &str| {
        let text = GOOD.replace("name = \"demo\"", &format!("name = \"demo\"\n{lines}"));
        let config = parse(&text).unwrap_or_else(|problems| panic!("{}", config::sentence(&problems)));
        let addresses = config.cluster.dns();
        addresses.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(dns(""), ["10.96.0.10"]);
    let both = "service-cidrs = [\"10.43.0.0/16\", \"fd00:96::/112\"]";
    assert_eq!(dns(both), ["10.43.0.10", "fd00:96::a"]);
    assert_eq!(dns("dns-addresses = [\"169.254.20.10\"]"), ["169.254.20.10"]);
}

#[test]
fn each_bad_line_has_its_place_and_its_sentence() {
    #[rustfmt::skip]
    let rows = [
        // (line of the good config, what it becomes, where the problem is, what is said)
        ("name = \"n1\"", "nmae = \"n1\"", "line 4, column 1", "did you mean `name`"),
        ("[control-plane]", "[controlplane]", "line 23, column 2", "unknown key `controlplane` at the top, did you mean `control-plane`?"),
        ("zone = \"a\"", "zone = 7", "line 8, column 8", "`machine.labels.zone` must be a string, not an integer"),
        ("zone = \"a\"", "\"-zone\" = \"a\"", "line 8", "no label key"),
        ("zone = \"a\"", "zone = \"a b\"", "line 8", "no label value"),
        ("roles = [\"control-plane\", \"worker\"]", "roles = [\"worke\"]", "line 5, column 10", "did you mean `worker`?"),
        ("roles = [\"control-plane\", \"worker\"]", "roles = []", "line 5", "`machine.roles` is empty"),
        ("roles = [\"control-plane\", \"worker\"]", "roles = [\"worker\"]", "line 23", "lacks control-plane"),
        ("roles = [\"control-plane\", \"worker\"]", "roles = [\"worker\", \"worker\", \"control-plane\"]", "line 5, column 20", "twice"),
        ("name = \"n1\"", "name = \"N1\"", "line 4, column 8", "no DNS label"),
        ("version = 1", "version = 2", "line 1, column 11", "reads version 1"),
        ("version = 1", "version = -1", "line 1, column 11", "must not be negative"),
        ("version = 1", "", "line 1, column 1", "`version` is missing: Version of this format"),
        ("version = 1", "version = = 1", "line 1", "expected"),
        ("mac = \"52:54:00:00:02:01\"", "mac = \"52:54\"", "line 11", "no hardware address"),
        ("mac = \"52:54:00:00:02:01\"", "", "line 10", "neither `mac` nor `name`"),
        ("addresses = [\"10.77.0.11/24\"]", "addresses = [\"10.77.0.11\"]", "line 12, column 14", "no address with a prefix length"),
        ("addresses = [\"10.77.0.11/24\"]", "addresses = [\"10.77.0.0/24\"]", "line 12", "network's own address"),
        ("addresses = [\"10.77.0.11/24\"]", "addresses = []", "line 10", "give it one of them"),
        ("addresses = [\"10.77.0.11/24\"]", "addresses = \"10.77.0.11/24\"", "line 12", "must be an array, not a string"),
        ("gateway = \"10.77.0.1\"", "gateway = \"10.78.0.1\"", "line 13", "none of the interface's networks"),
        ("gateway = \"10.77.0.1\"", "gateway = \"gw\"", "line 13", "no IP address"),
        ("\"registry.test\" = \"10.0.2.2\"", "\"Registry!\" = \"10.0.2.2\"", "line 16", "no host name"),
        ("endpoint = \"https://10.77.0.11:6443\"", "endpoint = \"10.77.0.11\"", "line 20", "https://HOST:PORT"),
        ("endpoint = \"https://10.77.0.11:6443\"", "", "line 18", "`cluster.endpoint` is missing: Where its API server"),
        ("node-cidr = \"10.77.0.0/24\"", "node-cidr = \"10.99.0.0/24\"", "line 21", "overlaps"),
        ("node-cidr = \"10.77.0.0/24\"", "node-cidr = \"192.168.0.0/24\"", "line 21", "no interface has an address in it"),
        ("node-cidr = \"10.77.0.0/24\"", "pod-cidrs = [\"10.244.0.1/16\"]", "line 21", "write 10.244.0.0/16"),
        ("node-cidr = \"10.77.0.0/24\"", "pod-cidrs = [\"10.244.0.0/28\"]", "line 21", "too small"),
        ("node-cidr = \"10.77.0.0/24\"", "pod-cidrs = [\"10.244.0.0/22\"]\nnode-cidr-mask-size-ipv4 = 21", "line 21", "10.244.0.0/22 is too small: every node gets a /21 of it"),
        ("node-cidr = \"10.77.0.0/24\"", "node-cidr-mask-size-ipv4 = 31", "line 21", "is 31, which leaves a node no addresses for pods; write at most 30"),
        ("node-cidr = \"10.77.0.0/24\"", "service-cidrs = [\"10.244.3.0/24\"]", "line 21", "overlaps `cluster.pod-cidrs[0]`"),
        ("node-cidr = \"10.77.0.0/24\"", "service-cidrs = [\"10.96.0.0/29\"]", "line 21", "no service range has a tenth address for DNS"),
        ("node-cidr = \"10.77.0.0/24\"", "dns-addresses = [\"10.96.0.x\"]", "line 21", "no IP address"),
        ("node-cidr = \"10.77.0.0/24\"", "dns-addresses = [\"10.0.0.1\", \"10.0.0.2\", \"10.0.0.3\", \"10.0.0.4\"]", "line 21", "names more than 3 servers"),
        ("cert-sans = [\"api.test\"]", "cert-sans = [\"api test\"]", "line 24", "neither a DNS name nor"),
        ("cert-sans = [\"api.test\"]", "engine = \"etcd\"", "line 24", "no value of `control-plane.engine`"),
        ("host = \"registry.test:5000\"", "host = \"https://registry.test\"", "line 27, column 8", "is no registry; write it as images do"),
        ("mirrors = [\"https://10.0.2.2:5000\"]", "mirrors = [\"10.0.2.2:5000\"]", "line 28, column 12", "must begin with http:// or https://"),
        ("mirrors = [\"https://10.0.2.2:5000\"]", "mirrors = [\"https://me:hunter2@10.0.2.2\"]", "line 28", "belong into the secrets, as [[registry]]"),
        ("mirrors = [\"https://10.0.2.2:5000\"]", "password = \"x\"", "line 28", "unknown key `password` in `oci.registry[0]`"),
        ("ca = \"-----BEGIN CERTIFICATE-----\"", "[[oci.signature]]\nscope = \"r.test/team:1\"", "line 30", "\"r.test/team:1\" is no registry and no repository"),
        ("ca = \"-----BEGIN CERTIFICATE-----\"", "[[oci.signature]]\nscope = \"*\"\nkeys = [\"x\"]", "line 31", "`oci.signature[0].keys[0]` is no public key in PEM"),
        ("ca = \"-----BEGIN CERTIFICATE-----\"", "ca = \"/etc/ca.pem\"", "line 29, column 6", "`oci.registry[0].ca` is no certificate in PEM"),
        ("ca = \"-----BEGIN CERTIFICATE-----\"", "ca = \"-----BEGIN PRIVATE KEY-----\"", "line 29, column 6", "a private key has no place in a machine config"),
        ("max-pods = 250", "max-pods = 0", "line 32, column 12", "so no pod could run"),
        ("max-pods = 250", "max-pod = 250", "line 32", "did you mean `max-pods`"),
        ("max-pods = 250", "pod-pids = 3", "line 32, column 12", "`node.pod-pids` is 3; write at least 16, or 0 for no limit"),
        ("max-pods = 250", "cpu-policy = \"static\"", "line 32, column 14", "some CPU must stay with everybody"),
        ("max-pods = 250", "swap = \"all\"", "line 32", "\"all\" is no value of `node.swap` (known: none, limited)"),
        ("max-pods = 250", "[node.eviction]\ndisk-percent = 100", "line 33", "write less than 100"),
        ("max-pods = 250", "[node.eviction.soft]\npids-percent = 100", "line 33", "`node.eviction.soft.pids-percent` is 100; write less than 100"),
        ("max-pods = 250", "[node.eviction.soft]\ndisk-percent = 10", "line 33, column 16", "pods go at once already when 10 is left"),
        ("max-pods = 250", "topology-policy = \"best\"", "line 32", "(known: none, best-effort, restricted, single-numa-node)"),
        ("[node.shutdown]\ngrace-seconds = 40", "[[node.static-pod]]\nmanifest = \"web.yaml\"", "line 35, column 12", "`node.static-pod[0].manifest` is no Pod of v1"),
        ("[node.shutdown]\ngrace-seconds = 40", "[[node.static-pod]]\npod = \"\"", "line 35", "unknown key `pod` in `node.static-pod[0]`"),
        ("grace-seconds = 40", "critical-seconds = 31", "line 35, column 20", "more than the 30 of `grace-seconds`"),
        ("grace-seconds = 40", "grace-seconds = 4000", "line 35, column 17", "write at most 3600"),
        ("roles = [\"control-plane\", \"worker\"]", "roles = [\"control-plane\"]", "line 31", "`machine.roles` lacks worker"),
    ];
    for (line, becomes, place, sentence) in rows {
        assert!(GOOD.contains(line), "{line}");
        let problems = parse(&GOOD.replacen(line, becomes, 1)).expect_err(becomes);
        let said = config::sentence(&problems);
        assert!(
            said.contains(sentence) && said.contains(place),
            "{becomes:?}: wanted {sentence:?} at {place}, said {said:?}"
        );
    }
}

#[test]
fn all_problems_of_a_file_are_said_at_once() {
    let text = GOOD
        .replace("name = \"n1\"", "naem = \"n1\"")
        .replace("zone = \"a\"", "zone = true");
    assert_eq!(
        parse(&text).unwrap_err().len(),
        3,
        "unknown key, missing key, wrong type"
    );
}

#[test]
fn a_missing_secret_is_named_with_its_remedy_and_no_secret_is_ever_said() {
    let config = parse(GOOD).unwrap_or_else(|_| panic!("the good config"));
    let text = "version = 1\nmachine-ca = \"hunter2\"\nmachine = 3\n";
    let said = config::sentence(&parse_secrets(text, &config).err().unwrap());
    for part in [
        "secrets.toml",
        "`node` is missing",
        "`machine` must be a table",
        "pintlectl config secrets",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn logins_are_checked_and_never_said() {
    let config = parse(GOOD).unwrap_or_else(|_| panic!("the good config"));
    let pair = "certificate = \"-----BEGIN CERTIFICATE-----\"\nkey = \"-----BEGIN PRIVATE KEY-----\"\n";
    let key = "\"-----BEGIN PRIVATE KEY-----\"";
    let good = format!(
        "version = 1\nmachine-ca = \"-----BEGIN CERTIFICATE-----\"\ncluster-ca = \"-----BEGIN CERTIFICATE-----\"\n\
         [machine]\n{pair}[node]\n{pair}[control-plane]\ncluster-ca-key = {key}\nservice-account-key = {key}\n\
         [control-plane.server]\n{pair}[control-plane.node-client]\n{pair}"
    );
    let with = |login: &str| format!("{good}[[registry]]\nhost = \"docker.io\"\n{login}");
    for login in ["username = \"me\"\npassword = \"hunter2\"\n", "token = \"hunter2\"\n"] {
        let secrets = parse_secrets(&with(login), &config);
        let secrets = secrets.unwrap_or_else(|problems| panic!("{}", config::sentence(&problems)));
        assert_eq!(secrets.registries[0].host, "docker.io");
    }
    for (login, sentence) in [
        ("", "`registry[0]` needs `username` and `password`, or `token` alone"),
        ("username = \"me\"\n", "needs `username` and `password`"),
        ("username = \"me\"\npassword = \"\"\n", "none of them empty"),
        ("username = \"m:e\"\npassword = \"hunter2\"\n", "has a colon in it"),
        (
            "username = \"me\"\npassword = \"hunter2\"\ntoken = \"hunter2\"\n",
            "`token` alone",
        ),
        (
            "token = \"hunter2\"\n[[registry]]\nhost = \"docker.io\"\ntoken = \"hunter2\"\n",
            "twice",
        ),
    ] {
        let said = config::sentence(&parse_secrets(&with(login), &config).err().unwrap());
        assert!(
            said.contains(sentence) && said.contains("secrets.toml"),
            "{login:?}: {said}"
        );
        assert!(
            !said.contains("hunter2") && !said.contains("pintlectl config secrets"),
            "{said}"
        );
    }
}

#[test]
fn encryption_keys_are_checked_and_never_said() {
    let bundle = |keys: &str| {
        let pair = "{ certificate = \"\", key = \"\" }";
        format!("version = 1\nmachine-ca = {pair}\ncluster-ca = {pair}\nservice-account-key = \"\"\n{keys}")
    };
    let key = |name: &str, bytes: usize| {
        let text = "c2VjcmV0".repeat(bytes / 6) + ["", "YQ==", "YWI="][bytes % 3];
        format!("[[encryption-key]]\nname = {name:?}\nkey = {text:?}\n")
    };
    let good = bundle(&(key("new", 32) + &key("old", 32)));
    let parsed = config::parse_bundle(&good).unwrap_or_else(|problems| panic!("{}", config::sentence(&problems)));
    assert_eq!(parsed.encryption_keys[1].name, "old");
    for (keys, sentence) in [
        (key("A key", 32), "is no DNS label"),
        (key("a", 30), "encryption key \"a\" is not 32 bytes in base64"),
        (key("a", 32) + &key("a", 32), "stands here twice"),
    ] {
        let said = config::sentence(&config::parse_bundle(&bundle(&keys)).err().unwrap());
        assert!(said.contains(sentence) && !said.contains("c2VjcmV0"), "{said}");
    }
}

#[test]
fn the_published_schema_knows_every_table() {
    let schema = schema();
    for table in [
        "machine",
        "network",
        "storage",
        "cluster",
        "control-plane",
        "oci",
        "node",
    ] {
        assert!(schema.contains(&format!("\"{table}\"")), "{table}");
    }
}

#[test]
fn a_diff_says_what_applies_live() {
    let old = parse(GOOD).unwrap_or_else(|_| panic!("the good config"));
    let mut new = old.clone();
    assert!(diff(&old, &new).is_empty());
    new.network.nameservers = vec!["10.0.2.3".parse().unwrap()];
    assert_eq!(diff(&old, &new).effect(), Effect::Live);
    new.machine.labels.clear();
    let changes = diff(&old, &new);
    assert_eq!(changes.effect(), Effect::Reboot);
    let text = changes.to_string();
    assert!(text.contains("- machine.labels.zone = \"a\""), "{text}");
    assert!(
        text.contains("+ network.nameservers = [\"10.0.2.3\"]  # applies live"),
        "{text}"
    );
}
