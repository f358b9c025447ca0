//! Pod: containers that live and die together on one node.

use crate::kind::{Kind, Subresource, Verb};

/// `v1` Pod.
pub struct Pod;

const CONNECT: &[Verb] = &[Verb::Create, Verb::Get];

impl Kind for Pod {
    const KIND: &'static str = "Pod";
    const PLURAL: &'static str = "pods";
    const SINGULAR: &'static str = "pod";
    const SHORT_NAMES: &'static [&'static str] = &["po"];
    const CATEGORIES: &'static [&'static str] = &["all"];
    const SUBRESOURCES: &'static [Subresource] = &[
        Subresource {
            name: "attach",
            group: "",
            version: "v1",
            kind: "PodAttachOptions",
            verbs: CONNECT,
        },
        Subresource {
            name: "binding",
            group: "",
            version: "v1",
            kind: "Binding",
            verbs: &[Verb::Create],
        },
        Subresource {
            name: "eviction",
            group: "policy",
            version: "v1",
            kind: "Eviction",
            verbs: &[Verb::Create],
        },
        Subresource {
            name: "exec",
            group: "",
            version: "v1",
            kind: "PodExecOptions",
            verbs: CONNECT,
        },
        Subresource {
            name: "log",
            group: "",
            version: "v1",
            kind: "Pod",
            verbs: &[Verb::Get],
        },
        Subresource::status("", "v1", "Pod"),
    ];
    const KEY: &'static str = "pods";
    const GENERATION: bool = true;
    const SCHEMA: &'static str = "io.k8s.api.core.v1.Pod";
}
