//! Bytes from outside, damaged in every way: nothing panics, nothing hangs, and what is accepted can be read again.
//!
//! Each test goes on for `PINTLE_BYTES_SECONDS` (8), from another beginning each time; a failure names the beginning, which
//! `PINTLE_BYTES_SEED` repeats.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

mod api;
mod config;
mod damage;
mod oci;
mod spdy;
