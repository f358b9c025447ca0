//! The node's heartbeat: its Lease renewed every ten seconds by a task that does nothing else.

use super::{NodeContext, chain};
use client::{Api, Patch, Transport};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const NAMESPACE: &str = "kube-node-lease";
/// Upstream's nodeLeaseDurationSeconds; renewed four times in it.
const DURATION_SECONDS: u32 = 40;
const RENEW: Duration = Duration::from_secs(10);

/// Renews for ever; a failure is tried again soon, since 40 s without success are a node lost.
pub async fn keep(context: NodeContext, transport: Arc<dyn Transport>, node_uid: String) -> ! {
    let api = Api::<Lease>::namespaced(transport, NAMESPACE);
    let name = context.config.machine.name.clone();
    loop {
        let pause = match renew(&api, &name, &node_uid).await {
            Ok(()) => RENEW,
            Err(error) => {
                tracing::warn!(node = %name, error = %chain(&error), "heartbeat not taken, trying again");
                RENEW / 5
            }
        };
        tokio::time::sleep(pause).await;
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
