//! How long the machine has been up: since the kernel started, or, where the kernel is a host's, since its init did.

use nix::time::{ClockId, clock_gettime};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Kernel ticks a second in /proc, the same on every architecture that Linux shows to programs (`USER_HZ`).
pub const TICKS_PER_SECOND: u64 = 100;

/// Whether the machine is a set of namespaces on a host.
pub fn is_namespaces() -> bool {
    std::env::var("PINTLE_PROVIDER").as_deref() == Ok("namespaces")
}

/// Since the machine started.
pub fn now() -> Duration {
    static START: OnceLock<Duration> = OnceLock::new();
    let start = START.get_or_init(|| if is_namespaces() { init_start() } else { Duration::ZERO });
    let since_kernel = clock_gettime(ClockId::CLOCK_BOOTTIME)
        .map(Duration::from)
        .unwrap_or_default();
    since_kernel.saturating_sub(*start)
}

/// The same in microseconds, as init's marks.
pub fn now_us() -> u64 {
    u64::try_from(now().as_micros()).unwrap_or(u64::MAX)
}

/// Milliseconds since 1970 by the machine's clock.
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// `starttime` of PID 1 (man 5 proc_pid_stat, field 22; the name in field 2 may hold spaces).
fn init_start() -> Duration {
    let stat = std::fs::read_to_string("/proc/1/stat").unwrap_or_default();
    let after_name = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    let ticks = after_name
        .split_whitespace()
        .nth(19)
        .and_then(|field| field.parse::<u64>().ok())
        .unwrap_or_default();
    Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
}
