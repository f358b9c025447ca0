//! What the agent and pod-init say to each other: one connection a request, frames as in [`crate::wire`].
//!
//! `Start`, `Stop`, `Remove`, `Signal`, `ReopenLog`, `States` and `Shutdown` get one reply. `Subscribe` gets `State` for every container at once
//! and for every change from then on. `Exec` gets `Running` with the program's files attached and, later, `Exited`;
//! closing the connection before that kills the program. `Attach` gets `Attached` with files and `Exited` when the container
//! has ended; closing the connection detaches.

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
    /// Read along with a running container and write to its input; answered with `Attached`, then `Exited`.
    Attach {
        /// Container.
        name: String,
        /// Whether to be given its input, if it has one.
        stdin: bool,
        /// Whether to be given what it writes from now on.
        stdout: bool,
        /// Whether to be given its errors, unless it has a terminal.
        stderr: bool,
    },
    /// Whoever attached by this connection has no more input; not answered.
    EndInput,
    /// Write a running container's log to the file that has its name from now on: somebody has renamed the one before; answered
    /// with `Done`.
    ReopenLog {
        /// Container.
        name: String,
    },
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
    /// Attached; with it come the terminal, else the input, then the outputs, each of them only if it says so here.
    Attached {
        /// Whether the container has a terminal; it comes along even for those who write nothing to it.
        terminal: bool,
        /// Whether the caller may write.
        stdin: bool,
        /// Whether it reads the output.
        stdout: bool,
        /// Whether it reads the errors.
        stderr: bool,
    },
    /// The program or the container ended with this code, or 128 plus its signal.
    Exited(i32),
    /// The container could not be prepared.
    Refused(String),
    /// The container was prepared, but its program could not be executed.
    NotExecuted(String),
    /// There is no such container, or it is not in the state that the request needs.
    NoContainer(String),
}
