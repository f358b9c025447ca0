//! The node's pod CIDRs: given by the control plane once, remembered so that a restarted agent need not ask.

use super::{NodeContext, chain};
use client::{Api, Transport};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How often the API is asked while the node has none: allocation follows registration within milliseconds.
const ASK: Duration = Duration::from_millis(200);
/// The same once something is wrong.
const ASK_SLOWLY: Duration = Duration::from_secs(2);

/// Those remembered, else those that the Node gets; waits for ever.
pub async fn known_or_given(context: &NodeContext, transport: &Arc<dyn Transport>) -> Vec<IpNet> {
    let path = context.paths.net.join("pod-cidrs");
    let remembered = parse(std::fs::read_to_string(&path).unwrap_or_default().lines());
    if !remembered.is_empty() {
        return remembered;
    }
    let api = Api::<Node>::all(transport.clone());
    loop {
        let pause = match api.get(&context.config.machine.name).await {
            Ok(node) => {
                let spec = node.spec.unwrap_or_default();
                let listed = spec.pod_cidrs.filter(|cidrs| !cidrs.is_empty());
                let cidrs = listed.unwrap_or_else(|| spec.pod_cidr.into_iter().collect());
                let given = parse(cidrs.iter().map(String::as_str));
                if !given.is_empty() {
                    remember(&path, &cidrs);
                    return given;
                }
                ASK
            }
            Err(error) if error.is_not_found() => ASK,
            Err(error) => {
                tracing::debug!(error = %chain(&error), "pod CIDR not known yet");
                ASK_SLOWLY
            }
        };
        tokio::time::sleep(pause).await;
    }
}

fn parse<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<IpNet> {
    lines.filter_map(|line| line.trim().parse().ok()).collect()
}

fn remember(path: &PathBuf, cidrs: &[String]) {
    let folder = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    if let Err(error) = folder.and_then(|()| std::fs::write(path, cidrs.join("\n") + "\n")) {
        tracing::warn!(path = %path.display(), %error, "pod CIDRs cannot be remembered");
    }
}
