//! What the node's status depends on besides the machine's facts: written by whoever knows, sent by the registration.

/// Whether pods are welcome.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Why the node is not ready; nothing when it is.
    pub obstacle: Option<String>,
    /// What it is short of.
    pub pressures: Pressures,
    /// Whether the machine is on its way down.
    pub shutting_down: bool,
}

/// What a node is short of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressures {
    /// Memory.
    pub memory: bool,
    /// Disk, or its inodes.
    pub disk: bool,
    /// Process IDs.
    pub pids: bool,
}

// === impl Readiness ===

impl Readiness {
    /// Why the node is not ready, the machine's end before all else.
    pub fn obstacle(&self) -> Option<&str> {
        match self.shutting_down {
            true => Some("node is shutting down"),
            false => self.obstacle.as_deref(),
        }
    }
}

// === impl Pressures ===

impl Pressures {
    /// The conditions that hold.
    pub fn conditions(&self) -> Vec<&'static str> {
        let all = [
            (self.memory, "MemoryPressure"),
            (self.disk, "DiskPressure"),
            (self.pids, "PIDPressure"),
        ];
        all.into_iter()
            .filter_map(|(holds, name)| holds.then_some(name))
            .collect()
    }
}
