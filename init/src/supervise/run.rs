//! What a life asks for, done: starting, signalling, reaping, cleaning up after.

use super::Supervisor;
use super::capture::Capture;
use super::life::Action;
use super::table::Row;
use crate::console;
use crate::marks::boottime_ms;
use init_protocol::Service;
use linux::service::{Confinement, spawn};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::process::{WaitOptions, WaitStatus, wait};
use std::io;
use std::process::{Command, Stdio};

/// The soft limit is what services need with thousands of watches; the hard one is what they may give to pods.
const OPEN_FILES: (u64, u64) = (65_536, 1_048_576);

impl Supervisor {
    /// Takes the ends of all children that ended, services and orphans alike.
    pub(super) fn reap(&mut self) {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => self.note_end(pid.as_raw_nonzero().get(), status),
                Ok(None) => return self.has_children = true,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return self.has_children = false,
            }
        }
    }

    fn note_end(&mut self, pid: i32, status: WaitStatus) {
        let Some(life) = self.lives.iter_mut().find(|life| life.pid() == Some(pid)) else {
            return;
        };
        let now = boottime_ms();
        let row = life.row;
        let how = describe(status);
        life.ended(now, how.clone());
        let next = life.delay_left(now);
        // Its own children only: pods live in /kubepods and go on.
        if self.cgroups.is_populated(row.cgroup)
            && let Err(why) = self.cgroups.kill(row.cgroup)
        {
            console::warn(format_args!(
                "kill what {} left behind in its cgroup: {why}",
                row.service
            ));
        }
        match next {
            Some(delay) => {
                console::warn(format_args!(
                    "{} ended ({how}); it starts again in {delay} ms",
                    row.service
                ));
            }
            None => console::notice(format_args!("{} ended ({how})", row.service)),
        }
    }

    /// Starts and kills whatever the clock says.
    pub(super) fn start_and_kill_what_is_due(&mut self) {
        for at in 0..self.lives.len() {
            let action = self.lives[at].due(boottime_ms());
            self.act(at, action);
        }
    }

    /// Does what a service's life asks for.
    pub(super) fn act_on(&mut self, service: Service, action: Option<Action>) {
        if let Some(at) = self.lives.iter().position(|life| life.row.service == service) {
            self.act(at, action);
        }
    }

    /// SIGKILL as asked for; the rest is what happens to any service that crashes.
    pub(super) fn kill_now(&mut self, service: Service) -> Result<(), String> {
        let found = self.lives.iter().find(|life| life.row.service == service);
        let running = found.and_then(|life| life.pid().map(|pid| (life.row, pid)));
        let (row, pid) = running.ok_or_else(|| format!("{service} does not run"))?;
        signal(row, pid, Signal::SIGKILL);
        Ok(())
    }

    fn act(&mut self, at: usize, action: Option<Action>) {
        let row = self.lives[at].row;
        match action {
            None => {}
            Some(Action::Spawn) => self.start(at),
            Some(Action::Terminate(pid)) => signal(row, pid, Signal::SIGTERM),
            Some(Action::Kill(pid)) => {
                console::warn(format_args!(
                    "{} did not end within {} s; killed",
                    row.service,
                    row.grace.as_secs()
                ));
                signal(row, pid, Signal::SIGKILL);
            }
        }
    }

    fn start(&mut self, at: usize) {
        let row = self.lives[at].row;
        let result = self.launch(row);
        let (now, life) = (boottime_ms(), &mut self.lives[at]);
        match result {
            Ok(pid) => {
                life.started(now, pid);
                self.marks.note(&format!("{}-started", row.service));
                console::notice(format_args!("{} runs as process {pid}", row.service));
            }
            Err(why) => {
                let how = format!("start {}: {why}", row.command[0]);
                life.ended(now, how.clone());
                let delay = life.delay_left(now).unwrap_or_default();
                console::error(format_args!("{how}; tried again in {delay} ms"));
            }
        }
    }

    fn launch(&mut self, row: &Row) -> io::Result<i32> {
        let (capture, output) = Capture::new(row.service)?;
        let mut command = Command::new(row.command[0]);
        command
            .args(&row.command[1..])
            .env_clear()
            .envs(self.environment.iter().cloned());
        command
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        let confinement = Confinement {
            cgroup_procs: self.cgroups.entrance(row.cgroup)?,
            user: row.user,
            open_files: OPEN_FILES,
        };
        // The handle is dropped: `reap` takes all ends in one place.
        let child = spawn(command, confinement)?;
        self.captures.push(capture);
        Ok(child.id() as i32)
    }
}

fn signal(row: &Row, pid: i32, signal: Signal) {
    if let Err(errno) = kill(Pid::from_raw(pid), signal) {
        console::warn(format_args!(
            "send {signal} to {} (process {pid}): {errno}",
            row.service
        ));
    }
}

fn describe(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "ended unaccountably".to_owned(),
    }
}
