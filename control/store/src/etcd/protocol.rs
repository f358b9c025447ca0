//! What is generated from etcd.proto.
#![allow(missing_docs, clippy::all, reason = "generated; etcd's own documents describe it")]

tonic::include_proto!("etcdserverpb");
