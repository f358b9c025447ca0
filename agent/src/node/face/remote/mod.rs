//! Exec and attach: a program's standard streams, to a caller by WebSocket or SPDY.

mod carry;
mod spdy;
mod status;
mod websocket;

use super::query::Query;
use super::upgrade::{self, Transport};
use super::{Body, Refusal, find};
use crate::pods::directory::Directory;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use sandbox::{CallError, Exec, ExecError, ExecPlan, Pod};

/// Standard input, to the program: channels have these numbers in every WebSocket protocol.
const STDIN: u8 = 0;
/// Standard output, or all of a terminal's.
const STDOUT: u8 = 1;
/// Standard error.
const STDERR: u8 = 2;
/// How it ended.
const STATUS: u8 = 3;
/// The terminal's size, JSON.
const RESIZE: u8 = 4;

/// Which streams the caller wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error, which a terminal has not.
    pub stderr: bool,
    /// Whether it is a terminal.
    pub tty: bool,
}

/// What is to be done, once the connection stands.
pub struct Task {
    /// Where.
    pub sandbox: Pod,
    /// What.
    pub what: What,
    /// With which streams.
    pub wanted: Wanted,
}

/// A program to run, or one to join.
pub enum What {
    /// Run a program.
    Exec(Box<ExecPlan>),
    /// Join the container's own.
    Attach(String),
}

/// Runs one program more in a container.
pub fn exec(
    request: Request<Incoming>,
    directory: &Directory,
    [namespace, pod, container]: [&str; 3],
    query: &Query,
) -> Result<Response<Body>, Refusal> {
    upgrade::required(request.headers())?;
    let wanted = wanted(query)?;
    // In the kubelet's words, from which people know them.
    let missing = || {
        Refusal(
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("container not found ({container:?})"),
        )
    };
    let sandbox = running(directory, namespace, pod, container)?.ok_or_else(missing)?;
    let plan = ExecPlan {
        container: container.to_owned(),
        argv: query.all("command").map(str::to_owned).collect(),
        env: Vec::new(),
        cwd: None,
        user: None,
        tty: wanted.tty,
        stdin: wanted.stdin,
    };
    if plan.argv.is_empty() {
        return Err(Refusal(StatusCode::BAD_REQUEST, "exec needs a command".to_owned()));
    }
    let what = What::Exec(Box::new(plan));
    answer(request, Task { sandbox, what, wanted })
}

/// Joins a container's own program.
pub fn attach(
    request: Request<Incoming>,
    directory: &Directory,
    [namespace, pod, container]: [&str; 3],
    query: &Query,
) -> Result<Response<Body>, Refusal> {
    upgrade::required(request.headers())?;
    let wanted = wanted(query)?;
    let missing = || {
        let why = format!("container {container} not found in pod {pod}_{namespace}");
        Refusal(StatusCode::INTERNAL_SERVER_ERROR, why)
    };
    let sandbox = running(directory, namespace, pod, container)?.ok_or_else(missing)?;
    let what = What::Attach(container.to_owned());
    answer(request, Task { sandbox, what, wanted })
}

/// The pod, if the container runs in it.
fn running(directory: &Directory, namespace: &str, pod: &str, container: &str) -> Result<Option<Pod>, Refusal> {
    let entry = find(directory, namespace, pod)?;
    let runs = entry.running.iter().any(|name| name == container);
    Ok(entry.sandbox.filter(|_| runs))
}

/// As upstream reads it (kubelet/pkg/cri/streaming/remotecommand `NewOptions`).
fn wanted(query: &Query) -> Result<Wanted, Refusal> {
    let tty = query.is_set("tty");
    let wanted = Wanted {
        stdin: query.is_set("input"),
        stdout: query.is_set("output"),
        // A terminal is one stream.
        stderr: query.is_set("error") && !tty,
        tty,
    };
    if !(wanted.stdin || wanted.stdout || wanted.stderr) {
        let why = "you must specify at least 1 of stdin, stdout, stderr".to_owned();
        return Err(Refusal(StatusCode::BAD_REQUEST, why));
    }
    Ok(wanted)
}

/// Does it for a caller whose request asks for streams.
pub fn answer(request: Request<Incoming>, task: Task) -> Result<Response<Body>, Refusal> {
    match upgrade::required(request.headers())? {
        Transport::WebSocket => websocket::answer(request, task),
        Transport::Spdy => spdy::answer(request, task),
    }
}

// === impl Task ===

impl Task {
    /// The program's streams, or why there are none, for people.
    async fn start(&self) -> Result<Exec, String> {
        let Wanted {
            stdin, stdout, stderr, ..
        } = self.wanted;
        match &self.what {
            What::Exec(plan) => self.sandbox.exec(plan).await.map_err(|error| match error {
                ExecError::NotExecuted(why) => why,
                ExecError::Call(error) => error.to_string(),
            }),
            What::Attach(container) => {
                let attached = self.sandbox.attach(container, stdin, stdout, stderr).await;
                attached.map_err(|error: CallError| error.to_string())
            }
        }
    }

    /// How it ended, told as the caller asked: who attached is not told what the container returned.
    fn outcome(&self, code: i32) -> status::Outcome {
        match self.what {
            What::Exec(_) => status::Outcome::Ended(code),
            What::Attach(_) => status::Outcome::Ended(0),
        }
    }
}
