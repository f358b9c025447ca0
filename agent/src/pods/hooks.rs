//! What a pod wants done after a container's start and before its stop: exec, HTTP or sleep (upstream: pkg/kubelet/lifecycle).

use super::probes::http::Request;
use super::probes::{self, RunError};
use k8s_openapi::api::core::v1::{Container, LifecycleHandler};
use std::net::IpAddr;
use std::time::Duration;

/// Longer than any grace period: whoever runs a hook says when it is enough, by dropping it.
const FOR_EVER: Duration = Duration::from_secs(365 * 86400);
/// How upstream's kubelet of this version calls itself in hooks.
const AGENT: &str = "kube-lifecycle/1.36";

/// Runs a hook to its end; an error is one sentence for this machine's log, because it may hold what is nobody's business.
pub async fn run(
    hook: &LifecycleHandler,
    container: &Container,
    ip: Option<IpAddr>,
    sandbox: &sandbox::Pod,
) -> Result<(), String> {
    if let Some(exec) = &hook.exec {
        let command = exec.command.as_deref().unwrap_or_default();
        return match probes::run(sandbox, container, command, FOR_EVER).await {
            Ok((0, _)) => Ok(()),
            Ok((code, output)) => Err(format!("command {command:?} exited with {code}: {output}")),
            Err(RunError::NotExecuted(why) | RunError::TimedOut(why) | RunError::Call(why)) => Err(why),
        };
    }
    if let Some(action) = &hook.http_get {
        let request = Request::new(action, container, ip, AGENT)?;
        let reply = match request.send().await {
            // Hooks had no TLS once, so upstream tries without when that fails.
            Err(why) if request.tls => Request { tls: false, ..request }.send().await.map_err(|_| why),
            reply => reply,
        };
        // Whatever is answered, the hook was heard.
        return reply.map(drop);
    }
    if let Some(sleep) = &hook.sleep {
        tokio::time::sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0))).await;
        return Ok(());
    }
    Err("invalid handler: it has neither exec, httpGet nor sleep".to_owned())
}
