//! The node's heartbeat: its Lease renewed every ten seconds by a thread that does nothing else, over a connection of its own:
//! nothing that the agent does can keep it waiting.

use super::{NodeContext, chain};
use client::{Api, Patch, Transport};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

const NAMESPACE: &str = "kube-node-lease";
/// Upstream's nodeLeaseDurationSeconds; renewed four times in it.
const DURATION_SECONDS: u32 = 40;
const RENEW: Duration = Duration::from_secs(10);

/// An answer that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(10);

/// The heart beats while this lives.
#[must_use]
pub struct Beating(#[expect(dead_code, reason = "its end is what is heard")] oneshot::Sender<()>);

/// Begins.
pub fn start(context: NodeContext, node_uid: String) -> Beating {
    let (beating, ended) = oneshot::channel();
    let beat = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| tracing::error!(%error, "the heartbeat has no runtime"))?;
        runtime.block_on(async {
            let transport = super::again("reach the API server", || super::connect(&context)).await;
            tokio::select! {
                _ = ended => Ok::<(), ()>(()),
                never = keep(context.clone(), transport, node_uid) => never,
            }
        })
    };
    let thread = std::thread::Builder::new().name("lease".to_owned()).spawn(beat);
    if let Err(error) = thread {
        tracing::error!(%error, "the heartbeat cannot start, so the cluster will take this node for lost");
    }
    Beating(beating)
}

/// Renews for ever; a failure is tried again soon, since 40 s without success are a node lost.
async fn keep(context: NodeContext, transport: Arc<dyn Transport>, node_uid: String) -> ! {
    let api = Api::<Lease>::namespaced(transport, NAMESPACE);
    let name = context.config.machine.name.clone();
    loop {
        let renewed = tokio::time::timeout(PATIENCE, renew(&api, &name, &node_uid)).await;
        let renewed = renewed.unwrap_or_else(|_| Err(silent()));
        let pause = match renewed {
            Ok(()) => RENEW,
            Err(error) => {
                tracing::warn!(node = %name, error = %chain(&error), "heartbeat not taken, trying again");
                RENEW / 5
            }
        };
        tokio::time::sleep(pause).await;
    }
}

fn silent() -> client::Error {
    client::Error::Unreachable {
        what: "renew the lease".to_owned(),
        cause: std::io::ErrorKind::TimedOut.into(),
    }
}

async fn renew(api: &Api<Lease>, name: &str, node_uid: &str) -> Result<(), client::Error> {
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string();
    let spec = json!({"holderIdentity": name, "leaseDurationSeconds": DURATION_SECONDS, "renewTime": now});
    match api.patch(name, &Patch::Merge(json!({"spec": spec}))).await {
        Err(error) if error.is_not_found() => {
            let lease = serde_json::from_value(whole(name, node_uid, &spec))
                .expect("the object is a Lease because it was just written as one");
            api.create(&lease).await.map(drop)
        }
        result => result.map(drop),
    }
}

/// Owned by the Node, so that it goes when the node does.
fn whole(name: &str, node_uid: &str, spec: &Value) -> Value {
    let owner = json!({"apiVersion": "v1", "kind": "Node", "name": name, "uid": node_uid});
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": name, "namespace": NAMESPACE, "ownerReferences": [owner]},
        "spec": spec,
    })
}
