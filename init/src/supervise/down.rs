//! The way down, done: who is told to end in which step, and the last acts on the disks.

use super::Supervisor;
use super::descent::{Descent, Step};
use crate::console;
use crate::disk::put_away::{self, Work};
use crate::marks::boottime_ms;
use crate::power;
use crate::provider::Provider;
use init_protocol::{Down, Service, Volume};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// A disk that takes longer to sync is broken or very slow; the file systems have journals.
const STORAGE_DEADLINE: Duration = Duration::from_secs(20);
/// Zeroing STATE comes on top.
const WIPE_DEADLINE: Duration = Duration::from_secs(120);
/// Whoever forces wants it now; this much is for what a sync can still save.
const FORCED_DEADLINE: Duration = Duration::from_secs(2);

impl Supervisor {
    /// Begins the next step where it is time.
    pub(super) fn descend(&mut self) {
        let alive = self.alive();
        let Some(step) = self
            .descent
            .as_mut()
            .and_then(|descent| descent.next_step(boottime_ms(), alive))
        else {
            return;
        };
        match step {
            Step::Farewell => self.warn_agent(),
            Step::Agent => self.stop(&[Service::Agent]),
            Step::Services => self.stop(&[Service::Control, Service::Etcd]),
            Step::Pods => self.terminate_pods(),
            Step::KillPods => {
                console::warn("some pods did not end in time; killed");
                if let Err(why) = self.cgroups.kill("kubepods") {
                    console::warn(format_args!("kill the pods: {why}"));
                }
            }
            Step::Rest => self.signal_rest(Signal::SIGTERM),
            Step::KillRest => self.signal_rest(Signal::SIGKILL),
            Step::Storage => self.finish(),
        }
    }

    fn warn_agent(&mut self) {
        let pid = self.life(Service::Agent, |life| life.pid());
        // Gone since we looked: then nobody ends the pods in their order.
        let _ = pid.map(|pid| kill(Pid::from_raw(pid), Signal::SIGPWR));
    }

    fn stop(&mut self, services: &[Service]) {
        let now = boottime_ms();
        for service in services {
            let action = self.life(*service, |life| life.stop(now));
            self.act_on(*service, action);
        }
    }

    fn terminate_pods(&self) {
        for pid in self.cgroups.processes("kubepods") {
            // Gone since we read the list: as wished.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
    }

    fn signal_rest(&mut self, signal: Signal) {
        // Services that wait for their next start must not get it.
        self.stop(&[Service::Agent, Service::Control, Service::Etcd]);
        // -1 is everybody but PID 1 itself (kill(2)). ESRCH: nobody is left.
        let _ = kill(Pid::from_raw(-1), signal);
    }

    /// The last acts, in a thread: a disk that hangs must not keep the machine from ending.
    fn finish(&mut self) -> ! {
        let descent = self.descent.take().unwrap_or_else(|| Descent::new(Down::Reboot));
        let volumes = self
            .volumes
            .iter()
            .filter(|volume| match (volume.report.volume, descent.wipe) {
                (_, None) => false,
                (Volume::State, Some(_)) => true,
                (Volume::Data, Some(data)) => data.0,
            });
        let wipe = volumes
            .map(|volume| (volume.report.volume, volume.partition.clone()))
            .collect::<Vec<_>>();
        let deadline = match (descent.forced, wipe.is_empty()) {
            (true, _) => FORCED_DEADLINE,
            (false, true) => STORAGE_DEADLINE,
            (false, false) => WIPE_DEADLINE,
        };
        let work = match (self.provider, descent.forced) {
            (Provider::Machine, true) => Work::SyncOnly,
            (Provider::Machine, false) => Work::Partitions(wipe),
            (Provider::Namespaces, _) => Work::Folders(wipe.into_iter().map(|(volume, _)| volume).collect()),
        };
        if !self.wait_for(deadline, move || put_away::run(work)) {
            console::error(format_args!(
                "the disks were not done after {} s; ending without them",
                deadline.as_secs()
            ));
        }
        console::notice(format_args!("{} now", descent.how));
        power::end(self.provider, descent.how)
    }

    /// Whether `work` was done by the deadline. The watchdog is fed meanwhile, as this is a turn that may be long.
    fn wait_for(&mut self, deadline: Duration, work: impl FnOnce() + Send + 'static) -> bool {
        let (done, is_done) = mpsc::channel();
        let until = Instant::now() + deadline;
        thread::spawn(move || {
            work();
            // Whoever waited may have given up.
            let _ = done.send(());
        });
        while Instant::now() < until {
            match is_done.recv_timeout(Duration::from_millis(200).min(until - Instant::now())) {
                Ok(()) => return true,
                Err(mpsc::RecvTimeoutError::Disconnected) => return false,
                Err(mpsc::RecvTimeoutError::Timeout) => self.feed(),
            }
        }
        false
    }
}
