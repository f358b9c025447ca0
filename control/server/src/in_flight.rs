//! How many requests are answered at once (apiserver pkg/server/filters/maxinflight.go). Beyond that clients come again later.

use crate::user::User;
use api::Verb;
use api::status::{self, Status};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Requests that change something; upstream's default.
const MUTATING: usize = 200;

/// All others that end soon.
const READ_ONLY: usize = 400;

/// Room for requests.
pub struct InFlight {
    mutating: Arc<Semaphore>,
    read_only: Arc<Semaphore>,
}

impl Default for InFlight {
    fn default() -> Self {
        Self {
            mutating: Arc::new(Semaphore::new(MUTATING)),
            read_only: Arc::new(Semaphore::new(READ_ONLY)),
        }
    }
}

// === impl InFlight ===

impl InFlight {
    /// Takes room for one request of `verb` (none: of a path that names no resource) until what comes back is dropped.
    /// Whoever may do everything is let in even where there is none.
    pub fn enter(&self, user: &User, verb: Option<Verb>) -> Result<Option<OwnedSemaphorePermit>, Status> {
        let room = match verb {
            Some(Verb::Create | Verb::Update | Verb::Patch | Verb::Delete | Verb::DeleteCollection) => &self.mutating,
            Some(Verb::Get | Verb::List | Verb::Watch) | None => &self.read_only,
        };
        match room.clone().try_acquire_owned() {
            Ok(permit) => Ok(Some(permit)),
            Err(_) if user.is_in("system:masters") => Ok(None),
            Err(_) => Err(status::too_many_requests(
                "Too many requests, please try again later.",
                1,
            )),
        }
    }

    /// Requests in flight: those that change something, and the others.
    pub fn count(&self) -> (usize, usize) {
        (
            MUTATING - self.mutating.available_permits(),
            READ_ONLY - self.read_only.available_permits(),
        )
    }
}
