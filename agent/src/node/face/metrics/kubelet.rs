//! `/metrics`: the agent itself, with the kubelet's names where it counts what a kubelet counts.

use super::super::requests::Requests;
use super::super::usage::Usage;
use super::Text;
use crate::pods::starts::Starts;
use std::collections::BTreeMap;
use std::fs;

/// Writes them.
pub fn kubelet(usage: &Usage, starts: &Starts, node: &str, version: &str, requests: &Requests) -> String {
    let mut text = Text::default();
    let mut family = text.family(
        "kubernetes_build_info",
        "gauge",
        "[ALPHA] A metric with a constant '1' value labeled by version.",
    );
    family.sample(&[("git_version", version), ("major", "1"), ("minor", "36")], 1);
    let mut family = text.family(
        "kubelet_node_name",
        "gauge",
        "[ALPHA] The node's name. The count is always 1.",
    );
    family.sample(&[("node", node)], 1);
    let help = "[ALPHA] Number of pods that have a running pod sandbox";
    let mut family = text.family("kubelet_running_pods", "gauge", help);
    family.sample(&[], usage.pods.len());
    let help = "[ALPHA] Number of containers currently running";
    let mut family = text.family("kubelet_running_containers", "gauge", help);
    for (state, count) in states(usage) {
        family.sample(&[("container_state", state)], count);
    }
    let (begun, failed) = starts.all();
    let help = "[ALPHA] Cumulative number of pods with user namespaces started";
    let mut family = text.family("kubelet_started_user_namespaced_pods_total", "counter", help);
    family.sample(&[], begun);
    let help = "[ALPHA] Cumulative number of errors when starting pods with user namespaces";
    let mut family = text.family("kubelet_started_user_namespaced_pods_errors_total", "counter", help);
    family.sample(&[], failed);
    let help = "[ALPHA] Number of the http requests received since the server started";
    let mut family = text.family("kubelet_http_requests_total", "counter", help);
    for ((method, path), count) in requests.all() {
        let long = if matches!(path, "exec" | "attach" | "portForward" | "containerLogs") {
            "true"
        } else {
            "false"
        };
        let labels = [
            ("long_running", long),
            ("method", method),
            ("path", path),
            ("server_type", "readwrite"),
        ];
        family.sample(&labels, count);
    }
    process(&mut text);
    text.into_string()
}

/// Containers by their state, as the pods' statuses have them.
fn states(usage: &Usage) -> BTreeMap<&'static str, u64> {
    let mut states = BTreeMap::from([("created", 0), ("exited", 0), ("running", 0), ("unknown", 0)]);
    for pod in &usage.pods {
        let running = pod.usage.containers.len() as u64;
        let known = pod.entry.attempts.len() as u64;
        for (state, count) in [("running", running), ("exited", known.saturating_sub(running))] {
            *states.entry(state).or_default() += count;
        }
    }
    states
}

/// What Prometheus' clients say about their own process.
fn process(text: &mut Text) {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_ascii_whitespace().next()?.parse::<u64>().ok())
            .unwrap_or(0)
            * 1024
    };
    let used = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF);
    let seconds = used.map_or(0.0, |used| {
        let of = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        of(used.user_time()) + of(used.system_time())
    });
    let files = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let help = "[STABLE] Total user and system CPU time spent in seconds.";
    text.family("process_cpu_seconds_total", "counter", help)
        .sample(&[], seconds);
    let help = "[STABLE] Resident memory size in bytes.";
    text.family("process_resident_memory_bytes", "gauge", help)
        .sample(&[], bytes("VmRSS:"));
    let help = "[STABLE] Virtual memory size in bytes.";
    text.family("process_virtual_memory_bytes", "gauge", help)
        .sample(&[], bytes("VmSize:"));
    let help = "[STABLE] Number of open file descriptors.";
    text.family("process_open_fds", "gauge", help).sample(&[], files);
}
