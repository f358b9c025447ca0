//! `pod-init`: one small supervisor per pod: holds its namespaces, starts its containers, keeps their logs, reports their exits.

fn main() {}
