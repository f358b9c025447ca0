//! `/configz`: how this node is configured, in the words of upstream's KubeletConfiguration.

use crate::node::NodeContext;
use serde_json::{Value, json};

/// The document; what it says holds, what a Pintle node has no word for is left out.
pub fn document(context: &NodeContext) -> Value {
    json!({"kubeletconfig": {
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "address": "0.0.0.0",
        "port": context.face_port,
        "authentication": {
            "x509": {}, "anonymous": {"enabled": false}, "webhook": {"enabled": true, "cacheTTL": "2m0s"},
        },
        "authorization": {
            "mode": "Webhook", "webhook": {"cacheAuthorizedTTL": "5m0s", "cacheUnauthorizedTTL": "30s"},
        },
        "clusterDNS": context.config.cluster.dns(),
        "clusterDomain": context.config.cluster.dns_domain,
        "nodeStatusUpdateFrequency": "10s",
        "nodeStatusReportFrequency": "5m0s",
        "nodeLeaseDurationSeconds": 40,
        "imageGCHighThresholdPercent": 85,
        "imageGCLowThresholdPercent": 80,
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": true,
        "maxPods": context.config.node.max_pods,
        "cpuManagerPolicy": context.config.node.cpu_policy,
        "memoryManagerPolicy": "None",
        "topologyManagerPolicy": context.config.node.topology_policy,
        "topologyManagerScope": context.config.node.topology_scope,
        "serializeImagePulls": false,
        "containerLogMaxSize": format!("{}Mi", sandbox::LOG_SIZE >> 20),
        "containerLogMaxFiles": sandbox::LOG_FILES,
        "enableServer": true,
        "enableDebuggingHandlers": true,
        "failSwapOn": false,
        "seccompDefault": true,
    }})
}
