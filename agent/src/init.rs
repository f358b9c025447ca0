//! The agent's side of init's socket: asked from async tasks, one blocking call each.

use init_protocol::{AskError, Request, ask};
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;

/// PID 1, as seen from here.
#[derive(Clone)]
pub struct Init {
    socket: PathBuf,
    marks: mpsc::UnboundedSender<String>,
}

/// Why init did not do what it was asked, with all causes.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct InitError(String);

// === impl Init ===

impl Init {
    /// On a socket; nothing is connected yet. Call it inside the runtime.
    pub fn on(socket: &Path) -> Self {
        let (marks, queue) = mpsc::unbounded_channel();
        let init = Self {
            socket: socket.to_owned(),
            marks,
        };
        tokio::spawn(init.clone().send_marks(queue));
        init
    }

    /// Asks, and returns the answer's data lines.
    pub async fn ask(&self, request: Request) -> Result<Vec<String>, InitError> {
        let socket = self.socket.clone();
        let asked = tokio::task::spawn_blocking(move || ask(&socket, &request)).await;
        match asked {
            Ok(answer) => answer.map_err(|error| InitError(chain(&error))),
            Err(_) => Err(InitError("ask init: the agent is ending".to_owned())),
        }
    }

    /// Asks for lines that are all of one type.
    pub async fn list<T>(&self, request: Request) -> Result<Vec<T>, InitError>
    where
        T: std::str::FromStr,
        AskError: From<T::Err>,
    {
        let lines = self.ask(request).await?;
        let parsed = lines
            .iter()
            .map(|line| line.parse::<T>().map_err(AskError::from))
            .collect::<Result<_, _>>();
        parsed.map_err(|error| InitError(chain(&error)))
    }

    /// Puts a mark into the boot's timeline; marks keep their order, nobody waits.
    pub fn mark(&self, name: &str) {
        // The receiver lives as long as the runtime.
        let _ = self.marks.send(name.to_owned());
    }

    async fn send_marks(self, mut queue: mpsc::UnboundedReceiver<String>) {
        while let Some(name) = queue.recv().await {
            if let Err(error) = self.ask(Request::Mark(name)).await {
                tracing::warn!("note boot mark: {error}");
            }
        }
    }
}

/// An error with its causes in one sentence.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
