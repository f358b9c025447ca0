//! What the sandbox is asked to run, in plain Linux words. The agent decides; nothing here has a default with a meaning.
//!
//! Both plans travel to pod-init as JSON over its socket, so they are data and nothing else.

use crate::filter::Instruction;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Bytes after which a container's log is begun anew; those before are kept beside it. Upstream's default, kubelet's `containerLogMaxSize`.
pub const LOG_SIZE: u64 = 10 << 20;
/// How many files a log has, the one that is written among them. Upstream's default, kubelet's `containerLogMaxFiles`.
pub const LOG_FILES: usize = 5;

/// The files that a log may have, the newest first: the log itself, then its name with `.1` after it, and so on.
pub fn log_files(log: &Path) -> Vec<PathBuf> {
    let older = (1..LOG_FILES).map(|age| {
        let mut name = log.as_os_str().to_owned();
        name.push(format!(".{age}"));
        PathBuf::from(name)
    });
    std::iter::once(log.to_owned()).chain(older).collect()
}

/// One pod: the namespaces that its containers share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PodPlan {
    /// Unique on this node for ever; names the state folder, the cgroup and the socket.
    pub id: String,
    /// Host name inside the pod's UTS namespace.
    pub hostname: String,
    /// Whether the pod has a network of its own or the machine's.
    pub network: Network,
    /// Whether the pod has shared memory of its own or the machine's.
    #[serde(default)]
    pub ipc: Ipc,
    /// Whose users the pod's users are; nothing: the machine's, by the same numbers.
    #[serde(default)]
    pub users: Option<Users>,
    /// The pod's cgroup below the cgroup root, e.g. `kubepods/burstable/pod<uid>`.
    pub cgroup: PathBuf,
    /// Limits on the pod as a whole.
    pub limits: Limits,
    /// Set in the pod's own namespaces before the first container, name with dots.
    pub sysctls: Vec<(String, String)>,
    /// Opaque to the sandbox: kept with the pod so that a restarted agent learns what it once decided.
    pub labels: std::collections::BTreeMap<String, String>,
}

/// Whose network the pod uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// A network namespace of its own; `net` fills it through `/proc/<pid of pod-init>/ns/net`.
    Own,
    /// The machine's.
    Host,
}

/// Whose System V objects, message queues and `/dev/shm` the pod uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ipc {
    /// An IPC namespace and a tmpfs of its own.
    #[default]
    Own,
    /// The machine's.
    Host,
}

/// A user namespace of the pod's own, man 7 user_namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Users {
    /// Which user and which group of the machine the pod's number 0 is; its other numbers follow.
    pub first: u32,
    /// How many there are.
    #[serde(default = "Users::usual")]
    pub count: u32,
}

/// Whose processes a container sees, man 7 pid_namespaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Processes {
    /// Its own: its program is number 1, and what it leaves ends with it.
    #[default]
    Own,
    /// Those of all containers of the pod that say so.
    Pod,
    /// The machine's.
    Host,
    /// Those of a running container of the pod, by its name.
    Of(String),
}

/// One container of a running pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContainerPlan {
    /// Name, unique in its pod.
    pub name: String,
    /// 0 for the first start, then one more each; name and attempt name the container's cgroup, upper layer and log.
    pub attempt: u32,
    /// What it sees as `/`.
    pub root: Root,
    /// Mounts over the root, in this order, besides the fixed ones (/proc, /dev, /dev/pts, /dev/shm, /dev/mqueue, /sys, /sys/fs/cgroup).
    pub mounts: Vec<Mount>,
    /// Program and arguments; the program is looked up in PATH of `env` when it has no slash.
    pub argv: Vec<String>,
    /// Environment, complete, in order.
    pub env: Vec<(String, String)>,
    /// Working folder inside the root; made if it is missing.
    pub cwd: PathBuf,
    /// Which processes it sees.
    #[serde(default)]
    pub processes: Processes,
    /// Who runs it.
    pub user: User,
    /// Capabilities of the bounding, permitted and effective sets, as `CAP_…`; empty for none. The inheritable set is as the
    /// ambient one, as runc has it since CVE-2022-24769.
    pub capabilities: Vec<String>,
    /// Those of them that stay with programs of any user when they execute others.
    #[serde(default)]
    pub ambient: Vec<String>,
    /// `no_new_privs`, man 2 prctl.
    pub no_new_privs: bool,
    /// System call filter.
    pub seccomp: Seccomp,
    /// Hidden by /dev/null or an empty tmpfs.
    pub masked_paths: Vec<PathBuf>,
    /// Remounted read-only.
    pub readonly_paths: Vec<PathBuf>,
    /// Limits on the container.
    pub limits: Limits,
    /// `/proc/PID/oom_score_adj`, -1000 to 1000.
    pub oom_score_adj: i32,
    /// Where output goes, in CRI log format: `<RFC 3339 nanoseconds> <stdout|stderr> <P|F> <line>`. When it has grown to
    /// [`LOG_SIZE`] it becomes the second of [`log_files`], the second the third, and so on; the oldest goes.
    pub log: PathBuf,
    /// Whether it gets a pseudo terminal as standard input and output.
    pub tty: bool,
    /// Whether standard input stays open for attach; else it is /dev/null.
    pub stdin: bool,
    /// Whether standard input ends with the first attached caller that had it.
    pub stdin_once: bool,
    /// All devices and all of /sys writable, nothing masked.
    pub privileged: bool,
}

// === impl Users ===

impl Users {
    /// How many users and groups a pod has: as many as upstream's kubelet gives it, all that 16 bits can say.
    pub const COUNT: u32 = 65536;

    fn usual() -> u32 {
        Self::COUNT
    }
}

// === impl PodPlan ===

impl PodPlan {
    /// Which namespaces are the pod's own, `CLONE_NEW…` of linux/sched.h: its processes see its host name and, mostly, each other's
    /// System V objects and its network.
    pub fn namespaces(&self) -> i32 {
        const CLONE_NEWUTS: i32 = 0x0400_0000;
        const CLONE_NEWIPC: i32 = 0x0800_0000;
        const CLONE_NEWNET: i32 = 0x4000_0000;
        let network = match self.network {
            Network::Own => CLONE_NEWNET,
            Network::Host => 0,
        };
        let ipc = match self.ipc {
            Ipc::Own => CLONE_NEWIPC,
            Ipc::Host => 0,
        };
        CLONE_NEWUTS | ipc | network
    }
}

/// One program more in a running container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExecPlan {
    /// Name of the container; its latest attempt must be running.
    pub container: String,
    /// Program and arguments; the program is looked up in PATH of `env` when it has no slash.
    pub argv: Vec<String>,
    /// Environment, complete; empty: the container's own.
    pub env: Vec<(String, String)>,
    /// Working folder; nothing: the container's own.
    pub cwd: Option<PathBuf>,
    /// Who runs it; nothing: the container's own.
    pub user: Option<User>,
    /// Whether it gets a pseudo terminal.
    pub tty: bool,
    /// Whether it gets a standard input; else /dev/null. With `tty` the terminal is its input in any case.
    pub stdin: bool,
}

/// A container's root file system.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Root {
    /// Unpacked layers, topmost first, as overlayfs counts them.
    pub lower: Vec<PathBuf>,
    /// Folder on DATA that the sandbox may fill with the upper layer and overlay's work folder; kept till the container is removed.
    pub scratch: PathBuf,
    /// Whether `/` is read-only for the container.
    pub readonly: bool,
}

/// One mount over the root.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mount {
    /// What.
    pub source: Source,
    /// Where, inside the root; resolved without ever leaving it; made if it is missing.
    pub target: PathBuf,
    /// What may be written.
    pub access: Access,
    /// Which later mounts pass between it and the machine.
    pub propagation: Propagation,
    /// What its files may not be used for, besides being opened as devices, which none may.
    #[serde(default)]
    pub forbids: Forbids,
}

/// What the files of a mount may not be used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forbids {
    /// Giving whoever executes them the rights of their owner.
    pub setuid: bool,
    /// Being executed.
    pub programs: bool,
}

/// What may be written through a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// All of it.
    Writable,
    /// Not the mount itself; what is mounted below it stays as it is.
    Readonly,
    /// Nothing, however much is mounted below it.
    ReadonlyRecursive,
}

/// Which later mounts pass through, man 7 mount_namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Propagation {
    /// None.
    Private,
    /// The machine's into the container.
    FromMachine,
    /// Both ways.
    Both,
}

/// What a mount shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Source {
    /// A file or folder of the machine.
    Bind(PathBuf),
    /// The same in a pod with users of its own, but its files keep the owners that they have on the machine.
    Foreign(PathBuf),
    /// A file or folder inside of a folder that may hold hostile links: what leads out of it is refused, and the very file
    /// that was checked is mounted. Folders that are missing are made, with the permissions of `folder`.
    Inside {
        /// A folder of the machine.
        folder: PathBuf,
        /// Below it, relative.
        path: PathBuf,
    },
    /// Memory, at most so many bytes (0: half of RAM).
    Tmpfs {
        /// Most bytes that it holds.
        size: u64,
        /// Permission bits of its root.
        mode: u32,
    },
    /// Unpacked layers, topmost first, shown as one folder that nobody can write to.
    Layers {
        /// Folders of the machine; at least one.
        lower: Vec<PathBuf>,
        /// What of them, relative; empty for all.
        path: PathBuf,
    },
    /// A device file of the machine that may be opened as one.
    Device(PathBuf),
    /// A device file made for this container, whatever the machine's own looks like.
    Node(Node),
}

/// A device file, man 2 mknod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// What it opens.
    pub opens: Opens,
    /// Permission bits.
    pub mode: u32,
    /// Its owner, as the container counts users.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// What a device file opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Opens {
    /// A block device, by its major and minor number.
    Block(u32, u32),
    /// A character device, likewise.
    Character(u32, u32),
    /// A pipe of its own, man 7 fifo.
    Fifo,
}

/// Numeric identity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// System call filter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seccomp {
    /// The container default that Docker, containerd and CRI-O share: an allow list, everything else EPERM.
    RuntimeDefault,
    /// None.
    Unconfined,
    /// This one.
    Program(Vec<Instruction>),
}

/// cgroup v2 limits; `None` leaves the kernel's default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// `cpu.max` quota in microseconds per 100 ms.
    pub cpu_quota_us: Option<u64>,
    /// `cpu.weight`, 1 to 10000.
    pub cpu_weight: Option<u64>,
    /// `memory.max`, bytes.
    pub memory_max: Option<u64>,
    /// `memory.swap.max`, bytes.
    pub swap_max: Option<u64>,
    /// `hugetlb.<size>.max`, bytes by size as the kernel writes it, e.g. `2MB`; for every size that the machine has, or none.
    #[serde(default)]
    pub hugetlb: std::collections::BTreeMap<String, u64>,
    /// `cpuset.cpus`, e.g. `0-1,4`.
    #[serde(default)]
    pub cpus: Option<String>,
    /// `cpuset.mems`, the NUMA nodes that memory comes from, e.g. `0-1`.
    #[serde(default)]
    pub memory_nodes: Option<String>,
    /// `pids.max`.
    pub pids_max: Option<u64>,
    /// `memory.oom.group`.
    pub oom_group: bool,
}
