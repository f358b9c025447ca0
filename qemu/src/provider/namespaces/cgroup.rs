//! What is left of a machine in the host's cgroup tree: init makes `/pintle/<machine>` there, and cannot remove it.

use std::path::Path;

/// Where hosts mount cgroup v2: alone, or beside v1 (systemd's "unified" and "hybrid" layouts).
pub const MOUNTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// Remove the groups of the stopped machine of this name.
pub fn sweep(machine: &str) {
    for mount in MOUNTS.map(Path::new) {
        if mount.join("cgroup.controllers").exists() {
            remove(&mount.join("pintle").join(machine));
        }
    }
}

/// Children first; a group that is not there, or not empty, stays as it is: it holds nothing but a name.
fn remove(group: &Path) {
    let Ok(entries) = std::fs::read_dir(group) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    if let Err(error) = std::fs::remove_dir(group) {
        tracing::warn!(group = %group.display(), %error, "a machine's cgroup stays behind");
    }
}
