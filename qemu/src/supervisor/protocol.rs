//! What a supervisor is asked and answers: one line of JSON each way over its socket.

use crate::switch::Faults;
use serde::{Deserialize, Serialize};

/// What a supervisor can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Request {
    /// How are the machines?
    Status,
    /// Switch this machine on.
    On {
        /// Its name.
        machine: String,
    },
    /// Pull its plug, and answer when it is off.
    Cut {
        /// Its name.
        machine: String,
    },
    /// Press its reset button.
    Reset {
        /// Its name.
        machine: String,
    },
    /// Press Ctrl, Alt and Del on its keyboard.
    CtrlAltDel {
        /// Its name.
        machine: String,
    },
    /// Throw away what the machine, which is off, wrote.
    Wipe {
        /// Its name.
        machine: String,
    },
    /// From now on this goes wrong between machines.
    Faults {
        /// All of it.
        faults: Faults,
    },
    /// Switch everything off and end.
    Stop,
}

/// What a supervisor answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// It is so.
    Done,
    /// The machines, in order.
    Status(Vec<MachineStatus>),
    /// It cannot be, for this reason.
    Refused(String),
}

/// What a supervisor knows of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineStatus {
    /// Its name.
    pub name: String,
    /// Whether it runs.
    pub state: MachineState,
    /// How often it was started.
    pub starts: u32,
    /// When it was started last, in milliseconds since 1970; 0 before the first time.
    pub started_ms: u64,
}

/// Whether a machine runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MachineState {
    /// Switched on and on its way up.
    Starting,
    /// It runs; what it does is its own to say.
    Running,
    /// It is off.
    Off,
    /// It cannot be started, for this reason.
    Broken(String),
}

impl std::fmt::Display for MachineState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            MachineState::Starting => f.write_str("starting"),
            MachineState::Running => f.write_str("running"),
            MachineState::Off => f.write_str("off"),
            MachineState::Broken(why) => write!(f, "broken: {why}"),
        }
    }
}
