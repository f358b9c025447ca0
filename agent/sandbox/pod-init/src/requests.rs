//! What the agent may ask for, one function a request.

use crate::attach::Wanted;
use crate::births::Place;
use crate::container::{Container, Stage, Surroundings};
use crate::exec::Exec;
use crate::peer::PeerId;
use crate::setup::ROOT;
use crate::supervisor::Supervisor;
use sandbox::protocol::{Reply, Request};
use sandbox::{ContainerPlan, ExecPlan, Processes};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// A grace period longer than this is as good as none: a clock that far ahead cannot be reckoned with.
const LONGEST_GRACE: Duration = Duration::from_secs(365 * 86400);

impl Supervisor {
    /// Does it and replies, or sees to it that somebody replies later.
    pub(crate) fn answer(&mut self, peer: PeerId, request: Request) {
        let reply = match request {
            Request::Start(plan) => self.start(peer, *plan),
            Request::Signal { name, signal } => Some(self.signal(&name, signal)),
            Request::Stop { name, signal, grace_ms } => self.stop(peer, &name, signal, Duration::from_millis(grace_ms)),
            Request::Exec(plan) => self.exec(peer, &plan),
            Request::Attach {
                name,
                stdin,
                stdout,
                stderr,
            } => self.attach(peer, &name, Wanted { stdin, stdout, stderr }),
            Request::EndInput => self.end_input(peer),
            Request::ReopenLog { name } => Some(self.reopen_log(&name)),
            Request::Remove { name, attempt } => Some(self.remove(&name, attempt)),
            Request::States => Some(self.states()),
            Request::Subscribe => self.subscribe(peer),
            Request::Shutdown => self.shut_down(peer),
        };
        if let Some(reply) = reply {
            self.reply(peer, &reply);
        }
    }

    fn start(&mut self, peer: PeerId, plan: ContainerPlan) -> Option<Reply> {
        let name = plan.name.clone();
        let cannot = |why: &str| Some(Reply::NoContainer(format!("start container {name}: {why}")));
        if self.ending_for.is_some() {
            return cannot("the pod is ending");
        }
        if let Err(why) = check_name(&name) {
            return cannot(why);
        }
        if self
            .containers
            .iter()
            .any(|c| c.plan.name == name && (c.is_alive() || c.plan.attempt == plan.attempt))
        {
            return cannot("it runs already, or this attempt of it was started before");
        }
        let shared;
        let place = match &plan.processes {
            Processes::Own => Place::New,
            Processes::Host => Place::Here,
            Processes::Pod => match self.births.shared(&self.dir.join(ROOT)) {
                Ok(holder) => {
                    shared = holder;
                    Place::Beside(shared.as_fd())
                }
                Err(error) => return cannot(&format!("make the pod's PID namespace: {error}")),
            },
            Processes::Of(other) => match self.running(other) {
                Ok(container) => Place::Beside(container.child.pidfd.as_fd()),
                Err(reply) => return Some(reply),
            },
        };
        let around = Surroundings {
            dir: &self.dir,
            pod: &self.pod,
            tree: self.tree.as_ref(),
            births: &self.births,
            bare: self.bare.as_fd(),
            place,
        };
        match Container::start(plan, &around, peer) {
            Ok(container) => {
                self.containers.push(container);
                None
            }
            Err(why) => Some(Reply::Refused(format!("start container {name}: {why}"))),
        }
    }

    fn signal(&mut self, name: &str, signal: i32) -> Reply {
        match self.running(name).map(|container| container.signal(signal)) {
            Ok(Ok(())) => Reply::Done,
            Ok(Err(error)) => Reply::Refused(format!("send signal {signal} to container {name}: {error}")),
            Err(reply) => reply,
        }
    }

    fn stop(&mut self, peer: PeerId, name: &str, signal: i32, grace: Duration) -> Option<Reply> {
        let Some(container) = self.containers.iter_mut().rev().find(|c| c.plan.name == name) else {
            return Some(Reply::NoContainer(format!("it has no container {name}")));
        };
        if !container.is_alive() {
            return Some(Reply::State(container.state.clone()));
        }
        if !grace.is_zero() {
            // ESRCH: it has just ended, which is what was wanted.
            let _ = container.signal(signal);
        }
        let deadline = Instant::now() + grace.min(LONGEST_GRACE);
        container.kill_at = Some(container.kill_at.map_or(deadline, |earlier| earlier.min(deadline)));
        container.waiting.push(peer);
        None
    }

    fn exec(&mut self, peer: PeerId, plan: &ExecPlan) -> Option<Reply> {
        let container = self.containers.iter().rev().find(|c| c.plan.name == plan.container);
        let Some(container) = container.filter(|c| matches!(c.stage, Stage::Running)) else {
            return Some(Reply::NoContainer(format!("container {} does not run", plan.container)));
        };
        match Exec::start(plan, container, &self.births, peer) {
            Ok(exec) => {
                self.execs.push(exec);
                None
            }
            Err(why) => Some(Reply::Refused(why)),
        }
    }

    fn attach(&mut self, peer: PeerId, name: &str, wanted: Wanted) -> Option<Reply> {
        let latest = self.containers.iter_mut().rev().find(|c| c.plan.name == name);
        let Some(container) = latest.filter(|c| matches!(c.stage, Stage::Running)) else {
            return Some(Reply::NoContainer(format!("container {name} does not run")));
        };
        match container.attach(peer, wanted) {
            Ok((reply, files)) => {
                self.send(peer, &reply, files);
                None
            }
            Err(cause) => Some(Reply::Refused(format!("attach to container {name}: {cause}"))),
        }
    }

    fn end_input(&mut self, peer: PeerId) -> Option<Reply> {
        for container in &mut self.containers {
            container.end_input_of(peer);
        }
        None
    }

    fn reopen_log(&mut self, name: &str) -> Reply {
        let latest = self.containers.iter_mut().rev().find(|c| c.plan.name == name);
        let Some(container) = latest.filter(|container| container.is_alive()) else {
            return Reply::NoContainer(format!("container {name} does not run"));
        };
        match container.reopen_log() {
            Ok(()) => Reply::Done,
            Err(cause) => Reply::Refused(format!("open the log {}: {cause}", container.plan.log.display())),
        }
    }

    fn remove(&mut self, name: &str, attempt: u32) -> Reply {
        let place = self
            .containers
            .iter()
            .position(|c| c.plan.name == name && c.plan.attempt == attempt);
        match place {
            Some(place) if self.containers[place].is_alive() => {
                Reply::NoContainer(format!("container {name} still runs and cannot be removed"))
            }
            Some(place) => {
                self.containers.remove(place);
                Reply::Done
            }
            // It never started, or was removed before: in both cases the caller has what it wants.
            None => Reply::Done,
        }
    }

    fn states(&self) -> Reply {
        Reply::States {
            pid: std::process::id(),
            containers: self.shown().map(|container| container.state.clone()).collect(),
        }
    }

    fn subscribe(&mut self, peer: PeerId) -> Option<Reply> {
        let states: Vec<Reply> = self
            .shown()
            .map(|container| Reply::State(container.state.clone()))
            .collect();
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.subscribed = true;
        }
        for state in &states {
            self.reply(peer, state);
        }
        None
    }

    fn shut_down(&mut self, peer: PeerId) -> Option<Reply> {
        self.ending_for = Some(peer);
        for container in self.containers.iter().filter(|container| container.is_alive()) {
            // ESRCH: it has just ended by itself.
            let _ = container.signal(libc::SIGKILL);
        }
        None
    }

    /// A container that is being started is nobody's business but the one's who asked for it.
    fn shown(&self) -> impl Iterator<Item = &Container> {
        self.containers
            .iter()
            .filter(|container| matches!(container.stage, Stage::Running | Stage::Ended))
    }

    fn running(&self, name: &str) -> Result<&Container, Reply> {
        let latest = self.containers.iter().rev().find(|c| c.plan.name == name);
        latest
            .filter(|container| container.is_alive())
            .ok_or_else(|| Reply::NoContainer(format!("container {name} does not run")))
    }
}

/// The name becomes part of file names.
fn check_name(name: &str) -> Result<(), &'static str> {
    let valid = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let first_is_word = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    if first_is_word && name.bytes().all(valid) {
        Ok(())
    } else {
        Err("its name may hold letters, digits, '-', '_' and '.', and begins with a letter or digit")
    }
}
