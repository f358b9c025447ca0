//! What a new cluster is born with: certificate authorities, a config and secrets for each machine, the administrator's files.

use crate::plan::REGISTRY_HOST;
use crate::plan::{KUBERNETES_PORT, cluster_address};
use crate::{ClusterFolder, ClusterPlan, ClusterSpec, MachinePlan, ProviderName};
use anyhow::{Context, Result};
use config::{Cluster, ControlPlane, Interface, Machine, MachineConfig, Network, Oci, Registry, Role};
use machine_client::{IdentityFile, MachineAddress};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Where the harness's side of the namespaces provider's network is, the registry with it.
pub const HARNESS_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);

/// Write everything that `plan`'s cluster needs into its folder.
pub fn write(folder: &ClusterFolder, plan: &ClusterPlan) -> Result<()> {
    let bundle = identity::cluster::new_bundle()?;
    for machine in plan.machines(folder) {
        std::fs::create_dir_all(&machine.folder).with_context(|| format!("make {}", machine.folder.display()))?;
        let config = machine_config(plan, &machine);
        let secrets = identity::cluster::machine_secrets(&bundle, &config)?;
        write_secret(&machine.folder.join("config.toml"), &config)?;
        write_secret(&machine.folder.join("secrets.toml"), &secrets)?;
    }
    write_secret(&folder.bundle(), &bundle)?;
    let admin = identity::cluster::admin(&bundle, identity::Role::Admin)?;
    let identity = IdentityFile {
        version: 1,
        cluster: plan.spec.name.clone(),
        ca: bundle.machine_ca.certificate.clone(),
        certificate: admin.certificate,
        key: admin.key,
        machines: plan.machines(folder).iter().map(address).collect(),
    };
    write_private(&folder.admin(), identity.to_toml().as_bytes())?;
    let server = format!("https://127.0.0.1:{}", plan.ports[0].kubernetes);
    let kubeconfig = identity::cluster::kubeconfig(&bundle, &server)?;
    write_private(&folder.kubeconfig(), kubeconfig.as_bytes())
}

fn address(machine: &MachinePlan) -> MachineAddress {
    MachineAddress {
        name: machine.spec.name.clone(),
        endpoint: format!("127.0.0.1:{}", machine.ports.machine_api),
    }
}

/// A machine's config: all machines know each other's names, the first is the endpoint.
fn machine_config(plan: &ClusterPlan, machine: &MachinePlan) -> MachineConfig {
    let is_control_plane = machine.spec.roles.contains(&Role::ControlPlane);
    let hosts = (plan.spec.machines.iter().zip(1u8..))
        .map(|(other, number)| (other.name.clone(), IpAddr::V4(cluster_address(number))))
        .collect::<BTreeMap<_, _>>();
    MachineConfig {
        version: 1,
        machine: Machine {
            name: machine.spec.name.clone(),
            roles: machine.spec.roles.clone(),
            labels: BTreeMap::new(),
        },
        network: Network {
            interfaces: interfaces(plan.spec.provider, machine),
            hosts,
            ..Network::default()
        },
        storage: config::Storage::default(),
        node: match machine.spec.roles.contains(&Role::Worker) {
            true => machine.spec.node.clone(),
            false => config::Node::default(),
        },
        cluster: cluster(&plan.spec),
        control_plane: is_control_plane.then(ControlPlane::default),
        oci: Oci {
            signatures: Vec::new(),
            registries: vec![Registry {
                host: REGISTRY_HOST.to_owned(),
                mirrors: vec![registry_mirror(plan)],
                // Its name is the harness's invention.
                mirrors_only: true,
                ca: None,
            }],
        },
    }
}

/// Parsed as a person would write it, so that what is left out has the format's own defaults.
fn cluster(spec: &ClusterSpec) -> Cluster {
    let (name, endpoint) = (&spec.name, cluster_address(1));
    let text =
        format!("name = {name:?}\nendpoint = \"https://{endpoint}:{KUBERNETES_PORT}\"\nnode-cidr = \"10.77.0.0/24\"");
    let mut cluster: Cluster =
        toml::from_str(&text).expect("it is a cluster table because the name was checked to be a DNS label");
    let most_pods = spec.machines.iter().map(|machine| machine.node.max_pods).max();
    // Room for the gateway, the network's own address and the one that means all.
    let room = (most_pods.unwrap_or_default() + 3).next_power_of_two();
    let bits = u8::try_from(room.ilog2()).expect("it is a small number because it is a logarithm of 32 bits");
    cluster.node_cidr_mask_size_ipv4 = cluster.node_cidr_mask_size_ipv4.min(32 - bits);
    cluster
}

/// A virtual machine has a way out through QEMU's user network; machines of namespaces have the harness's network alone.
fn interfaces(provider: ProviderName, machine: &MachinePlan) -> Vec<Interface> {
    let address = format!("{}/24", machine.cluster_address());
    let cluster = Interface {
        mac: Some(machine.cluster_mac()),
        name: None,
        dhcp: false,
        addresses: vec![address.parse().expect("it is an address because it was one")],
        gateway: None,
    };
    match provider {
        ProviderName::Qemu => {
            let uplink = Interface {
                mac: Some(machine.uplink_mac()),
                name: None,
                dhcp: true,
                addresses: Vec::new(),
                gateway: None,
            };
            vec![uplink, cluster]
        }
        ProviderName::Namespaces => vec![Interface {
            gateway: Some(IpAddr::V4(HARNESS_ADDRESS)),
            ..cluster
        }],
    }
}

/// Where machines reach the registry that listens on the host's loopback.
fn registry_mirror(plan: &ClusterPlan) -> String {
    match plan.spec.provider {
        // QEMU's user network shows the host's loopback as its gateway.
        ProviderName::Qemu => format!("http://10.0.2.2:{}", plan.registry_port),
        ProviderName::Namespaces => format!("http://{HARNESS_ADDRESS}:5000"),
    }
}

fn write_secret(path: &Path, value: &impl Serialize) -> Result<()> {
    write_private(path, toml::to_string(value)?.as_bytes())
}

fn write_private(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut options = std::fs::File::options();
    options.write(true).create(true).truncate(true).mode(0o600);
    let write = || options.open(path)?.write_all(bytes);
    write().with_context(|| format!("write {}", path.display()))
}
