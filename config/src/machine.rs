//! What a machine config may say. Every field's comment is its text in the published JSON Schema.

use crate::node::Node;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// A machine config, whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct MachineConfig {
    /// Version of this format; 1.
    pub version: u32,
    /// This machine.
    pub machine: Machine,
    /// Its network.
    #[serde(default, skip_serializing_if = "is_default")]
    pub network: Network,
    /// Its disks.
    #[serde(default, skip_serializing_if = "is_default")]
    pub storage: Storage,
    /// The cluster that it belongs to.
    pub cluster: Cluster,
    /// How its control plane runs; only with the role `control-plane`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_plane: Option<ControlPlane>,
    /// Where container images come from.
    #[serde(default, skip_serializing_if = "is_default")]
    pub oci: Oci,
    /// How it runs pods; only with the role `worker`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub node: Node,
}

/// This machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Machine {
    /// Host name and Kubernetes node name, a DNS label.
    pub name: String,
    /// What the machine does; at least one.
    pub roles: Vec<Role>,
    /// Labels that the node registers with.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// What a machine does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Runs the API server, scheduler and controllers.
    ControlPlane,
    /// Runs pods.
    Worker,
}

/// The machine's network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Network {
    /// Interfaces to configure. With none, every Ethernet interface asks DHCP.
    #[serde(rename = "interface", skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<Interface>,
    /// Name servers, before those that DHCP gives.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<IpAddr>,
    /// Extra lines of /etc/hosts: name = address.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub hosts: BTreeMap<String, IpAddr>,
}

/// One interface.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Interface {
    /// Which: by hardware address `52:54:00:12:34:56`. Kernel names change, this does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// Which: by kernel name, for interfaces that have no stable hardware address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Ask DHCP for an address, a gateway and name servers.
    #[serde(default)]
    pub dhcp: bool,
    /// Fixed addresses with their prefix length.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<Cidr>")]
    pub addresses: Vec<IpNet>,
    /// Default gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
}

/// The machine's disks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Storage {
    /// Most bytes of container images kept before unused ones go; 0 means 85 % of DATA.
    pub oci_max_bytes: u64,
}

/// The cluster that the machine belongs to; the same in every machine config of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Cluster {
    /// Its name, a DNS label.
    pub name: String,
    /// Where its API server is reached from machines, e.g. `https://10.77.0.11:6443`.
    pub endpoint: String,
    /// The network that nodes speak over; the node's address is the interface address inside it. Default: the first global address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Cidr>")]
    pub node_cidr: Option<IpNet>,
    /// Pod addresses, one prefix per address family.
    #[serde(default = "default_pod_cidrs")]
    #[schemars(with = "Vec<Cidr>")]
    pub pod_cidrs: Vec<IpNet>,
    /// Prefix length of a node's part of the IPv4 pod addresses; 24 gives it 254 pods, 22 gives it 1022.
    #[serde(default = "default_ipv4_part")]
    pub node_cidr_mask_size_ipv4: u8,
    /// The same of the IPv6 pod addresses.
    #[serde(default = "default_ipv6_part")]
    pub node_cidr_mask_size_ipv6: u8,
    /// Service addresses, one prefix per address family.
    #[serde(default = "default_service_cidrs")]
    #[schemars(with = "Vec<Cidr>")]
    pub service_cidrs: Vec<IpNet>,
    /// The cluster's DNS domain.
    #[serde(default = "default_dns_domain")]
    pub dns_domain: String,
    /// Where pods ask for names. Default: the tenth address of each service range.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns_addresses: Vec<IpAddr>,
}

/// How the control plane runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct ControlPlane {
    /// What keeps the cluster's state.
    pub engine: Engine,
    /// More names and addresses for the API server's certificate.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cert_sans: Vec<String>,
    /// Whether pods may run on a machine that is both control plane and worker.
    pub taint: bool,
    /// What is written down of requests to the Kubernetes API, as JSON lines in DATA; without it nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit: Option<AuditLog>,
}

/// The audit log of the Kubernetes API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AuditLog {
    /// Which requests, and how much of them: a Policy of `audit.k8s.io/v1`, its YAML as it would stand in a file.
    pub policy: String,
    /// A file that would grow past so many MiB is put aside.
    #[serde(default = "default_audit_mib")]
    pub max_mib: u32,
    /// How many of those are kept.
    #[serde(default = "default_audit_files")]
    pub max_files: u32,
}

/// What keeps the cluster's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// Pintle's own store, one machine.
    #[default]
    Embedded,
}

/// Where container images come from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Oci {
    /// Registries that need more than their name: a mirror, plain HTTP, a CA of their own. User names and passwords stand in
    /// the secrets, as `[[registry]]`.
    #[serde(rename = "registry", skip_serializing_if = "Vec::is_empty")]
    pub registries: Vec<Registry>,
    /// Which images must be signed, and by whom; of several that an image is in, the one with the longest scope counts.
    #[serde(rename = "signature", skip_serializing_if = "Vec::is_empty")]
    pub signatures: Vec<SignedBy>,
}

/// Images that must be signed as `cosign sign --key` does it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SignedBy {
    /// A registry, or a repository and all below it, e.g. `registry.example/team`; `*` for all images.
    pub scope: String,
    /// Public keys, ECDSA P-256 in PEM, as `cosign generate-key-pair` writes them; a signature by any of them suffices.
    /// Without any, images of this scope need no signature.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
}

/// One registry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Registry {
    /// Host and port as images name it, e.g. `registry.test:5000` or `docker.io`.
    pub host: String,
    /// Where to ask first, in this order, e.g. `http://10.0.2.2:5000`; the scheme decides about TLS. When none has an image, the
    /// registry itself is asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mirrors: Vec<String>,
    /// Never ask the registry itself, only its mirrors.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mirrors_only: bool,
    /// Certificates of the CAs that this registry and its mirrors are known by, PEM; the public CAs are trusted besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
}

// === impl Cluster ===

impl Cluster {
    /// A cluster with the usual address ranges and domain.
    pub fn new(name: &str, endpoint: &str) -> Self {
        Self {
            name: name.to_owned(),
            endpoint: endpoint.to_owned(),
            node_cidr: None,
            pod_cidrs: default_pod_cidrs(),
            node_cidr_mask_size_ipv4: default_ipv4_part(),
            node_cidr_mask_size_ipv6: default_ipv6_part(),
            service_cidrs: default_service_cidrs(),
            dns_domain: default_dns_domain(),
            dns_addresses: Vec::new(),
        }
    }

    /// Prefix length of a node's part of one of the pod networks.
    pub fn node_part(&self, pods: &IpNet) -> u8 {
        match pods {
            IpNet::V4(_) => self.node_cidr_mask_size_ipv4,
            IpNet::V6(_) => self.node_cidr_mask_size_ipv6,
        }
    }

    /// Where pods ask for names: what is said, else the tenth address of each service range that has one, as kubeadm has it.
    pub fn dns(&self) -> Vec<IpAddr> {
        if !self.dns_addresses.is_empty() {
            return self.dns_addresses.clone();
        }
        // The network's own address is the zeroth.
        let tenth = |range: &IpNet| match range {
            IpNet::V4(range) => IpAddr::from((u32::from(range.network()) + 10).to_be_bytes()),
            IpNet::V6(range) => IpAddr::from((u128::from(range.network()) + 10).to_be_bytes()),
        };
        let has_ten = |range: &&IpNet| range.max_prefix_len() - range.prefix_len() >= 4;
        self.service_cidrs.iter().filter(has_ten).map(tenth).collect()
    }
}

/// An address with its prefix length, as the schema says it: a string of the format `cidr`.
struct Cidr;

// === impl Cidr ===

impl JsonSchema for Cidr {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Cidr".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "cidr" })
    }
}

fn default_audit_mib() -> u32 {
    100
}

fn default_audit_files() -> u32 {
    10
}

fn default_pod_cidrs() -> Vec<IpNet> {
    vec![IpNet::V4(ipnet::Ipv4Net::new_assert([10, 244, 0, 0].into(), 16))]
}

/// Upstream's `--node-cidr-mask-size-ipv4`.
fn default_ipv4_part() -> u8 {
    24
}

/// Upstream's `--node-cidr-mask-size-ipv6`.
fn default_ipv6_part() -> u8 {
    64
}

fn default_service_cidrs() -> Vec<IpNet> {
    vec![IpNet::V4(ipnet::Ipv4Net::new_assert([10, 96, 0, 0].into(), 12))]
}

fn default_dns_domain() -> String {
    "cluster.local".to_owned()
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
