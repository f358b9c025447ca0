//! Safe wrappers of the system calls that no crate wraps: one idea a module, the only crate with `unsafe`.
