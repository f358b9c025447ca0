//! ExecSync: a program more in a container, to its end, with what it wrote.

use super::Cri;
use super::containers::call_failed;
use crate::machine::refuse;
use proto::cri::runtime::v1::{ExecSyncRequest, ExecSyncResponse};
use sandbox::{Exec, ExecError, ExecPlan, Reader};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tonic::Status;

/// Most bytes of each output that are kept, the interface's limit (CVE-2022-1708); the program goes on.
const MOST: usize = 16 << 20;
/// How long outputs are read after the program has ended: somebody whom it left behind may hold them open for ever.
const DRAIN: Duration = Duration::from_secs(2);

/// A program in a container, with everything else the container's own.
pub fn program(container: &str, argv: Vec<String>) -> ExecPlan {
    ExecPlan {
        container: container.to_owned(),
        argv,
        env: Vec::new(),
        cwd: None,
        user: None,
        tty: false,
        stdin: false,
    }
}

impl Cri {
    /// Runs it; killed when its time is over.
    pub(super) async fn exec_sync(&self, request: ExecSyncRequest) -> Result<ExecSyncResponse, Status> {
        let (record, pod) = self.running_container(&request.container_id)?;
        if request.cmd.is_empty() {
            return Err(refuse::invalid("exec needs a command"));
        }
        let plan = program(&record.id, request.cmd.clone());
        let exec = pod.exec(&plan).await.map_err(|error| match error {
            ExecError::NotExecuted(why) => Status::unknown(format!("exec in container {:?}: {why}", record.id)),
            ExecError::Call(error) => call_failed(&error),
        })?;
        match u64::try_from(request.timeout).ok().filter(|seconds| *seconds > 0) {
            None => to_its_end(exec).await,
            Some(seconds) => match tokio::time::timeout(Duration::from_secs(seconds), to_its_end(exec)).await {
                Ok(ended) => ended,
                Err(_) => {
                    let command = request.cmd.join(" ");
                    Err(Status::deadline_exceeded(format!(
                        "command {command:?} did not end within {seconds} s"
                    )))
                }
            },
        }
    }
}

async fn to_its_end(mut exec: Exec) -> Result<ExecSyncResponse, Status> {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let (out, err) = (exec.stdout.take(), exec.stderr.take());
    let code = {
        let reading = async { tokio::join!(keep(out, &mut stdout), keep(err, &mut stderr)) };
        tokio::pin!(reading);
        tokio::select! {
            _ = &mut reading => exec.wait().await,
            code = exec.wait() => {
                // What is not there by then is not waited for.
                let _ = tokio::time::timeout(DRAIN, &mut reading).await;
                code
            }
        }
    };
    Ok(ExecSyncResponse {
        stdout,
        stderr,
        exit_code: code.map_err(|error| call_failed(&error))?,
    })
}

/// Reads to the end and keeps as much as may be kept.
async fn keep(from: Option<Reader>, into: &mut Vec<u8>) {
    let Some(mut from) = from else { return };
    let mut chunk = vec![0; 32 << 10];
    while let Ok(length @ 1..) = from.read(&mut chunk).await {
        let room = MOST.saturating_sub(into.len());
        into.extend_from_slice(&chunk[..length.min(room)]);
    }
}
