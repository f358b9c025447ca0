//! init as PID 1 of namespaces on this host: services start, come back, are asked for and end with the machine.
//! Needs root and skips loudly without. The root is this host's `/usr` under an overlay that adds two shell scripts.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

use init_protocol::{Down, Phase, Request, Service, ServiceState, ask};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Many times what any of this takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// Ends in order, and leaves a child that does not when it is killed.
const AGENT: &str = "#!/bin/sh\ntrap 'exit 0' TERM\nsleep 1000 & echo child $!\nwait\n";
const CONTROL: &str =
    "#!/bin/sh\ngrep -E 'Uid|CapEff|NoNewPrivs' /proc/self/status\necho ran with \"$@\"\nexec sleep 1000\n";

/// Runs as the shell of the new namespaces, with the machine's folder as its working directory.
const ENTER: &str = "mount -t tmpfs tmpfs root && cd root && mkdir -p usr etc proc sys dev run tmp var state
for link in bin sbin lib lib64; do ln -s usr/$link $link; done
mount -t overlay overlay -o lowerdir=/usr,upperdir=../upper,workdir=../work usr
exec unshare --root=$PWD --wd=/ /usr/bin/init";

/// Where hosts mount cgroup v2: alone, or beside v1. init makes the machine's groups below `pintle` there.
const CGROUPS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

struct Machine {
    name: String,
    folder: tempfile::TempDir,
    unshare: Child,
    init: i32,
}

impl Machine {
    /// Starts one, or says why this host cannot.
    fn start() -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("SKIPPED: namespaces need root");
            return None;
        }
        // Of its own, so that nobody else's groups are removed after it.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "init-test-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let folder = tempfile::tempdir_in("/dev/shm").expect("a folder in memory can be made");
        let bin = folder.path().join("upper/bin");
        for name in ["root", "work", "upper/bin"] {
            fs::create_dir_all(folder.path().join(name)).expect("the folder is ours");
        }
        fs::copy(env!("CARGO_BIN_EXE_init"), bin.join("init")).expect("cargo built it");
        for (name, script) in [("agent", AGENT), ("control", CONTROL)] {
            fs::write(bin.join(name), script).expect("the folder is ours");
            fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).expect("the file is ours");
        }
        let log = fs::File::create(folder.path().join("console")).expect("the folder is ours");
        let mut unshare = Command::new("unshare");
        unshare.args([
            "--fork",
            "--kill-child",
            "--pid",
            "--mount",
            "--net",
            "--uts",
            "--ipc",
            "sh",
            "-ec",
            ENTER,
        ]);
        unshare
            .env("PINTLE_PROVIDER", "namespaces")
            .env("PINTLE_MACHINE", &name);
        unshare.current_dir(folder.path()).stdin(Stdio::null());
        unshare
            .stdout(log.try_clone().expect("a file has a second handle"))
            .stderr(log);
        let unshare = unshare.spawn().expect("util-linux has unshare");
        let children = format!("/proc/{0}/task/{0}/children", unshare.id());
        let init = within_deadline("PID 1", || fs::read_to_string(&children).ok()?.trim().parse().ok());
        let machine = Machine {
            name,
            folder,
            unshare,
            init,
        };
        within_deadline("init's socket", || machine.ask(&Request::Marks).ok());
        Some(machine)
    }

    fn console(&self) -> String {
        fs::read_to_string(self.folder.path().join("console")).unwrap_or_default()
    }

    /// Where the machine's files are, seen from here.
    fn path(&self, inside: &str) -> PathBuf {
        Path::new(&format!("/proc/{}/root", self.init)).join(inside.trim_start_matches('/'))
    }

    fn ask(&self, request: &Request) -> Result<Vec<String>, init_protocol::AskError> {
        ask(&self.path(init_protocol::SOCKET), request)
    }

    fn state(&self, service: Service) -> ServiceState {
        let lines = self.ask(&Request::Services).expect("init answers");
        let states = lines
            .iter()
            .map(|line| line.parse::<ServiceState>().expect("init speaks the protocol"));
        states
            .into_iter()
            .find(|state| state.service == service)
            .expect("every service has a state")
    }

    fn wait_for(&self, service: Service, phase: Phase) -> ServiceState {
        within_deadline(&format!("{service} to be {phase}"), || {
            Some(self.state(service)).filter(|state| state.phase == phase)
        })
    }

    fn log(&self, service: Service) -> String {
        fs::read_to_string(self.path(&format!("{}/{service}.log", init_protocol::LOG_DIR))).unwrap_or_default()
    }

    /// Waits for it to end by itself.
    fn end(mut self) -> (ExitStatus, String) {
        let status = within_deadline("the machine's end", || {
            self.unshare.try_wait().expect("it is our child")
        });
        (status, self.console())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the console:\n{}", self.console());
        }
        // Its child, the machine, goes with it (--kill-child). Gone already: as wished.
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
        for mount in CGROUPS.map(Path::new) {
            if mount.join("cgroup.controllers").exists() {
                remove_group(&mount.join("pintle").join(&self.name));
            }
        }
    }
}

/// Children first. Its processes are dead, but the kernel may still be about to take them out of it.
fn remove_group(group: &Path) {
    let folders = |group: &Path| {
        let entries = fs::read_dir(group).into_iter().flatten().flatten();
        let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        folders.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    folders(group).iter().for_each(|below| remove_group(below));
    let until = Instant::now() + DEADLINE;
    while group.exists() && fs::remove_dir(group).is_err() {
        if Instant::now() >= until {
            return eprintln!("{} stays behind", group.display());
        }
        sleep(Duration::from_millis(20));
    }
}

fn within_deadline<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "waited {} s for {what}", DEADLINE.as_secs());
        sleep(Duration::from_millis(20));
    }
}

fn kill_inside(machine: &Machine, pid: i32) {
    // Process numbers of the machine mean something only inside it.
    let script = format!("kill -9 {pid}");
    let target = machine.init.to_string();
    let status = Command::new("nsenter")
        .args(["--target", &target, "--pid", "--mount", "sh", "-c", &script])
        .status();
    assert!(status.expect("util-linux has nsenter").success());
}

#[test]
fn services_come_back_are_asked_for_and_end_with_the_machine() {
    let Some(machine) = Machine::start() else { return };
    let agent = machine.wait_for(Service::Agent, Phase::Up);
    let child = within_deadline("the agent's child", || {
        machine
            .log(Service::Agent)
            .trim()
            .strip_prefix("child ")?
            .parse::<i32>()
            .ok()
    });

    kill_inside(&machine, agent.pid.expect("it is up"));
    let agent = within_deadline("a new agent", || {
        Some(machine.state(Service::Agent)).filter(|state| state.phase == Phase::Up && state.restarts == 1)
    });
    assert_eq!(agent.last_end, "signal 9");
    if machine.path("/sys/fs/cgroup/cgroup.kill").exists() {
        within_deadline("the old agent's child to be gone", || {
            (!machine.path(&format!("/proc/{child}")).exists()).then_some(())
        });
    }

    assert_eq!(machine.state(Service::Control).phase, Phase::Down);
    machine
        .ask(&Request::Start(Service::Control))
        .expect("control may be started");
    machine.wait_for(Service::Control, Phase::Up);
    let said = within_deadline("control's words", || {
        Some(machine.log(Service::Control)).filter(|log| log.contains("ran with"))
    });
    for words in [
        "Uid:\t60\t60\t60\t60",
        "CapEff:\t0000000000000000",
        "NoNewPrivs:\t1",
        "--data /var/lib/pintle/control",
    ] {
        assert!(said.contains(words), "{words:?} is not in {said}");
    }
    machine
        .ask(&Request::Stop(Service::Control))
        .expect("control may be stopped");
    assert_eq!(machine.wait_for(Service::Control, Phase::Down).last_end, "signal 15");
    let refused = machine
        .ask(&Request::Stop(Service::Agent))
        .expect_err("the agent always runs");
    assert_eq!(
        refused.to_string(),
        "init refused `stop agent`: the agent always runs; ask for a restart"
    );

    machine
        .ask(&Request::Mark("node-ready".into()))
        .expect("a mark is a mark");
    let marks = machine.ask(&Request::Marks).expect("init answers").join("\n");
    for name in [
        "pid1",
        "mounts-ready",
        "state-ready",
        "data-ready",
        "agent-started",
        "node-ready",
    ] {
        assert!(marks.contains(name), "{name} is not in {marks}");
    }
    fs::write(machine.path("/state/config.toml"), "x").expect("root may write there");
    machine
        .ask(&Request::Down(Down::PowerOff))
        .expect("the machine may go down");
    let (status, console) = machine.end();
    assert_eq!(status.code(), Some(81), "{console}");
    assert!(console.contains("init: power-off now"), "{console}");
}

#[test]
fn a_panic_of_its_own_is_survived() {
    let Some(machine) = Machine::start() else { return };
    let agent = machine.wait_for(Service::Agent, Phase::Up);
    for times in 1..=2 {
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(machine.init),
            nix::sys::signal::Signal::SIGUSR2,
        )
        .unwrap();
        within_deadline("init to say that it panicked", || {
            (machine.console().matches("init's loop panicked").count() == times).then_some(())
        });
    }
    assert_eq!(machine.state(Service::Agent).pid, agent.pid, "services run on");
    kill_inside(&machine, agent.pid.expect("it is up"));
    within_deadline("a new agent", || {
        Some(machine.state(Service::Agent)).filter(|state| state.phase == Phase::Up && state.restarts == 1)
    });
    machine
        .ask(&Request::Down(Down::PowerOff))
        .expect("the machine may go down");
    let (status, console) = machine.end();
    assert_eq!(status.code(), Some(81), "{console}");
}

#[test]
fn a_reset_empties_state_and_asks_for_a_new_start() {
    let Some(machine) = Machine::start() else { return };
    machine.wait_for(Service::Agent, Phase::Up);
    machine
        .ask(&Request::Reset { data: false })
        .expect("a reset may be asked for");
    let refused = machine
        .ask(&Request::Start(Service::Control))
        .err()
        .map(|error| error.to_string());
    assert!(refused.is_none_or(|sentence| sentence.contains("going down") || sentence.contains("ask init")));
    let (status, console) = machine.end();
    assert_eq!(status.code(), Some(80), "{console}");
    assert!(console.contains("reset of STATE"), "{console}");
}
