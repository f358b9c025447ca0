//! PID 1's loop: one thread, one poll; every turn looks at everything, and a panic costs that turn.

mod capture;
mod descent;
mod down;
mod life;
mod lines;
mod run;
mod table;
mod talk;

use crate::cgroups::Cgroups;
use crate::console;
use crate::disk::prepare::Prepared;
use crate::marks::{Marks, boottime_ms};
use crate::provider::Provider;
use capture::{Capture, Flow};
use descent::{Alive, Descent, WipeData};
use init_protocol::{Down, Request, Service};
use life::Life;
use linux::watchdog::Watchdog;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::os::unix::net::UnixListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::sleep;
use std::time::Duration;
use talk::Client;

/// The watchdog resets a machine whose init did not turn for this long.
const WATCHDOG_SECONDS: u32 = 60;
/// Four times in that span, so that one late turn does not reset a busy machine.
const FEED_EVERY_MS: u64 = 15_000;
/// On the way down there are things to look at that poll does not tell.
const DESCENT_TURN_MS: u64 = 20;
/// After a panic: it may come again, and must not keep a CPU busy then.
const PANIC_PAUSE: Duration = Duration::from_millis(200);

/// What happened before the loop, and what it works with.
#[derive(Debug)]
pub struct Supervisor {
    provider: Provider,
    marks: Marks,
    cgroups: Cgroups,
    volumes: Vec<Prepared>,
    /// What services find in their environment.
    environment: Vec<(String, String)>,
    lives: Vec<Life>,
    captures: Vec<Capture>,
    signals: Option<SignalFd>,
    listener: Option<UnixListener>,
    clients: Vec<Client>,
    watchdog: Option<Fed>,
    descent: Option<Descent>,
    /// Seconds that the agent wants for its pods on the way down.
    farewell_s: u32,
    /// Whether PID 1 has any child left.
    has_children: bool,
}

/// The watchdog and when it had its last food.
#[derive(Debug)]
struct Fed {
    watchdog: Watchdog,
    at_ms: u64,
}

impl Supervisor {
    /// Takes over the machine. Whatever cannot be had here is said and done without.
    pub fn new(
        provider: Provider,
        marks: Marks,
        cgroups: Cgroups,
        volumes: Vec<Prepared>,
        environment: Vec<(String, String)>,
    ) -> Self {
        let listener = talk::listen();
        if let Err(why) = &listener {
            console::error(format_args!(
                "listen on {}: {why}; nobody can ask init for anything",
                init_protocol::SOCKET
            ));
        }
        let signals = take_signals();
        if let Err(why) = &signals {
            console::error(format_args!(
                "signalfd: {why}; init looks after its children once a second instead"
            ));
        }
        Supervisor {
            provider,
            marks,
            cgroups,
            volumes,
            environment,
            lives: table::TABLE.iter().map(Life::new).collect(),
            captures: Vec::new(),
            signals: signals.ok(),
            listener: listener.ok(),
            clients: Vec::new(),
            watchdog: if provider == Provider::Machine {
                arm_watchdog()
            } else {
                None
            },
            descent: None,
            farewell_s: 0,
            has_children: true,
        }
    }

    /// Turns until the machine ends.
    pub fn run(mut self) -> ! {
        let now = boottime_ms();
        self.lives
            .iter_mut()
            .filter(|life| life.row.always)
            .for_each(|life| life.start(now));
        loop {
            if catch_unwind(AssertUnwindSafe(|| self.turn())).is_err() {
                console::error("init's loop panicked, see above; it goes on with the next turn");
                sleep(PANIC_PAUSE);
            }
        }
    }

    fn turn(&mut self) {
        self.reap();
        self.start_and_kill_what_is_due();
        self.descend();
        self.feed();
        self.wait();
        self.heed_signals();
        self.take_output();
        self.talk();
    }

    /// Sleeps until something happens or is due. What poll says is not looked at: the turn asks everybody anyway.
    fn wait(&self) {
        let now = boottime_ms();
        let until = self.wake_at(now).saturating_sub(now);
        let timeout = Timespec {
            tv_sec: (until / 1000) as i64,
            tv_nsec: (until % 1000 * 1_000_000) as i64,
        };
        let mut fds: Vec<PollFd<'_>> = Vec::new();
        fds.extend(self.signals.iter().map(|fd| PollFd::new(fd, PollFlags::IN)));
        fds.extend(self.listener.iter().map(|fd| PollFd::new(fd, PollFlags::IN)));
        fds.extend(
            self.captures
                .iter()
                .map(|capture| PollFd::new(capture.pipe(), PollFlags::IN)),
        );
        fds.extend(self.clients.iter().map(|client| {
            PollFd::new(
                client.stream(),
                if client.has_answer() {
                    PollFlags::OUT
                } else {
                    PollFlags::IN
                },
            )
        }));
        // EINTR and the like only make the turn come early.
        let _ = poll(&mut fds, Some(&timeout));
    }

    fn wake_at(&self, now: u64) -> u64 {
        let longest = if self.signals.is_some() { 3_600_000 } else { 1000 };
        let services = self.lives.iter().filter_map(Life::next_due);
        let clients = self.clients.iter().map(|client| client.deadline_ms);
        let food = self.watchdog.iter().map(|fed| fed.at_ms + FEED_EVERY_MS);
        let descent = self.descent.iter().map(|_| now + DESCENT_TURN_MS);
        services
            .chain(clients)
            .chain(food)
            .chain(descent)
            .min()
            .unwrap_or(u64::MAX)
            .min(now + longest)
    }

    fn heed_signals(&mut self) {
        while let Some(info) = self.signals.as_ref().and_then(|fd| fd.read_signal().ok().flatten()) {
            match Signal::try_from(info.ssi_signo as i32) {
                Ok(Signal::SIGINT) => self.go_down_or_force(Down::Reboot, "Ctrl-Alt-Del or SIGINT"),
                Ok(Signal::SIGTERM) => self.go_down_or_force(Down::PowerOff, "SIGTERM"),
                Ok(Signal::SIGPWR) => self.go_down_or_force(Down::PowerOff, "SIGPWR"),
                // For tests of what happens then: SIGUSR1 hangs, SIGUSR2 panics. Release builds heed neither.
                Ok(Signal::SIGUSR1) if cfg!(debug_assertions) => hang(),
                Ok(Signal::SIGUSR2) if cfg!(debug_assertions) => panic!("SIGUSR2 asked for it, as debug builds let it"),
                // SIGCHLD: the next turn reaps.
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// Whoever signals twice means it.
    fn go_down_or_force(&mut self, how: Down, why: &str) {
        match &mut self.descent {
            Some(descent) => descent.force(how),
            None => self.go_down(Descent::new(how), why),
        }
    }

    fn go_down(&mut self, descent: Descent, why: &str) {
        console::notice(format_args!("going down to {} ({why})", descent.how));
        self.descent = Some(descent.with_farewell(self.farewell_s));
    }

    fn take_output(&mut self) {
        let now = boottime_ms();
        self.captures.retain_mut(|capture| capture.take(now) == Flow::Open);
    }

    fn talk(&mut self) {
        let now = boottime_ms();
        if let Some(listener) = &self.listener {
            talk::accept(listener, &mut self.clients, now);
        }
        let mut clients = std::mem::take(&mut self.clients);
        clients.retain_mut(|client| client.serve(now, |request| self.decide(request, now)) == Flow::Open);
        self.clients = clients;
    }

    fn decide(&mut self, request: Request, now: u64) -> Result<Vec<String>, String> {
        let is_going_down = self.descent.is_some();
        match request {
            Request::Services => return Ok(self.lives.iter().map(|life| life.state().to_string()).collect()),
            Request::Marks => return Ok(self.marks.all().iter().map(ToString::to_string).collect()),
            Request::Mark(name) => self.marks.note(&name),
            Request::Farewell(seconds) => self.farewell_s = seconds,
            Request::ForceDown(how) => {
                self.descent.get_or_insert_with(|| Descent::new(how)).force(how);
            }
            Request::Start(_) | Request::Stop(_) | Request::Restart(_) | Request::Down(_) | Request::Reset { .. }
                if is_going_down =>
            {
                return Err("the machine is going down".to_owned());
            }
            Request::Stop(Service::Agent) => return Err("the agent always runs; ask for a restart".to_owned()),
            Request::Start(service) => self.life(service, |life| life.start(now)),
            Request::Stop(service) => {
                let action = self.life(service, |life| life.stop(now));
                self.act_on(service, action);
            }
            Request::Restart(service) => {
                let action = self.life(service, |life| life.restart(now));
                self.act_on(service, action);
            }
            Request::Kill(service) => self.kill_now(service)?,
            Request::Down(how) => self.go_down(Descent::new(how), "asked by the agent"),
            Request::Reset { data } => {
                self.go_down(
                    Descent::reset(WipeData(data)),
                    if data {
                        "reset of STATE and DATA"
                    } else {
                        "reset of STATE"
                    },
                );
            }
        }
        Ok(Vec::new())
    }

    fn life<T>(&mut self, service: Service, change: impl FnOnce(&mut Life) -> T) -> T {
        let found = self.lives.iter_mut().find(|life| life.row.service == service);
        change(found.expect("the service has a life because every row of the table has"))
    }

    fn feed(&mut self) {
        let now = boottime_ms();
        let Some(fed) = self.watchdog.as_mut().filter(|fed| now >= fed.at_ms + FEED_EVERY_MS) else {
            return;
        };
        fed.at_ms = now;
        if let Err(error) = fed.watchdog.feed() {
            console::error(format_args!("feed the watchdog: {error}; the machine will be reset"));
        }
    }

    fn alive(&self) -> Alive {
        let runs = |service: Service| {
            self.lives
                .iter()
                .any(|life| life.row.service == service && life.pid().is_some())
        };
        Alive {
            agent: runs(Service::Agent),
            services: runs(Service::Control) || runs(Service::Etcd),
            pods: self.cgroups.is_populated("kubepods"),
            anybody: self.has_children,
        }
    }
}

/// For good; the watchdog's time begins.
fn hang() -> ! {
    console::warn("SIGUSR1 asked init to hang, as debug builds let it");
    loop {
        std::thread::park();
    }
}

/// Signals come as reads from now on.
fn take_signals() -> nix::Result<SignalFd> {
    let mut mask = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGINT, Signal::SIGTERM, Signal::SIGPWR] {
        mask.add(signal);
    }
    if cfg!(debug_assertions) {
        mask.add(Signal::SIGUSR1);
        mask.add(Signal::SIGUSR2);
    }
    mask.thread_block()?;
    SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
}

fn arm_watchdog() -> Option<Fed> {
    match Watchdog::arm(WATCHDOG_SECONDS) {
        Ok(watchdog) => Some(Fed {
            watchdog,
            at_ms: boottime_ms(),
        }),
        Err(error) if error.is(nix::libc::ENOENT) => None,
        Err(error) => {
            console::warn(format_args!(
                "arm /dev/watchdog: {error}; a hang will not reset the machine"
            ));
            None
        }
    }
}
