//! Network namespaces for tests.

#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::mpsc;

/// A network namespace, held open by its file.
pub(crate) struct Netns(pub File);

impl Netns {
    pub fn new() -> Self {
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            sender.send(File::open("/proc/thread-self/ns/net").unwrap()).unwrap();
        });
        Self(receiver.recv().unwrap())
    }

    /// Runs `inside` on a thread of its own in this namespace, with a runtime.
    pub fn run<T: Send>(&self, inside: impl AsyncFnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                nix::sched::setns(self.0.as_fd(), nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap()
                    .block_on(inside())
            });
            thread.join().unwrap()
        })
    }
}

/// Whether the tests may make namespaces; says so when not.
pub(crate) fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED: making network namespaces needs root");
    }
    root
}
