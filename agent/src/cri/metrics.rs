//! Metrics under cAdvisor's names: which there are, and their values now.

use super::stats::Used;
use super::{Cri, plan};
use crate::machine::refuse;
use crate::node::face::metrics::{FAMILIES, NETWORK};
use proto::cri::pintle::cri::v1::Container;
use proto::cri::runtime::v1 as cri;
use proto::cri::runtime::v1::MetricType as Kind;
use sandbox::usage::{self, Traffic, Usage};
use std::path::Path;
use tonic::Status;

/// What every metric is told by; an interface has its name besides.
const LABELS: [&str; 6] = ["container", "id", "image", "name", "namespace", "pod"];

/// A counter of a group of processes.
type Reading = fn(&Usage) -> u64;

/// What of a group of processes only this interface tells: name, kind, help, reading.
const MORE: [(&str, Kind, &str, Reading); 16] = [
    (
        "container_processes",
        Kind::Gauge,
        "Number of processes running inside the container.",
        |usage| usage.processes,
    ),
    (
        "container_threads_max",
        Kind::Gauge,
        "Maximum number of threads allowed inside the container, 0 if unlimited.",
        |usage| usage.tasks_limit.unwrap_or(0),
    ),
    (
        "container_memory_max_usage_bytes",
        Kind::Gauge,
        "Maximum memory usage recorded in bytes.",
        |usage| usage.memory_peak,
    ),
    (
        "container_memory_failcnt",
        Kind::Counter,
        "Number of memory usage hits limits.",
        |usage| usage.memory_limit_hits,
    ),
    (
        "container_memory_mapped_file",
        Kind::Gauge,
        "Size of memory mapped files in bytes.",
        |usage| usage.mapped,
    ),
    (
        "container_memory_kernel_usage",
        Kind::Gauge,
        "Size of kernel memory allocated in bytes.",
        |usage| usage.kernel,
    ),
    (
        "container_fs_reads_total",
        Kind::Counter,
        "Cumulative count of reads completed.",
        |usage| usage.read[0],
    ),
    (
        "container_fs_reads_bytes_total",
        Kind::Counter,
        "Cumulative count of bytes read.",
        |usage| usage.read[1],
    ),
    (
        "container_fs_writes_total",
        Kind::Counter,
        "Cumulative count of writes completed.",
        |usage| usage.written[0],
    ),
    (
        "container_fs_writes_bytes_total",
        Kind::Counter,
        "Cumulative count of bytes written.",
        |usage| usage.written[1],
    ),
    (
        "container_last_seen",
        Kind::Gauge,
        "Last time a container was seen by the exporter.",
        |_| seconds(super::now()),
    ),
    (
        "container_spec_cpu_period",
        Kind::Gauge,
        "CPU period of the container.",
        |usage| usage.cpu_limit.map_or(100_000, |(_, period)| period),
    ),
    (
        "container_spec_cpu_quota",
        Kind::Gauge,
        "CPU quota of the container, 0 if unlimited.",
        |usage| usage.cpu_limit.map_or(0, |(quota, _)| quota),
    ),
    (
        "container_spec_cpu_shares",
        Kind::Gauge,
        "CPU share of the container, as its weight.",
        |usage| usage.cpu_weight,
    ),
    (
        "container_spec_memory_swap_limit_bytes",
        Kind::Gauge,
        "Memory swap limit for the container.",
        |usage| usage.swap_limit.unwrap_or(0),
    ),
    (
        "container_spec_memory_reservation_limit_bytes",
        Kind::Gauge,
        "Memory reservation limit for the container; none is ever set.",
        |_| 0,
    ),
];

/// Faults by their gravity, of the container and of it with all below, which are the same here.
const FAULTS: (&str, &str) = (
    "container_memory_failures_total",
    "Cumulative count of memory allocation failures.",
);

/// Told by no kernel without accounting of each disk; a name alone, as other runtimes have it there.
const DISKS: (&str, &str) = ("container_blkio_device_usage_total", "Blkio Device bytes usage");

/// What is known of a container besides its counters: name, help.
const TIMES: [(&str, &str); 7] = [
    (
        "container_file_descriptors",
        "Number of open file descriptors for the container.",
    ),
    ("container_sockets", "Number of open sockets for the container."),
    (
        "container_fs_limit_bytes",
        "Number of bytes that can be consumed by the container on this filesystem.",
    ),
    ("container_fs_inodes_total", "Number of Inodes"),
    ("container_fs_inodes_free", "Number of available Inodes"),
    (
        "container_start_time_seconds",
        "Start time of the container since unix epoch in seconds.",
    ),
    (
        "container_fs_usage_bytes",
        "Number of bytes that are consumed by the container on this filesystem.",
    ),
];

/// All that there are.
pub fn descriptors() -> Vec<cri::MetricDescriptor> {
    let descriptor = |name: &str, help: &str, labels: Vec<&str>| cri::MetricDescriptor {
        name: name.to_owned(),
        help: help.to_owned(),
        label_keys: labels.into_iter().map(str::to_owned).collect(),
    };
    let families = FAMILIES.iter();
    let families = families.map(|(name, _, help, _)| descriptor(name, help, LABELS.to_vec()));
    let more = MORE.iter();
    let more = more.map(|(name, _, help, _)| descriptor(name, help, LABELS.to_vec()));
    let times = TIMES.iter();
    let times = times.map(|(name, help)| descriptor(name, help, LABELS.to_vec()));
    let with = |labels: &[&'static str]| LABELS.iter().chain(labels).copied().collect::<Vec<_>>();
    let network = NETWORK.iter();
    let network = network.map(|(name, help, _, _)| descriptor(name, help, with(&["interface"])));
    let faults = descriptor(FAULTS.0, FAULTS.1, with(&["failure_type", "scope"]));
    let disks = descriptor(DISKS.0, DISKS.1, with(&["device", "major", "minor", "operation"]));
    let all = families.chain(more).chain(times).chain(network);
    all.chain([faults, disks]).collect()
}

impl Cri {
    /// Values of all sandboxes that run.
    pub(super) async fn sandbox_metrics(&self) -> Result<Vec<cri::PodSandboxMetrics>, Status> {
        let used = self.look(|_| true).await?;
        let (running, folder) = (self.running.clone(), self.host.paths.cri.clone());
        refuse::blocking(move || {
            let group = |used: &Used, container: &Container| {
                let config = used.record.config.clone().unwrap_or_default();
                let above = plan::sandbox(&used.record.id, &config).ok()?;
                running.group(&above.cgroup, Some((&container.id, 0)))
            };
            let open = |used: &Used, container: &Container| {
                let processes = group(used, container)
                    .map(|group| group.processes())
                    .unwrap_or_default();
                usage::open_files(&processes)
            };
            Ok(used.iter().map(|used| of_sandbox(used, &folder, &open)).collect())
        })
        .await
    }
}

/// `open` says how many files and sockets a container has open.
fn of_sandbox(used: &Used, folder: &Path, open: &dyn Fn(&Used, &Container) -> (u64, u64)) -> cri::PodSandboxMetrics {
    let labels = labels(used, None);
    let mut metrics = counters(&used.usage.all, &labels);
    metrics.extend(used.traffic.iter().flat_map(|traffic| network(traffic, &labels)));
    let stat = nix::sys::statvfs::statvfs(folder).ok();
    let of_disk = |read: fn(&nix::sys::statvfs::Statvfs) -> u64| stat.as_ref().map_or(0, read);
    let containers = used.containers.iter().map(|(record, usage, disk)| {
        let labels = self::labels(used, Some(record));
        let mut metrics = counters(usage, &labels);
        let (files, sockets) = open(used, record);
        let values = [
            files,
            sockets,
            of_disk(|stat| stat.blocks() * stat.fragment_size()),
            of_disk(|stat| stat.files()),
            of_disk(|stat| stat.files_available()),
            seconds(record.started_at),
            disk.used_bytes.map_or(0, |bytes| bytes.value),
        ];
        for ((name, _), value) in TIMES.iter().zip(values) {
            metrics.push(metric(name, Kind::Gauge, &labels, value));
        }
        cri::ContainerMetrics {
            container_id: record.id.clone(),
            metrics,
        }
    });
    cri::PodSandboxMetrics {
        pod_sandbox_id: used.record.id.clone(),
        metrics,
        container_metrics: containers.collect(),
    }
}

fn seconds(nanoseconds: i64) -> u64 {
    u64::try_from(nanoseconds / 1_000_000_000).unwrap_or(0)
}

/// In the order of [`LABELS`].
fn labels(used: &Used, container: Option<&Container>) -> Vec<String> {
    let pod = used
        .record
        .config
        .clone()
        .unwrap_or_default()
        .metadata
        .unwrap_or_default();
    let config = container.and_then(|record| record.config.clone()).unwrap_or_default();
    let id = container.map_or(&used.record.id, |record| &record.id);
    let name = config.metadata.unwrap_or_default().name;
    let image = config.image.unwrap_or_default().image;
    vec![name, id.clone(), image, id.clone(), pod.namespace, pod.name]
}

fn counters(usage: &Usage, labels: &[String]) -> Vec<cri::Metric> {
    let each = FAMILIES.iter().filter_map(|(name, kind, _, reading)| {
        let kind = match *kind {
            "counter" => Kind::Counter,
            _ => Kind::Gauge,
        };
        // The interface has whole numbers only.
        Some(metric(name, kind, labels, reading(usage)? as u64))
    });
    let more = MORE
        .iter()
        .map(|(name, kind, _, reading)| metric(name, *kind, labels, reading(usage)));
    let minor = usage.faults.saturating_sub(usage.major_faults);
    let faults = [("pgfault", minor), ("pgmajfault", usage.major_faults)];
    let faults = faults.into_iter().flat_map(|(kind, count)| {
        ["container", "hierarchy"].map(|scope| {
            let labels = [labels, &[kind.to_owned(), scope.to_owned()]].concat();
            metric(FAULTS.0, Kind::Counter, &labels, count)
        })
    });
    each.chain(more).chain(faults).collect()
}

fn network(traffic: &Traffic, labels: &[String]) -> Vec<cri::Metric> {
    let labels = [labels, std::slice::from_ref(&traffic.interface)].concat();
    let each = NETWORK.iter().map(|(name, _, which, came)| {
        let numbers = if *came { traffic.received } else { traffic.sent };
        metric(name, Kind::Counter, &labels, numbers[*which])
    });
    each.collect()
}

fn metric(name: &str, kind: Kind, labels: &[String], value: u64) -> cri::Metric {
    cri::Metric {
        name: name.to_owned(),
        timestamp: 0,
        metric_type: kind.into(),
        label_values: labels.to_vec(),
        value: Some(cri::UInt64Value { value }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_names_are_all_there() {
        // critest, pkg/validate/pod.go, without what it excuses (huge pages, pressure, ulimits).
        let expected = "blkio_device_usage_total cpu_cfs_periods_total cpu_cfs_throttled_periods_total \
            cpu_cfs_throttled_seconds_total cpu_system_seconds_total cpu_usage_seconds_total cpu_user_seconds_total \
            file_descriptors fs_inodes_free fs_inodes_total fs_limit_bytes fs_reads_bytes_total fs_reads_total fs_usage_bytes \
            fs_writes_bytes_total fs_writes_total last_seen memory_cache memory_failcnt memory_failures_total \
            memory_kernel_usage memory_mapped_file memory_max_usage_bytes memory_rss memory_swap memory_usage_bytes \
            memory_working_set_bytes network_receive_bytes_total network_receive_errors_total \
            network_receive_packets_dropped_total network_receive_packets_total network_transmit_bytes_total \
            network_transmit_errors_total network_transmit_packets_dropped_total network_transmit_packets_total \
            oom_events_total processes sockets spec_cpu_period spec_cpu_shares spec_memory_limit_bytes \
            spec_memory_swap_limit_bytes start_time_seconds threads threads_max";
        let known = descriptors();
        for name in expected.split_ascii_whitespace() {
            let name = format!("container_{name}");
            assert_eq!(known.iter().filter(|known| known.name == name).count(), 1, "{name}");
        }
    }

    #[test]
    fn every_value_has_a_descriptor_and_a_label_for_each_key() {
        let known = descriptors();
        let labels = vec![String::new(); LABELS.len()];
        let values = counters(&Usage::default(), &labels);
        let values = values.into_iter().chain(network(&Traffic::default(), &labels));
        for value in values {
            let descriptor = known.iter().find(|known| known.name == value.name).unwrap();
            assert_eq!(descriptor.label_keys.len(), value.label_values.len(), "{}", value.name);
            assert!(!descriptor.help.is_empty());
        }
    }
}
