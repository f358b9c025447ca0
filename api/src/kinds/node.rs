//! Node: a machine that runs pods.

use crate::kind::{Kind, Subresource};

/// `v1` Node.
pub struct Node;

impl Kind for Node {
    const KIND: &'static str = "Node";
    const PLURAL: &'static str = "nodes";
    const SINGULAR: &'static str = "node";
    const SHORT_NAMES: &'static [&'static str] = &["no"];
    const NAMESPACED: bool = false;
    const SUBRESOURCES: &'static [Subresource] = &[Subresource::status("", "v1", "Node")];
    const STATUS_ON_CREATE: bool = true;
    const KEY: &'static str = "nodes";
    type Object = k8s_openapi::api::core::v1::Node;
}
