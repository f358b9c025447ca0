//! `/metrics/cadvisor`: containers, pods and the machine under cAdvisor's names, by which dashboards know them.

use super::super::usage::{Pod, Usage};
use super::{Text, seconds};
use sandbox::usage::{self, Traffic};

/// What one family shows of a group of processes; nothing where there is none.
pub type Reading = fn(&usage::Usage) -> Option<f64>;

/// Name, kind, help, reading.
pub const FAMILIES: [(&str, &str, &str, Reading); 14] = [
    (
        "container_cpu_usage_seconds_total",
        "counter",
        "Cumulative cpu time consumed in seconds.",
        |usage| Some(usage.cpu.as_secs_f64()),
    ),
    (
        "container_cpu_user_seconds_total",
        "counter",
        "Cumulative user cpu time consumed in seconds.",
        |usage| Some(usage.cpu_user.as_secs_f64()),
    ),
    (
        "container_cpu_system_seconds_total",
        "counter",
        "Cumulative system cpu time consumed in seconds.",
        |usage| Some(usage.cpu_system.as_secs_f64()),
    ),
    (
        "container_cpu_cfs_periods_total",
        "counter",
        "Number of elapsed enforcement period intervals.",
        |usage| usage.cpu_limit.map(|_| usage.periods as f64),
    ),
    (
        "container_cpu_cfs_throttled_periods_total",
        "counter",
        "Number of throttled period intervals.",
        |usage| usage.cpu_limit.map(|_| usage.throttled_periods as f64),
    ),
    (
        "container_cpu_cfs_throttled_seconds_total",
        "counter",
        "Total time duration the container has been throttled.",
        |usage| usage.cpu_limit.map(|_| usage.throttled.as_secs_f64()),
    ),
    (
        "container_memory_usage_bytes",
        "gauge",
        "Current memory usage in bytes, including all memory regardless of when it was accessed",
        |usage| Some(usage.memory as f64),
    ),
    (
        "container_memory_working_set_bytes",
        "gauge",
        "Current working set in bytes.",
        |usage| Some(usage.working_set as f64),
    ),
    ("container_memory_rss", "gauge", "Size of RSS in bytes.", |usage| {
        Some(usage.anonymous as f64)
    }),
    (
        "container_memory_cache",
        "gauge",
        "Number of bytes of page cache memory.",
        |usage| Some(usage.cache as f64),
    ),
    (
        "container_memory_swap",
        "gauge",
        "Container swap usage in bytes.",
        |usage| Some(usage.swap as f64),
    ),
    (
        "container_oom_events_total",
        "counter",
        "Count of out of memory events observed for the container",
        |usage| Some(usage.oom_kills as f64),
    ),
    (
        "container_threads",
        "gauge",
        "Number of threads running inside the container",
        |usage| Some(usage.tasks as f64),
    ),
    (
        "container_spec_memory_limit_bytes",
        "gauge",
        "Memory limit for the container.",
        |usage| Some(usage.memory_limit.unwrap_or(0) as f64),
    ),
];

/// One of network counters: name, help, which of bytes, packets, errors and drops, and whether it came.
pub const NETWORK: [(&str, &str, usize, bool); 8] = [
    (
        "container_network_receive_bytes_total",
        "Cumulative count of bytes received",
        0,
        true,
    ),
    (
        "container_network_receive_packets_total",
        "Cumulative count of packets received",
        1,
        true,
    ),
    (
        "container_network_receive_errors_total",
        "Cumulative count of errors encountered while receiving",
        2,
        true,
    ),
    (
        "container_network_receive_packets_dropped_total",
        "Cumulative count of packets dropped while receiving",
        3,
        true,
    ),
    (
        "container_network_transmit_bytes_total",
        "Cumulative count of bytes transmitted",
        0,
        false,
    ),
    (
        "container_network_transmit_packets_total",
        "Cumulative count of packets transmitted",
        1,
        false,
    ),
    (
        "container_network_transmit_errors_total",
        "Cumulative count of errors encountered while transmitting",
        2,
        false,
    ),
    (
        "container_network_transmit_packets_dropped_total",
        "Cumulative count of packets dropped while transmitting",
        3,
        false,
    ),
];

/// One group of processes: the machine (`/`), a pod, or a container, with what all its samples are labelled by.
struct Subject<'a> {
    id: String,
    container: &'a str,
    image: &'a str,
    name: &'a str,
    namespace: &'a str,
    pod: &'a str,
    usage: usage::Usage,
    started: Option<f64>,
}

/// Writes them.
pub fn cadvisor(all: &Usage, kernel: &str, cpus: u64) -> String {
    let mut text = Text::default();
    let mut family = text.family("cadvisor_version_info", "gauge", "Kernel, OS, and version of the node.");
    let version = env!("CARGO_PKG_VERSION");
    family.sample(
        &[
            ("kernelVersion", kernel),
            ("osVersion", &format!("Pintle {version}")),
            ("cadvisorVersion", ""),
        ],
        1,
    );
    let mut family = text.family("machine_cpu_cores", "gauge", "Number of logical CPU cores.");
    family.sample(&[], cpus);
    let mut family = text.family(
        "machine_memory_bytes",
        "gauge",
        "Amount of memory installed on the machine.",
    );
    family.sample(&[], all.node.memory_total);
    let subjects = subjects(all);
    for (name, kind, help, read) in FAMILIES {
        let mut family = text.family(name, kind, help);
        for subject in &subjects {
            let Some(value) = read(&subject.usage) else { continue };
            let cpu = if name == "container_cpu_usage_seconds_total" {
                Some(("cpu", "total"))
            } else {
                None
            };
            let labels: Vec<(&str, &str)> = subject.labels().into_iter().chain(cpu).collect();
            family.sample_at(&labels, value, all.at);
        }
    }
    failures(&mut text, &subjects, all);
    let mut family = text.family(
        "container_start_time_seconds",
        "gauge",
        "Start time of the container since unix epoch in seconds.",
    );
    for subject in &subjects {
        if let Some(started) = subject.started {
            family.sample_at(&subject.labels(), started, all.at);
        }
    }
    network(&mut text, all);
    text.into_string()
}

fn failures(text: &mut Text, subjects: &[Subject<'_>], all: &Usage) {
    let help = "Cumulative count of memory allocation failures.";
    let mut family = text.family("container_memory_failures_total", "counter", help);
    for subject in subjects {
        let usage = &subject.usage;
        for (kind, count) in [("pgfault", usage.faults), ("pgmajfault", usage.major_faults)] {
            let more = [("failure_type", kind), ("scope", "hierarchy")];
            let labels: Vec<(&str, &str)> = subject.labels().into_iter().chain(more).collect();
            family.sample_at(&labels, count, all.at);
        }
    }
}

fn network(text: &mut Text, all: &Usage) {
    for (name, help, index, came) in NETWORK {
        let mut family = text.family(name, "counter", help);
        let mut write = |id: &str, namespace: &str, pod: &str, traffic: &[Traffic]| {
            for each in traffic {
                let value = if came { each.received } else { each.sent }[index];
                let labels = [
                    ("id", id),
                    ("image", ""),
                    ("interface", each.interface.as_str()),
                    ("name", ""),
                    ("namespace", namespace),
                    ("pod", pod),
                ];
                family.sample_at(&labels, value, all.at);
            }
        };
        write("/", "", "", &all.node.traffic);
        for pod in &all.pods {
            let (namespace, name) = pod.entry.names();
            write(&pod_id(pod), namespace, name, &pod.traffic);
        }
    }
}

fn subjects(all: &Usage) -> Vec<Subject<'_>> {
    let mut subjects = vec![Subject {
        id: "/".to_owned(),
        container: "",
        image: "",
        name: "",
        namespace: "",
        pod: "",
        usage: machine(all),
        started: None,
    }];
    for pod in &all.pods {
        let (namespace, name) = pod.entry.names();
        let id = pod_id(pod);
        for container in &pod.usage.containers {
            let status = pod.entry.container_status(&container.name);
            subjects.push(Subject {
                id: format!("{id}/{}.{}", container.name, container.attempt),
                container: &container.name,
                image: status.map(|status| status.image.as_str()).unwrap_or_default(),
                name: status
                    .and_then(|status| status.container_id.as_deref()?.split_once("://"))
                    .map(|(_, id)| id)
                    .unwrap_or_default(),
                namespace,
                pod: name,
                usage: container.usage.clone(),
                started: Some(seconds(container.started_at)),
            });
        }
        subjects.push(Subject {
            id,
            container: "",
            image: "",
            name: "",
            namespace,
            pod: name,
            usage: pod.usage.all.clone(),
            started: None,
        });
    }
    subjects
}

fn machine(all: &Usage) -> usage::Usage {
    let node = &all.node;
    usage::Usage {
        cpu: node.cpu,
        memory: node.memory,
        working_set: node.working_set,
        anonymous: node.anonymous,
        cache: node.memory.saturating_sub(node.anonymous),
        swap: node.swap,
        faults: node.faults,
        major_faults: node.major_faults,
        tasks: node.tasks,
        ..usage::Usage::default()
    }
}

/// The pod's cgroup, as its plan names it.
fn pod_id(pod: &Pod) -> String {
    let uid = pod.entry.pod.metadata.uid.as_deref().unwrap_or_default();
    let class = pod
        .entry
        .pod
        .status
        .as_ref()
        .and_then(|status| status.qos_class.as_deref());
    match class {
        Some("BestEffort") => format!("/kubepods/besteffort/pod{uid}"),
        Some("Burstable") => format!("/kubepods/burstable/pod{uid}"),
        _ => format!("/kubepods/pod{uid}"),
    }
}

// === impl Subject ===

impl Subject<'_> {
    fn labels(&self) -> [(&str, &str); 6] {
        [
            ("container", self.container),
            ("id", &self.id),
            ("image", self.image),
            ("name", self.name),
            ("namespace", self.namespace),
            ("pod", self.pod),
        ]
    }
}
