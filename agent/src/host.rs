//! The host's name and network: interfaces by config, /etc/hosts and /etc/resolv.conf (both links into /run/pintle).
//!
//! Nothing here ends the agent: a machine with a wrong network must stay reachable to be mended.

use crate::events::Kind;
use crate::machine::Machine;
use config::MachineConfig;
use net::host::{self, HostError, Interface, Up, Which};
use std::fmt::Write;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::watch;

/// Sets the kernel's host name.
pub fn set_name(name: &str) {
    if let Err(cause) = nix::unistd::sethostname(name) {
        tracing::warn!("set host name to {name}: {cause}");
    }
}

/// Brings up what the config names; where that fails, every Ethernet interface with DHCP. Keeps the name files
/// current from then on.
pub async fn bring_up(machine: &Arc<Machine>, config: &MachineConfig) {
    // Names first: loopback programs need them even while DHCP is asked.
    write_names(machine, config, &[]).await;
    let up = match up(config).await {
        Ok(up) => up,
        Err(error) => {
            let said =
                format!("{error}; all Ethernet interfaces ask DHCP instead, so that this machine can be reached");
            machine.events.note(Kind::Network, "interfaces", said);
            match by_dhcp().await {
                Ok(up) => up,
                Err(error) => return machine.events.note(Kind::Network, "interfaces", error.to_string()),
            }
        }
    };
    let nameservers = up.nameservers.borrow().clone();
    write_names(machine, config, &nameservers).await;
    tokio::spawn(keep_names(Arc::clone(machine), up.nameservers));
}

/// Every Ethernet interface with DHCP: what a machine without a config does.
pub async fn by_dhcp() -> Result<Up, HostError> {
    host::up(&host::ethernet().await?).await
}

/// The addresses that the machine is reached by now.
pub async fn addresses() -> Vec<IpAddr> {
    match host::addresses().await {
        Ok(found) => found.into_iter().map(|address| address.net.addr()).collect(),
        Err(error) => {
            tracing::warn!("list addresses: {error}");
            Vec::new()
        }
    }
}

async fn up(config: &MachineConfig) -> Result<Up, HostError> {
    if config.network.interfaces.is_empty() {
        return by_dhcp().await;
    }
    let wanted = config.network.interfaces.iter().map(interface).collect::<Vec<_>>();
    host::up(&wanted).await
}

fn interface(of_config: &config::Interface) -> Interface {
    let which = match (&of_config.mac, &of_config.name) {
        (Some(mac), _) => Which::Mac(mac_bytes(mac)),
        (None, name) => Which::Name(name.clone().unwrap_or_default()),
    };
    Interface {
        which,
        dhcp: of_config.dhcp,
        addresses: of_config.addresses.clone(),
        gateway: of_config.gateway,
    }
}

/// The config's check has seen that there are six pairs of hex digits.
fn mac_bytes(mac: &str) -> [u8; 6] {
    let mut bytes = [0; 6];
    for (byte, pair) in bytes.iter_mut().zip(mac.split(':')) {
        *byte = u8::from_str_radix(pair, 16).unwrap_or_default();
    }
    bytes
}

/// Writes the name files again whenever a DHCP lease or the config changes.
async fn keep_names(machine: Arc<Machine>, mut leases: watch::Receiver<Vec<IpAddr>>) {
    let mut configs = machine.configs();
    loop {
        let changed = tokio::select! {
            changed = leases.changed() => changed,
            changed = configs.changed() => changed,
        };
        if changed.is_err() {
            return;
        }
        let running = configs.borrow_and_update().clone();
        let nameservers = leases.borrow_and_update().clone();
        if let Some(running) = running {
            write_names(&machine, &running.config, &nameservers).await;
        }
    }
}

async fn write_names(machine: &Machine, config: &MachineConfig, leased: &[IpAddr]) {
    let run = &machine.places.run;
    let written = write(&run.join("hosts"), &hosts(config, &addresses().await)).and_then(|()| {
        write(
            &run.join("resolv.conf"),
            &resolv_conf(&config.network.nameservers, leased),
        )
    });
    if let Err(cause) = written {
        machine.events.note(
            Kind::Network,
            "names",
            format!("write hosts and resolv.conf in {}: {cause}", run.display()),
        );
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    // Readers see the old file or the new one.
    let new = path.with_extension("new");
    std::fs::write(&new, text)?;
    std::fs::rename(new, path)
}

fn hosts(config: &MachineConfig, addresses: &[IpAddr]) -> String {
    let mut text = "127.0.0.1 localhost\n::1 localhost\n".to_owned();
    let inside = |address: &&IpAddr| config.cluster.node_cidr.is_none_or(|cidr| cidr.contains(*address));
    if let Some(own) = addresses.iter().find(inside) {
        let _ = writeln!(text, "{own} {}", config.machine.name);
    }
    for (name, address) in config
        .network
        .hosts
        .iter()
        .filter(|(name, _)| **name != config.machine.name)
    {
        let _ = writeln!(text, "{address} {name}");
    }
    text
}

fn resolv_conf(configured: &[IpAddr], leased: &[IpAddr]) -> String {
    let mut seen = Vec::new();
    for server in configured.iter().chain(leased) {
        if !seen.contains(server) {
            seen.push(*server);
        }
    }
    seen.iter()
        .fold(String::new(), |text, server| text + &format!("nameserver {server}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::testing;

    #[test]
    fn name_files_say_what_config_and_leases_say() {
        let (text, _) = testing::machine("n1", "worker");
        let mut config = config::parse(&text).unwrap_or_else(|problems| panic!("{}", config::sentence(&problems)));
        config
            .network
            .hosts
            .insert("registry.test".into(), "10.0.2.2".parse().unwrap());
        config.cluster.node_cidr = Some("10.77.0.0/24".parse().unwrap());
        let addresses = ["10.0.2.15".parse().unwrap(), "10.77.0.11".parse().unwrap()];
        let lines = "127.0.0.1 localhost\n::1 localhost\n10.77.0.11 n1\n10.0.2.2 registry.test\n";
        assert_eq!(hosts(&config, &addresses), lines);
        let (a, b) = ("1.1.1.1".parse().unwrap(), "10.0.2.3".parse().unwrap());
        assert_eq!(resolv_conf(&[a], &[b, a]), "nameserver 1.1.1.1\nnameserver 10.0.2.3\n");
    }

    #[test]
    fn hardware_addresses_become_bytes() {
        assert_eq!(mac_bytes("52:54:00:00:02:0A"), [0x52, 0x54, 0, 0, 2, 10]);
    }
}
