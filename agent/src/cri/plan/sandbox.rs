//! From CRI's config of a sandbox to plain Linux words.

use crate::pods::plan::Refusal;
use net::pods::{HostPort, Protocol};
use proto::cri::runtime::v1::{
    DnsConfig, IdMapping, LinuxSandboxSecurityContext, NamespaceMode, NamespaceOption, PodSandboxConfig, PortMapping,
    SeLinuxOption,
};
use sandbox::{Ipc, Limits, Network, PodPlan, Users};
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// Where sandboxes go whose config names no group.
const CGROUP: &str = "kubepods/cri";

/// Plans a sandbox.
pub fn sandbox(id: &str, config: &PodSandboxConfig) -> Result<PodPlan, Refusal> {
    let linux = config.linux.clone().unwrap_or_default();
    let context = linux.security_context.unwrap_or_default();
    let (network, ipc) = (network(&context), ipc(&context));
    if context.run_as_group.is_some() && context.run_as_user.is_none() {
        return Err(Refusal("runAsGroup is set without runAsUser".to_owned()));
    }
    has_no_selinux(context.selinux_options.as_ref())?;
    let users = users(context.namespace_options.as_ref())?;
    if users.is_some() && network == Network::Host {
        return Err(Refusal(
            "user namespace: not together with the machine's network".to_owned(),
        ));
    }
    let hostname = match (config.hostname.as_str(), network) {
        ("", Network::Host) => machine_name(),
        ("", Network::Own) => config
            .metadata
            .as_ref()
            .map(|metadata| metadata.name.clone())
            .unwrap_or_default(),
        (name, _) => name.to_owned(),
    };
    let mut sysctls: Vec<(String, String)> = linux.sysctls.into_iter().collect();
    sysctls.sort();
    for (name, _) in &sysctls {
        is_of_the_sandbox(name, network, ipc)?;
    }
    Ok(PodPlan {
        id: id.to_owned(),
        hostname: hostname.chars().take(64).collect(),
        network,
        ipc,
        users,
        cgroup: cgroup(&linux.cgroup_parent)?.join(id),
        limits: Limits::default(),
        sysctls,
        labels: BTreeMap::new(),
    })
}

/// The kernel has no SELinux; whoever asks for a label must hear so.
pub fn has_no_selinux(wanted: Option<&SeLinuxOption>) -> Result<(), Refusal> {
    match wanted.is_none_or(|options| *options == SeLinuxOption::default()) {
        true => Ok(()),
        false => Err(Refusal("SELinux is not supported".to_owned())),
    }
}

/// Whose users the sandbox's are; nothing: the machine's. One range from 0 on, of users and of groups alike, as containerd.
pub fn users(options: Option<&NamespaceOption>) -> Result<Option<Users>, Refusal> {
    let Some(wanted) = options.and_then(|options| options.userns_options.as_ref()) else {
        return Ok(None);
    };
    let refused = |why: &str| Err(Refusal(format!("user namespace: {why}")));
    match (wanted.mode(), wanted.uids.as_slice(), wanted.gids == wanted.uids) {
        (NamespaceMode::Node, [], true) => Ok(None),
        (NamespaceMode::Node, _, _) => refused("the machine's has no mappings"),
        (NamespaceMode::Pod, [only], true) => range(only).map(Some),
        (NamespaceMode::Pod, _, _) => refused("this node maps one range, the same of users and of groups"),
        (NamespaceMode::Container | NamespaceMode::Target, _, _) => refused("it belongs to the sandbox or the machine"),
    }
}

/// The range that a mapping says.
pub fn range(mapping: &IdMapping) -> Result<Users, Refusal> {
    let (first, count) = (mapping.host_id, mapping.length);
    match mapping.container_id == 0 && count > 0 && first.checked_add(count).is_some() {
        true => Ok(Users { first, count }),
        false => Err(Refusal(format!(
            "user namespace: {count} IDs from {} on cannot be {first} and the following of the machine",
            mapping.container_id
        ))),
    }
}

/// The ports of the machine that lead to a sandbox.
pub fn host_ports(config: &PodSandboxConfig) -> Result<Vec<HostPort>, Refusal> {
    let mapped = config.port_mappings.iter().filter(|mapping| mapping.host_port > 0);
    let plain = |mapping: &PortMapping| {
        let number = |port: i32| u16::try_from(port).ok();
        let address = Some(mapping.host_ip.as_str()).filter(|ip| !ip.is_empty());
        Some(HostPort {
            protocol: match mapping.protocol() {
                proto::cri::runtime::v1::Protocol::Tcp => Protocol::Tcp,
                proto::cri::runtime::v1::Protocol::Udp => Protocol::Udp,
                proto::cri::runtime::v1::Protocol::Sctp => Protocol::Sctp,
            },
            address: address.map(str::parse).transpose().ok()?,
            port: number(mapping.host_port)?,
            pod_port: number(mapping.container_port)?,
        })
    };
    let plain = |mapping| plain(mapping).ok_or_else(|| Refusal(format!("port mapping {mapping:?} is none")));
    mapped.map(plain).collect()
}

fn network(context: &LinuxSandboxSecurityContext) -> Network {
    let options = context.namespace_options.as_ref();
    match options.map(NamespaceOption::network) {
        Some(NamespaceMode::Node) => Network::Host,
        Some(NamespaceMode::Pod | NamespaceMode::Container | NamespaceMode::Target) | None => Network::Own,
    }
}

fn ipc(context: &LinuxSandboxSecurityContext) -> Ipc {
    let options = context.namespace_options.as_ref();
    match options.map(NamespaceOption::ipc) {
        Some(NamespaceMode::Node) => Ipc::Host,
        Some(NamespaceMode::Pod | NamespaceMode::Container | NamespaceMode::Target) | None => Ipc::Own,
    }
}

fn machine_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}

/// Those that a namespace of the sandbox has for itself (runc, libcontainer/configs/validate `sysctl`).
fn is_of_the_sandbox(name: &str, network: Network, ipc: Ipc) -> Result<(), Refusal> {
    let of_ipc = [
        "kernel.msgmax",
        "kernel.msgmnb",
        "kernel.msgmni",
        "kernel.sem",
        "kernel.shmall",
        "kernel.shmmax",
    ];
    let of_ipc = of_ipc.contains(&name)
        || ["kernel.shmmni", "kernel.shm_rmid_forced"].contains(&name)
        || name.starts_with("fs.mqueue.");
    match (name.starts_with("net."), network) {
        (true, Network::Own) => Ok(()),
        (true, Network::Host) => Err(Refusal(format!(
            "sysctl {name:?} not allowed in host network namespace"
        ))),
        (false, _) if of_ipc && ipc == Ipc::Own => Ok(()),
        (false, _) => Err(Refusal(format!(
            "sysctl {name:?} is not in a separate kernel namespace"
        ))),
    }
}

fn cgroup(parent: &str) -> Result<PathBuf, Refusal> {
    let parent = Path::new(parent.trim_start_matches('/'));
    match parent.components().all(|part| matches!(part, Component::Normal(_))) {
        true if parent.as_os_str().is_empty() => Ok(PathBuf::from(CGROUP)),
        true => Ok(parent.to_owned()),
        false => Err(Refusal(format!("cgroup parent {:?} is no path", parent.display()))),
    }
}

/// resolv.conf as the caller wants it.
pub fn resolv_conf(dns: &DnsConfig) -> String {
    let list = |keyword: &str, words: &[String]| match words.is_empty() {
        true => String::new(),
        false => format!("{keyword} {}\n", words.join(" ")),
    };
    let servers: String = dns
        .servers
        .iter()
        .map(|server| format!("nameserver {server}\n"))
        .collect();
    list("search", &dns.searches) + &servers + &list("options", &dns.options)
}
