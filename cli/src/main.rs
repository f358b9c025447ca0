//! `pintlectl`: everything a person does to machines and to throw-away clusters.

fn main() {}
