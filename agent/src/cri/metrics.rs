//! Metrics under cAdvisor's names: which there are, and their values now.

use super::Cri;
use super::stats::Used;
use crate::node::face::metrics::{FAMILIES, NETWORK};
use proto::cri::pintle::cri::v1::Container;
use proto::cri::runtime::v1 as cri;
use sandbox::usage::{Traffic, Usage};
use tonic::Status;

/// What every metric is told by; an interface has its name besides.
const LABELS: [&str; 6] = ["container", "id", "image", "name", "namespace", "pod"];

/// What is known of a container besides its counters: name, help.
const TIMES: [(&str, &str); 2] = [
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
    let families = FAMILIES
        .iter()
        .map(|(name, _, help, _)| descriptor(name, help, LABELS.to_vec()));
    let times = TIMES.iter().map(|(name, help)| descriptor(name, help, LABELS.to_vec()));
    let with_interface = || LABELS.iter().copied().chain(["interface"]).collect();
    let network = NETWORK
        .iter()
        .map(|(name, help, _, _)| descriptor(name, help, with_interface()));
    families.chain(times).chain(network).collect()
}

impl Cri {
    /// Values of all sandboxes that run.
    pub(super) async fn sandbox_metrics(&self) -> Result<Vec<cri::PodSandboxMetrics>, Status> {
        Ok(self.look(|_| true).await?.iter().map(of_sandbox).collect())
    }
}

fn of_sandbox(used: &Used) -> cri::PodSandboxMetrics {
    let labels = labels(used, None);
    let mut metrics = counters(&used.usage.all, &labels);
    metrics.extend(used.traffic.iter().flat_map(|traffic| network(traffic, &labels)));
    let containers = used.containers.iter().map(|(record, usage, disk)| {
        let labels = self::labels(used, Some(record));
        let mut metrics = counters(usage, &labels);
        let started = u64::try_from(record.started_at / 1_000_000_000).unwrap_or(0);
        let held = disk.used_bytes.map_or(0, |bytes| bytes.value);
        for ((name, _), value) in TIMES.iter().zip([started, held]) {
            metrics.push(metric(name, cri::MetricType::Gauge, &labels, value));
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
            "counter" => cri::MetricType::Counter,
            _ => cri::MetricType::Gauge,
        };
        // The interface has whole numbers only.
        Some(metric(name, kind, labels, reading(usage)? as u64))
    });
    each.collect()
}

fn network(traffic: &Traffic, labels: &[String]) -> Vec<cri::Metric> {
    let labels = [labels, std::slice::from_ref(&traffic.interface)].concat();
    let each = NETWORK.iter().map(|(name, _, which, came)| {
        let numbers = if *came { traffic.received } else { traffic.sent };
        metric(name, cri::MetricType::Counter, &labels, numbers[*which])
    });
    each.collect()
}

fn metric(name: &str, kind: cri::MetricType, labels: &[String], value: u64) -> cri::Metric {
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
