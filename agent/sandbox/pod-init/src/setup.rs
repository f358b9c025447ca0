//! What a pod has before its first container: name, loopback, sysctls, shared memory, and a socket to be spoken to.

use crate::births::Births;
use crate::supervisor::Supervisor;
use crate::users::Users;
use linux::clone::SingleThreaded;
use linux::mounts::{self, Attributes};
use linux::signals::Number;
use sandbox::cgroup::Tree;
use sandbox::{Ipc, Network, PodPlan, SOCKET, sweep};
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// An empty folder: all that the holder of a shared PID namespace sees. The overlay of a container whose users are the pod's own is put
/// here, in a mount namespace that nobody else sees.
pub const ROOT: &str = "root";
/// So are such a container's mounts of which it sees a part.
pub const STAGE: &str = "stage";
/// As containerd and Docker size it.
const SHM_SIZE: &str = "65536k";
/// What is meant for people at a terminal, or for whoever shuts the machine down. Containers get their own word from the agent.
pub const IGNORED: [Number; 5] = [
    Number::SIGTERM,
    Number::SIGINT,
    Number::SIGHUP,
    Number::SIGQUIT,
    Number::SIGPIPE,
];

/// Why a pod could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A file of its own.
    #[error("{what} {path}: {cause}")]
    File {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        cause: io::Error,
    },
    /// The plan is not one.
    #[error("read the pod's plan in {path}: {cause}")]
    Plan {
        /// File.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// A kernel setting.
    #[error("set sysctl {name} to {value:?}: {cause}")]
    Sysctl {
        /// With dots.
        name: String,
        /// What it should be.
        value: String,
        /// Why not.
        cause: io::Error,
    },
    /// The shared memory.
    #[error("the pod's shared memory: {0}")]
    Shm(#[from] mounts::NotMounted),
    /// Anything else of the kernel.
    #[error("{what}: {cause}")]
    Kernel {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        cause: linux::Error,
    },
    /// A second thread.
    #[error("pod-init has more than one thread, which a fork would lose")]
    Threads,
}

/// Everything up to the loop; containers' roots are built in the mount namespace `bare`.
pub fn prepare(dir: &Path, cgroups: &Path, bare: OwnedFd) -> Result<Supervisor, SetupError> {
    let kernel = |what| move |cause| SetupError::Kernel { what, cause };
    let proof = SingleThreaded::prove().ok_or(SetupError::Threads)?;
    linux::signals::ignore(&IGNORED).map_err(kernel("ignore signals"))?;
    linux::privileges::hide_from_proc().map_err(kernel("hide from /proc"))?;
    let exits = linux::signals::ChildExits::watch().map_err(kernel("watch children"))?;
    let plan = read_plan(dir)?;
    let users = plan.users.map(|own| Users::make(&proof, own, plan.namespaces()));
    let users = users
        .transpose()
        .map_err(kernel("give the pod users of its own (hostUsers: false)"))?;
    linux::namespaces::set_host_name(&plan.hostname).map_err(kernel("set the host name"))?;
    if plan.network == Network::Own {
        linux::loopback::up().map_err(kernel("set the loopback link up"))?;
    }
    for (name, value) in &plan.sysctls {
        set_sysctl(name, value)?;
    }
    make_folder(&dir.join(ROOT))?;
    if users.is_some() {
        make_folder(&dir.join(STAGE))?;
    }
    make_folder(&dir.join(sweep::CONTAINERS))?;
    mount_shm(&plan, &dir.join(sweep::SHM))?;
    let own_pids = linux::namespaces::own_pid_namespace().map_err(kernel("open the PID namespace"))?;
    let listener = listen(&dir.join(SOCKET))?;
    Ok(Supervisor::new(
        dir,
        Tree::at(cgroups),
        plan,
        Births::new(own_pids, proof, users),
        bare,
        exits,
        listener,
    ))
}

fn read_plan(dir: &Path) -> Result<PodPlan, SetupError> {
    let path = dir.join(sandbox::PLAN);
    let text = fs::read(&path).map_err(file("read", &path))?;
    sandbox::wire::read(&text).map_err(|cause| SetupError::Plan {
        path,
        cause: cause.to_string(),
    })
}

fn set_sysctl(name: &str, value: &str) -> Result<(), SetupError> {
    let path = Path::new("/proc/sys").join(name.replace('.', "/"));
    fs::write(path, value).map_err(|cause| SetupError::Sysctl {
        name: name.to_owned(),
        value: value.to_owned(),
        cause,
    })
}

fn mount_shm(plan: &PodPlan, place: &Path) -> Result<(), SetupError> {
    make_folder(place)?;
    let root = plan.users.map_or(0, |users| users.first).to_string();
    let options = [("size", SHM_SIZE), ("mode", "1777"), ("uid", &root), ("gid", &root)];
    let options = options.map(|(key, value)| (key, Path::new(value)));
    let memory = match plan.ipc {
        Ipc::Own => mounts::make("tmpfs", &options, Attributes::DATA)?,
        Ipc::Host => mounts::copy(Path::new("/dev/shm")).map_err(|cause| SetupError::Kernel {
            what: "copy the machine's /dev/shm",
            cause,
        })?,
    };
    let folder = fs::File::open(place).map_err(file("open", place))?;
    mounts::attach(memory.as_fd(), folder.as_fd()).map_err(|cause| SetupError::Kernel {
        what: "mount the pod's shared memory",
        cause,
    })
}

fn listen(path: &Path) -> Result<UnixListener, SetupError> {
    let listener = UnixListener::bind(path).map_err(file("listen on", path))?;
    let private = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o600);
    fs::set_permissions(path, private).map_err(file("protect", path))?;
    listener.set_nonblocking(true).map_err(file("listen on", path))?;
    Ok(listener)
}

fn make_folder(path: &Path) -> Result<(), SetupError> {
    fs::create_dir(path).map_err(file("make folder", path))
}

fn file(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SetupError {
    let path = path.to_owned();
    move |cause| SetupError::File { what, path, cause }
}
