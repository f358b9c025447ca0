//! A container's first process, from clone to exec. pod-init has one thread, so nothing here is forbidden after a fork.

use crate::identity::{self, Identity};
use crate::program;
use crate::report::Reporter;
use crate::rootfs::{self, Places};
use crate::setup::{IGNORED, ROOT, STAGE};
use crate::users::Users;
use sandbox::{ContainerPlan, bare, sweep};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// What a program reads and writes; a terminal is made later, in the container.
pub enum Stdio {
    /// A pseudo terminal.
    Terminal,
    /// Pipes; without input, /dev/null.
    Pipes {
        stdin: Option<OwnedFd>,
        stdout: OwnedFd,
        stderr: OwnedFd,
    },
}

/// What the pod gives to a container's process.
#[derive(Clone, Copy)]
pub struct Pod<'a> {
    /// Its folder.
    pub dir: &'a Path,
    /// Whether there is a cgroup v2 tree to show.
    pub has_cgroups: bool,
    /// Users of its own.
    pub users: Option<&'a Users>,
    /// The mount namespace that roots are built in, unless it has users of its own.
    pub bare: BorrowedFd<'a>,
}

/// Returns only when it failed, and has told so then.
pub fn run(plan: &ContainerPlan, pod: &Pod<'_>, stdio: Stdio, reporter: Reporter) -> i32 {
    if let Err(why) = prepare(plan, pod, &stdio, &reporter) {
        reporter.not_prepared(&why);
        return 1;
    }
    reporter.not_executed(&program::execute(&plan.argv, &plan.env));
    127
}

fn prepare(plan: &ContainerPlan, pod: &Pod<'_>, stdio: &Stdio, reporter: &Reporter) -> Result<(), String> {
    let Pod {
        dir,
        has_cgroups,
        users,
        bare,
    } = *pod;
    set_oom_score(plan.oom_score_adj)?;
    let (root, stage) = match users {
        None => (bare::ROOT.into(), bare::STAGE.into()),
        Some(_) => (dir.join(ROOT), dir.join(STAGE)),
    };
    let places = Places {
        bare,
        root: &root,
        shm: &dir.join(sweep::SHM),
        stage: &stage,
        cgroups: has_cgroups,
    };
    rootfs::build(plan, &places, users).map_err(|error| error.to_string())?;
    if let Some(users) = users {
        become_root(users).map_err(|error| format!("become the pod's root: {error}"))?;
    }
    finish(stdio, &plan.cwd, plan, &plan.user, reporter)
}

/// The mounts become the pod's, too, so that its root may mount; what the container was given cannot be taken apart then.
fn become_root(users: &Users) -> Result<(), linux::Error> {
    users.enter()?;
    linux::namespaces::unshare_mounts()
}

/// What starting a container and executing in a running one have in common, once the process is in the container's root.
pub fn finish(
    stdio: &Stdio,
    cwd: &Path,
    plan: &ContainerPlan,
    user: &sandbox::User,
    reporter: &Reporter,
) -> Result<(), String> {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    connect(stdio, user.uid, reporter).map_err(|error| format!("connect the standard streams: {error}"))?;
    rustix::process::chdir(cwd).map_err(|errno| format!("change to the working folder {}: {errno}", cwd.display()))?;
    linux::signals::unblock(&IGNORED).map_err(|error| error.to_string())?;
    let identity = Identity {
        user,
        capabilities: &plan.capabilities,
        ambient: &plan.ambient,
        no_new_privs: plan.no_new_privs,
        seccomp: plan.seccomp.clone(),
    };
    identity::assume(&identity).map_err(|error| error.to_string())
}

/// On a machine without CAP_SYS_RESOURCE (a container itself) a value below the present one is refused; the pod runs without.
pub fn set_oom_score(value: i32) -> Result<(), String> {
    match std::fs::write("/proc/self/oom_score_adj", value.to_string()) {
        Err(cause) if cause.kind() == std::io::ErrorKind::PermissionDenied => {
            eprintln!("pod-init: this machine does not allow an oom_score_adj of {value}: {cause}");
            Ok(())
        }
        done => done.map_err(|cause| format!("set oom_score_adj to {value}: {cause}")),
    }
}

fn connect(stdio: &Stdio, owner: u32, reporter: &Reporter) -> Result<(), linux::Error> {
    match stdio {
        Stdio::Terminal => {
            let terminal = linux::terminal::open(Path::new("/dev/pts"))?;
            let owner = rustix::fs::Uid::from_raw(owner);
            rustix::fs::fchown(&terminal.program, Some(owner), None).map_err(linux::Error::rustix("fchown"))?;
            linux::terminal::control(&terminal.program)?;
            reporter.terminal(terminal.main.as_fd())?;
            linux::clone::set_stdio([terminal.program.as_fd(); 3])
        }
        Stdio::Pipes { stdin, stdout, stderr } => {
            rustix::process::setsid().map_err(linux::Error::rustix("setsid"))?;
            let null = rootfs::open_null()?;
            let input: BorrowedFd<'_> = stdin.as_ref().map_or(null.as_fd(), AsFd::as_fd);
            linux::clone::set_stdio([input, stdout.as_fd(), stderr.as_fd()])
        }
    }
}
