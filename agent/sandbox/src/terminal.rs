//! The main side of a pseudo terminal, read and written without blocking.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// It; clones are the same terminal.
#[derive(Clone)]
pub(crate) struct Terminal(Arc<AsyncFd<OwnedFd>>);

// === impl Terminal ===

impl Terminal {
    pub(crate) fn new(main: OwnedFd) -> io::Result<Terminal> {
        #[expect(
            deprecated,
            reason = "an OwnedFd keeps the promise that the new constructor is unsafe for"
        )]
        let main = AsyncFd::new(main)?;
        Ok(Terminal(Arc::new(main)))
    }

    /// In characters.
    pub(crate) fn resize(&self, rows: u16, columns: u16) -> Result<(), linux::Error> {
        linux::terminal::resize(self.0.get_ref(), rows, columns)
    }
}

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
