//! Memory of the machine (/proc/meminfo) and of Pintle's own programs (smaps_rollup).

use super::processes::pids;
use proto::machine::v1::{MemoryResponse, ProgramMemory};
use std::fs;

/// Pintle's programs by the kernel's name of their process, which is cut at 15 letters.
const PROGRAMS: [&str; 5] = ["init", "agent", "control", "pod-init", "etcd"];

/// Everything, now.
pub fn now() -> MemoryResponse {
    let mut memory = meminfo();
    memory.programs = pids().into_iter().filter_map(program).collect();
    memory.programs.sort_by_key(|program| program.pid);
    memory
}

/// The machine's part, without programs.
pub fn meminfo() -> MemoryResponse {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let value = |key| kilobytes(&text, key);
    MemoryResponse {
        total_bytes: value("MemTotal:"),
        available_bytes: value("MemAvailable:"),
        free_bytes: value("MemFree:"),
        cached_bytes: value("Cached:") + value("Buffers:"),
        slab_bytes: value("Slab:"),
        programs: Vec::new(),
    }
}

fn program(pid: i32) -> Option<ProgramMemory> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim().to_owned();
    if !PROGRAMS.contains(&name.as_str()) {
        return None;
    }
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    Some(ProgramMemory {
        name,
        pid,
        pss_bytes: kilobytes(&rollup, "Pss:"),
        rss_bytes: kilobytes(&rollup, "Rss:"),
        anonymous_bytes: kilobytes(&rollup, "Pss_Anon:"),
    })
}

/// `Key:   123 kB`, in bytes; 0 where it is not there.
fn kilobytes(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        .unwrap_or(0)
        * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kilobytes_become_bytes() {
        let text = "Rss:  12 kB\nPss:     7 kB\nPss_Anon: 3 kB\n";
        assert_eq!((kilobytes(text, "Pss:"), kilobytes(text, "Swap:")), (7 * 1024, 0));
        assert!(meminfo().total_bytes > meminfo().free_bytes);
    }
}
