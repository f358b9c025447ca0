//! From CRI's configs to the sandbox's plain Linux words. Pure; whatever had to be looked up comes in.

use crate::pods::plan::security::{ALL, granted};
use crate::pods::plan::user::{Names, Wanted, look_up};
use crate::pods::plan::{Refusal, command_line, home, resources, signal, variables};
use proto::cri::runtime::v1::security_profile::ProfileType;
use proto::cri::runtime::v1::{
    ContainerConfig, DnsConfig, LinuxContainerResources, LinuxContainerSecurityContext, LinuxSandboxSecurityContext,
    MountPropagation, NamespaceMode, NamespaceOption, PodSandboxConfig, SecurityProfile, Signal,
    SupplementalGroupsPolicy,
};
use sandbox::{
    Access, ContainerPlan, Ipc, Limits, Mount, Network, PodPlan, Processes, Propagation, Root, Seccomp, Source, User,
};
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// Where sandboxes go whose config names no group.
const CGROUP: &str = "kubepods/cri";

/// All that a container's plan is made of.
pub struct Inputs<'a> {
    /// Names it in its sandbox.
    pub id: &'a str,
    /// What the caller wants.
    pub config: &'a ContainerConfig,
    /// What its sandbox was made of.
    pub sandbox: &'a PodSandboxConfig,
    /// Its sandbox's name.
    pub hostname: &'a str,
    /// Its image, on this node.
    pub image: &'a oci::Image,
    /// For each mount the layers of its image, if it is one.
    pub layers: Vec<Vec<PathBuf>>,
    /// The folder with the sandbox's hosts, hostname and resolv.conf.
    pub files: &'a Path,
    /// Where its upper layer goes.
    pub scratch: PathBuf,
    /// Where its log goes.
    pub log: PathBuf,
}

/// Plans a sandbox.
pub fn sandbox(id: &str, config: &PodSandboxConfig) -> Result<PodPlan, Refusal> {
    let linux = config.linux.clone().unwrap_or_default();
    let context = linux.security_context.unwrap_or_default();
    let (network, ipc) = (network(&context), ipc(&context));
    if context.run_as_group.is_some() && context.run_as_user.is_none() {
        return Err(Refusal("runAsGroup is set without runAsUser".to_owned()));
    }
    has_no_user_namespace(context.namespace_options.as_ref())?;
    if let Some(mapping) = config.port_mappings.iter().find(|mapping| mapping.host_port > 0) {
        let port = mapping.host_port;
        return Err(Refusal(format!(
            "host port {port} cannot be mapped: this node maps no host ports yet"
        )));
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
        users: None,
        cgroup: cgroup(&linux.cgroup_parent)?.join(id),
        limits: Limits::default(),
        sysctls,
        labels: BTreeMap::new(),
    })
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

/// Without a word, all containers of the sandbox share them: that is the protocol's zero.
fn processes(options: Option<&NamespaceOption>) -> Processes {
    match options.map(NamespaceOption::pid) {
        Some(NamespaceMode::Node) => Processes::Host,
        Some(NamespaceMode::Container) => Processes::Own,
        Some(NamespaceMode::Target) => {
            Processes::Of(options.map(|options| options.target_id.clone()).unwrap_or_default())
        }
        Some(NamespaceMode::Pod) | None => Processes::Pod,
    }
}

fn has_no_user_namespace(options: Option<&NamespaceOption>) -> Result<(), Refusal> {
    let users = options.and_then(|options| options.userns_options.as_ref());
    match users {
        Some(users) if users.mode() == NamespaceMode::Pod && !(users.uids.is_empty() && users.gids.is_empty()) => {
            Err(Refusal("this runtime does not support user namespaces".to_owned()))
        }
        Some(_) | None => Ok(()),
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

/// Plans a container.
pub fn container(inputs: &Inputs<'_>) -> Result<ContainerPlan, Refusal> {
    let Inputs { config, image, .. } = inputs;
    let linux = config.linux.clone().unwrap_or_default();
    let context = linux.security_context.unwrap_or_default();
    let resources = linux.resources.unwrap_or_default();
    may_be_privileged(&context, inputs.sandbox)?;
    has_no_user_namespace(context.namespace_options.as_ref())?;
    if let Some(device) = config.cdi_devices.first() {
        return Err(Refusal(format!(
            "CDI device {:?} cannot be resolved on this node",
            device.name
        )));
    }
    app_armor(&context)?;
    let names = Names {
        passwd: image.text("etc/passwd"),
        group: image.text("etc/group"),
    };
    let user = user(&context, &image.config.user, &names)?;
    let own = config.envs.iter().map(|env| (env.key.clone(), env.value.clone()));
    let mut env = variables(inputs.hostname, config.tty, &image.config, own);
    if !env.iter().any(|(name, _)| name == "HOME") {
        env.push(("HOME".to_owned(), home(&names.passwd, user.uid)));
    }
    let capabilities = context.capabilities.clone().unwrap_or_default();
    let folder = Some(&config.working_dir).filter(|folder| !folder.is_empty());
    Ok(ContainerPlan {
        name: inputs.id.to_owned(),
        attempt: 0,
        root: Root {
            lower: image.layers.clone(),
            scratch: inputs.scratch.clone(),
            readonly: context.readonly_rootfs,
        },
        mounts: mounts(inputs)?,
        argv: command_line(config.command.clone(), config.args.clone(), &image.config)?,
        env,
        cwd: Path::new("/").join(folder.unwrap_or(&image.config.working_dir)),
        processes: processes(context.namespace_options.as_ref()),
        user,
        capabilities: match context.privileged {
            true => ALL.map(str::to_owned).to_vec(),
            false => granted(&capabilities.add_capabilities, &capabilities.drop_capabilities),
        },
        no_new_privs: context.no_new_privs,
        seccomp: seccomp(&context)?,
        masked_paths: context.masked_paths.iter().map(PathBuf::from).collect(),
        readonly_paths: context.readonly_paths.iter().map(PathBuf::from).collect(),
        limits: limits(&resources)?,
        oom_score_adj: i32::try_from(resources.oom_score_adj.clamp(-1000, 1000)).unwrap_or(0),
        log: inputs.log.clone(),
        tty: config.tty,
        stdin: config.stdin,
        stdin_once: config.stdin_once,
        privileged: context.privileged,
    })
}

fn may_be_privileged(context: &LinuxContainerSecurityContext, sandbox: &PodSandboxConfig) -> Result<(), Refusal> {
    let of_sandbox = sandbox.linux.as_ref().and_then(|linux| linux.security_context.as_ref());
    match context.privileged && !of_sandbox.is_some_and(|context| context.privileged) {
        true => Err(Refusal("no privileged container allowed in sandbox".to_owned())),
        false => Ok(()),
    }
}

fn user(context: &LinuxContainerSecurityContext, of_image: &str, names: &Names) -> Result<User, Refusal> {
    let (image_user, image_group) = match of_image.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (of_image, None),
    };
    let uid = context.run_as_user.map(|uid| uid.value.to_string());
    let name = Some(&context.run_as_username).filter(|name| !name.is_empty());
    let own = uid.as_ref().or(name);
    let gid = context.run_as_group.map(|gid| gid.value.to_string());
    if gid.is_some() && own.is_none() {
        return Err(Refusal("user group is specified without user".to_owned()));
    }
    let groups = context.supplemental_groups.iter();
    look_up(
        Wanted {
            user: own.map_or(image_user, String::as_str),
            // The image's group belongs to the image's user.
            group: gid.as_deref().or(image_group.filter(|_| own.is_none())),
            groups: groups.filter_map(|gid| u32::try_from(*gid).ok()).collect(),
            groups_of_image: context.supplemental_groups_policy() == SupplementalGroupsPolicy::Merge,
        },
        names,
    )
}

/// The profile, else what the older field says; without any of both no filter, as the interface has it.
fn seccomp(context: &LinuxContainerSecurityContext) -> Result<Seccomp, Refusal> {
    if context.privileged {
        return Ok(Seccomp::Unconfined);
    }
    let localhost = |path: &str| {
        Err(Refusal(format!(
            "cannot load seccomp profile {path:?}: this node has no profiles of its own"
        )))
    };
    match &context.seccomp {
        Some(profile) => match profile.profile_type() {
            ProfileType::RuntimeDefault => Ok(Seccomp::RuntimeDefault),
            ProfileType::Unconfined => Ok(Seccomp::Unconfined),
            ProfileType::Localhost => localhost(&profile.localhost_ref),
        },
        None => match context.seccomp_profile_path.as_str() {
            "" | "unconfined" => Ok(Seccomp::Unconfined),
            "runtime/default" | "docker/default" => Ok(Seccomp::RuntimeDefault),
            other => match other.strip_prefix("localhost/") {
                Some(path) => localhost(path),
                None => Err(Refusal(format!("invalid seccomp profile {other:?}"))),
            },
        },
    }
}

/// The kernel has no AppArmor; whoever asks for it must hear so, and containerd's words are known.
fn app_armor(context: &LinuxContainerSecurityContext) -> Result<(), Refusal> {
    let confines = |profile: &SecurityProfile| profile.profile_type() != ProfileType::Unconfined;
    let by_path = !matches!(context.apparmor_profile.as_str(), "" | "unconfined" | "runtime/default");
    let asks = match &context.apparmor {
        Some(profile) => confines(profile),
        None => by_path,
    };
    match asks && !context.privileged {
        true => Err(Refusal("apparmor is not supported".to_owned())),
        false => Ok(()),
    }
}

/// The caller's mounts, parents before children, its devices, and the sandbox's files wherever none of them has taken their place.
fn mounts(inputs: &Inputs<'_>) -> Result<Vec<Mount>, Refusal> {
    let mut all = Vec::new();
    for (mount, layers) in inputs.config.mounts.iter().zip(&inputs.layers) {
        all.push(volume(mount, layers)?);
    }
    for device in &inputs.config.devices {
        all.push(Mount {
            source: Source::Device(PathBuf::from(&device.host_path)),
            target: PathBuf::from(&device.container_path),
            access: Access::Writable,
            propagation: Propagation::Private,
        });
    }
    for (name, target) in [
        ("hosts", "/etc/hosts"),
        ("resolv.conf", "/etc/resolv.conf"),
        ("hostname", "/etc/hostname"),
    ] {
        if !all.iter().any(|mount| mount.target == Path::new(target)) {
            let context = inputs
                .config
                .linux
                .as_ref()
                .and_then(|linux| linux.security_context.as_ref());
            all.push(Mount {
                source: Source::Bind(inputs.files.join(name)),
                target: target.into(),
                access: match context.is_some_and(|context| context.readonly_rootfs) {
                    true => Access::Readonly,
                    false => Access::Writable,
                },
                propagation: Propagation::Private,
            });
        }
    }
    all.sort_by_key(|mount| mount.target.components().count());
    Ok(all)
}

fn volume(mount: &proto::cri::runtime::v1::Mount, layers: &[PathBuf]) -> Result<Mount, Refusal> {
    let target = PathBuf::from(&mount.container_path);
    if !(mount.uid_mappings.is_empty() && mount.gid_mappings.is_empty()) {
        return Err(Refusal("this runtime does not map the owners of mounts".to_owned()));
    }
    if !layers.is_empty() {
        if !mount.host_path.is_empty() {
            return Err(Refusal(format!(
                "mount {:?} has an image and a host path",
                mount.container_path
            )));
        }
        let path = PathBuf::from(mount.image_sub_path.trim_start_matches('/'));
        let lower = layers.to_vec();
        return Ok(Mount {
            source: Source::Layers { lower, path },
            target,
            access: Access::ReadonlyRecursive,
            propagation: Propagation::Private,
        });
    }
    let propagation = match mount.propagation() {
        MountPropagation::PropagationPrivate => Propagation::Private,
        MountPropagation::PropagationHostToContainer => Propagation::FromMachine,
        MountPropagation::PropagationBidirectional => Propagation::Both,
    };
    let access = match (mount.recursive_read_only, mount.readonly) {
        (true, false) => return Err(Refusal("recursive read-only mount needs readonly".to_owned())),
        (true, true) if propagation != Propagation::Private => {
            return Err(Refusal(
                "recursive read-only mount needs private propagation".to_owned(),
            ));
        }
        (true, true) => Access::ReadonlyRecursive,
        (false, true) => Access::Readonly,
        (false, false) => Access::Writable,
    };
    let real = std::fs::canonicalize(&mount.host_path);
    let real = real.map_err(|cause| Refusal(format!("mount {:?}: {cause}", mount.host_path)))?;
    Ok(Mount {
        source: Source::Bind(real),
        target,
        access,
        propagation,
    })
}

/// The signal that asks a container to stop: its config's, else its image's, SIGTERM where both say nothing that is one.
pub fn stop_signal(config: &ContainerConfig, image: &oci::Config) -> i32 {
    let wanted = match config.stop_signal() {
        Signal::RuntimeDefault => None,
        named => signal(&named.as_str_name().replace("PLUS", "+").replace("MINUS", "-")),
    };
    wanted
        .or_else(|| signal(&image.stop_signal))
        .unwrap_or(nix::libc::SIGTERM)
}

/// Limits of a cgroup; 0 and empty mean that nothing is said.
pub fn limits(wanted: &LinuxContainerResources) -> Result<Limits, Refusal> {
    let some = |value: i64| u64::try_from(value).ok().filter(|value| *value > 0);
    let period = some(wanted.cpu_period).unwrap_or(100_000);
    let hugetlb = wanted
        .hugepage_limits
        .iter()
        .map(|limit| (limit.page_size.clone(), limit.limit));
    let mut limits = Limits {
        // The group's period is always 100 ms; the kernel takes no quota below 1 ms.
        cpu_quota_us: some(wanted.cpu_quota).map(|quota| (quota * 100_000 / period).max(1000)),
        cpu_weight: some(wanted.cpu_shares).map(resources::weight_of_shares),
        memory_max: some(wanted.memory_limit_in_bytes),
        // Said of memory and swap together, as cgroup v1 had it.
        swap_max: some(wanted.memory_swap_limit_in_bytes)
            .map(|both| both.saturating_sub(some(wanted.memory_limit_in_bytes).unwrap_or(0))),
        hugetlb: hugetlb.collect(),
        cpus: Some(wanted.cpuset_cpus.clone()).filter(|cpus| !cpus.is_empty()),
        ..Limits::default()
    };
    for (file, value) in &wanted.unified {
        let number = || {
            let number = value.trim().parse::<u64>();
            number.map_err(|_| Refusal(format!("unified resource {file}: {value:?} is no number")))
        };
        match (file.as_str(), value.as_str()) {
            ("memory.oom.group", _) => limits.oom_group = number()? == 1,
            (_, "max") => {}
            ("memory.max", _) => limits.memory_max = Some(number()?),
            ("memory.swap.max", _) => limits.swap_max = Some(number()?),
            ("pids.max", _) => limits.pids_max = Some(number()?),
            ("cpu.weight", _) => limits.cpu_weight = Some(number()?),
            (_, _) => {
                return Err(Refusal(format!(
                    "unified resource {file} is not one that this node sets"
                )));
            }
        }
    }
    Ok(limits)
}

/// Takes over what `wanted` says.
pub fn merge(into: &mut LinuxContainerResources, wanted: &LinuxContainerResources) {
    let pairs = [
        (&mut into.cpu_period, wanted.cpu_period),
        (&mut into.cpu_quota, wanted.cpu_quota),
        (&mut into.cpu_shares, wanted.cpu_shares),
        (&mut into.memory_limit_in_bytes, wanted.memory_limit_in_bytes),
        (&mut into.oom_score_adj, wanted.oom_score_adj),
        (&mut into.memory_swap_limit_in_bytes, wanted.memory_swap_limit_in_bytes),
    ];
    for (old, new) in pairs {
        if new != 0 {
            *old = new;
        }
    }
    for (old, new) in [
        (&mut into.cpuset_cpus, &wanted.cpuset_cpus),
        (&mut into.cpuset_mems, &wanted.cpuset_mems),
    ] {
        if !new.is_empty() {
            old.clone_from(new);
        }
    }
    into.unified.extend(wanted.unified.clone());
    if !wanted.hugepage_limits.is_empty() {
        into.hugepage_limits.clone_from(&wanted.hugepage_limits);
    }
}

#[cfg(test)]
#[path = "plan/tests.rs"]
mod tests;
