//! Container images: pull, verify, unpack, keep; knows no Kubernetes.

mod image;

pub use image::{Config, Image};
