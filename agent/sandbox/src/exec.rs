//! One program more in a running container, as the agent holds it.

use crate::CallError;
use crate::connection::Connection;
use crate::protocol::Reply;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::unix::pipe;

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

/// The main side of a pseudo terminal.
#[derive(Clone)]
struct Terminal(Arc<AsyncFd<OwnedFd>>);

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
            #[expect(
                deprecated,
                reason = "an OwnedFd keeps the promise that the new constructor is unsafe for"
            )]
            let terminal = Terminal(Arc::new(AsyncFd::new(next()?)?));
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

    /// Tells the terminal its size in characters; nothing happens without one.
    pub fn resize(&self, rows: u16, columns: u16) -> Result<(), linux::Error> {
        match &self.terminal {
            Some(terminal) => linux::terminal::resize(terminal.0.get_ref(), rows, columns),
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

// === impl Terminal ===

impl AsyncRead for Terminal {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(cx))?;
            let read = guard.try_io(|fd| io::Read::read(&mut file(fd.get_ref())?, buffer.initialize_unfilled()));
            match read {
                Ok(Ok(length)) => {
                    buffer.advance(length);
                    return Poll::Ready(Ok(()));
                }
                // EIO: nobody has the other side open any more, which for us is the end.
                Ok(Err(cause)) if cause.raw_os_error() == Some(5) => return Poll::Ready(Ok(())),
                Ok(Err(cause)) => return Poll::Ready(Err(cause)),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for Terminal {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(cx))?;
            match guard.try_io(|fd| io::Write::write(&mut file(fd.get_ref())?, bytes)) {
                Ok(done) => return Poll::Ready(done),
                Err(_would_block) => {}
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A `File` of the same terminal, for the standard library's read and write.
fn file(fd: &OwnedFd) -> io::Result<std::fs::File> {
    fd.as_fd().try_clone_to_owned().map(std::fs::File::from)
}
