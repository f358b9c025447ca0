//! What became of a container: what pod-init reports and the agent reads.

use serde::{Deserialize, Serialize};
use std::time::SystemTime;

/// One attempt of one container, from its start until it is removed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContainerState {
    /// Name, as in its plan.
    pub name: String,
    /// Attempt, as in its plan.
    pub attempt: u32,
    /// Its first process as the machine counts; stale once it has ended.
    pub pid: u32,
    /// When its program was started.
    pub started_at: SystemTime,
    /// How it ended; nothing while it runs.
    pub ended: Option<Ended>,
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// What it returned, or 128 plus the signal that killed it.
    pub exit_code: i32,
    /// The signal that killed it.
    pub signal: Option<i32>,
    /// Whether the kernel killed one of its processes because it reached its memory limit.
    pub oom_killed: bool,
    /// When.
    pub at: SystemTime,
}
