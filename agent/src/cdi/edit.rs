//! What a vendor's file wants of a container, as words of the sandbox (upstream: pkg/cdi/container-edits.go `Apply`).

use super::spec::{DeviceNode, Edits, Mount as Wanted};
use sandbox::{Access, ContainerPlan, Forbids, Mount, Node, Opens, Propagation, Source, User};
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Who may use a device file that says nothing about it, which is what runc makes of that.
const MODE: u32 = 0o666;

/// Why it cannot be done.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotPossible {
    /// Nothing of the machine runs with a container's root before the container does.
    #[error("its hook {name} {path:?} cannot be run: containers of this node start without hooks")]
    Hook { name: String, path: String },
    /// The kernel has no resctrl.
    #[error("intelRdt is not supported")]
    IntelRdt,
    /// Interfaces stay where they are.
    #[error("netDevices is not supported: interface {0:?} cannot be moved to a container")]
    NetDevice(String),
    /// The machine's own device is asked about what the file does not say.
    #[error("failed to stat CDI host device {path:?}: {cause}")]
    Look { path: String, cause: String },
    /// It says otherwise.
    #[error("device {path:?} is {is:?} and not {wanted:?} on this machine")]
    Mismatch {
        path: String,
        wanted: String,
        is: &'static str,
    },
    /// Nothing here would keep a program from the rest.
    #[error("device {0:?}: permissions {1:?} are not \"rw\" or \"rwm\", and no others can be granted")]
    Permissions(String, String),
    /// Places on the machine begin at its root.
    #[error("mount of {0:?}: it is no absolute path")]
    Relative(String),
    /// Only folders, files and memory are mounted.
    #[error("mount on {0:?}: file system type {1:?} is not supported")]
    Type(String, String),
    /// A word of mount(8) that is not known here.
    #[error("mount on {0:?}: option {1:?} is not supported")]
    Option(String, String),
}

/// What a device of the machine opens; other files are an error.
pub fn look(path: &Path) -> io::Result<Opens> {
    let metadata = fs::symlink_metadata(path)?;
    let kind = metadata.file_type();
    let number = metadata.rdev();
    let (major, minor) = (rustix::fs::major(number), rustix::fs::minor(number));
    match (kind.is_block_device(), kind.is_char_device(), kind.is_fifo()) {
        (true, _, _) => Ok(Opens::Block(major, minor)),
        (_, true, _) => Ok(Opens::Character(major, minor)),
        (_, _, true) => Ok(Opens::Fifo),
        (false, false, false) => Err(io::Error::other("not a device node")),
    }
}

/// Does it. What was in a place before, or had a variable's name, is replaced.
pub fn apply(
    plan: &mut ContainerPlan,
    edits: &Edits,
    look: impl Fn(&Path) -> io::Result<Opens>,
) -> Result<(), NotPossible> {
    if let Some(hook) = edits.hooks.first() {
        let (name, path) = (hook.hook_name.clone(), hook.path.clone());
        return Err(NotPossible::Hook { name, path });
    }
    if edits.intel_rdt.is_some() {
        return Err(NotPossible::IntelRdt);
    }
    if let Some(device) = edits.net_devices.first() {
        return Err(NotPossible::NetDevice(device.host_interface_name.clone()));
    }
    for (name, value) in edits.env.iter().filter_map(|line| line.split_once('=')) {
        match plan.env.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => value.clone_into(old),
            None => plan.env.push((name.to_owned(), value.to_owned())),
        }
    }
    for device in &edits.device_nodes {
        let mount = node(device, &plan.user, &look)?;
        put(plan, mount);
    }
    for wanted in &edits.mounts {
        let mount = mount(wanted)?;
        put(plan, mount);
    }
    for gid in edits.additional_gids.iter().filter(|gid| **gid != 0) {
        if !plan.user.groups.contains(gid) {
            plan.user.groups.push(*gid);
        }
    }
    Ok(())
}

fn put(plan: &mut ContainerPlan, mount: Mount) {
    plan.mounts.retain(|known| known.target != mount.target);
    plan.mounts.push(mount);
}

/// Without an owner it is the container's user's. What a device node of the machine looks like does not count.
fn node(device: &DeviceNode, user: &User, look: impl Fn(&Path) -> io::Result<Opens>) -> Result<Mount, NotPossible> {
    let opens = opens(device, look)?;
    let may_both = |wanted: &str| wanted.is_empty() || (wanted.contains('r') && wanted.contains('w'));
    if opens != Opens::Fifo && !may_both(&device.permissions) {
        let (path, permissions) = (device.path.clone(), device.permissions.clone());
        return Err(NotPossible::Permissions(path, permissions));
    }
    let node = Node {
        opens,
        mode: device.file_mode.unwrap_or(MODE) & 0o777,
        uid: device.uid.unwrap_or(user.uid),
        gid: device.gid.unwrap_or(user.gid),
    };
    Ok(Mount {
        source: Source::Node(node),
        target: Path::new("/").join(&device.path),
        access: Access::Writable,
        propagation: Propagation::Private,
        forbids: Forbids::default(),
    })
}

/// As the file says it; a type without a number, or a number without a type, is looked for on the machine.
fn opens(device: &DeviceNode, look: impl Fn(&Path) -> io::Result<Opens>) -> Result<Opens, NotPossible> {
    let (major, minor) = (device.major, device.minor);
    match device.r#type.as_str() {
        "p" => return Ok(Opens::Fifo),
        "b" if major != 0 => return Ok(Opens::Block(major, minor)),
        "c" | "u" if major != 0 => return Ok(Opens::Character(major, minor)),
        _ => {}
    }
    let path = match device.host_path.is_empty() {
        true => &device.path,
        false => &device.host_path,
    };
    let is = look(Path::new(path)).map_err(|cause| NotPossible::Look {
        path: path.clone(),
        cause: cause.to_string(),
    })?;
    let (kind, opens) = match is {
        // Their numbers count where it says none.
        Opens::Block(..) if major != 0 => ("b", Opens::Block(major, minor)),
        Opens::Character(..) if major != 0 => ("c", Opens::Character(major, minor)),
        Opens::Block(..) => ("b", is),
        Opens::Character(..) => ("c", is),
        Opens::Fifo => ("p", is),
    };
    let fits = match device.r#type.as_str() {
        "" => true,
        "u" => kind == "c",
        wanted => kind == wanted,
    };
    match fits {
        true => Ok(opens),
        false => Err(NotPossible::Mismatch {
            path: path.clone(),
            wanted: device.r#type.clone(),
            is: kind,
        }),
    }
}

/// A bind, whether it says so or not, with all that is mounted below it; or memory.
fn mount(wanted: &Wanted) -> Result<Mount, NotPossible> {
    let is_memory = wanted.r#type == "tmpfs";
    let is_bind = ["", "none", "bind", "rbind"].contains(&wanted.r#type.as_str())
        || wanted
            .options
            .iter()
            .any(|option| option == "bind" || option == "rbind");
    if !is_memory && !is_bind {
        return Err(NotPossible::Type(wanted.container_path.clone(), wanted.r#type.clone()));
    }
    if !is_memory && !wanted.host_path.starts_with('/') {
        return Err(NotPossible::Relative(wanted.host_path.clone()));
    }
    let (mut size, mut mode) = (0, 0o1777);
    let mut mount = Mount {
        source: Source::Bind(PathBuf::from(&wanted.host_path)),
        target: Path::new("/").join(&wanted.container_path),
        access: Access::Writable,
        propagation: Propagation::Private,
        forbids: Forbids::default(),
    };
    for option in &wanted.options {
        match option.as_str() {
            "ro" => mount.access = Access::Readonly,
            "rro" => mount.access = Access::ReadonlyRecursive,
            "rw" => mount.access = Access::Writable,
            "nosuid" => mount.forbids.setuid = true,
            "noexec" => mount.forbids.programs = true,
            "suid" => mount.forbids.setuid = false,
            "exec" => mount.forbids.programs = false,
            "private" | "rprivate" => mount.propagation = Propagation::Private,
            "slave" | "rslave" => mount.propagation = Propagation::FromMachine,
            "shared" | "rshared" => mount.propagation = Propagation::Both,
            // No file of a volume is a device here, and times of access are as the file system has them.
            "" | "bind" | "rbind" | "nodev" | "defaults" | "relatime" | "norelatime" | "noatime" | "nodiratime"
            | "strictatime" => {}
            other => match (is_memory, bytes(other, "size="), octal(other, "mode=")) {
                (true, Some(bytes), _) => size = bytes,
                (true, _, Some(bits)) => mode = bits,
                (_, _, _) => return Err(NotPossible::Option(wanted.container_path.clone(), other.to_owned())),
            },
        }
    }
    if is_memory {
        mount.source = Source::Tmpfs { size, mode };
    }
    Ok(mount)
}

/// As tmpfs writes sizes: bytes, or so many times k, m or g.
fn bytes(option: &str, key: &str) -> Option<u64> {
    let text = option.strip_prefix(key)?;
    let (digits, shift) = match text.as_bytes().last()?.to_ascii_lowercase() {
        b'k' => (&text[..text.len() - 1], 10),
        b'm' => (&text[..text.len() - 1], 20),
        b'g' => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

fn octal(option: &str, key: &str) -> Option<u32> {
    let bits = u32::from_str_radix(option.strip_prefix(key)?, 8).ok()?;
    (bits <= 0o7777).then_some(bits)
}
