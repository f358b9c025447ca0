//! Logs of services: the files that init keeps (`<service>.log`, the one before it `.log.1`), then what is added.

use super::{Machine, refuse};
use proto::machine::v1::logs_server::Logs;
use proto::machine::v1::{KernelLine, KernelLogRequest, LogChunk, ServiceLogRequest};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

/// How often a follower's file is looked at: as quick as people read.
const LOOK: Duration = Duration::from_millis(200);
/// Bytes a message; gRPC refuses messages above 4 MiB.
const CHUNK: usize = 64 * 1024;

pub struct Calls(pub Arc<Machine>);

#[tonic::async_trait]
impl Logs for Calls {
    type ServiceStream = Pin<Box<dyn Stream<Item = Result<LogChunk, Status>> + Send>>;

    async fn service(&self, request: Request<ServiceLogRequest>) -> Result<Response<Self::ServiceStream>, Status> {
        let request = request.into_inner();
        let service = super::services::service(&request.service)?;
        let log = self.0.places.logs.join(format!("{service}.log"));
        let tail = usize::try_from(request.tail_lines).unwrap_or(usize::MAX);
        let (kept, follower) = refuse::blocking(move || {
            kept(&log, tail)
                .map_err(|cause| refuse::not_now(format!("{service} has no log yet ({}: {cause})", log.display())))
        })
        .await?;
        let (sender, receiver) = mpsc::channel(4);
        tokio::spawn(async move {
            for chunk in kept.chunks(CHUNK) {
                if sender.send(Ok(LogChunk { data: chunk.to_vec() })).await.is_err() {
                    return;
                }
            }
            if request.follow {
                follower.follow(sender).await;
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    type KernelStream = Pin<Box<dyn Stream<Item = Result<KernelLine, Status>> + Send>>;

    async fn kernel(&self, request: Request<KernelLogRequest>) -> Result<Response<Self::KernelStream>, Status> {
        super::kernel_log::stream(request.into_inner().follow)
    }
}

/// A log's end, kept open.
struct Follower {
    path: PathBuf,
    file: File,
}

/// All that is kept, or its last lines; and where it goes on.
fn kept(log: &Path, tail: usize) -> io::Result<(Vec<u8>, Follower)> {
    let mut text = fs::read(log.with_extension("log.1")).unwrap_or_default();
    let mut file = File::open(log)?;
    file.read_to_end(&mut text)?;
    Ok((
        last_lines(text, tail),
        Follower {
            path: log.to_owned(),
            file,
        },
    ))
}

/// The last lines; all of them for 0.
fn last_lines(text: Vec<u8>, lines: usize) -> Vec<u8> {
    let body = text.strip_suffix(b"\n").unwrap_or(&text);
    let mut ends = body
        .iter()
        .enumerate()
        .rev()
        .filter(|(_, byte)| **byte == b'\n')
        .map(|(at, _)| at);
    match lines.checked_sub(1).and_then(|before| ends.nth(before)) {
        Some(newline) => text[newline + 1..].to_vec(),
        None => text,
    }
}

// === impl Follower ===

impl Follower {
    /// Sends what is added until nobody listens.
    async fn follow(mut self, to: mpsc::Sender<Result<LogChunk, Status>>) {
        loop {
            match self.read_more() {
                Ok(data) if data.is_empty() => tokio::select! {
                    () = tokio::time::sleep(LOOK) => {}
                    () = to.closed() => return,
                },
                Ok(data) => {
                    if to.send(Ok(LogChunk { data })).await.is_err() {
                        return;
                    }
                }
                Err(cause) => {
                    let said = format!("follow {}: {cause}", self.path.display());
                    // Nobody listens any more: fine.
                    let _ = to.send(Err(refuse::failed(said))).await;
                    return;
                }
            }
        }
    }

    /// At most a chunk. At the end of a file that init has put aside, goes on with the new one.
    fn read_more(&mut self) -> io::Result<Vec<u8>> {
        let mut data = vec![0; CHUNK];
        let mut length = self.file.read(&mut data)?;
        if length == 0 && self.was_put_aside()? {
            self.file = File::open(&self.path)?;
            length = self.file.read(&mut data)?;
        }
        data.truncate(length);
        Ok(data)
    }

    fn was_put_aside(&self) -> io::Result<bool> {
        match fs::metadata(&self.path) {
            Ok(now) => Ok(now.ino() != self.file.metadata()?.ino()),
            // Between the two steps of a rotation.
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(cause) => Err(cause),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_count_lines_from_the_end() {
        for (lines, tail) in [(0, "a\nb\nc\n"), (1, "c\n"), (2, "b\nc\n"), (9, "a\nb\nc\n")] {
            assert_eq!(last_lines(b"a\nb\nc\n".to_vec(), lines), tail.as_bytes(), "{lines}");
        }
    }

    #[test]
    fn a_follower_goes_on_after_a_rotation() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("agent.log");
        fs::write(&log, "one\n").unwrap();
        let (text, mut follower) = kept(&log, 0).unwrap();
        assert_eq!(text, b"one\n");
        assert_eq!(follower.read_more().unwrap(), b"");
        fs::rename(&log, folder.path().join("agent.log.1")).unwrap();
        assert_eq!(follower.read_more().unwrap(), b"");
        fs::write(&log, "two\n").unwrap();
        assert_eq!(follower.read_more().unwrap(), b"two\n");
        assert_eq!(kept(&log, 0).unwrap().0, b"one\ntwo\n");
    }
}
