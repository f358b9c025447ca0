//! Asking a probe once: exec, HTTP, TCP or gRPC, within its timeout, with upstream's sentences (pkg/probe).

use super::http::Request;
use super::{Answer, dial, grpc, timeout};
use k8s_openapi::api::core::v1::{Container, Probe};
use sandbox::{Exec, ExecError, ExecPlan};
use std::net::IpAddr;
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// How often a question that could not be put is put again at once, upstream's maxProbeRetries.
const TRIES: usize = 3;
/// As many redirects as Go's client follows.
const MOST_REDIRECTS: usize = 10;
/// Most of a program's output that is kept, upstream's limit.
const OUTPUT_BYTES: usize = 10 << 10;
/// How upstream's kubelet of this version calls itself.
const AGENT: &str = "kube-probe/1.36";

/// Asks; never takes much longer than the probe's timeout, wherever it leads.
pub async fn ask(probe: &Probe, container: &Container, ip: Option<IpAddr>, sandbox: &sandbox::Pod) -> Answer {
    let mut answer = Answer::Error("missing probe handler".to_owned());
    for _ in 0..TRIES {
        answer = once(probe, container, ip, sandbox).await;
        if !matches!(answer, Answer::Error(_)) {
            break;
        }
    }
    answer
}

async fn once(probe: &Probe, container: &Container, ip: Option<IpAddr>, sandbox: &sandbox::Pod) -> Answer {
    let timeout = timeout(probe);
    if let Some(exec) = &probe.exec {
        return match run(sandbox, container, exec.command.as_deref().unwrap_or_default(), timeout).await {
            Ok((0, _)) => Answer::Success,
            Ok((_, output)) | Err(RunError::NotExecuted(output) | RunError::TimedOut(output)) => {
                Answer::Failure(output)
            }
            Err(RunError::Call(why)) => Answer::Error(why),
        };
    }
    if let Some(action) = &probe.http_get {
        return match Request::new(action, container, ip, AGENT) {
            Ok(request) => get(request, timeout).await,
            Err(why) => Answer::Error(why),
        };
    }
    let Some(ip) = ip.map(|ip| ip.to_string()) else {
        return Answer::Error("the pod has no address yet".to_owned());
    };
    if let Some(action) = &probe.tcp_socket {
        let host = action.host.clone().filter(|host| !host.is_empty()).unwrap_or(ip);
        return match dial::port(container, &action.port) {
            Ok(port) => tcp(&host, port, timeout).await,
            Err(why) => Answer::Error(why),
        };
    }
    let Some(action) = &probe.grpc else {
        return Answer::Error(format!("missing probe handler for container {}", container.name));
    };
    match u16::try_from(action.port) {
        Ok(port) => health(&ip, port, action.service.as_deref().unwrap_or_default(), timeout).await,
        Err(_) => Answer::Error(format!("invalid port number: {}", action.port)),
    }
}

async fn get(mut request: Request, timeout: Duration) -> Answer {
    let url = request.url();
    let failed = |why: String| Answer::Failure(format!("Get {url:?}: {why}"));
    let follow = async {
        for _ in 0..=MOST_REDIRECTS {
            let reply = request.send().await?;
            let next = reply.location.as_deref().filter(|_| (300..400).contains(&reply.status));
            match next.and_then(|location| request.redirected(location)) {
                Some(next) => request = next,
                None => return Ok(reply),
            }
        }
        Err(format!("stopped after {MOST_REDIRECTS} redirects"))
    };
    match tokio::time::timeout(timeout, follow).await {
        Err(_) => failed("context deadline exceeded (Client.Timeout exceeded while awaiting headers)".to_owned()),
        Ok(Err(why)) => failed(why),
        Ok(Ok(reply)) => match reply.status {
            200..300 => Answer::Success,
            300..400 => Answer::Warning(format!("Probe terminated redirects, Response body: {}", reply.body)),
            status => Answer::Failure(format!("HTTP probe failed with statuscode: {status}")),
        },
    }
}

async fn tcp(host: &str, port: u16, timeout: Duration) -> Answer {
    match tokio::time::timeout(timeout, dial::connect(host, port)).await {
        Ok(Ok(_)) => Answer::Success,
        Ok(Err(why)) => Answer::Failure(why),
        Err(_) => Answer::Failure(format!("dial tcp {}: i/o timeout", dial::authority(host, port))),
    }
}

async fn health(host: &str, port: u16, service: &str, timeout: Duration) -> Answer {
    let seconds = timeout.as_secs();
    match tokio::time::timeout(timeout, grpc::check(host, port, service)).await {
        Err(_) => Answer::Failure(format!("timeout: health rpc did not complete within {seconds}s")),
        Ok(Err(why)) => Answer::Failure(format!("error: health rpc probe failed: {why}")),
        Ok(Ok(grpc::Health::Serving)) => Answer::Success,
        Ok(Ok(grpc::Health::Other(state))) => Answer::Failure(format!("service unhealthy (responded with {state:?})")),
        // UNIMPLEMENTED.
        Ok(Ok(grpc::Health::Refused(12, why))) => Answer::Failure(format!(
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {why}"
        )),
        Ok(Ok(grpc::Health::Refused(_, why))) => Answer::Failure(format!("error: health rpc probe failed: {why}")),
    }
}

/// Why a program in a container gave no exit code.
pub enum RunError {
    /// It was not executed; pod-init's sentence.
    NotExecuted(String),
    /// It took too long and was killed.
    TimedOut(String),
    /// Its container or supervisor is gone.
    Call(String),
}

/// Runs a program in a container to its end: its exit code, and what it wrote to both outputs.
pub async fn run(
    sandbox: &sandbox::Pod,
    container: &Container,
    command: &[String],
    timeout: Duration,
) -> Result<(i32, String), RunError> {
    let plan = ExecPlan {
        container: container.name.clone(),
        argv: command.to_vec(),
        env: Vec::new(),
        cwd: None,
        user: None,
        tty: false,
        stdin: false,
    };
    let run = async {
        let mut exec = sandbox.exec(&plan).await.map_err(|error| match error {
            ExecError::NotExecuted(why) => RunError::NotExecuted(why),
            ExecError::Call(error) => RunError::Call(error.to_string()),
        })?;
        // What it says may be held open by a child of it after its end, so its end is what counts.
        let mut output = Output::of(&mut exec);
        let code = tokio::select! {
            code = exec.wait() => code,
            () = output.read() => exec.wait().await,
        };
        output.rest().await;
        Ok((code.map_err(|error| RunError::Call(error.to_string()))?, output.text()))
    };
    // Dropping the future kills the program.
    let timed_out = |_| {
        let command = command.join(" ");
        RunError::TimedOut(format!(
            "command timed out: {command:?} timed out after {}s",
            timeout.as_secs()
        ))
    };
    tokio::time::timeout(timeout, run).await.map_err(timed_out)?
}

/// What a program writes, as far as it is kept.
struct Output {
    readers: [sandbox::Reader; 2],
    bytes: [Vec<u8>; 2],
}

// === impl Output ===

impl Output {
    fn of(exec: &mut Exec) -> Self {
        let empty = || Box::new(tokio::io::empty()) as sandbox::Reader;
        let out = exec.stdout.take().unwrap_or_else(empty);
        let err = exec.stderr.take().unwrap_or_else(empty);
        Self {
            readers: [out, err],
            bytes: [Vec::new(), Vec::new()],
        }
    }

    /// Reads both to their ends. Safe to cancel.
    async fn read(&mut self) {
        let ([out, err], [out_bytes, err_bytes]) = (&mut self.readers, &mut self.bytes);
        tokio::join!(collect(out, out_bytes), collect(err, err_bytes));
    }

    /// What is there already after the program's end.
    async fn rest(&mut self) {
        /// Bytes in a pipe are read at once; only a child that keeps it open is waited for in vain.
        const PATIENCE: Duration = Duration::from_millis(100);
        let _ = tokio::time::timeout(PATIENCE, self.read()).await;
    }

    fn text(&self) -> String {
        let mut bytes = self.bytes.concat();
        bytes.truncate(OUTPUT_BYTES);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Reads on past the limit, so that nobody is stopped by a full pipe.
async fn collect(reader: &mut sandbox::Reader, bytes: &mut Vec<u8>) {
    let mut buffer = [0; 1024];
    while let Ok(length @ 1..) = reader.read(&mut buffer).await {
        let room = OUTPUT_BYTES.saturating_sub(bytes.len());
        bytes.extend_from_slice(&buffer[..length.min(room)]);
    }
}
