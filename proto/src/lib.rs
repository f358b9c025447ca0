//! The .proto files of the machine API and of the sockets that Kubernetes has on a node, and what is generated from them.

/// The machine API.
pub mod machine {
    /// Where a machine listens.
    pub const PORT: u16 = 50000;

    /// Version 1: messages, clients and servers; their texts stand in `machine/v1/machine.proto`.
    #[allow(missing_docs, clippy::all)]
    pub mod v1 {
        tonic::include_proto!("pintle.machine.v1");
    }
}

/// Kubernetes' container runtime interface; its messages name each other by package, so the modules nest as the packages do.
#[allow(missing_docs, clippy::all)]
pub mod cri {
    pub mod runtime {
        /// `runtime.v1`: messages, clients and servers, as upstream's cri-api defines them.
        pub mod v1 {
            tonic::include_proto!("runtime.v1");
        }
    }
    pub mod pintle {
        pub mod cri {
            /// What the agent keeps on disk of them.
            pub mod v1 {
                tonic::include_proto!("pintle.cri.v1");
            }
        }
    }
}

/// How device plugins and a node speak with each other.
pub mod deviceplugin {
    /// `v1beta1`: messages, clients and servers, as upstream's kubelet has them.
    #[allow(missing_docs, clippy::all)]
    pub mod v1beta1 {
        tonic::include_proto!("v1beta1");
    }
}

/// How a plugin of a node registers.
pub mod pluginregistration {
    /// `v1`: messages, clients and servers, as upstream's kubelet has them.
    #[allow(missing_docs, clippy::all)]
    pub mod v1 {
        tonic::include_proto!("pluginregistration");
    }
}

/// The Container Storage Interface, as far as a node speaks it.
pub mod csi {
    /// `v1`: messages, clients and servers, as the interface's specification has them.
    #[allow(missing_docs, clippy::all)]
    pub mod v1 {
        tonic::include_proto!("csi.v1");
    }
}
