//! The plan of one container.

use super::super::spec;
use super::env::Environment;
use super::expand::expand;
use super::mounts::{Volumes, mounts};
use super::user::{Names, user};
use super::{Machine, Refusal, resources, security};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use sandbox::{Access, ContainerPlan, Forbids, Mount, Processes, Propagation, Root, Source};
use std::path::{Path, PathBuf};

/// Where programs are looked for when neither image nor pod says so; what Docker and containerd give.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// All that a container's plan is made of.
pub struct Inputs<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// Its spec.
    pub spec: &'a PodSpec,
    /// The container's part of it.
    pub container: &'a Container,
    /// Which start, from 0.
    pub attempt: u32,
    /// Its image, on this node.
    pub image: &'a oci::Image,
    /// The image's users and groups.
    pub passwd: String,
    /// See `passwd`.
    pub group: String,
    /// What the kernel calls the pod.
    pub hostname: &'a str,
    /// Its environment, resolved.
    pub env: &'a Environment,
    /// The filter in a file of this node, if the container wants one.
    pub seccomp: Option<sandbox::Seccomp>,
    /// The pod's volumes.
    pub volumes: &'a Volumes,
    /// Files of the machine that it sees in their own places, e.g. /etc/hosts.
    pub files: &'a [(PathBuf, PathBuf)],
    /// Where its upper layer goes.
    pub scratch: PathBuf,
    /// Where its log goes.
    pub log: PathBuf,
    /// The machine.
    pub machine: &'a Machine,
}

/// Plans one start of a container.
pub fn container(inputs: &Inputs<'_>) -> Result<ContainerPlan, Refusal> {
    let Inputs {
        spec, container, image, ..
    } = inputs;
    let env = environment(inputs);
    let security = security::security(spec, container, inputs.seccomp.as_ref())?;
    let names = Names {
        passwd: inputs.passwd.clone(),
        group: inputs.group.clone(),
    };
    let pod = spec::full_name(inputs.pod);
    let user = user(&pod, spec, container, &image.config.user, &names)?;
    let mut env = env;
    if !env.iter().any(|(name, _)| name == "HOME") {
        env.push(("HOME".to_owned(), home(&names.passwd, user.uid)));
    }
    let readonly_root = container
        .security_context
        .as_ref()
        .and_then(|context| context.read_only_root_filesystem)
        .unwrap_or(false);
    Ok(ContainerPlan {
        name: container.name.clone(),
        attempt: inputs.attempt,
        root: Root {
            lower: image.layers.clone(),
            scratch: inputs.scratch.clone(),
            readonly: readonly_root,
        },
        mounts: all_mounts(inputs)?,
        argv: argv(inputs)?,
        env,
        cwd: working_dir(inputs),
        processes: processes(inputs.pod, spec, &container.name),
        user,
        capabilities: security.capabilities,
        ambient: Vec::new(),
        no_new_privs: security.no_new_privs,
        seccomp: security.seccomp,
        masked_paths: security.masked,
        readonly_paths: security.readonly,
        limits: resources::container(spec, container, inputs.machine),
        oom_score_adj: resources::oom_score_adj(spec, container, inputs.machine.memory_capacity),
        log: inputs.log.clone(),
        tty: container.tty.unwrap_or(false),
        stdin: container.stdin.unwrap_or(false),
        stdin_once: container.stdin_once.unwrap_or(false),
        privileged: security.privileged,
    })
}

/// An ephemeral container sees those of the container that it is aimed at, unless the pod shares them all anyway.
fn processes(pod: &Pod, spec: &PodSpec, name: &str) -> Processes {
    let ephemeral = spec::ephemeral_containers(pod).iter();
    let mut aimed = ephemeral.filter(|ephemeral| ephemeral.name == name);
    let target = aimed.find_map(|ephemeral| ephemeral.target_container_name.clone());
    match (spec.host_pid, spec.share_process_namespace, target) {
        (Some(true), _, _) => Processes::Host,
        (_, Some(true), _) => Processes::Pod,
        (_, _, Some(target)) if !target.is_empty() => Processes::Of(target),
        _ => Processes::Own,
    }
}

/// The image's variables, then the container's over them.
fn environment(inputs: &Inputs<'_>) -> Vec<(String, String)> {
    let own = inputs.env.iter().map(|(name, value)| (name.clone(), value.clone()));
    let tty = inputs.container.tty == Some(true);
    variables(inputs.hostname, tty, &inputs.image.config, own)
}

/// What every container has, under the image's variables, under the container's `own`.
pub fn variables(
    hostname: &str,
    tty: bool,
    image: &oci::Config,
    own: impl Iterator<Item = (String, String)>,
) -> Vec<(String, String)> {
    let mut env = vec![
        ("PATH".to_owned(), PATH.to_owned()),
        ("HOSTNAME".to_owned(), hostname.to_owned()),
    ];
    if tty {
        env.push(("TERM".to_owned(), "xterm".to_owned()));
    }
    let image = image.env.iter().filter_map(|line| line.split_once('='));
    let image = image.map(|(name, value)| (name.to_owned(), value.to_owned()));
    for (name, value) in image.chain(own) {
        match env.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => *old = value,
            None => env.push((name, value)),
        }
    }
    env
}

/// Program and arguments, with the container's variables in them.
fn argv(inputs: &Inputs<'_>) -> Result<Vec<String>, Refusal> {
    let expanded = |words: &Option<Vec<String>>| -> Vec<String> {
        let words = words.iter().flatten();
        words
            .map(|word| expand(word, |name| inputs.env.get(name).map(String::as_str)))
            .collect()
    };
    command_line(
        expanded(&inputs.container.command),
        expanded(&inputs.container.args),
        &inputs.image.config,
    )
}

/// `command` replaces the image's entrypoint and drops its arguments; `args` alone replaces only those.
pub fn command_line(command: Vec<String>, args: Vec<String>, config: &oci::Config) -> Result<Vec<String>, Refusal> {
    let argv = match (command.is_empty(), args.is_empty()) {
        (false, _) => [command, args].concat(),
        (true, false) => [config.entrypoint.clone(), args].concat(),
        (true, true) => [config.entrypoint.clone(), config.cmd.clone()].concat(),
    };
    match argv.is_empty() {
        true => Err(Refusal("no command specified".to_owned())),
        false => Ok(argv),
    }
}

fn working_dir(inputs: &Inputs<'_>) -> PathBuf {
    let own = inputs
        .container
        .working_dir
        .as_deref()
        .filter(|folder| !folder.is_empty());
    let folder = own.unwrap_or(&inputs.image.config.working_dir);
    Path::new("/").join(folder)
}

/// Volumes, and the node's own files wherever no volume has taken their place.
fn all_mounts(inputs: &Inputs<'_>) -> Result<Vec<Mount>, Refusal> {
    let mut all = mounts(inputs.container, inputs.volumes, inputs.env)?;
    for (source, target) in inputs.files {
        let taken = all.iter().any(|mount| mount.target == *target);
        if !taken {
            all.push(Mount {
                source: Source::Bind(source.clone()),
                target: target.clone(),
                access: Access::Writable,
                propagation: Propagation::Private,
                forbids: Forbids::default(),
            });
        }
    }
    Ok(all)
}

/// The home folder of a user in the image's /etc/passwd; `/` for one who is not in it.
pub fn home(passwd: &str, uid: u32) -> String {
    let line = passwd
        .lines()
        .find(|line| line.split(':').nth(2) == Some(&uid.to_string()));
    line.and_then(|line| line.split(':').nth(5))
        .filter(|home| !home.is_empty())
        .unwrap_or("/")
        .to_owned()
}

#[cfg(test)]
mod tests;
