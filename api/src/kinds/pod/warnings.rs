//! What a new pod's author should hear although it is allowed (upstream: pkg/api/pod/warnings.go, pkg/api/node/util.go).
//! Not yet among them: addresses that are not canonical, paths in a volume that overlap, and what upstream says of claims.

use crate::{at::At, quantity::Quantity};
use serde_json::Value;
use std::collections::BTreeMap;

const ANNOTATIONS: [(&str, &str); 3] = [
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        "non-functional in v1.16+; use the \"priorityClassName\" field instead",
    ),
    (
        "security.alpha.kubernetes.io/sysctls",
        "non-functional in v1.11+; use the \"sysctls\" field instead",
    ),
    (
        "security.alpha.kubernetes.io/unsafe-sysctls",
        "non-functional in v1.11+; use the \"sysctls\" field instead",
    ),
];

const NODE_LABELS: [(&str, &str); 8] = [
    (
        "beta.kubernetes.io/arch",
        "deprecated since v1.14; use \"kubernetes.io/arch\" instead",
    ),
    (
        "beta.kubernetes.io/os",
        "deprecated since v1.14; use \"kubernetes.io/os\" instead",
    ),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    (
        "failure-domain.beta.kubernetes.io/zone",
        "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
    ),
    (
        "beta.kubernetes.io/instance-type",
        "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead",
    ),
    ("app.kubernetes.io/created-by", "deprecated since v1.9"),
    (
        "scheduler.alpha.kubernetes.io/preferAvoidPods",
        "deprecated since v1.22; use Taints and Tolerations instead",
    ),
    (
        "node-role.kubernetes.io/master",
        "use \"node-role.kubernetes.io/control-plane\" instead",
    ),
];

const VOLUMES: [(&str, &str); 9] = [
    ("photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

const SECCOMP: &str = "non-functional in v1.27+; use the \"seccompProfile\" field instead";
const NO_SELECTOR: &str = "a null labelSelector results in matching no pod";

/// All of them, for a defaulted pod.
pub fn warnings(pod: &Value) -> Vec<String> {
    let pod = At::new(pod, "");
    let (spec, annotations) = (pod.child("spec"), pod.child("metadata").child("annotations"));
    let mut said = Vec::new();
    nodes(&spec, &mut said);
    for (key, message) in ANNOTATIONS.iter().filter(|(key, _)| annotations.has(key)) {
        said.push(format!("{}[{key}]: {message}", annotations.path("")));
    }
    for volume in spec.items("volumes") {
        let old = VOLUMES.iter().filter(|(plugin, _)| volume.has(plugin));
        said.extend(old.map(|(plugin, message)| format!("{}: {message}", volume.path(plugin))));
    }
    twice(&spec, "hostAliases", "ip", &mut said);
    twice(&spec, "imagePullSecrets", "name", &mut said);
    for secret in spec.items("imagePullSecrets") {
        if secret.text("name").is_empty() {
            said.push(format!("{}: invalid empty name \"\"", secret.path("name")));
        }
    }
    fractions(&spec, "overhead", &mut said);
    let pods_seccomp = "seccomp.security.alpha.kubernetes.io/pod";
    if annotations.has(pods_seccomp) && !spec.child("securityContext").has("seccompProfile") {
        said.push(format!("{}[{pods_seccomp}]: {SECCOMP}", annotations.path("")));
    }
    let containers = containers(&spec);
    for container in &containers {
        self::container(container, &annotations, &mut said);
    }
    ports(&containers, &mut said);
    port_names(&containers, &mut said);
    if spec.int("terminationGracePeriodSeconds") < 0 {
        let path = spec.path("terminationGracePeriodSeconds");
        said.push(format!(
            "{path}: must be >= 0; negative values are invalid and will be treated as 1"
        ));
    }
    affinities(&spec, &mut said);
    said
}

fn containers<'a>(spec: &At<'a>) -> Vec<At<'a>> {
    let lists = ["initContainers", "containers", "ephemeralContainers"];
    lists.iter().flat_map(|list| spec.items(list)).collect()
}

fn deprecated(label: &str) -> Option<&'static str> {
    let mut labels = NODE_LABELS.iter();
    labels.find_map(|(known, message)| (*known == label).then_some(*message))
}

/// Labels of nodes that nobody should ask for any more.
fn nodes(spec: &At<'_>, said: &mut Vec<String>) {
    for (label, at) in spec.entries("nodeSelector") {
        said.extend(deprecated(label).map(|message| format!("{}: {message}", at.path(""))));
    }
    let affinity = spec.child("affinity").child("nodeAffinity");
    let required = affinity.child("requiredDuringSchedulingIgnoredDuringExecution");
    let preferred = affinity.items("preferredDuringSchedulingIgnoredDuringExecution");
    let terms = required.items("nodeSelectorTerms").into_iter();
    for term in terms.chain(preferred.iter().map(|term| term.child("preference"))) {
        for expression in term.items("matchExpressions") {
            label_at(&expression, "key", said);
        }
    }
    for constraint in spec.items("topologySpreadConstraints") {
        label_at(&constraint, "topologyKey", said);
        without_selector(&constraint, said);
    }
}

fn label_at(at: &At<'_>, member: &str, said: &mut Vec<String>) {
    let label = at.text(member);
    said.extend(deprecated(label).map(|message| format!("{}: {label} is {message}", at.path(member))));
}

fn without_selector(at: &At<'_>, said: &mut Vec<String>) {
    if !at.has("labelSelector") {
        said.push(format!("{}: {NO_SELECTOR}", at.path("labelSelector")));
    }
}

fn affinities(spec: &At<'_>, said: &mut Vec<String>) {
    for kind in ["podAffinity", "podAntiAffinity"] {
        let affinity = spec.child("affinity").child(kind);
        for term in affinity.items("requiredDuringSchedulingIgnoredDuringExecution") {
            without_selector(&term, said);
        }
        for term in affinity.items("preferredDuringSchedulingIgnoredDuringExecution") {
            without_selector(&term.child("podAffinityTerm"), said);
        }
    }
}

/// Items of a list that one before has the same `member` as.
fn twice(spec: &At<'_>, list: &str, member: &str, said: &mut Vec<String>) {
    let items = spec.items(list);
    for (place, item) in items.iter().enumerate() {
        let text = item.text(member);
        if items[..place].iter().any(|before| before.text(member) == text) {
            said.push(format!("{}: duplicate {member} {text:?}", item.path(member)));
        }
    }
}

/// Parts of bytes.
fn fractions(at: &At<'_>, list: &str, said: &mut Vec<String>) {
    for (name, amount) in at.entries(list) {
        let parsed = Quantity::of(amount.value).filter(|parsed| parsed.millis() % 1000 != 0);
        if matches!(name, "memory" | "ephemeral-storage") && parsed.is_some() {
            let path = amount.path("");
            let text = amount.as_text();
            said.push(format!(
                "{path}: fractional byte value {text:?} is invalid, must be an integer"
            ));
        }
    }
}

fn container(container: &At<'_>, annotations: &At<'_>, said: &mut Vec<String>) {
    let key = format!(
        "container.seccomp.security.alpha.kubernetes.io/{}",
        container.text("name")
    );
    if annotations.has(&key) && !container.child("securityContext").has("seccompProfile") {
        said.push(format!("{}[{key}]: {SECCOMP}", annotations.path("")));
    }
    let resources = container.child("resources");
    fractions(&resources, "limits", said);
    fractions(&resources, "requests", said);
    let variables = container.items("env");
    for (place, variable) in variables.iter().enumerate() {
        let (name, value) = (variable.text("name"), variable.text("value"));
        let before = format!("$({name})");
        let builds_on_it = value.contains(&before) && value != before && !variable.has("valueFrom");
        let is_known = variables[..place].iter().any(|other| other.text("name") == name);
        if is_known && !builds_on_it {
            let path = variable.path("");
            said.push(format!(
                "{path}: hides previous definition of {name:?}, which may be dropped when using apply"
            ));
        }
    }
}

/// Ports of whatever containers that are, or may be, the same.
fn ports(containers: &[At<'_>], said: &mut Vec<String>) {
    let mut known: BTreeMap<(i64, &str), Vec<At<'_>>> = BTreeMap::new();
    for port in containers.iter().flat_map(|container| container.items("ports")) {
        let (ip, number) = (port.text("hostIP"), port.int("hostPort"));
        if !ip.is_empty() && number == 0 {
            said.push(format!(
                "{}: hostIP set without hostPort: {{Name:{} HostPort:0 ContainerPort:{} Protocol:{} HostIP:{ip}}}",
                port.path(""),
                port.text("name"),
                port.int("containerPort"),
                port.text("protocol")
            ));
        }
        let same = known
            .entry((port.int("containerPort"), port.text("protocol")))
            .or_default();
        for other in &*same {
            let (others_ip, others_number) = (other.text("hostIP"), other.int("hostPort"));
            let how = if (ip, number) == (others_ip, others_number) {
                "duplicate"
            } else if number == 0 || others_number == 0 {
                "overlapping"
            } else if number == others_number && ip.is_empty() != others_ip.is_empty() {
                "dangerously ambiguous"
            } else {
                continue;
            };
            said.push(format!(
                "{}: {how} port definition with {}",
                port.path(""),
                other.path("")
            ));
        }
        same.push(port);
    }
}

/// Init containers that end have none while the others run.
fn port_names(containers: &[At<'_>], said: &mut Vec<String>) {
    let stay = |container: &&At<'_>| {
        !container.path("").contains("initContainers") || container.text("restartPolicy") == "Always"
    };
    let mut known: BTreeMap<&str, String> = BTreeMap::new();
    for port in containers
        .iter()
        .filter(stay)
        .flat_map(|container| container.items("ports"))
    {
        let (name, path) = (port.text("name"), port.path(""));
        match known.get(name) {
            Some(other) => said.push(format!(
                "{path}: duplicate port name {name:?} with {other}, services and probes that select ports by name will use {other}"
            )),
            None if name.is_empty() => {}
            None => {
                known.insert(name, path);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_author_hears_what_is_odd() {
        let container = |more: Value| {
            let mut container = json!({"name": "a"});
            container
                .as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            json!({"containers": [container]})
        };
        for (spec, expected) in [
            (json!({"terminationGracePeriodSeconds": 0}), &[][..]),
            (
                json!({"terminationGracePeriodSeconds": -1}),
                &[
                    "spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1",
                ],
            ),
            (
                json!({"nodeSelector": {"beta.kubernetes.io/os": "linux"}}),
                &["spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead"],
            ),
            (
                json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
                    {"preference": {"matchExpressions": [{"key": "node-role.kubernetes.io/master"}]}}]},
                    "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"podAffinityTerm": {}}]}}}),
                &[
                    "spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchExpressions[0].key: \
                     node-role.kubernetes.io/master is use \"node-role.kubernetes.io/control-plane\" instead",
                    "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.labelSelector: \
                     a null labelSelector results in matching no pod",
                ],
            ),
            (
                json!({"topologySpreadConstraints": [{"topologyKey": "x", "labelSelector": {}}, {"topologyKey": "x"}]}),
                &["spec.topologySpreadConstraints[1].labelSelector: a null labelSelector results in matching no pod"],
            ),
            (
                json!({"volumes": [{"name": "a", "emptyDir": {}}, {"name": "b", "gitRepo": {}}]}),
                &["spec.volumes[1].gitRepo: deprecated in v1.11, and disabled by default in v1.33+"],
            ),
            (
                json!({"hostAliases": [{"ip": "1.2.3.4"}, {"ip": "1.2.3.4"}], "imagePullSecrets": [{"name": "a"}, {}]}),
                &[
                    "spec.hostAliases[1].ip: duplicate ip \"1.2.3.4\"",
                    "spec.imagePullSecrets[1].name: invalid empty name \"\"",
                ],
            ),
            (
                container(json!({"resources": {"limits": {"memory": "100m", "cpu": "100m"}}})),
                &[
                    "spec.containers[0].resources.limits[memory]: fractional byte value \"100m\" is invalid, must be an integer",
                ],
            ),
            (
                container(
                    json!({"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "$(A)2"}, {"name": "A", "value": "3"}]}),
                ),
                &[
                    "spec.containers[0].env[2]: hides previous definition of \"A\", which may be dropped when using apply",
                ],
            ),
            (
                container(json!({"ports": [{"containerPort": 80, "protocol": "TCP", "name": "x"},
                    {"containerPort": 80, "protocol": "UDP", "name": "x"}, {"containerPort": 80, "protocol": "TCP"},
                    {"containerPort": 80, "protocol": "TCP", "hostPort": 8}, {"containerPort": 9, "protocol": "TCP", "hostIP": "::1"}]})),
                &[
                    "spec.containers[0].ports[2]: duplicate port definition with spec.containers[0].ports[0]",
                    "spec.containers[0].ports[3]: overlapping port definition with spec.containers[0].ports[0]",
                    "spec.containers[0].ports[3]: overlapping port definition with spec.containers[0].ports[2]",
                    "spec.containers[0].ports[4]: hostIP set without hostPort: \
                     {Name: HostPort:0 ContainerPort:9 Protocol:TCP HostIP:::1}",
                    "spec.containers[0].ports[1]: duplicate port name \"x\" with spec.containers[0].ports[0], \
                     services and probes that select ports by name will use spec.containers[0].ports[0]",
                ],
            ),
        ] {
            assert_eq!(warnings(&json!({"spec": spec})), expected, "{spec}");
        }
        let annotations = json!({"seccomp.security.alpha.kubernetes.io/pod": "x", "security.alpha.kubernetes.io/sysctls": "y",
            "container.seccomp.security.alpha.kubernetes.io/a": "z"});
        let pod = json!({"metadata": {"annotations": annotations}, "spec": {"containers": [
            {"name": "a", "securityContext": {"seccompProfile": {"type": "Unconfined"}}}]}});
        assert_eq!(
            warnings(&pod),
            [
                "metadata.annotations[security.alpha.kubernetes.io/sysctls]: non-functional in v1.11+; use the \"sysctls\" field instead",
                "metadata.annotations[seccomp.security.alpha.kubernetes.io/pod]: \
                 non-functional in v1.27+; use the \"seccompProfile\" field instead",
            ]
        );
        assert!(warnings(&Value::Null).is_empty());
    }
}
