//! A machine for tests: folders of its own, the cgroup v2 tree if there is one, and an image with busybox in it.

use sandbox::{
    ContainerPlan, ContainerState, ExecPlan, Ipc, Limits, Network, Pod, PodPlan, Processes, Root, Sandboxes, Seccomp,
    Settings, User,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Nothing here takes longer; a machine that is busy with other builds gets ten times what it needs.
pub const DEADLINE: Duration = Duration::from_secs(30);

pub struct World {
    pub dir: PathBuf,
    pub sandboxes: Sandboxes,
    name: String,
    keep: bool,
}

/// Why no pod can run here; said aloud by whoever skips.
fn lacking() -> Option<String> {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0);
    if !is_root {
        return Some("it needs root".to_owned());
    }
    if busybox().is_none() {
        return Some("it needs a static busybox in PATH or in the tools tree ($PINTLE_TOOLS_TREE)".to_owned());
    }
    None
}

/// `None`, and a loud word, where the machine cannot do it.
pub fn world(name: &str) -> Option<World> {
    folder(name).map(|dir| World::at(&dir, name, false))
}

/// The folder of the world of that name, for who wants to do something to it before.
pub fn folder(name: &str) -> Option<PathBuf> {
    if let Some(why) = lacking() {
        eprintln!("SKIPPED {name}: {why}");
        return None;
    }
    let dir = std::env::temp_dir().join(format!("pintle-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    Some(dir)
}

impl World {
    /// The same machine for another agent; the first one to be dropped leaves it standing if it keeps.
    pub fn at(dir: &Path, name: &str, keep: bool) -> World {
        let settings = Settings {
            root: dir.join("run"),
            cgroups: cgroups(),
            pod_init: env!("CARGO_BIN_EXE_pod-init").into(),
        };
        image(&dir.join("image"));
        World {
            dir: dir.to_owned(),
            sandboxes: Sandboxes::open(settings).unwrap(),
            name: name.to_owned(),
            keep,
        }
    }

    pub fn cgroup(&self) -> PathBuf {
        PathBuf::from(format!("pintle-{}", self.name))
    }

    #[allow(dead_code, reason = "as above")]
    pub fn pod(&self, id: &str) -> PodPlan {
        PodPlan {
            id: id.to_owned(),
            hostname: format!("host-of-{id}"),
            network: Network::Own,
            ipc: Ipc::Own,
            users: None,
            cgroup: self.cgroup().join(id),
            limits: Limits::default(),
            sysctls: vec![("net.ipv4.ip_unprivileged_port_start".to_owned(), "0".to_owned())],
            labels: BTreeMap::from([("uid".to_owned(), "1-2-3".to_owned())]),
        }
    }

    pub fn container(&self, pod: &str, name: &str, script: &str) -> ContainerPlan {
        ContainerPlan {
            name: name.to_owned(),
            attempt: 0,
            root: Root {
                lower: vec![self.dir.join("image")],
                scratch: self.dir.join("scratch").join(pod).join(name),
                readonly: false,
            },
            mounts: Vec::new(),
            argv: ["sh", "-c", script].map(str::to_owned).to_vec(),
            env: vec![
                ("PATH".to_owned(), "/bin".to_owned()),
                ("COLOUR".to_owned(), "blue".to_owned()),
            ],
            cwd: "/".into(),
            processes: Processes::Own,
            user: User {
                uid: 0,
                gid: 0,
                groups: Vec::new(),
            },
            capabilities: [
                "CAP_CHOWN",
                "CAP_MKNOD",
                "CAP_NET_BIND_SERVICE",
                "CAP_SETUID",
                "CAP_SETGID",
                "CAP_KILL",
            ]
            .map(str::to_owned)
            .to_vec(),
            ambient: Vec::new(),
            no_new_privs: true,
            seccomp: Seccomp::RuntimeDefault,
            masked_paths: vec![
                "/proc/kcore".into(),
                "/proc/acpi".into(),
                "/sys/firmware".into(),
                "/no/such".into(),
            ],
            readonly_paths: vec!["/proc/sys".into(), "/proc/sysrq-trigger".into()],
            limits: Limits::default(),
            oom_score_adj: 500,
            log: self.dir.join("logs").join(pod).join(format!("{name}.log")),
            tty: false,
            stdin: false,
            stdin_once: false,
            privileged: false,
        }
    }

    /// Starts a pod with one container, waits for its end; how it ended and its log without the times.
    #[allow(dead_code, reason = "not every test file needs it")]
    pub async fn run(&self, plan: &ContainerPlan) -> (ContainerState, String) {
        let pod = self.sandboxes.start(&self.pod("run")).await.unwrap();
        pod.start_container(plan).await.unwrap();
        let state = ended(&pod, &plan.name).await;
        pod.destroy().await.unwrap();
        (state, log(&plan.log))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        // What a failed test has left running.
        let group = cgroups().join(self.cgroup());
        let _ = std::fs::write(group.join("cgroup.kill"), "1");
        let _ = std::fs::remove_dir(group);
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// The end of a container, from events, so that they are tested everywhere.
pub async fn ended(pod: &Pod, name: &str) -> ContainerState {
    let mut events = pod.subscribe().await.unwrap();
    let end = async {
        loop {
            let state = events.next().await.expect("pod-init lives");
            if state.name == name && state.ended.is_some() {
                return state;
            }
        }
    };
    tokio::time::timeout(DEADLINE, end).await.expect("the container ends")
}

/// Waits until it holds.
#[allow(dead_code, reason = "not every test file waits so")]
pub async fn eventually(mut condition: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + DEADLINE;
    while !condition() {
        assert!(
            std::time::Instant::now() < deadline,
            "it did not come about within {} s",
            DEADLINE.as_secs()
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Lines of a log as `stream text`.
pub fn log(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines = text.lines().map(|line| {
        let mut parts = line.splitn(4, ' ').skip(1);
        let (stream, _, text) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
        format!("{stream} {text}\n")
    });
    lines.collect()
}

#[allow(dead_code, reason = "not every test file executes")]
pub fn exec(container: &str, script: &str) -> ExecPlan {
    ExecPlan {
        container: container.to_owned(),
        argv: ["sh", "-c", script].map(str::to_owned).to_vec(),
        env: Vec::new(),
        cwd: None,
        user: None,
        tty: false,
        stdin: false,
    }
}

/// The machine's cgroup v2 tree, wherever it is mounted.
pub fn cgroups() -> PathBuf {
    let unified = Path::new("/sys/fs/cgroup/unified");
    let tree = if unified.join("cgroup.controllers").exists() {
        unified
    } else {
        Path::new("/sys/fs/cgroup")
    };
    tree.to_owned()
}

fn busybox() -> Option<PathBuf> {
    let tree = std::env::var_os("PINTLE_TOOLS_TREE").map(|tree| PathBuf::from(tree).join("usr/bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(tree);
    folders
        .map(|folder| folder.join("busybox"))
        .find(|file| is_static(file))
}

/// A program that names a loader cannot run in an image without one.
fn is_static(file: &Path) -> bool {
    let bytes = std::fs::read(file).unwrap_or_default();
    let names_a_loader = bytes
        .windows(8)
        .take(4096)
        .any(|window| window == b"/ld-linu" || window == b"64/ld-li");
    !bytes.is_empty() && !names_a_loader
}

fn image(dir: &Path) {
    if dir.exists() {
        return;
    }
    std::fs::create_dir_all(dir.join("bin")).unwrap();
    std::fs::create_dir_all(dir.join("etc")).unwrap();
    std::fs::copy(busybox().unwrap(), dir.join("bin/busybox")).unwrap();
    for name in [
        "sh", "cat", "echo", "sleep", "id", "ls", "hostname", "stty", "tty", "mknod", "mount", "grep", "head", "kill",
        "readlink", "true", "umount", "unshare", "ipcmk", "ipcs", "wc", "seq", "dd", "ps", "touch",
    ] {
        std::os::unix::fs::symlink("busybox", dir.join("bin").join(name)).unwrap();
    }
    std::os::unix::fs::symlink("/etc", dir.join("outside")).unwrap();
    std::os::unix::fs::symlink("../../../../../../../../etc/dangling", dir.join("etc/link")).unwrap();
    std::os::unix::fs::symlink("/proc", dir.join("into-proc")).unwrap();
}
