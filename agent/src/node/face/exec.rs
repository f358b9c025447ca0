//! One program more in a running container, its streams over a WebSocket.

use super::query::Query;
use super::websocket::{self, CLOSE, RESIZE, STATUS, STDERR, STDIN, STDOUT};
use super::{Body, Refusal, find};
use crate::pods::directory::Directory;
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::stream::SplitSink;
use futures_util::{SinkExt, StreamExt};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use sandbox::{Exec, ExecError, ExecPlan};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, frame::coding::CloseCode};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Bytes of output in one message.
const CHUNK: usize = 32 << 10;

/// Checks the request, then answers; the program starts once the connection is a WebSocket.
pub fn answer(
    request: Request<Incoming>,
    directory: &Directory,
    namespace: &str,
    pod: &str,
    container: &str,
    query: &Query,
) -> Result<Response<Body>, Refusal> {
    let entry = find(directory, namespace, pod)?;
    let running = entry.running.iter().any(|name| name == container);
    let (Some(sandbox), true) = (entry.sandbox, running) else {
        return Err(Refusal(
            StatusCode::NOT_FOUND,
            format!("container {container} not found in pod {pod}_{namespace}, or not running"),
        ));
    };
    let plan = ExecPlan {
        container: container.to_owned(),
        argv: query.all("command").map(str::to_owned).collect(),
        env: Vec::new(),
        cwd: None,
        user: None,
        tty: query.is_set("tty"),
        stdin: query.is_set("input") || query.is_set("stdin"),
    };
    if plan.argv.is_empty() {
        return Err(Refusal(StatusCode::BAD_REQUEST, "exec needs a command".to_owned()));
    }
    let (response, upgrade) = websocket::accept(request)?;
    tokio::spawn(async move {
        if let Err(error) = run(upgrade, &sandbox, &plan).await {
            tracing::debug!(%error, "exec's connection ended early");
        }
    });
    Ok(response)
}

async fn run(upgrade: OnUpgrade, sandbox: &sandbox::Pod, plan: &ExecPlan) -> Result<(), Error> {
    let upgraded = upgrade.await.map_err(|error| Error::Io(std::io::Error::other(error)))?;
    let mut socket: Socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
    // An empty message tells the client that the streams stand, as upstream's server does.
    socket.send(Message::Binary(Bytes::from_static(&[STDOUT]))).await?;
    let status = match sandbox.exec(plan).await {
        Ok(exec) => streams(&mut socket, exec).await?,
        Err(ExecError::NotExecuted(why)) => failure(&why),
        Err(ExecError::Call(error)) => failure(&error.to_string()),
    };
    let Some(status) = status else { return Ok(()) };
    let mut message = BytesMut::from(&[STATUS][..]);
    message.put_slice(status.to_string().as_bytes());
    socket.send(Message::Binary(message.freeze())).await?;
    // A close without a code is an error to kubectl (RFC 6455, 7.4.1: 1000 is a normal end).
    let normal = CloseFrame {
        code: CloseCode::Normal,
        reason: Utf8Bytes::default(),
    };
    socket.close(Some(normal)).await
}

/// Carries the streams until the program's outputs end; then how it ended. None when the caller went away: dropping the
/// program ends it.
async fn streams(socket: &mut Socket, mut exec: Exec) -> Result<Option<Value>, Error> {
    let (mut sink, mut messages) = socket.split();
    let mut stdout = Output::new(STDOUT, exec.stdout.take());
    let mut stderr = Output::new(STDERR, exec.stderr.take());
    let mut input = exec.stdin.take().map(feed);
    let mut waiting: Option<Bytes> = None;
    while stdout.is_open() || stderr.is_open() {
        let step = tokio::select! {
            // While the program does not take its input, no more is read, but its output goes on.
            message = messages.next(), if waiting.is_none() => Step::Message(message),
            room = reserve(input.clone()), if waiting.is_some() => Step::Room(room),
            length = stdout.read(), if stdout.is_open() => Step::Stdout(length),
            length = stderr.read(), if stderr.is_open() => Step::Stderr(length),
        };
        match step {
            Step::Stdout(length) => stdout.send(&mut sink, length).await?,
            Step::Stderr(length) => stderr.send(&mut sink, length).await?,
            Step::Room(room) => match (room, waiting.take()) {
                (Some(room), Some(data)) => drop(room.send(data)),
                (_, _) => input = None,
            },
            Step::Message(Some(Ok(Message::Binary(data)))) => match data.split_first() {
                Some((&STDIN, rest)) if input.is_some() && !rest.is_empty() => waiting = Some(data.slice(1..)),
                Some((&RESIZE, rest)) => resize(&exec, rest),
                Some((&CLOSE, &[STDIN])) => input = None,
                Some(_) | None => {}
            },
            Step::Message(Some(Ok(Message::Close(_))) | None) => return Ok(None),
            Step::Message(Some(Ok(_))) => {}
            Step::Message(Some(Err(error))) => return Err(error),
        }
    }
    drop(input);
    Ok(match exec.wait().await {
        Ok(0) => Some(json!({"metadata": {}, "status": "Success"})),
        Ok(code) => Some(ended_with(code)),
        Err(error) => failure(&error.to_string()),
    })
}

/// What happened first.
enum Step {
    Message(Option<Result<Message, Error>>),
    Room(Option<mpsc::OwnedPermit<Bytes>>),
    Stdout(usize),
    Stderr(usize),
}

/// One of the program's outputs.
struct Output {
    channel: u8,
    from: Option<Box<dyn AsyncRead + Send + Unpin>>,
    buffer: Vec<u8>,
}

impl Output {
    fn new(channel: u8, from: Option<Box<dyn AsyncRead + Send + Unpin>>) -> Self {
        Self {
            channel,
            from,
            buffer: vec![0; CHUNK],
        }
    }

    fn is_open(&self) -> bool {
        self.from.is_some()
    }

    /// What comes next; nothing at its end. A terminal's end is an error of its own (EIO), man 2 read.
    async fn read(&mut self) -> usize {
        match &mut self.from {
            Some(from) => from.read(&mut self.buffer).await.unwrap_or(0),
            None => 0,
        }
    }

    async fn send(&mut self, sink: &mut SplitSink<&mut Socket, Message>, length: usize) -> Result<(), Error> {
        if length == 0 {
            self.from = None;
            return Ok(());
        }
        let mut message = BytesMut::with_capacity(length + 1);
        message.put_u8(self.channel);
        message.put_slice(&self.buffer[..length]);
        sink.send(Message::Binary(message.freeze())).await
    }
}

/// A task that writes to the program's input; dropping the sender closes it.
fn feed(mut stdin: Box<dyn AsyncWrite + Send + Unpin>) -> mpsc::Sender<Bytes> {
    let (sender, mut receiver) = mpsc::channel::<Bytes>(4);
    tokio::spawn(async move {
        while let Some(data) = receiver.recv().await {
            // A program that closed its input is not told what it does not want to know.
            if stdin.write_all(&data).await.is_err() || stdin.flush().await.is_err() {
                return;
            }
        }
        let _ = stdin.shutdown().await;
    });
    sender
}

async fn reserve(input: Option<mpsc::Sender<Bytes>>) -> Option<mpsc::OwnedPermit<Bytes>> {
    input?.reserve_owned().await.ok()
}

/// `{"Width":80,"Height":24}`; what is no size changes nothing.
fn resize(exec: &Exec, size: &[u8]) {
    let Ok(size) = serde_json::from_slice::<Value>(size) else {
        return;
    };
    let side = |name: &str| size[name].as_u64().and_then(|side| u16::try_from(side).ok());
    if let (Some(rows), Some(columns)) = (side("Height"), side("Width")) {
        let _ = exec.resize(rows, columns);
    }
}

/// As upstream's servers report an exit code, from which kubectl takes its own.
fn ended_with(code: i32) -> Value {
    json!({
        "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
        "message": format!("command terminated with non-zero exit code: {code}"),
        "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
    })
}

fn failure(why: &str) -> Option<Value> {
    Some(json!({
        "metadata": {}, "status": "Failure", "reason": "InternalError", "code": 500,
        "message": format!("Internal error occurred: {why}"),
        "details": {"causes": [{"message": why}]},
    }))
}
