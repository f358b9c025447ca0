//! Starts the processes that may wait for a server, and waits for them no longer than it says.

use super::child::{Order, WORD};
use std::fmt;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Why an order was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undone {
    /// The sentence of whoever tried.
    Failed(String),
    /// Nothing was heard for so long.
    Late(Duration),
}

/// A process with an order; dropped, it is killed, and dies as soon as the kernel lets it.
pub struct Helper(Option<(Child, AsyncFd<OwnedFd>)>);

/// Has an order carried out.
pub async fn carry_out(order: &Order, deadline: Duration) -> Result<(), Undone> {
    let helper = Helper::start(order).map_err(Undone::Failed)?;
    match tokio::time::timeout(deadline, helper.end()).await {
        Ok(ended) => ended.map_err(Undone::Failed),
        Err(_) => Err(Undone::Late(deadline)),
    }
}

// === impl Undone ===

impl fmt::Display for Undone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(why) => f.write_str(why),
            Self::Late(deadline) => write!(f, "the server has not answered for {} s", deadline.as_secs()),
        }
    }
}

// === impl Helper ===

impl Helper {
    /// Starts it; an error is a sentence.
    pub fn start(order: &Order) -> Result<Self, String> {
        let order = serde_json::to_string(order).map_err(|error| format!("write the order: {error}"))?;
        let child = Command::new("/proc/self/exe")
            .args([WORD, &order])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("start a process for it: {error}"))?;
        let process = linux::pidfd::open(child.id()).map_err(|error| error.to_string())?;
        #[expect(
            deprecated,
            reason = "an OwnedFd keeps the promise that the new constructor is unsafe for"
        )]
        let process = AsyncFd::with_interest(process, Interest::READABLE);
        let process = process.map_err(|error| format!("watch a process: {error}"))?;
        Ok(Self(Some((child, process))))
    }

    /// Waits until it has ended; an error is its sentence.
    pub async fn end(mut self) -> Result<(), String> {
        if let Some((_, process)) = &self.0 {
            // man 2 pidfd_open: readable once it has ended.
            let ended = process.readable().await;
            ended.map(drop).map_err(|error| format!("watch a process: {error}"))?;
        }
        let Some((child, _)) = self.0.take() else { return Ok(()) };
        let ended = child.wait_with_output();
        let ended = ended.map_err(|error| format!("hear of its end: {error}"))?;
        let said = String::from_utf8_lossy(&ended.stdout).trim().to_owned();
        match (ended.status.success(), said.is_empty()) {
            (true, _) => Ok(()),
            (false, false) => Err(said),
            (false, true) => Err(format!("{} without a word", ended.status)),
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let Some((mut child, process)) = self.0.take() else {
            return;
        };
        let _ = child.kill();
        // It may wait for its server for long; whoever drops it does not.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let _ = process.readable().await;
                let _ = child.wait();
            });
        }
    }
}
