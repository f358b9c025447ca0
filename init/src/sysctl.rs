//! Settings of the kernel that hold for every Pintle machine, each with its reason.

use crate::console;
use std::fs;

/// File below /proc/sys, value, and why it is not the kernel's default.
const SETTINGS: [(&str, &str); 17] = [
    // Notices and worse on the console, the kernel's own small talk only in the log; boot, default and minimum level follow.
    ("kernel/printk", "6 4 1 7"),
    // Services may log fast; init bounds them itself (supervise/capture.rs).
    ("kernel/printk_devkmsg", "on"),
    // A dead kernel, or a dead PID 1, starts again after 10 s instead of standing still where nobody sees it.
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    // Kubernetes expects these two of a node: memory is bounded by cgroups, not by guessing at fork.
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    // Hundreds of pods that watch their config files.
    ("fs/inotify/max_user_instances", "8192"),
    ("fs/inotify/max_user_watches", "524288"),
    // A pod costs the machine's one table of neighbours two entries, one seen from either side. The kernel's 1024 were full with a
    // thousand pods, and whoever came last could not be reached.
    ("net/ipv4/neigh/default/gc_thresh1", "4096"),
    ("net/ipv4/neigh/default/gc_thresh2", "8192"),
    ("net/ipv4/neigh/default/gc_thresh3", "16384"),
    ("net/ipv6/neigh/default/gc_thresh1", "4096"),
    ("net/ipv6/neigh/default/gc_thresh2", "8192"),
    ("net/ipv6/neigh/default/gc_thresh3", "16384"),
    // Nobody but root reads kernel addresses or the kernel log; old tricks with links in shared folders stay shut.
    ("kernel/kptr_restrict", "1"),
    ("kernel/dmesg_restrict", "1"),
    ("fs/protected_regular", "2"),
];

/// Writes them all; what this kernel does not have is skipped.
pub fn apply() {
    for (name, value) in SETTINGS {
        let file = format!("/proc/sys/{name}");
        // printk_devkmsg refuses a word without a line break.
        match fs::write(&file, format!("{value}\n")) {
            Ok(()) => {}
            Err(why) if why.kind() == std::io::ErrorKind::NotFound => {}
            Err(why) => console::warn(format_args!(
                "write {value:?} to {file}: {why}; the kernel's default stays"
            )),
        }
    }
}
