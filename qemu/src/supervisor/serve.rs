//! The supervisor's socket: one request a connection, answered on a thread of its own.

use super::{Reply, Request, Shared};
use anyhow::{Context, Result};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;

/// Listen on `socket` for good.
pub fn listen(socket: &Path, shared: Arc<Shared>) -> Result<()> {
    // Left behind by a supervisor that was killed.
    let _ = std::fs::remove_file(socket);
    let listener = UnixListener::bind(socket).with_context(|| format!("listen on {}", socket.display()))?;
    std::thread::Builder::new()
        .name("requests".to_owned())
        .spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                std::thread::spawn(move || {
                    if let Err(error) = answer(stream, &shared) {
                        tracing::warn!(%error, "a request went unanswered");
                    }
                });
            }
        })
        .context("start the thread for requests")?;
    Ok(())
}

/// Ask the supervisor that listens on `socket`.
pub fn ask(socket: &Path, request: &Request) -> Result<Reply> {
    let mut stream = UnixStream::connect(socket)
        .with_context(|| format!("reach the cluster's supervisor at {}; it may not run", socket.display()))?;
    writeln!(stream, "{}", serde_json::to_string(request)?)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    serde_json::from_str(&line).with_context(|| format!("understand the supervisor's answer {line:?}"))
}

fn answer(stream: UnixStream, shared: &Shared) -> Result<()> {
    let mut lines = BufReader::new(&stream);
    let mut line = String::new();
    lines.read_line(&mut line)?;
    let request = serde_json::from_str::<Request>(&line);
    let is_stop = matches!(request, Ok(Request::Stop));
    let reply = match request {
        Ok(request) => shared.answer(request),
        Err(error) => Reply::Refused(format!("cannot understand {line:?}: {error}")),
    };
    writeln!(&stream, "{}", serde_json::to_string(&reply)?)?;
    if is_stop {
        shared.note_stopped();
    }
    Ok(())
}
