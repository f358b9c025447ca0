//! `/metrics/resource`: CPU and memory of the node, its pods and containers (KEP-1748); what `kubectl top` is made of.

use super::super::usage::Usage;
use super::{Text, seconds};
use sandbox::usage::ContainerUsage;

type Labels<'a> = [(&'static str, &'a str); 3];

/// Writes them, with upstream's names.
pub fn resource(usage: &Usage) -> String {
    let mut text = Text::default();
    let (node, at) = (&usage.node, usage.at);
    let help = "[STABLE] Cumulative cpu time consumed by the node in core-seconds";
    let mut family = text.family("node_cpu_usage_seconds_total", "counter", help);
    family.sample_at(&[], node.cpu.as_secs_f64(), at);
    let help = "[STABLE] Current working set of the node in bytes";
    let mut family = text.family("node_memory_working_set_bytes", "gauge", help);
    family.sample_at(&[], node.working_set, at);
    let help = "[ALPHA] Current swap usage of the node in bytes. Reported only on non-windows systems";
    let mut family = text.family("node_swap_usage_bytes", "gauge", help);
    family.sample_at(&[], node.swap, at);
    containers(&mut text, usage);
    pods(&mut text, usage);
    let help = "[STABLE] 1 if there was an error while getting container metrics, 0 otherwise";
    let mut family = text.family("resource_scrape_error", "gauge", help);
    family.sample(&[], 0);
    text.into_string()
}

fn containers(text: &mut Text, usage: &Usage) {
    let mut write = |name, kind, help, value: &dyn Fn(&ContainerUsage) -> f64, timed: bool| {
        let mut family = text.family(name, kind, help);
        for pod in &usage.pods {
            for container in &pod.usage.containers {
                let (namespace, pod) = pod.entry.names();
                let labels: Labels<'_> = [("container", &container.name), ("namespace", namespace), ("pod", pod)];
                match timed {
                    true => family.sample_at(&labels, value(container), usage.at),
                    false => family.sample(&labels, value(container)),
                }
            }
        }
    };
    write(
        "container_cpu_usage_seconds_total",
        "counter",
        "[STABLE] Cumulative cpu time consumed by the container in core-seconds",
        &|container| container.usage.cpu.as_secs_f64(),
        true,
    );
    write(
        "container_memory_working_set_bytes",
        "gauge",
        "[STABLE] Current working set of the container in bytes",
        &|container| container.usage.working_set as f64,
        true,
    );
    write(
        "container_start_time_seconds",
        "gauge",
        "[STABLE] Start time of the container since unix epoch in seconds",
        &|container| seconds(container.started_at),
        false,
    );
    write(
        "container_swap_usage_bytes",
        "gauge",
        "[ALPHA] Current amount of the container swap usage in bytes. Reported only on non-windows systems",
        &|container| container.usage.swap as f64,
        true,
    );
}

fn pods(text: &mut Text, usage: &Usage) {
    let mut write = |name, kind, help, value: &dyn Fn(&sandbox::usage::Usage) -> f64| {
        let mut family = text.family(name, kind, help);
        for pod in &usage.pods {
            let (namespace, name) = pod.entry.names();
            family.sample_at(
                &[("namespace", namespace), ("pod", name)],
                value(&pod.usage.all),
                usage.at,
            );
        }
    };
    write(
        "pod_cpu_usage_seconds_total",
        "counter",
        "[STABLE] Cumulative cpu time consumed by the pod in core-seconds",
        &|usage| usage.cpu.as_secs_f64(),
    );
    write(
        "pod_memory_working_set_bytes",
        "gauge",
        "[STABLE] Current working set of the pod in bytes",
        &|usage| usage.working_set as f64,
    );
    write(
        "pod_swap_usage_bytes",
        "gauge",
        "[ALPHA] Current amount of the pod swap usage in bytes. Reported only on non-windows systems",
        &|usage| usage.swap as f64,
    );
}
