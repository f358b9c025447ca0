//! `agent`: the node: the machine API, and the loop that makes pods real.

mod node;
mod pods;

fn main() {}
