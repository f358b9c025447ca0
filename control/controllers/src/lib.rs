//! The controllers, one folder each; every one reaches the cluster only through `client`.
