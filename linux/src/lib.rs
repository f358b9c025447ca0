//! Safe wrappers of the system calls that no crate wraps: one idea a module, the only crate with `unsafe`.
//!
//! A module holds one kernel interface (device-mapper, loop devices, …), returns [`Error`] and decides nothing.

#![allow(unsafe_code)]

pub mod error;

pub use error::Error;
