//! The machine API and CRI: the .proto files and what is generated from them.
