//! A program's streams as SPDY streams: `error`, `stdin`, `stdout`, `stderr` and `resize`, opened by the caller.

use super::carry::{Caller, carry};
use super::status::Outcome;
use super::{Body, Refusal, STDERR, STDOUT, Task, Wanted};
use crate::node::face::spdy::{Connection, Stream};
use crate::node::face::upgrade;
use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::sync::mpsc;

/// The best first; the last is for clients that name none.
const PROTOCOLS: [&str; 5] = [
    "v4.channel.k8s.io",
    "v3.channel.k8s.io",
    "v2.channel.k8s.io",
    "channel.k8s.io",
    "",
];

/// A caller has so long to open all its streams: upstream's `DefaultStreamCreationTimeout`.
const OPENING: Duration = Duration::from_secs(30);

/// The streams that a caller has opened.
#[derive(Default)]
struct Streams {
    error: Option<Stream>,
    stdin: Option<Stream>,
    stdout: Option<Stream>,
    stderr: Option<Stream>,
    resize: Option<Stream>,
    last: spdy::StreamId,
}

/// Answers; the program starts once the caller has opened its streams.
pub fn answer(request: Request<Incoming>, task: Task) -> Result<Response<Body>, Refusal> {
    let agreed = upgrade::spdy(request, &PROTOCOLS)?;
    let protocol = agreed.protocol;
    tokio::spawn(async move {
        if let Err(error) = run(agreed.upgrade, protocol, task).await {
            tracing::debug!(%error, "a program's connection ended early");
        }
    });
    Ok(agreed.response)
}

async fn run(upgrade: OnUpgrade, protocol: &str, task: Task) -> Result<(), hyper::Error> {
    let mut connection = Connection::new(TokioIo::new(upgrade.await?));
    let opened = tokio::time::timeout(OPENING, open(&mut connection, &task.wanted, protocol)).await;
    connection.refuse_more();
    let Ok(Some(mut streams)) = opened else {
        tracing::debug!("a caller did not open its streams");
        connection.close(0).await;
        return Ok(());
    };
    let (last, error) = (streams.last, streams.error.take());
    let gone = connection.gone();
    let outcome = tokio::select! {
        outcome = join(&task, streams) => outcome,
        () = gone.cancelled() => None,
    };
    if let (Some(outcome), Some(error)) = (outcome, error) {
        // Who has gone is told nothing.
        let _ = error.send(outcome.told(protocol).into()).await;
        let _ = error.finish().await;
    }
    connection.close(last).await;
    Ok(())
}

/// All the streams that this request needs; none when the caller has gone before.
async fn open(connection: &mut Connection, wanted: &Wanted, protocol: &str) -> Option<Streams> {
    let mut streams = Streams::default();
    let resizes = wanted.tty && (protocol.starts_with("v3.") || protocol.starts_with("v4."));
    loop {
        let missing = [
            (true, &streams.error),
            (wanted.stdin, &streams.stdin),
            (wanted.stdout, &streams.stdout),
            (wanted.stderr, &streams.stderr),
            (resizes, &streams.resize),
        ];
        if !missing.iter().any(|(needed, stream)| *needed && stream.is_none()) {
            return Some(streams);
        }
        let stream = connection.accept().await?;
        streams.last = stream.id();
        let place = match stream.header("streamType") {
            Some("error") => &mut streams.error,
            Some("stdin") => &mut streams.stdin,
            Some("stdout") => &mut streams.stdout,
            Some("stderr") => &mut streams.stderr,
            Some("resize") => &mut streams.resize,
            Some(_) | None => {
                stream.reset(spdy::Reset::Refused).await.ok()?;
                continue;
            }
        };
        stream.reply().await.ok()?;
        *place = Some(stream);
    }
}

/// Joins the streams to the program's and carries until it has ended; none when the caller has gone.
async fn join(task: &Task, streams: Streams) -> Option<Outcome> {
    let exec = match task.start().await {
        Ok(exec) => exec,
        Err(why) => {
            streams.finish().await;
            return Some(Outcome::Failed(why));
        }
    };
    let (output, outputs) = mpsc::channel(4);
    let caller = Caller {
        wanted: task.wanted,
        input: pass(streams.stdin),
        sizes: pass(streams.resize),
        output,
    };
    let show = show(outputs, streams.stdout, streams.stderr);
    let (code, ()) = tokio::join!(carry(exec, caller), show);
    match code {
        Ok(Some(code)) => Some(task.outcome(code)),
        Ok(None) => None,
        Err(error) => Some(Outcome::Failed(error.to_string())),
    }
}

/// What comes on a stream, until its end; nothing where there is no stream.
fn pass(stream: Option<Stream>) -> mpsc::Receiver<Bytes> {
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        let Some(mut stream) = stream else { return };
        while let Ok(Some(bytes)) = stream.recv().await {
            if sender.send(bytes).await.is_err() {
                return;
            }
        }
    });
    receiver
}

/// Sends the program's output, until it has ended or the caller takes no more.
async fn show(mut outputs: mpsc::Receiver<(u8, Bytes)>, stdout: Option<Stream>, stderr: Option<Stream>) {
    while let Some((channel, bytes)) = outputs.recv().await {
        let stream = match channel {
            STDOUT => &stdout,
            STDERR => &stderr,
            _ => &None,
        };
        if let Some(stream) = stream
            && stream.send(bytes).await.is_err()
        {
            return;
        }
    }
    for stream in [stdout, stderr].into_iter().flatten() {
        let _ = stream.finish().await;
    }
}

// === impl Streams ===

impl Streams {
    async fn finish(self) {
        for stream in [self.stdout, self.stderr].into_iter().flatten() {
            let _ = stream.finish().await;
        }
    }
}
