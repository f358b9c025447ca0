//! One attempt of one container, as pod-init holds it.

use crate::attach::{Attachment, Wanted};
use crate::births::{Births, Place};
use crate::child::{self, Stdio};
use crate::log::{Log, Stream};
use crate::output::{Output, Readers};
use crate::peer::PeerId;
use crate::report::{self, Outcome, Reports};
use linux::clone::Child;
use linux::signals::Exit;
use sandbox::cgroup::{Group, Tree};
use sandbox::protocol::Reply;
use sandbox::{ContainerPlan, ContainerState, Ended, PodPlan, Processes, sweep};
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Instant, SystemTime};

/// One attempt.
pub struct Container {
    pub plan: ContainerPlan,
    pub state: ContainerState,
    pub child: Child,
    pub group: Option<Group>,
    pub stage: Stage,
    pub outputs: Vec<Output>,
    /// When it is killed, if it was asked to stop.
    pub kill_at: Option<Instant>,
    /// Who waits for its end.
    pub waiting: Vec<PeerId>,
    /// Who reads along.
    pub attached: Vec<Attachment>,
    log: Log,
    /// Kept so that a program that reads its input waits instead of reading its end, and given to whoever attaches.
    stdin: Option<OwnedFd>,
    /// The main side of its terminal, likewise.
    terminal: Option<OwnedFd>,
}

/// How far it is.
pub enum Stage {
    /// Its process prepares itself.
    Starting { reports: Reports, asked_by: PeerId },
    /// Its program was executed.
    Running,
    /// It told why there will be no program; its process is about to go.
    Failed { why: Reply, asked_by: PeerId },
    /// Its process is gone.
    Ended,
}

/// What the pod gives to all its containers.
pub struct Surroundings<'a> {
    pub dir: &'a Path,
    pub pod: &'a PodPlan,
    pub tree: Option<&'a Tree>,
    pub births: &'a Births,
    /// The mount namespace that its root is built in, unless the pod has users of its own.
    pub bare: BorrowedFd<'a>,
    pub place: Place<'a>,
}

// === impl Container ===

impl Container {
    /// Starts its process; how that went is read from its reports later.
    pub fn start(plan: ContainerPlan, around: &Surroundings<'_>, asked_by: PeerId) -> Result<Container, String> {
        let scratch = &plan.root.scratch;
        let record = sweep::record(around.dir, &plan.name, plan.attempt);
        fs::write(&record, scratch.as_os_str().as_encoded_bytes())
            .map_err(|cause| format!("write {}: {cause}", record.display()))?;
        fs::create_dir_all(scratch).map_err(|cause| format!("make folder {}: {cause}", scratch.display()))?;
        for name in sweep::SCRATCH {
            let folder = scratch.join(name);
            have_empty(&folder).map_err(|cause| format!("make folder {}: {cause}", folder.display()))?;
        }
        let log = Log::open(&plan.log, sandbox::LOG_SIZE)
            .map_err(|cause| format!("open the log {}: {cause}", plan.log.display()))?;
        let group = make_group(&plan, around)?;
        let started = spawn(&plan, around, group.as_ref());
        let (child, reports, outputs, stdin) = started.inspect_err(|_| remove(group.as_ref()))?;
        Ok(Container {
            state: ContainerState {
                name: plan.name.clone(),
                attempt: plan.attempt,
                pid: child.pid,
                started_at: SystemTime::now(),
                ended: None,
            },
            stage: Stage::Starting { reports, asked_by },
            plan,
            child,
            group,
            outputs,
            kill_at: None,
            waiting: Vec::new(),
            attached: Vec::new(),
            log,
            stdin,
            terminal: None,
        })
    }

    pub fn is_alive(&self) -> bool {
        !matches!(self.stage, Stage::Ended)
    }

    /// Hears what its process has said, if it starts and has said something: whether it runs from now on, and who asked for it.
    pub fn hear(&mut self) -> Option<PeerId> {
        let Stage::Starting { reports, asked_by } = &mut self.stage else {
            return None;
        };
        let asked_by = *asked_by;
        let why = match reports.read() {
            Outcome::Pending => return None,
            Outcome::Executed { terminal } => {
                self.stage = Stage::Running;
                self.state.started_at = SystemTime::now();
                // Without a descriptor left to copy it, the container runs on and nobody can attach.
                self.terminal = terminal.as_ref().and_then(|main| main.try_clone().ok());
                self.outputs
                    .extend(terminal.map(|main| Output::new(main, Stream::Stdout)));
                return Some(asked_by);
            }
            Outcome::NotPrepared(why) => Reply::Refused(format!("start container {}: {why}", self.plan.name)),
            Outcome::NotExecuted(why) => Reply::NotExecuted(why),
        };
        self.stage = Stage::Failed { why, asked_by };
        None
    }

    /// Logs what the output at `index` has; forgets it at its end.
    pub fn read_output(&mut self, index: usize) {
        let mut to = Readers {
            log: &mut self.log,
            attached: &mut self.attached,
        };
        if !self.outputs[index].read(&mut to) {
            self.outputs.remove(index);
        }
    }

    /// Lets a caller read along; what it is answered, and the files that it gets with it.
    pub fn attach(&mut self, peer: PeerId, wanted: Wanted) -> std::io::Result<(Reply, Vec<OwnedFd>)> {
        let input = match (&self.terminal, &self.stdin) {
            // For its size, even if nothing is written to it.
            (Some(terminal), _) => Some(terminal.try_clone()?),
            (None, Some(stdin)) if wanted.stdin => Some(stdin.try_clone()?),
            (None, _) => None,
        };
        let tty = self.plan.tty;
        let stdin = wanted.stdin && self.plan.stdin && input.is_some();
        let stderr = wanted.stderr && !tty;
        let streams = [(wanted.stdout, Stream::Stdout), (stderr, Stream::Stderr)];
        let streams: Vec<Stream> = streams
            .into_iter()
            .filter_map(|(wants, stream)| wants.then_some(stream))
            .collect();
        let (attachment, ends) = Attachment::new(peer, stdin, &streams)?;
        self.attached.push(attachment);
        let reply = Reply::Attached {
            terminal: tty && input.is_some(),
            stdin,
            stdout: wanted.stdout,
            stderr,
        };
        Ok((reply, input.into_iter().chain(ends).collect()))
    }

    /// A caller has gone.
    pub fn detach(&mut self, peer: PeerId) {
        self.end_input_of(peer);
        self.attached.retain(|attachment| attachment.peer != peer);
    }

    /// A caller has no more input; with `stdin_once` nobody will have any. A terminal has no end of input.
    pub fn end_input_of(&mut self, peer: PeerId) {
        let mut with_stdin = self.attached.iter().filter(|attachment| attachment.has_stdin);
        if self.plan.stdin_once && with_stdin.any(|attachment| attachment.peer == peer) {
            self.stdin = None;
        }
    }

    /// Goes on in a file of the log's name, whatever became of the one before.
    pub fn reopen_log(&mut self) -> std::io::Result<()> {
        self.log.reopen()
    }

    pub fn signal(&self, signal: i32) -> Result<(), linux::Error> {
        linux::pidfd::signal(&self.child.pidfd, signal)
    }

    /// Its first process is gone, and with it, by the rules of PID namespaces, every other process of it; in a namespace that it
    /// does not have for itself, by us.
    pub fn end(&mut self, exit: Exit) {
        if self.plan.processes != Processes::Own
            && let Some(Err(error)) = self.group.as_ref().map(Group::kill)
        {
            eprintln!("pod-init: {error}");
        }
        let mut to = Readers {
            log: &mut self.log,
            attached: &mut self.attached,
        };
        for mut output in std::mem::take(&mut self.outputs) {
            output.drain(&mut to);
        }
        self.attached.iter_mut().for_each(Attachment::finish);
        let oom_kills = self.group.as_ref().map_or(0, Group::oom_kills);
        self.state.ended = Some(Ended {
            exit_code: exit.code,
            signal: exit.signal,
            oom_killed: oom_kills > 0 && exit.code != 0,
            at: SystemTime::now(),
        });
        self.stage = Stage::Ended;
        self.kill_at = None;
        self.stdin = None;
        self.terminal = None;
        remove(self.group.as_ref());
    }
}

/// An attempt whose agent died while it failed is made again, and overlay takes no work folder that was used as `volatile` before.
fn have_empty(folder: &Path) -> std::io::Result<()> {
    match fs::create_dir(folder) {
        Err(cause) if cause.kind() == std::io::ErrorKind::AlreadyExists => {
            fs::remove_dir_all(folder)?;
            fs::create_dir(folder)
        }
        done => done,
    }
}

fn make_group(plan: &ContainerPlan, around: &Surroundings<'_>) -> Result<Option<Group>, String> {
    let Some(tree) = around.tree else {
        return Ok(None);
    };
    let path = around.pod.cgroup.join(format!("{}.{}", plan.name, plan.attempt));
    tree.make(&path, &plan.limits)
        .map(Some)
        .map_err(|error| error.to_string())
}

/// What is left is the agent's to remove with the pod.
fn remove(group: Option<&Group>) {
    if let Some(Err(error)) = group.map(Group::remove) {
        eprintln!("pod-init: {error}");
    }
}

type Spawned = (Child, Reports, Vec<Output>, Option<OwnedFd>);

fn spawn(plan: &ContainerPlan, around: &Surroundings<'_>, group: Option<&Group>) -> Result<Spawned, String> {
    let (reports, reporter) = report::channel().map_err(|cause| format!("make a socket pair: {cause}"))?;
    let (stdio, ends) = pipes(plan.tty, plan.stdin).map_err(|error| error.to_string())?;
    let folder = group.map(Group::open).transpose().map_err(|error| error.to_string())?;
    let pod = child::Pod {
        dir: around.dir,
        has_cgroups: around.tree.is_some(),
        users: around.births.users(),
        bare: around.bare,
    };
    let run = || child::run(plan, &pod, stdio, reporter);
    let folder = folder.as_ref().map(AsFd::as_fd);
    // Its mount and its cgroup namespace it makes itself: it needs the machine's mounts before, and the other would begin at
    // pod-init's own group.
    let child = around.births.fork(around.place, folder, run);
    let child = child.map_err(|error| error.to_string())?;
    let mut outputs = Vec::new();
    for (end, stream) in [(ends.stdout, Stream::Stdout), (ends.stderr, Stream::Stderr)] {
        if let Some(end) = end {
            rustix::io::ioctl_fionbio(&end, true).map_err(|errno| errno.to_string())?;
            outputs.push(Output::new(end, stream));
        }
    }
    Ok((child, reports, outputs, ends.stdin))
}

/// Our ends of a program's pipes; a terminal has none.
pub struct Ends {
    pub stdin: Option<OwnedFd>,
    pub stdout: Option<OwnedFd>,
    pub stderr: Option<OwnedFd>,
}

/// Both ends of what a program needs.
pub fn pipes(tty: bool, stdin: bool) -> Result<(Stdio, Ends), linux::Error> {
    let mut ends = Ends {
        stdin: None,
        stdout: None,
        stderr: None,
    };
    if tty {
        return Ok((Stdio::Terminal, ends));
    }
    let pipe = || {
        let (read, write) = std::io::pipe().map_err(linux::Error::io("pipe2"))?;
        Ok((OwnedFd::from(read), OwnedFd::from(write)))
    };
    let (read, stdout) = pipe()?;
    ends.stdout = Some(read);
    let (read, stderr) = pipe()?;
    ends.stderr = Some(read);
    let mut input = None;
    if stdin {
        let (read, write) = pipe()?;
        input = Some(read);
        ends.stdin = Some(write);
    }
    let stdio = Stdio::Pipes {
        stdin: input,
        stdout,
        stderr,
    };
    Ok((stdio, ends))
}
