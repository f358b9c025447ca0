//! Refusals as gRPC statuses, each one sentence.

use crate::init::InitError;
use tonic::Status;

/// The caller asked for something that cannot be.
pub fn invalid(sentence: impl ToString) -> Status {
    Status::invalid_argument(sentence.to_string())
}

/// The machine is in no state for this.
pub fn not_now(sentence: impl ToString) -> Status {
    Status::failed_precondition(sentence.to_string())
}

/// Something on the machine failed.
pub fn failed(sentence: impl ToString) -> Status {
    Status::internal(sentence.to_string())
}

/// PID 1 did not do it.
pub fn init(error: InitError) -> Status {
    Status::unavailable(error.to_string())
}

/// Runs something that blocks, e.g. on files, away from the async threads.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Status> + Send + 'static,
) -> Result<T, Status> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|_| Err(failed("the call was cut short: the agent ends")))
}
