//! From CRI's configs to the sandbox's plain Linux words. Pure; whatever had to be looked up comes in.

mod limits;
mod sandbox;

pub use limits::{limits, merge};
pub use sandbox::{host_ports, resolv_conf, sandbox};

use crate::pods::plan::security::{ALL, granted, names};
use crate::pods::plan::user::{Names, Wanted, look_up};
use crate::pods::plan::{Refusal, command_line, home, signal, variables};
use ::sandbox::{Access, ContainerPlan, Forbids, Mount, Processes, Propagation, Root, Seccomp, Source, User, Users};
use proto::cri::runtime::v1::security_profile::ProfileType;
use proto::cri::runtime::v1::{
    ContainerConfig, Device, LinuxContainerSecurityContext, MountPropagation, NamespaceMode, NamespaceOption,
    PodSandboxConfig, SecurityProfile, Signal, SupplementalGroupsPolicy,
};
use std::path::{Path, PathBuf};

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

/// Plans a container.
pub fn container(inputs: &Inputs<'_>) -> Result<ContainerPlan, Refusal> {
    let Inputs { config, image, .. } = inputs;
    let linux = config.linux.clone().unwrap_or_default();
    let context = linux.security_context.unwrap_or_default();
    let resources = linux.resources.unwrap_or_default();
    may_be_privileged(&context, inputs.sandbox)?;
    let users = users(&context, inputs.sandbox)?;
    sandbox::has_no_selinux(context.selinux_options.as_ref())?;
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
    let granted_capabilities = match context.privileged {
        true => ALL.map(str::to_owned).to_vec(),
        false => {
            // No set holds an ambient capability that the permitted one does not.
            let ambient = capabilities.add_ambient_capabilities.iter().cloned();
            let add: Vec<String> = capabilities.add_capabilities.iter().cloned().chain(ambient).collect();
            granted(&add, &capabilities.drop_capabilities)
        }
    };
    let seccomp = seccomp(&context, &granted_capabilities)?;
    let folder = Some(&config.working_dir).filter(|folder| !folder.is_empty());
    Ok(ContainerPlan {
        name: inputs.id.to_owned(),
        attempt: 0,
        root: Root {
            lower: image.layers.clone(),
            scratch: inputs.scratch.clone(),
            readonly: context.readonly_rootfs,
        },
        mounts: mounts(inputs, users)?,
        argv: command_line(config.command.clone(), config.args.clone(), &image.config)?,
        env,
        cwd: Path::new("/").join(folder.unwrap_or(&image.config.working_dir)),
        processes: processes(context.namespace_options.as_ref()),
        user,
        capabilities: granted_capabilities,
        ambient: ambient(&capabilities.add_ambient_capabilities)?,
        no_new_privs: context.no_new_privs,
        seccomp,
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

/// Capabilities that programs of other users than root keep when they execute others.
fn ambient(list: &[String]) -> Result<Vec<String>, Refusal> {
    let names = names(list);
    if names.iter().any(|name| name == "ALL") {
        return Ok(ALL.map(str::to_owned).to_vec());
    }
    match names.iter().find(|name| !ALL.contains(&name.as_str())) {
        Some(unknown) => Err(Refusal(format!("{unknown} is no capability that Linux has"))),
        None => Ok(names),
    }
}

/// The sandbox's, since a container lives among its users.
fn users(context: &LinuxContainerSecurityContext, sandbox: &PodSandboxConfig) -> Result<Option<Users>, Refusal> {
    let of_sandbox = sandbox.linux.as_ref().and_then(|linux| linux.security_context.as_ref());
    let of_sandbox = sandbox::users(of_sandbox.and_then(|context| context.namespace_options.as_ref()))?;
    let own = sandbox::users(context.namespace_options.as_ref())?;
    match own.is_none() || own == of_sandbox {
        true => Ok(of_sandbox),
        false => Err(Refusal(
            "user namespace: the container's is not its sandbox's".to_owned(),
        )),
    }
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
fn seccomp(context: &LinuxContainerSecurityContext, capabilities: &[String]) -> Result<Seccomp, Refusal> {
    if context.privileged {
        return Ok(Seccomp::Unconfined);
    }
    let localhost = |path: &str| crate::seccomp::load(Path::new(path), capabilities).map_err(Refusal);
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
fn mounts(inputs: &Inputs<'_>, users: Option<Users>) -> Result<Vec<Mount>, Refusal> {
    let mut all = Vec::new();
    for (mount, layers) in inputs.config.mounts.iter().zip(&inputs.layers) {
        all.push(volume(mount, layers, users)?);
    }
    for device in &inputs.config.devices {
        all.push(self::device(device)?);
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
                forbids: Forbids::default(),
            });
        }
    }
    all.sort_by_key(|mount| mount.target.components().count());
    Ok(all)
}

/// Nothing here keeps a program from writing to a device that it may read, or the other way round; making device files is
/// never allowed where they could be opened.
fn device(device: &Device) -> Result<Mount, Refusal> {
    let (path, wanted) = (&device.host_path, &device.permissions);
    if !(wanted.contains('r') && wanted.contains('w') && wanted.chars().all(|letter| "rwm".contains(letter))) {
        return Err(Refusal(format!(
            "device {path:?}: permissions {wanted:?} are not \"rw\" or \"rwm\", and no others can be granted"
        )));
    }
    Ok(Mount {
        source: Source::Device(PathBuf::from(path)),
        target: PathBuf::from(&device.container_path),
        access: Access::Writable,
        propagation: Propagation::Private,
        forbids: Forbids::default(),
    })
}

/// Whether files show their owners as the sandbox's users have their numbers; else as the machine has them.
fn is_mapped(mount: &proto::cri::runtime::v1::Mount, users: Option<Users>) -> Result<bool, Refusal> {
    let refused = |why: &str| Err(Refusal(format!("mount {:?}: {why}", mount.container_path)));
    match (mount.uid_mappings.as_slice(), mount.gid_mappings == mount.uid_mappings) {
        ([], true) => Ok(false),
        ([only], true) if users.is_some() && users == Some(sandbox::range(only)?) => Ok(true),
        (_, _) => refused("its owners can be mapped to the users of its sandbox and not otherwise"),
    }
}

fn volume(mount: &proto::cri::runtime::v1::Mount, layers: &[PathBuf], users: Option<Users>) -> Result<Mount, Refusal> {
    let target = PathBuf::from(&mount.container_path);
    let is_mapped = is_mapped(mount, users)?;
    if !layers.is_empty() {
        if !mount.host_path.is_empty() {
            return Err(Refusal(format!(
                "mount {:?} has an image and a host path",
                mount.container_path
            )));
        }
        if !mount.readonly {
            return Err(Refusal(format!(
                "mount {:?} of an image needs readonly",
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
            forbids: Forbids::default(),
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
        source: match users.is_some() && !is_mapped {
            true => Source::Foreign(real),
            false => Source::Bind(real),
        },
        target,
        access,
        propagation,
        forbids: Forbids::default(),
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

#[cfg(test)]
#[path = "plan/tests.rs"]
mod tests;
