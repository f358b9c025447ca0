//! `agent`: the node: the machine API, and the loop that makes pods real.

fn main() {}
