//! All processes, from /proc (man 5 proc_pid_stat). One that ends while it is read is left out.

use crate::boottime::TICKS_PER_SECOND;
use nix::unistd::{SysconfVar, sysconf};
use proto::machine::v1::Process;
use std::fs;

/// By their PIDs.
pub fn all() -> Vec<Process> {
    let page = sysconf(SysconfVar::PAGE_SIZE)
        .ok()
        .flatten()
        .and_then(|size| u64::try_from(size).ok())
        .unwrap_or(4096);
    let mut found = pids().into_iter().filter_map(|pid| read(pid, page)).collect::<Vec<_>>();
    found.sort_by_key(|process| process.pid);
    found
}

/// Every PID there is now.
pub fn pids() -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse().ok()))
        .collect()
}

fn read(pid: i32, page: u64) -> Option<Process> {
    let file = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}"));
    let mut process = parse_stat(&file("stat").ok()?, page)?;
    // Arguments need not be UTF-8.
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    process.command = String::from_utf8_lossy(&arguments)
        .trim_end_matches('\0')
        .replace('\0', " ");
    let cgroup = file("cgroup").unwrap_or_default();
    process.cgroup = cgroup
        .lines()
        .find_map(|line| line.strip_prefix("0::"))
        .unwrap_or_default()
        .to_owned();
    Some(process)
}

fn parse_stat(stat: &str, page: u64) -> Option<Process> {
    // The name may hold anything, also parentheses and spaces.
    let (pid, rest) = stat.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let fields = rest.split_whitespace().collect::<Vec<_>>();
    let number = |field: usize| fields.get(field - 3).and_then(|text| text.parse::<u64>().ok());
    Some(Process {
        pid: pid.parse().ok()?,
        parent: fields.get(1)?.parse().ok()?,
        state: (*fields.first()?).to_owned(),
        name: name.to_owned(),
        command: String::new(),
        cgroup: String::new(),
        threads: u32::try_from(number(20)?).ok()?,
        rss_bytes: number(24)? * page,
        cpu_ms: (number(14)? + number(15)?) * 1000 / TICKS_PER_SECOND,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_confuse() {
        let stat = "7 (a) (b) S 1 7 7 0 -1 4194560 1 0 0 0 30 20 0 0 20 0 3 0 100 1000 5 18446744073709551615";
        let process = parse_stat(stat, 4096).unwrap();
        assert_eq!(
            (process.name.as_str(), process.parent, process.threads),
            ("a) (b", 1, 3)
        );
        assert_eq!((process.rss_bytes, process.cpu_ms), (5 * 4096, 500));
    }

    #[test]
    fn we_find_ourselves() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(all().iter().any(|process| process.pid == own && process.rss_bytes > 0));
    }
}
