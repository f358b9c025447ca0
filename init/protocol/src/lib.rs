//! What PID 1 and its children say to each other: one line of text a request, one block of lines a reply.
//!
//! The socket is a Unix stream socket that only root may open. A client writes one request line; init answers with
//! zero or more data lines, then `ok` or `error <sentence>`, and closes. Text, so that init needs no parser worth the name.
//! What init found on the disk stands in a file beside the socket: [`volume`].

pub mod client;
pub mod volume;

pub use client::{AskError, ask};
pub use volume::{Found, VOLUMES, Volume, VolumeReport};

use std::fmt;

/// Where init listens.
pub const SOCKET: &str = "/run/pintle/init.sock";

/// Where init keeps what a service wrote to stdout and stderr: `<service>.log`, and `<service>.log.1` before that.
pub const LOG_DIR: &str = "/run/pintle/log";

/// How large, in bytes, a service's log grows before it becomes `.log.1` and a new one begins.
pub const LOG_LIMIT: u64 = 512 * 1024;

/// The services that init knows; its table is compiled in, requests only name its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// The node agent; always wanted.
    Agent,
    /// The control plane; the agent asks for it where the machine config says so.
    Control,
    /// The real etcd; only where the machine config says `engine = "etcd"`.
    Etcd,
}

/// How a machine goes down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Down {
    /// Start again.
    Reboot,
    /// Switch off.
    PowerOff,
}

/// What a child may ask of PID 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// One data line a service, see [`ServiceState`].
    Services,
    /// Start a service that is down; no-op where it runs.
    Start(Service),
    /// Stop a service: SIGTERM, its grace, SIGKILL.
    Stop(Service),
    /// Stop, then start.
    Restart(Service),
    /// SIGKILL a service that runs, as if it had crashed: it starts again after its delay.
    Kill(Service),
    /// Note a boot mark, e.g. `node-ready`.
    Mark(String),
    /// One data line a mark, see [`Mark`].
    Marks,
    /// From now on a machine that goes down in order sends the agent SIGPWR first, and gives it so many seconds to end its pods.
    Farewell(u32),
    /// Go down in order: services, pods, file systems, each with a deadline.
    Down(Down),
    /// Go down at once: sync and reset.
    ForceDown(Down),
    /// Go down in order, wipe STATE (config, keys) and, if asked, DATA, then reboot into maintenance.
    Reset {
        /// Whether DATA is wiped too.
        data: bool,
    },
}

/// One service as init sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceState {
    /// Which.
    pub service: Service,
    /// Where it is in its life.
    pub phase: Phase,
    /// Its process, if it runs.
    pub pid: Option<i32>,
    /// Starts since boot, less one.
    pub restarts: u32,
    /// How it ended last: `exit 1`, `signal 9`; empty if it never did.
    pub last_end: String,
    /// Milliseconds of CLOCK_BOOTTIME when the phase began.
    pub since_ms: u64,
}

/// A service's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nobody asked for it.
    Down,
    /// It runs.
    Up,
    /// It ended by itself and waits for its next start.
    BackOff,
    /// It was asked to end and has not yet.
    Stopping,
}

/// A moment of the boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Microseconds of CLOCK_BOOTTIME, that is since the kernel started; where the kernel is the host's (namespaces
    /// provider), since init started.
    pub at_us: u64,
    /// What happened, lower case with dashes.
    pub name: String,
}

/// A line that is none of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("init protocol: {0:?} is not a line that both sides know; agent and init come from different images")]
pub struct UnknownLine(pub String);

// === impl Request ===

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Request::Services => write!(f, "services"),
            Request::Start(s) => write!(f, "start {s}"),
            Request::Stop(s) => write!(f, "stop {s}"),
            Request::Restart(s) => write!(f, "restart {s}"),
            Request::Kill(s) => write!(f, "kill {s}"),
            Request::Mark(name) => write!(f, "mark {name}"),
            Request::Marks => write!(f, "marks"),
            Request::Farewell(seconds) => write!(f, "farewell {seconds}"),
            Request::Down(d) => write!(f, "down {d}"),
            Request::ForceDown(d) => write!(f, "force-down {d}"),
            Request::Reset { data: false } => write!(f, "reset state"),
            Request::Reset { data: true } => write!(f, "reset state+data"),
        }
    }
}

impl std::str::FromStr for Request {
    type Err = UnknownLine;

    fn from_str(line: &str) -> Result<Self, UnknownLine> {
        let unknown = || UnknownLine(line.to_owned());
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match (verb, rest) {
            ("services", "") => Ok(Request::Services),
            ("start", s) => Ok(Request::Start(s.parse()?)),
            ("stop", s) => Ok(Request::Stop(s.parse()?)),
            ("restart", s) => Ok(Request::Restart(s.parse()?)),
            ("kill", s) => Ok(Request::Kill(s.parse()?)),
            ("mark", name) if is_mark_name(name) => Ok(Request::Mark(name.to_owned())),
            ("marks", "") => Ok(Request::Marks),
            ("farewell", seconds) => seconds.parse().map(Request::Farewell).map_err(|_| unknown()),
            ("down", d) => Ok(Request::Down(d.parse()?)),
            ("force-down", d) => Ok(Request::ForceDown(d.parse()?)),
            ("reset", "state") => Ok(Request::Reset { data: false }),
            ("reset", "state+data") => Ok(Request::Reset { data: true }),
            _ => Err(unknown()),
        }
    }
}

fn is_mark_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

// === impl ServiceState ===

impl fmt::Display for ServiceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pid = self.pid.unwrap_or(0);
        write!(
            f,
            "{} {} {pid} {} {} {}",
            self.service, self.phase, self.restarts, self.since_ms, self.last_end
        )
    }
}

impl std::str::FromStr for ServiceState {
    type Err = UnknownLine;

    fn from_str(line: &str) -> Result<Self, UnknownLine> {
        let unknown = || UnknownLine(line.to_owned());
        let mut words = line.splitn(6, ' ');
        let mut next = || words.next().ok_or_else(unknown);
        Ok(ServiceState {
            service: next()?.parse()?,
            phase: next()?.parse()?,
            pid: next()?
                .parse()
                .map(|pid: i32| (pid != 0).then_some(pid))
                .map_err(|_| unknown())?,
            restarts: next()?.parse().map_err(|_| unknown())?,
            since_ms: next()?.parse().map_err(|_| unknown())?,
            last_end: next()?.to_owned(),
        })
    }
}

// === impl Mark ===

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.at_us, self.name)
    }
}

impl std::str::FromStr for Mark {
    type Err = UnknownLine;

    fn from_str(line: &str) -> Result<Self, UnknownLine> {
        let unknown = || UnknownLine(line.to_owned());
        let (at, name) = line.split_once(' ').ok_or_else(unknown)?;
        Ok(Mark {
            at_us: at.parse().map_err(|_| unknown())?,
            name: name.to_owned(),
        })
    }
}

/// Words for an enum without data, both ways.
macro_rules! words {
    ($type:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $($type::$variant => $word),+ })
            }
        }
        impl std::str::FromStr for $type {
            type Err = UnknownLine;
            fn from_str(word: &str) -> Result<Self, UnknownLine> {
                match word { $($word => Ok($type::$variant),)+ _ => Err(UnknownLine(word.to_owned())) }
            }
        }
    };
}

words!(Service { Agent = "agent", Control = "control", Etcd = "etcd" });
words!(Down { Reboot = "reboot", PowerOff = "power-off" });
words!(Volume { State = "state", Data = "data" });
words!(Found {
    Sound = "sound",
    Repaired = "repaired",
    Created = "created",
    Absent = "absent",
    Unusable = "unusable",
    Given = "given",
});
words!(Phase { Down = "down", Up = "up", BackOff = "back-off", Stopping = "stopping" });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_survives_its_line() {
        let requests = [
            Request::Services,
            Request::Start(Service::Control),
            Request::Stop(Service::Etcd),
            Request::Restart(Service::Agent),
            Request::Kill(Service::Control),
            Request::Mark("node-ready".into()),
            Request::Marks,
            Request::Farewell(30),
            Request::Down(Down::Reboot),
            Request::ForceDown(Down::PowerOff),
            Request::Reset { data: true },
            Request::Reset { data: false },
        ];
        for request in requests {
            assert_eq!(request.to_string().parse(), Ok(request));
        }
    }

    #[test]
    fn states_and_marks_survive_their_lines() {
        let state = ServiceState {
            service: Service::Agent,
            phase: Phase::BackOff,
            pid: None,
            restarts: 3,
            last_end: "signal 9".into(),
            since_ms: 17,
        };
        assert_eq!(state.to_string().parse(), Ok(state));
        let mark = Mark {
            at_us: 12,
            name: "agent-started".into(),
        };
        assert_eq!(mark.to_string().parse(), Ok(mark));
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            "",
            "start",
            "start shell",
            "mark ",
            "mark a\nb",
            "down now",
            "farewell soon",
            "reset data",
        ] {
            assert!(line.parse::<Request>().is_err(), "{line:?}");
        }
    }
}
