//! One program more in a running container, as pod-init holds it.

use crate::births::{Births, Place};
use crate::container::{Container, Ends, pipes};
use crate::enter::{self, Inside};
use crate::peer::PeerId;
use crate::report::{self, Outcome, Reports};
use linux::clone::Child;
use sandbox::ExecPlan;
use sandbox::cgroup::Group;
use sandbox::protocol::Reply;
use std::os::fd::{AsFd, OwnedFd};

/// A program and the connection that asked for it; with the connection it goes.
pub struct Exec {
    pub asked_by: PeerId,
    pub child: Child,
    pub stage: Stage,
}

/// How far it is.
pub enum Stage {
    /// Its process prepares itself.
    Starting { reports: Reports, ends: Ends },
    /// It was executed, and its files were handed on.
    Running,
    /// It told why there will be no program; its process is about to go.
    Failed(Reply),
}

// === impl Exec ===

impl Exec {
    /// Starts its process in the container's namespaces and cgroup.
    pub fn start(plan: &ExecPlan, container: &Container, births: &Births, asked_by: PeerId) -> Result<Exec, String> {
        let (reports, reporter) = report::channel().map_err(|cause| format!("make a socket pair: {cause}"))?;
        let (stdio, ends) = pipes(plan.tty, plan.stdin).map_err(|error| error.to_string())?;
        let group = container
            .group
            .as_ref()
            .map(Group::open)
            .transpose()
            .map_err(|error| error.to_string())?;
        let init = container.child.pidfd.as_fd();
        let inside = Inside {
            container: &container.plan,
            init,
            users: births.users(),
        };
        let run = || enter::run(plan, &inside, stdio, reporter);
        let child = births.fork(Place::Beside(init), group.as_ref().map(AsFd::as_fd), run);
        Ok(Exec {
            asked_by,
            child: child.map_err(|error| format!("enter container {}: {error}", plan.container))?,
            stage: Stage::Starting { reports, ends },
        })
    }

    /// Hears what its process has said, if it starts and has said something: its files, if it runs from now on.
    pub fn hear(&mut self) -> Option<Vec<OwnedFd>> {
        let Stage::Starting { reports, ends } = &mut self.stage else {
            return None;
        };
        let why = match reports.read() {
            Outcome::Pending => return None,
            Outcome::Executed { terminal } => {
                let files = [terminal, ends.stdin.take(), ends.stdout.take(), ends.stderr.take()];
                self.stage = Stage::Running;
                return Some(files.into_iter().flatten().collect());
            }
            Outcome::NotPrepared(why) => Reply::Refused(why),
            Outcome::NotExecuted(why) => Reply::NotExecuted(why),
        };
        self.stage = Stage::Failed(why);
        None
    }
}
