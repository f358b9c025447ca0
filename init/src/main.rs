//! `init`: PID 1: initramfs stage, mounts, service table, reaping, shutdown; no async runtime, no network.

fn main() {}
