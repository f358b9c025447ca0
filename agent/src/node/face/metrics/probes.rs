//! `/metrics/probes`: how often containers' probes were asked, and with what result.

use super::Text;
use crate::pods::probes::tally::Tally;

/// Writes them, by upstream's names (pkg/kubelet/prober/prober_manager.go).
pub fn probes(tally: &Tally) -> String {
    let mut text = Text::default();
    let help = "[BETA] Cumulative number of a liveness, readiness or startup probe for a container by result.";
    let mut family = text.family("prober_probe_total", "counter", help);
    for (counted, count) in tally.all() {
        let labels = [
            ("container", counted.container.as_str()),
            ("namespace", &counted.namespace),
            ("pod", &counted.pod),
            ("pod_uid", &counted.uid),
            ("probe_type", counted.kind),
            ("result", counted.result),
        ];
        family.sample(&labels, count);
    }
    text.into_string()
}
