//! End-to-end tests: one file per behaviour; what they share lives in `qemu`.
