//! The system call filter that containers have by default: what Docker, containerd and CRI-O share, as classic BPF.
//!
//! Facts from moby's `profiles/seccomp/default.json`: a list of calls that are allowed, some only with a capability; EPERM
//! for the rest; ENOSYS for what is newer than the list, so that libraries fall back (runc's rule).

mod list;
mod program;

pub use program::runtime_default;
