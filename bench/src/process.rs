//! The server's process as the kernel sees it: memory and CPU time.

use crate::report::Report;
use crate::target::Target;
use anyhow::Context;
use std::time::Duration;

/// Long enough to see one housekeeping round of every loop.
const IDLE: Duration = Duration::from_secs(20);

/// `_SC_CLK_TCK` on every Linux that we run on (man 5 proc_pid_stat).
const TICKS_A_SECOND: f64 = 100.0;

/// Resident memory now, and its peak since the peak was last reset, in bytes.
#[derive(Clone, Copy, Default)]
pub struct Memory {
    /// VmRSS.
    pub resident: f64,
    /// VmHWM.
    pub peak: f64,
}

/// The memory of `pid`.
pub fn memory(pid: u32) -> anyhow::Result<Memory> {
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|rest| rest.trim_end_matches("kB").trim().parse::<f64>().ok());
        number
            .map(|kib| kib * 1024.0)
            .with_context(|| format!("{path} has no {name}"))
    };
    Ok(Memory {
        resident: field("VmRSS:")?,
        peak: field("VmHWM:")?,
    })
}

/// Makes the peak what is resident now (man 5 proc_pid_clear_refs, value 5).
pub fn reset_peak(pid: u32) -> anyhow::Result<()> {
    let path = format!("/proc/{pid}/clear_refs");
    std::fs::write(&path, "5").with_context(|| format!("write {path}"))
}

/// What the server takes when nobody asks anything: memory, and CPU time over some seconds. Nothing without its process.
pub async fn idle(target: &Target, report: &mut Report) -> anyhow::Result<()> {
    let Some(pid) = target.server_pid else {
        return Ok(());
    };
    report.add("idle", "memory", memory(pid)?.resident / 1e6, "MB");
    let before = cpu_seconds(pid)?;
    tokio::time::sleep(IDLE).await;
    let share = (cpu_seconds(pid)? - before) / IDLE.as_secs_f64();
    report.add("idle", "cpu", share * 100.0, "% of a core");
    Ok(())
}

/// User and system time so far.
fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    // The program's name, in parentheses, may hold spaces; utime and stime are the 12th and 13th fields after it.
    let after_name = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: f64 = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok())
        .sum();
    Ok(ticks / TICKS_A_SECOND)
}
