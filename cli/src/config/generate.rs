//! `pintlectl config generate`: all files of a new cluster, in a folder that was not there before.

use super::write_private;
use crate::print::line;
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use config::{Bundle, Cluster, Interface, IpNet, Machine, MachineConfig, Network, Oci, Role, Storage};
use machine_client::{IdentityFile, MachineAddress};
use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The interface where a machine says none: the kernel's name of the first.
const FIRST_INTERFACE: &str = "eth0";

/// What it is told.
#[derive(Args)]
pub struct Generate {
    /// The cluster's name.
    #[arg(long)]
    cluster: String,
    /// Where its API server is reached, e.g. https://10.0.0.1:6443.
    #[arg(long, value_name = "URL")]
    endpoint: String,
    /// A machine with the control plane: NAME, or NAME=ADDRESS/PREFIX, or NAME=ADDRESS/PREFIX@MAC (or @INTERFACE).
    #[arg(long = "control-plane", value_name = "MACHINE", required = true)]
    control_planes: Vec<Wanted>,
    /// A machine that runs pods, likewise; name one of the others to give it both roles.
    #[arg(long = "worker", value_name = "MACHINE")]
    workers: Vec<Wanted>,
    /// Default gateway of machines with a fixed address.
    #[arg(long, value_name = "ADDRESS")]
    gateway: Option<IpAddr>,
    /// Name server of every machine.
    #[arg(long = "nameserver", value_name = "ADDRESS")]
    nameservers: Vec<IpAddr>,
    /// The folder that is made.
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
}

/// A machine as it stands on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    name: String,
    address: Option<IpNet>,
    interface: Option<String>,
}

/// Makes everything beside its place, then moves it there: the folder is whole or not there.
pub fn run(told: &Generate) -> Result<()> {
    let output = &told.output;
    ensure!(
        !output.exists(),
        "{} is there already and may hold a cluster's keys; name another --output",
        output.display()
    );
    let configs = told.machine_configs()?;
    let new = output.with_extension(format!("new-{}", std::process::id()));
    let made = write(&new, told, &configs).and_then(|()| {
        fs::rename(&new, output).with_context(|| format!("move {} to {}", new.display(), output.display()))
    });
    if let Err(error) = made {
        // What could not be made whole is of no use; the error says why.
        let _ = fs::remove_dir_all(&new);
        return Err(error);
    }
    report(output, &configs)
}

fn write(folder: &Path, told: &Generate, configs: &[(MachineConfig, String)]) -> Result<()> {
    let bundle = identity::cluster::new_bundle()?;
    for (config, text) in configs {
        let machine = folder.join("machines").join(&config.machine.name);
        fs::create_dir_all(&machine).with_context(|| format!("make {}", machine.display()))?;
        let secrets = identity::cluster::machine_secrets(&bundle, config)?;
        write_private(&machine.join("config.toml"), text)?;
        write_private(&machine.join("secrets.toml"), &toml::to_string(&secrets)?)?;
    }
    write_private(&folder.join("bundle.toml"), &toml::to_string(&bundle)?)?;
    write_private(&folder.join("admin.toml"), &told.admin(&bundle, configs)?.to_toml())?;
    write_private(
        &folder.join("kubeconfig"),
        &identity::cluster::kubeconfig(&bundle, &told.endpoint)?,
    )
}

fn report(output: &Path, configs: &[(MachineConfig, String)]) -> Result<()> {
    let output = output.display();
    for (config, _) in configs {
        line(format!(
            "{output}/machines/{}/  config.toml (commit it) and secrets.toml (do not)",
            config.machine.name
        ))?;
    }
    line(format!(
        "{output}/admin.toml   your identity towards machines: export PINTLE_IDENTITY={output}/admin.toml"
    ))?;
    line(format!(
        "{output}/kubeconfig   your identity towards Kubernetes: export KUBECONFIG={output}/kubeconfig"
    ))?;
    line(format!(
        "{output}/bundle.toml  the cluster's CAs with their keys: keep it safe, it makes everything else"
    ))
}

// === impl Generate ===

impl Generate {
    /// Every machine's config with its text, checked as machines check it.
    fn machine_configs(&self) -> Result<Vec<(MachineConfig, String)>> {
        let mut machines: Vec<(Wanted, Vec<Role>)> = Vec::new();
        let control_planes = self.control_planes.iter().map(|wanted| (wanted, Role::ControlPlane));
        for (wanted, role) in control_planes.chain(self.workers.iter().map(|wanted| (wanted, Role::Worker))) {
            match machines.iter_mut().find(|(machine, _)| machine.name == wanted.name) {
                None => machines.push((wanted.clone(), vec![role])),
                Some((machine, roles)) => {
                    let same = wanted.address.is_none() || wanted == machine;
                    ensure!(
                        same && !roles.contains(&role),
                        "machine {} is named twice, differently or in the same role",
                        wanted.name
                    );
                    roles.push(role);
                }
            }
        }
        let configs = machines
            .iter()
            .map(|(wanted, roles)| self.machine_config(wanted, roles));
        configs
            .map(|config| {
                let text = toml::to_string(&config)?;
                match config::parse(&text) {
                    Ok(config) => Ok((config, text)),
                    Err(problems) => {
                        let said = problems
                            .iter()
                            .map(|problem| problem.message.as_str())
                            .collect::<Vec<_>>();
                        bail!("machine {}: {}", config.machine.name, said.join("; "))
                    }
                }
            })
            .collect()
    }

    fn machine_config(&self, wanted: &Wanted, roles: &[Role]) -> MachineConfig {
        let addresses = self.control_planes.iter().chain(&self.workers);
        let hosts = addresses.filter_map(|machine| Some((machine.name.clone(), machine.address?.addr())));
        let node_cidr = wanted.address.map(|address| address.trunc());
        MachineConfig {
            version: 1,
            machine: Machine {
                name: wanted.name.clone(),
                roles: roles.to_vec(),
                labels: BTreeMap::new(),
            },
            network: Network {
                interfaces: wanted.interface(self.gateway).into_iter().collect(),
                nameservers: self.nameservers.clone(),
                hosts: hosts.collect(),
            },
            storage: Storage::default(),
            cluster: Cluster {
                node_cidr,
                ..Cluster::new(&self.cluster, &self.endpoint)
            },
            control_plane: None,
            oci: Oci::default(),
            node: config::Node::default(),
        }
    }

    fn admin(&self, bundle: &Bundle, configs: &[(MachineConfig, String)]) -> Result<IdentityFile> {
        let pair = identity::cluster::admin(bundle, identity::Role::Admin)?;
        let endpoint = |config: &MachineConfig| {
            let fixed = config
                .network
                .interfaces
                .iter()
                .flat_map(|interface| &interface.addresses)
                .next();
            // Without a fixed address the name must be known to DNS.
            let address = fixed.and_then(|net| MachineAddress::from_address(&net.addr().to_string()));
            address.map_or_else(
                || format!("{}:{}", config.machine.name, proto::machine::PORT),
                |known| known.endpoint,
            )
        };
        let machines = configs.iter().map(|(config, _)| MachineAddress {
            name: config.machine.name.clone(),
            endpoint: endpoint(config),
        });
        Ok(IdentityFile {
            version: 1,
            cluster: self.cluster.clone(),
            ca: bundle.machine_ca.certificate.clone(),
            certificate: pair.certificate,
            key: pair.key,
            machines: machines.collect(),
        })
    }
}

// === impl Wanted ===

impl Wanted {
    fn interface(&self, gateway: Option<IpAddr>) -> Option<Interface> {
        let address = self.address?;
        let which = self.interface.clone().unwrap_or_else(|| FIRST_INTERFACE.to_owned());
        let is_mac = which.contains(':');
        Some(Interface {
            mac: is_mac.then(|| which.clone()),
            name: (!is_mac).then_some(which),
            dhcp: false,
            addresses: vec![address],
            gateway,
        })
    }
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((name, place)) = text.split_once('=') else {
            return Ok(Self {
                name: text.to_owned(),
                address: None,
                interface: None,
            });
        };
        let (address, interface) = match place.split_once('@') {
            Some((address, interface)) => (address, Some(interface.to_owned())),
            None => (place, None),
        };
        let address = address
            .parse()
            .map_err(|_| format!("{address:?} is no address with a prefix length like 10.0.0.1/24"))?;
        Ok(Self {
            name: name.to_owned(),
            address: Some(address),
            interface,
        })
    }
}
