//! Kubernetes kinds and their rules: names, columns, defaults, validation; no IO, no clock, no randomness.
