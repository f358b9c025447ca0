//! Hears from the kernel when programs wait for memory (Documentation/accounting/psi.rst), so that nobody has to look often.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A tenth of a second in each: what a node that only begins to be short reaches, and one that works from its page cache does not.
const TRIGGER: &[u8] = b"some 100000 1000000";
/// The kernel says it once a window at most; a look is not worth more than this.
const PAUSE: Duration = Duration::from_secs(1);

/// The kernel's word, if it gives it.
pub struct Stalls(Option<AsyncFd<File>>);

impl Stalls {
    /// Asks for it; a machine without PSI never speaks.
    pub fn watch() -> Self {
        let watched = Self::try_watch();
        if let Err(error) = &watched {
            tracing::info!(%error, "the kernel does not say when memory is short; it is looked at every few seconds");
        }
        Self(watched.ok())
    }

    fn try_watch() -> io::Result<AsyncFd<File>> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/proc/pressure/memory")?;
        file.write_all(TRIGGER)?;
        #[expect(
            deprecated,
            reason = "a File keeps the promise that the new constructor is unsafe for"
        )]
        AsyncFd::with_interest(file, Interest::PRIORITY)
    }

    /// Returns when programs have waited.
    pub async fn next(&mut self) {
        let Some(file) = &self.0 else {
            return std::future::pending().await;
        };
        tokio::time::sleep(PAUSE).await;
        match file.ready(Interest::PRIORITY).await {
            Ok(mut stalled) => stalled.clear_ready(),
            Err(_) => std::future::pending().await,
        }
    }
}
