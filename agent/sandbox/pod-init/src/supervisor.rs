//! The loop: waits for connections, requests, output, reports, exits and deadlines, and does what each asks for.

use crate::births::Births;
use crate::container::{Container, Stage};
use crate::exec::{self, Exec};
use crate::peer::{Closed, Peer, PeerId};
use linux::poll::{Ready, Wait};
use linux::signals::{ChildExits, Exit};
use sandbox::PodPlan;
use sandbox::cgroup::Tree;
use sandbox::protocol::Reply;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Everything that pod-init knows.
pub struct Supervisor {
    pub(crate) dir: PathBuf,
    pub(crate) tree: Option<Tree>,
    pub(crate) pod: PodPlan,
    pub(crate) births: Births,
    /// The mount namespace that containers' roots are built in, unless the pod has users of its own.
    pub(crate) bare: OwnedFd,
    exits: ChildExits,
    listener: UnixListener,
    pub(crate) peers: BTreeMap<PeerId, Peer>,
    last_peer: PeerId,
    /// In the order of their starts.
    pub(crate) containers: Vec<Container>,
    pub(crate) execs: Vec<Exec>,
    /// Who asked for the end, if somebody did.
    pub(crate) ending_for: Option<PeerId>,
}

/// What the loop waits for.
#[derive(Clone, Copy)]
enum Source {
    Listener,
    Exits,
    Peer(PeerId),
    /// Container by its place.
    Report(usize),
    /// Container and output by their places.
    Output(usize, usize),
    /// Container by its place, and who is attached to it.
    Attached(usize, PeerId),
    /// Program by its place.
    ExecReport(usize),
}

// === impl Supervisor ===

impl Supervisor {
    pub fn new(
        dir: &Path,
        tree: Option<Tree>,
        pod: PodPlan,
        births: Births,
        bare: OwnedFd,
        exits: ChildExits,
        listener: UnixListener,
    ) -> Supervisor {
        Supervisor {
            dir: dir.to_owned(),
            tree,
            pod,
            births,
            bare,
            exits,
            listener,
            peers: BTreeMap::new(),
            last_peer: 0,
            containers: Vec::new(),
            execs: Vec::new(),
            ending_for: None,
        }
    }

    /// Whether it was asked to end and nothing runs any more.
    pub fn is_over(&mut self) -> bool {
        let ended = self.ending_for.is_some() && self.containers.iter().all(|container| !container.is_alive());
        let over = ended && self.births.is_over();
        if let (true, Some(peer)) = (over, self.ending_for) {
            self.reply(peer, &Reply::Done);
        }
        over
    }

    /// Waits once and does what came.
    pub fn turn(&mut self) -> Result<(), linux::Error> {
        let ready = self.wait()?;
        // Places stay right within one kind: what comes first changes none of the later.
        for (source, ready) in ready.into_iter().rev() {
            match source {
                Source::Output(container, output) => self.containers[container].read_output(output),
                Source::Attached(container, peer) => self.flush_attached(container, peer),
                Source::Report(container) => self.hear_container(container),
                Source::ExecReport(exec) => self.hear_exec(exec),
                Source::Peer(peer) => self.serve(peer, ready),
                Source::Exits => self.take_exits(),
                Source::Listener => self.accept(),
            }
        }
        self.kill_overdue();
        Ok(())
    }

    fn wait(&self) -> Result<Vec<(Source, Ready)>, linux::Error> {
        let mut sources = vec![
            (Source::Listener, self.listener.as_fd(), false),
            (Source::Exits, self.exits.as_fd(), false),
        ];
        for (&id, peer) in &self.peers {
            sources.push((Source::Peer(id), peer.as_fd(), peer.wants_to_write()));
        }
        for (place, exec) in self.execs.iter().enumerate() {
            if let exec::Stage::Starting { reports, .. } = &exec.stage {
                sources.push((Source::ExecReport(place), reports.as_fd(), false));
            }
        }
        for (place, container) in self.containers.iter().enumerate() {
            if let Stage::Starting { reports, .. } = &container.stage {
                sources.push((Source::Report(place), reports.as_fd(), false));
            }
            for (index, output) in container.outputs.iter().enumerate() {
                // Otherwise it would be ready all the time.
                if !output.is_held_back(&container.attached) {
                    sources.push((Source::Output(place, index), output.as_fd(), false));
                }
            }
            for attachment in &container.attached {
                let source = Source::Attached(place, attachment.peer);
                sources.extend(attachment.full().map(|pipe| (source, pipe, true)));
            }
        }
        let waits: Vec<Wait<'_>> = sources.iter().map(|&(_, file, write)| Wait { file, write }).collect();
        let ready = linux::poll::wait(&waits, self.timeout())?;
        let ready = sources.iter().map(|(source, ..)| *source).zip(ready);
        Ok(ready.filter(|(_, ready)| ready.read || ready.write).collect())
    }

    fn timeout(&self) -> Option<Duration> {
        let deadline = self.containers.iter().filter_map(|container| container.kill_at).min()?;
        // One more millisecond, so that the deadline has passed when poll(2) says so.
        Some(deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1))
    }

    fn kill_overdue(&mut self) {
        let now = Instant::now();
        for container in &mut self.containers {
            if container.kill_at.is_some_and(|deadline| deadline <= now) {
                container.kill_at = None;
                // ESRCH: it has just ended by itself.
                let _ = container.signal(libc::SIGKILL);
            }
        }
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            if stream.set_nonblocking(true).is_err() {
                continue;
            }
            self.last_peer += 1;
            self.peers.insert(self.last_peer, Peer::new(stream));
        }
    }

    fn serve(&mut self, id: PeerId, ready: Ready) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let flushed = if ready.write { peer.flush() } else { Ok(()) };
        let requests = match flushed {
            Ok(()) if ready.read => peer.receive(),
            Ok(()) => Ok(Vec::new()),
            Err(Closed) => Err(Closed),
        };
        match requests {
            Ok(requests) => requests.into_iter().for_each(|request| self.answer(id, request)),
            Err(Closed) => self.hang_up(id),
        }
    }

    fn flush_attached(&mut self, place: usize, peer: PeerId) {
        let container = &mut self.containers[place];
        let over = !container.is_alive();
        for attachment in container
            .attached
            .iter_mut()
            .filter(|attachment| attachment.peer == peer)
        {
            if over {
                attachment.finish();
            } else {
                attachment.flush();
            }
        }
    }

    /// Nobody will ever ask how a program of a closed connection ended.
    fn hang_up(&mut self, id: PeerId) {
        self.peers.remove(&id);
        self.containers.iter_mut().for_each(|container| container.detach(id));
        for exec in self.execs.iter().filter(|exec| exec.asked_by == id) {
            // ESRCH: it has just ended by itself.
            let _ = linux::pidfd::signal(&exec.child.pidfd, libc::SIGKILL);
        }
    }

    fn take_exits(&mut self) {
        for exit in self.exits.take() {
            if self.births.is_holder_gone(exit.pid) {
                continue;
            }
            if let Some(place) = self
                .containers
                .iter()
                .position(|c| c.is_alive() && c.child.pid == exit.pid)
            {
                self.end_container(place, exit);
            } else if let Some(place) = self.execs.iter().position(|exec| exec.child.pid == exit.pid) {
                self.end_exec(place, exit);
            }
        }
    }

    fn end_container(&mut self, place: usize, exit: Exit) {
        // What it said comes first, even if its end was noticed before.
        self.hear_container(place);
        let container = &mut self.containers[place];
        let failed = match &container.stage {
            Stage::Failed { why, asked_by } => Some((*asked_by, why.clone())),
            Stage::Starting { .. } | Stage::Running | Stage::Ended => None,
        };
        container.end(exit);
        let state = Reply::State(container.state.clone());
        let waiting = std::mem::take(&mut container.waiting);
        let attached: Vec<PeerId> = container.attached.iter().map(|attachment| attachment.peer).collect();
        match failed {
            // Now that nothing of it is left, the same attempt may be made again.
            Some((asked_by, why)) => {
                self.containers.remove(place);
                self.reply(asked_by, &why);
            }
            None => self.publish(&state),
        }
        for peer in waiting {
            self.reply(peer, &state);
        }
        for peer in attached {
            self.reply(peer, &Reply::Exited(exit.code));
        }
    }

    /// Tells whoever asked for the container that it runs.
    fn hear_container(&mut self, place: usize) {
        if let Some(asked_by) = self.containers[place].hear() {
            let state = Reply::State(self.containers[place].state.clone());
            self.publish(&state);
            self.reply(asked_by, &state);
        }
    }

    fn hear_exec(&mut self, place: usize) {
        if let Some(files) = self.execs[place].hear() {
            self.send(self.execs[place].asked_by, &Reply::Running, files);
        }
    }

    fn end_exec(&mut self, place: usize, exit: Exit) {
        self.hear_exec(place);
        let exec = self.execs.remove(place);
        match exec.stage {
            exec::Stage::Failed(why) => self.reply(exec.asked_by, &why),
            exec::Stage::Starting { .. } | exec::Stage::Running => self.reply(exec.asked_by, &Reply::Exited(exit.code)),
        }
    }

    pub(crate) fn reply(&mut self, peer: PeerId, reply: &Reply) {
        self.send(peer, reply, Vec::new());
    }

    pub(crate) fn send(&mut self, id: PeerId, reply: &Reply, files: Vec<OwnedFd>) {
        let sent = self.peers.get_mut(&id).map(|peer| peer.send(reply, files));
        if let Some(Err(Closed)) = sent {
            self.hang_up(id);
        }
    }

    fn publish(&mut self, reply: &Reply) {
        let subscribers: Vec<PeerId> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.subscribed)
            .map(|(&id, _)| id)
            .collect();
        for id in subscribers {
            self.reply(id, reply);
        }
    }
}
