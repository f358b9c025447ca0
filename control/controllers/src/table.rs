//! Which controllers there are, and running them all.

use crate::context::{Context, Settings};
use crate::{
    bootstrap_tokens, certificates, cluster_authentication, cluster_role_aggregation, event_ttl, garbage_collector,
    kubernetes_service, namespace, node_ipam, node_lifecycle, pod_gc, resource_quota, root_ca, service_account,
    service_account_tokens, service_cidrs, storage_protection, taint_eviction,
};
use client::Transport;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

type Controller = fn(Context) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// Before a controller that panicked is started again, so that one that always does costs little.
const RESTART: Duration = Duration::from_secs(1);

/// Upstream's names, as `kube-controller-manager --controllers` has them, and what runs each until it is stopped.
const CONTROLLERS: &[(&str, Controller)] = &[
    ("namespace-controller", |context| Box::pin(namespace::run(context))),
    ("serviceaccount-controller", |context| {
        Box::pin(service_account::run(context))
    }),
    ("serviceaccount-token-controller", |context| {
        Box::pin(service_account_tokens::run(context))
    }),
    ("service-cidrs-controller", |context| {
        Box::pin(service_cidrs::run(context))
    }),
    ("node-ipam-controller", |context| Box::pin(node_ipam::run(context))),
    ("node-lifecycle-controller", |context| {
        Box::pin(node_lifecycle::run(context))
    }),
    ("taint-eviction-controller", |context| {
        Box::pin(taint_eviction::run(context))
    }),
    ("pod-garbage-collector-controller", |context| {
        Box::pin(pod_gc::run(context))
    }),
    ("clusterrole-aggregation-controller", |context| {
        Box::pin(cluster_role_aggregation::run(context))
    }),
    ("certificatesigningrequest-approving-controller", |context| {
        Box::pin(certificates::approve(context))
    }),
    ("certificatesigningrequest-signing-controller", |context| {
        Box::pin(certificates::sign(context))
    }),
    ("certificatesigningrequest-cleaner-controller", |context| {
        Box::pin(certificates::clean(context))
    }),
    ("event-ttl-controller", |context| Box::pin(event_ttl::run(context))),
    ("garbage-collector-controller", |context| {
        Box::pin(garbage_collector::run(context))
    }),
    ("resourcequota-controller", |context| {
        Box::pin(resource_quota::run(context))
    }),
    ("root-ca-certificate-publisher-controller", |context| {
        Box::pin(root_ca::run(context))
    }),
    ("cluster-authentication-trust-controller", |context| {
        Box::pin(cluster_authentication::run(context))
    }),
    ("kubernetes-service-controller", |context| {
        Box::pin(kubernetes_service::run(context))
    }),
    ("persistentvolumeclaim-protection-controller", |context| {
        Box::pin(storage_protection::claims(context))
    }),
    ("persistentvolume-protection-controller", |context| {
        Box::pin(storage_protection::volumes(context))
    }),
    ("token-cleaner-controller", |context| {
        Box::pin(bootstrap_tokens::run(context))
    }),
];

/// Runs all controllers until `stop`. One that panics is logged and started again; the others go on.
pub async fn run(transport: Arc<dyn Transport>, settings: Settings, stop: CancellationToken) {
    let context = Context::start(transport, settings, stop);
    let mut running = tokio::task::JoinSet::new();
    for (name, controller) in CONTROLLERS {
        let context = context.clone();
        running.spawn(async move {
            while !context.stop.is_cancelled() {
                tracing::info!(controller = name, "started");
                if let Err(panic) = tokio::spawn(controller(context.clone())).await {
                    tracing::error!(controller = name, error = %panic, "stopped; starting it again");
                    tokio::time::sleep(RESTART).await;
                }
            }
        });
    }
    running.join_all().await;
}
