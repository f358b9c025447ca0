//! A program's streams as the agent holds them: of one program more in a container, or of a container that is attached to.

use crate::CallError;
use crate::connection::Connection;
use crate::protocol::{Reply, Request};
use crate::terminal::Terminal;
use std::io;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::unix::pipe;

/// Something to write to.
pub type Writer = Box<dyn AsyncWrite + Send + Unpin>;
/// Something to read from.
pub type Reader = Box<dyn AsyncRead + Send + Unpin>;

/// A running program. Dropping it kills a program that was executed, and leaves a container that was attached to.
pub struct Exec {
    /// Its standard input, if it has one; dropping it closes it (a terminal stays open).
    pub stdin: Option<Writer>,
    /// Its standard output, or all of a terminal's output.
    pub stdout: Option<Reader>,
    /// Its standard error; a terminal has none.
    pub stderr: Option<Reader>,
    terminal: Option<Terminal>,
    connection: Connection,
    pod: String,
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

// === impl Exec ===

impl Exec {
    pub(crate) fn new(pod: &str, tty: bool, stdin: bool, mut connection: Connection) -> io::Result<Exec> {
        let mut files = std::mem::take(&mut connection.inbox.files).into_iter();
        let mut next = || files.next().ok_or_else(|| io::Error::other("pod-init sent no files"));
        let mut exec = Exec {
            stdin: None,
            stdout: None,
            stderr: None,
            terminal: None,
            connection,
            pod: pod.to_owned(),
        };
        if tty {
            let terminal = Terminal::new(next()?)?;
            exec.stdin = Some(Box::new(terminal.clone()));
            exec.stdout = Some(Box::new(terminal.clone()));
            exec.terminal = Some(terminal);
        } else {
            if stdin {
                exec.stdin = Some(Box::new(pipe::Sender::from_owned_fd(next()?)?));
            }
            exec.stdout = Some(Box::new(pipe::Receiver::from_owned_fd(next()?)?));
            exec.stderr = Some(Box::new(pipe::Receiver::from_owned_fd(next()?)?));
        }
        Ok(exec)
    }

    /// Of a container, from the reply to `Attach`.
    pub(crate) fn attached(pod: &str, reply: &Reply, mut connection: Connection) -> io::Result<Exec> {
        let &Reply::Attached {
            terminal,
            stdin,
            stdout,
            stderr,
        } = reply
        else {
            return Err(io::Error::other(format!("pod-init answered {reply:?}")));
        };
        let mut files = std::mem::take(&mut connection.inbox.files).into_iter();
        let mut next = || files.next().ok_or_else(|| io::Error::other("pod-init sent no files"));
        let mut exec = Exec {
            stdin: None,
            stdout: None,
            stderr: None,
            terminal: None,
            connection,
            pod: pod.to_owned(),
        };
        if terminal {
            let terminal = Terminal::new(next()?)?;
            exec.stdin = stdin.then(|| Box::new(terminal.clone()) as Writer);
            exec.terminal = Some(terminal);
        } else if stdin {
            exec.stdin = Some(Box::new(pipe::Sender::from_owned_fd(next()?)?));
        }
        if stdout {
            exec.stdout = Some(Box::new(pipe::Receiver::from_owned_fd(next()?)?));
        }
        if stderr {
            exec.stderr = Some(Box::new(pipe::Receiver::from_owned_fd(next()?)?));
        }
        Ok(exec)
    }

    /// Says that there is no more input, after [`Exec::stdin`] was dropped: pod-init itself keeps a container's input open.
    pub async fn end_input(&mut self) -> Result<(), CallError> {
        let sent = self.connection.send(&Request::EndInput).await;
        sent.map_err(|cause| self.gone(cause.to_string()))
    }

    /// Tells the terminal its size in characters; nothing happens without one.
    pub fn resize(&self, rows: u16, columns: u16) -> Result<(), linux::Error> {
        match &self.terminal {
            Some(terminal) => terminal.resize(rows, columns),
            None => Ok(()),
        }
    }

    /// Waits for its end: what it returned, or 128 plus the signal that killed it. Its output may still hold something then.
    /// Safe to cancel and call again.
    pub async fn wait(&mut self) -> Result<i32, CallError> {
        match self.connection.reply().await {
            Ok(Reply::Exited(code)) => Ok(code),
            Ok(other) => Err(self.gone(format!("it answered {other:?}"))),
            Err(cause) => Err(self.gone(cause.to_string())),
        }
    }

    fn gone(&self, why: String) -> CallError {
        CallError::Refused {
            pod: self.pod.clone(),
            why: format!("wait for a program in it: {why}"),
        }
    }
}
