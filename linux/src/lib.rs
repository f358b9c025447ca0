//! Safe wrappers of the system calls that no crate wraps: one idea a module, the only crate with `unsafe`.
//!
//! A module holds one kernel interface (device-mapper, the watchdog, …), returns [`Error`] and decides nothing.

#![allow(unsafe_code)]

pub mod beneath;
pub mod block;
pub mod clone;
pub mod device_mapper;
pub mod entropy;
pub mod error;
pub mod fdpass;
pub mod lifeline;
pub mod loopback;
pub mod mounts;
pub mod namespaces;
pub mod pidfd;
pub mod poll;
pub mod privileges;
pub mod seccomp;
pub mod service;
pub mod signals;
pub mod terminal;
pub mod watchdog;

pub use error::Error;
