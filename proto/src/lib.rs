//! The machine API's .proto and what is generated from it.

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
