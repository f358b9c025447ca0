//! The agent's end of a connection to one pod-init.

use crate::protocol::{Reply, Request};
use crate::wire::{self, Inbox};
use std::io;
use std::path::Path;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::UnixStream;

/// One request and what is answered to it.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: UnixStream,
    pub(crate) inbox: Inbox,
}

impl Connection {
    pub(crate) async fn ask(socket: &Path, request: &Request) -> io::Result<Connection> {
        let mut connection = Connection {
            stream: UnixStream::connect(socket).await?,
            inbox: Inbox::default(),
        };
        connection.send(request).await?;
        Ok(connection)
    }

    pub(crate) async fn send(&mut self, request: &Request) -> io::Result<()> {
        let frame = wire::frame(request).map_err(io::Error::other)?;
        self.stream.write_all(&frame).await
    }

    /// The next reply; UnexpectedEof when pod-init is gone. Safe to cancel.
    pub(crate) async fn reply(&mut self) -> io::Result<Reply> {
        loop {
            if let Some(reply) = self.inbox.take().map_err(io::Error::other)? {
                return Ok(reply);
            }
            self.stream.readable().await?;
            match self.receive() {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// Takes what is there; how much. The buffer is not part of what waits for it: every pod has somebody who does, all its life.
    fn receive(&mut self) -> io::Result<usize> {
        let mut buffer = [0; 8192];
        let Connection { stream, inbox } = self;
        let length = stream.try_io(Interest::READABLE, || {
            linux::fdpass::receive(&*stream, &mut buffer, &mut inbox.files)
                .map_err(|error| io::Error::from_raw_os_error(error.errno))
        })?;
        inbox.push(&buffer[..length]);
        Ok(length)
    }
}
