//! The one error of this crate: which call, and why the kernel refused it. What it was tried on is the caller's to say.

use std::io;

/// A system call that the kernel refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{call}: {}", io::Error::from_raw_os_error(*errno))]
pub struct Error {
    /// The call as its man page names it, e.g. `clone3`.
    pub call: &'static str,
    /// The kernel's error number.
    pub errno: i32,
}

impl Error {
    /// The calling thread's `errno`, just after `call` failed.
    pub fn last(call: &'static str) -> Self {
        Self::io(call)(io::Error::last_os_error())
    }

    /// For `map_err` after a call of the standard library.
    pub fn io(call: &'static str) -> impl Fn(io::Error) -> Self {
        move |cause| Error {
            call,
            errno: cause.raw_os_error().unwrap_or(libc::EIO),
        }
    }

    /// For `map_err` after a call of `nix`.
    pub fn nix(call: &'static str) -> impl Fn(nix::errno::Errno) -> Self {
        move |errno| Error {
            call,
            errno: errno as i32,
        }
    }

    /// For `map_err` after a call of `rustix`.
    pub fn rustix(call: &'static str) -> impl Fn(rustix::io::Errno) -> Self {
        move |errno| Error {
            call,
            errno: errno.raw_os_error(),
        }
    }

    /// Whether the kernel's number is this one, e.g. `libc::ENOENT`.
    pub fn is(&self, errno: i32) -> bool {
        self.errno == errno
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_which_call_and_why() {
        let error = Error::nix("mount")(nix::errno::Errno::EPERM);
        assert_eq!(error.to_string(), "mount: Operation not permitted (os error 1)");
        assert!(error.is(libc::EPERM));
    }
}
