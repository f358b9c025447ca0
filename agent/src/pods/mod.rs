//! The pods bound to this node, made real: desired state in, plans down, status up.

mod backoff;
mod decide;
mod observed;
mod quantity;
mod spec;
