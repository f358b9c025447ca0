//! `control`: the one program that runs the control-plane roles.

fn main() {}
