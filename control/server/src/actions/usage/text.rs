//! The few lines of a node's `/metrics/resource` that say what it and its containers use.

use std::collections::BTreeMap;

/// Counters at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counters {
    /// Milliseconds since 1970, by the node's clock.
    pub at: i64,
    pub node: Amounts,
    /// By namespace, pod and container.
    pub containers: BTreeMap<[String; 3], Amounts>,
}

/// CPU time and memory.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Amounts {
    /// Core-seconds since the beginning.
    pub cpu: f64,
    /// Bytes.
    pub memory: f64,
}

/// Reads them; lines that are none of these are left out.
pub fn parse(text: &str) -> Counters {
    let mut counters = Counters::default();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, rest)) = line.rsplit_once('}').or_else(|| line.split_once(' ')) else {
            continue;
        };
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let mut numbers = rest.split_ascii_whitespace();
        let Some(value) = numbers.next().and_then(|number| number.parse::<f64>().ok()) else {
            continue;
        };
        let at = numbers.next().and_then(|number| number.parse::<i64>().ok());
        let label = |name: &str| {
            labels_of(labels)
                .find(|(known, _)| *known == name)
                .map(|(_, value)| value)
        };
        let mut of_container = |take: fn(&mut Amounts, f64), value: f64| {
            let [namespace, pod, container] = ["namespace", "pod", "container"].map(label);
            if let (Some(namespace), Some(pod), Some(container)) = (namespace, pod, container) {
                take(
                    counters.containers.entry([namespace, pod, container]).or_default(),
                    value,
                );
            }
        };
        match name {
            "node_cpu_usage_seconds_total" => {
                counters.node.cpu = value;
                counters.at = at.unwrap_or_default();
            }
            "node_memory_working_set_bytes" => counters.node.memory = value,
            "container_cpu_usage_seconds_total" => of_container(|amounts, value| amounts.cpu = value, value),
            "container_memory_working_set_bytes" => of_container(|amounts, value| amounts.memory = value, value),
            _ => {}
        }
    }
    counters
}

/// Names in the API hold no quotes, commas or backslashes, so that nothing is escaped here.
fn labels_of(text: &str) -> impl Iterator<Item = (&str, String)> {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name, value.trim_matches('"').to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_among_other_lines() {
        let text = "# HELP node_cpu_usage_seconds_total x\nnode_cpu_usage_seconds_total 12.5 1700\n\
                    node_memory_working_set_bytes 1e+09 1700\nnonsense\nscrape{a=\"b\"}\n\
                    container_cpu_usage_seconds_total{container=\"c\",namespace=\"n\",pod=\"p\"} 0.25 1700\n\
                    container_memory_working_set_bytes{container=\"c\",namespace=\"n\",pod=\"p\"} 4096 1700\n";
        let counters = parse(text);
        assert_eq!(
            (counters.at, counters.node.cpu, counters.node.memory),
            (1700, 12.5, 1e9)
        );
        let key = ["n", "p", "c"].map(str::to_owned);
        assert_eq!(
            counters.containers[&key],
            Amounts {
                cpu: 0.25,
                memory: 4096.0
            }
        );
    }
}
