//! How far a pull has come, for people who watch it.

/// One step of one blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Digest of the layer.
    pub digest: String,
    /// Bytes that are here, compressed.
    pub done: u64,
    /// Bytes that there are, compressed.
    pub total: u64,
}
