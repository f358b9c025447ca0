//! All that proves who is who in one cluster: its CAs, and what each machine and each person gets of them.

use crate::{Authority, IssueError, Leaf, Purpose, Role, new_key};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use config::{Bundle, ControlPlaneSecrets, EncryptionKey, KeyPair, MachineConfig, Secrets};
use std::net::IpAddr;

/// Version of [`Bundle`] and [`Secrets`] that is written here.
const VERSION: u32 = 1;

/// What the encryption key is called that a cluster begins with.
const FIRST_ENCRYPTION_KEY: &str = "key1";

/// The CAs of a new cluster.
pub fn new_bundle() -> Result<Bundle, IssueError> {
    Ok(Bundle {
        version: VERSION,
        machine_ca: Authority::create("pintle machine CA")?.to_pem(),
        cluster_ca: Authority::create("kubernetes CA")?.to_pem(),
        service_account_key: new_key()?,
        encryption_keys: vec![EncryptionKey::new(FIRST_ENCRYPTION_KEY, &random()?)],
    })
}

/// What one machine of the cluster needs, fresh certificates included.
pub fn machine_secrets(bundle: &Bundle, config: &MachineConfig) -> Result<Secrets, IssueError> {
    let machine_ca = authority(&bundle.machine_ca)?;
    let cluster_ca = authority(&bundle.cluster_ca)?;
    let machine = Leaf {
        common_name: config.machine.name.clone(),
        names: machine_names(config),
        purpose: Purpose::Server,
        ..Leaf::default()
    };
    let node = Leaf {
        common_name: format!("system:node:{}", config.machine.name),
        organizations: vec!["system:nodes".to_owned()],
        names: machine_names(config),
        purpose: Purpose::ServerAndClient,
    };
    let has_control_plane = config.machine.roles.contains(&config::Role::ControlPlane);
    Ok(Secrets {
        registries: Vec::new(),
        version: VERSION,
        machine_ca: machine_ca.certificate().to_owned(),
        machine: machine_ca.issue(&machine)?,
        cluster_ca: cluster_ca.certificate().to_owned(),
        node: cluster_ca.issue(&node)?,
        control_plane: has_control_plane
            .then(|| control_plane(bundle, &cluster_ca, config))
            .transpose()?,
    })
}

/// A person's identity towards the machine API.
pub fn admin(bundle: &Bundle, role: Role) -> Result<KeyPair, IssueError> {
    authority(&bundle.machine_ca)?.issue(&Leaf {
        common_name: role.organization().trim_start_matches("os:").to_owned(),
        organizations: vec![role.organization().to_owned()],
        purpose: Purpose::Client,
        ..Leaf::default()
    })
}

/// A kubeconfig (YAML) for `server_url`, as the cluster's administrator.
pub fn kubeconfig(bundle: &Bundle, server_url: &str) -> Result<String, IssueError> {
    let pair = authority(&bundle.cluster_ca)?.issue(&Leaf {
        common_name: "kubernetes-admin".to_owned(),
        organizations: vec!["system:masters".to_owned()],
        purpose: Purpose::Client,
        ..Leaf::default()
    })?;
    let ca = STANDARD.encode(&bundle.cluster_ca.certificate);
    let certificate = STANDARD.encode(&pair.certificate);
    let key = STANDARD.encode(&pair.key);
    Ok(format!(
        "apiVersion: v1
kind: Config
clusters:
- name: pintle
  cluster:
    server: {server_url}
    certificate-authority-data: {ca}
users:
- name: kubernetes-admin
  user:
    client-certificate-data: {certificate}
    client-key-data: {key}
contexts:
- name: pintle
  context:
    cluster: pintle
    user: kubernetes-admin
current-context: pintle
"
    ))
}

fn control_plane(
    bundle: &Bundle,
    cluster_ca: &Authority,
    config: &MachineConfig,
) -> Result<ControlPlaneSecrets, IssueError> {
    let server = Leaf {
        common_name: "kube-apiserver".to_owned(),
        names: api_server_names(config),
        purpose: Purpose::Server,
        ..Leaf::default()
    };
    let node_client = Leaf {
        common_name: "system:kube-apiserver".to_owned(),
        organizations: vec!["system:masters".to_owned()],
        purpose: Purpose::Client,
        ..Leaf::default()
    };
    Ok(ControlPlaneSecrets {
        server: cluster_ca.issue(&server)?,
        node_client: cluster_ca.issue(&node_client)?,
        cluster_ca_key: bundle.cluster_ca.key.clone(),
        service_account_key: bundle.service_account_key.clone(),
        encryption_keys: bundle.encryption_keys.clone(),
    })
}

fn random<const N: usize>() -> Result<[u8; N], IssueError> {
    let mut bytes = [0; N];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes).map_err(|_| IssueError::Random)?;
    Ok(bytes)
}

fn authority(pair: &KeyPair) -> Result<Authority, IssueError> {
    Authority::from_pem(&pair.certificate, &pair.key)
}

/// What callers may call this machine by.
fn machine_names(config: &MachineConfig) -> Vec<String> {
    let fixed = config
        .network
        .interfaces
        .iter()
        .flat_map(|interface| &interface.addresses);
    let mut names = vec![
        config.machine.name.clone(),
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
        "::1".to_owned(),
    ];
    names.extend(fixed.map(|address| address.addr().to_string()));
    distinct(names)
}

/// What callers may call the API server by: the machine, the cluster's endpoint, and the `kubernetes` Service that
/// pods know (upstream: cmd/kubeadm "apiserver" certificate).
fn api_server_names(config: &MachineConfig) -> Vec<String> {
    let mut names = machine_names(config);
    names.extend(["kubernetes", "kubernetes.default", "kubernetes.default.svc"].map(str::to_owned));
    names.push(format!("kubernetes.default.svc.{}", config.cluster.dns_domain));
    names.extend(
        config
            .cluster
            .service_cidrs
            .iter()
            .filter_map(first_address)
            .map(|ip| ip.to_string()),
    );
    names.extend(host_of(&config.cluster.endpoint));
    names.extend(
        config
            .control_plane
            .iter()
            .flat_map(|table| table.cert_sans.iter().cloned()),
    );
    distinct(names)
}

/// The address of the `kubernetes` Service: the first of the prefix after the network's own.
fn first_address(cidr: &config::IpNet) -> Option<IpAddr> {
    match cidr.network() {
        IpAddr::V4(network) => u32::from(network).checked_add(1).map(|ip| IpAddr::V4(ip.into())),
        IpAddr::V6(network) => u128::from(network).checked_add(1).map(|ip| IpAddr::V6(ip.into())),
    }
}

/// `https://[fd00::1]:6443/x` → `fd00::1`.
fn host_of(url: &str) -> Option<String> {
    let rest = url.split_once("://")?.1;
    let authority = rest.split('/').next()?;
    let host = match authority.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next()?,
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    (!host.is_empty()).then(|| host.to_owned())
}

fn distinct(names: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    names.into_iter().filter(|name| seen.insert(name.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Subject, tls};

    fn machine(roles: &str) -> MachineConfig {
        let text = format!(
            r#"
version = 1
[machine]
name = "n1"
roles = [{roles}]
[[network.interface]]
mac = "52:54:00:00:02:01"
addresses = ["10.77.0.11/24"]
[cluster]
name = "demo"
endpoint = "https://api.demo.test:6443"
"#
        );
        toml::from_str(&text).unwrap()
    }

    #[test]
    fn a_worker_gets_no_control_plane_secrets() {
        let bundle = new_bundle().unwrap();
        assert!(
            machine_secrets(&bundle, &machine(r#""worker""#))
                .unwrap()
                .control_plane
                .is_none()
        );
    }

    #[test]
    fn the_api_server_answers_to_all_its_names() {
        let names = api_server_names(&machine(r#""control-plane""#));
        for name in [
            "n1",
            "10.77.0.11",
            "127.0.0.1",
            "::1",
            "10.96.0.1",
            "kubernetes.default.svc.cluster.local",
            "api.demo.test",
        ] {
            assert!(names.iter().any(|n| n == name), "{name} in {names:?}");
        }
    }

    #[test]
    fn identities_carry_kubernetes_and_machine_names() {
        let bundle = new_bundle().unwrap();
        let secrets = machine_secrets(&bundle, &machine(r#""control-plane", "worker""#)).unwrap();
        let subject = |pem: &str| Subject::of(&tls::certificates(pem).unwrap()[0]).unwrap();
        let node = subject(&secrets.node.certificate);
        assert_eq!(
            (node.common_name.as_str(), node.organizations[0].as_str()),
            ("system:node:n1", "system:nodes")
        );
        let admin = subject(&admin(&bundle, Role::Operator).unwrap().certificate);
        assert_eq!(
            Role::highest(admin.organizations.iter().map(String::as_str)),
            Some(Role::Operator)
        );
        assert!(
            kubeconfig(&bundle, "https://127.0.0.1:6443")
                .unwrap()
                .contains("server: https://127.0.0.1:6443\n")
        );
    }

    #[test]
    fn hosts_of_urls() {
        for (url, host) in [
            ("https://10.0.0.1:6443", Some("10.0.0.1")),
            ("https://[fd00::1]:6443/x", Some("fd00::1")),
            ("https://api.test", Some("api.test")),
            ("nonsense", None),
        ] {
            assert_eq!(host_of(url).as_deref(), host, "{url}");
        }
    }
}
