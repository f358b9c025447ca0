//! What the agent and pod-init say to each other: one connection a request, frames as in [`crate::wire`].
//!
//! `Start`, `Stop`, `Remove`, `Signal`, `States` and `Shutdown` get one reply. `Subscribe` gets `State` for every container at once
//! and for every change from then on. `Exec` gets `Running` with the program's files attached and, later, `Exited`;
//! closing the connection before that kills the program.

use crate::{ContainerPlan, ContainerState, ExecPlan};
use serde::{Deserialize, Serialize};

/// From the agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// Start a container; answered with `State` once its program runs.
    Start(Box<ContainerPlan>),
    /// Send a signal to the container's first process; answered with `Done`.
    Signal {
        /// Container.
        name: String,
        /// Number of the signal.
        signal: i32,
    },
    /// Ask the container to stop and kill it after a while; answered with `State` when it has ended.
    Stop {
        /// Container.
        name: String,
        /// Number of the signal that asks.
        signal: i32,
        /// How long it may take, in milliseconds.
        grace_ms: u64,
    },
    /// Run a program in a running container; answered with `Running`, then `Exited`.
    Exec(Box<ExecPlan>),
    /// Forget an ended attempt and what it kept on disk; answered with `Done`.
    Remove {
        /// Container.
        name: String,
        /// Which attempt.
        attempt: u32,
    },
    /// All attempts that were not removed; answered with `States`.
    States,
    /// All states now and all changes later.
    Subscribe,
    /// Kill every container, then exit; answered with `Done` before that.
    Shutdown,
}

/// From pod-init.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// It is done.
    Done,
    /// A container.
    State(ContainerState),
    /// All containers.
    States {
        /// pod-init's own process ID.
        pid: u32,
        /// In the order of their starts.
        containers: Vec<ContainerState>,
    },
    /// The program runs; with a terminal one descriptor is attached, else standard input (if asked for), output and error.
    Running,
    /// The program ended with this code, or 128 plus its signal.
    Exited(i32),
    /// The container could not be prepared.
    Refused(String),
    /// The container was prepared, but its program could not be executed.
    NotExecuted(String),
    /// There is no such container, or it is not in the state that the request needs.
    NoContainer(String),
}
