//! One program more in a running container, as the agent holds it.

use crate::CallError;
use std::os::fd::OwnedFd;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;

/// Something to write to.
pub type Writer = Box<dyn AsyncWrite + Send + Unpin>;
/// Something to read from.
pub type Reader = Box<dyn AsyncRead + Send + Unpin>;

/// A running program. Dropping it kills the program.
pub struct Exec {
    /// Its standard input, if it has one; dropping it closes it (a terminal stays open).
    pub stdin: Option<Writer>,
    /// Its standard output, or all of a terminal's output.
    pub stdout: Option<Reader>,
    /// Its standard error; a terminal has none.
    pub stderr: Option<Reader>,
    #[expect(dead_code, reason = "filled in by the next commit")]
    terminal: Option<OwnedFd>,
    #[expect(dead_code, reason = "filled in by the next commit")]
    connection: UnixStream,
}

/// Why a program could not be run in a container.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// The container runs, the program could not be executed.
    #[error("{0}")]
    NotExecuted(String),
    /// Anything else.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl Exec {
    /// Tells the terminal its size in characters; nothing happens without one.
    pub fn resize(&self, rows: u16, columns: u16) -> Result<(), linux::Error> {
        let _ = (rows, columns);
        unimplemented!()
    }

    /// Waits for its end: what it returned, or 128 plus the signal that killed it. Read its output to the end, too.
    pub async fn wait(&mut self) -> Result<i32, CallError> {
        unimplemented!()
    }
}
