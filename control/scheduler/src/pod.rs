//! What the choice needs to know of a pod, read once: requests, tolerations, affinity, ports, images.

use crate::affinity::{Selector, Term};
use api::quantity::Quantity;
use k8s_openapi::api::core::v1::{self as core, Container, Toleration};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use std::collections::BTreeMap;

/// What a container without a request counts for in scores, so that they spread too (upstream `util/pod_resources.go`).
const SCORED_MILLI_CPU: i64 = 100;
const SCORED_MEMORY: i64 = 200 * 1024 * 1024;

/// Amounts: thousandths of a core, bytes, and whole extended resources by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amounts {
    pub milli_cpu: i64,
    pub memory: i64,
    pub storage: i64,
    pub extended: BTreeMap<String, i64>,
}

/// A port on the node's own addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostPort {
    pub protocol: String,
    /// Empty for all addresses.
    pub address: String,
    pub port: i32,
}

/// A pod as the scheduler sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Pod {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// UID.
    pub uid: String,
    /// Which state of its spec this is.
    pub(crate) generation: i64,
    pub(crate) priority: i32,
    /// Where it is, or, before it is anywhere, the only node that it may be on.
    pub(crate) node: Option<String>,
    pub(crate) requests: Amounts,
    /// The requests with defaults in place of missing ones, as scores see them: thousandths of a core, bytes.
    pub(crate) scored: (i64, i64),
    pub(crate) tolerations: Vec<Toleration>,
    pub(crate) required: Selector,
    pub(crate) preferred: Vec<(i64, Term)>,
    pub(crate) ports: Vec<HostPort>,
    pub(crate) images: Vec<String>,
}

impl Pod {
    /// Reads a pod. Quantities that are none count as nothing: the API server does not store such.
    pub fn read(pod: &core::Pod) -> Pod {
        let empty = core::PodSpec::default();
        let spec = pod.spec.as_ref().unwrap_or(&empty);
        let init = spec.init_containers.as_deref().unwrap_or_default();
        let affinity = spec
            .affinity
            .as_ref()
            .and_then(|affinity| affinity.node_affinity.as_ref());
        let preferred = affinity.and_then(|node| node.preferred_during_scheduling_ignored_during_execution.as_ref());
        let all = init.iter().chain(&spec.containers);
        Pod {
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            name: pod.metadata.name.clone().unwrap_or_default(),
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            generation: pod.metadata.generation.unwrap_or(0),
            priority: spec.priority.unwrap_or(0),
            node: spec.node_name.clone().filter(|node| !node.is_empty()),
            requests: requests(spec, false),
            scored: {
                let scored = requests(spec, true);
                (scored.milli_cpu, scored.memory)
            },
            tolerations: spec.tolerations.clone().unwrap_or_default(),
            required: Selector::read(spec.node_selector.as_ref(), affinity),
            preferred: preferred
                .into_iter()
                .flatten()
                .map(|term| (i64::from(term.weight), Term::read(&term.preference)))
                .collect(),
            ports: all.clone().flat_map(|container| host_ports(container, spec)).collect(),
            images: all
                .filter_map(|container| container.image.as_deref())
                .map(normalized)
                .collect(),
        }
    }

    /// The same pod, on `node`.
    pub fn on(&self, node: &str) -> Pod {
        Pod {
            node: Some(node.to_owned()),
            ..self.clone()
        }
    }

    /// Neither cpu nor memory is asked for.
    pub(crate) fn asks_for_nothing(&self) -> bool {
        self.requests.milli_cpu == 0 && self.requests.memory == 0
    }
}

impl Amounts {
    pub(crate) fn read(list: Option<&BTreeMap<String, Text>>) -> Amounts {
        let mut amounts = Amounts::default();
        for (name, text) in list.into_iter().flatten() {
            let Ok(quantity) = Quantity::parse(&text.0) else {
                continue;
            };
            match name.as_str() {
                "cpu" => amounts.milli_cpu = quantity.millis(),
                "memory" => amounts.memory = quantity.units(),
                "ephemeral-storage" => amounts.storage = quantity.units(),
                "pods" => {}
                _ => drop(amounts.extended.insert(name.clone(), quantity.units())),
            }
        }
        amounts
    }

    fn add(&mut self, more: &Amounts) {
        self.milli_cpu += more.milli_cpu;
        self.memory += more.memory;
        self.storage += more.storage;
        for (name, amount) in &more.extended {
            *self.extended.entry(name.clone()).or_default() += amount;
        }
    }

    fn raise(&mut self, floor: &Amounts) {
        self.milli_cpu = self.milli_cpu.max(floor.milli_cpu);
        self.memory = self.memory.max(floor.memory);
        self.storage = self.storage.max(floor.storage);
        for (name, amount) in &floor.extended {
            let present = self.extended.entry(name.clone()).or_default();
            *present = (*present).max(*amount);
        }
    }
}

/// All containers together, or the most that runs at once while init containers do, plus overhead; the pod's own
/// requests for cpu and memory win (upstream `resourcehelper.PodRequests`).
fn requests(spec: &core::PodSpec, scored: bool) -> Amounts {
    let of = |container: &Container| {
        let mut amounts = Amounts::read(
            container
                .resources
                .as_ref()
                .and_then(|resources| resources.requests.as_ref()),
        );
        if scored && amounts.milli_cpu == 0 {
            amounts.milli_cpu = SCORED_MILLI_CPU;
        }
        if scored && amounts.memory == 0 {
            amounts.memory = SCORED_MEMORY;
        }
        amounts
    };
    let (mut sidecars, mut peak, mut total) = (Amounts::default(), Amounts::default(), Amounts::default());
    for container in spec.init_containers.iter().flatten() {
        let mut running = sidecars.clone();
        running.add(&of(container));
        peak.raise(&running);
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars = running;
        }
    }
    spec.containers.iter().for_each(|container| total.add(&of(container)));
    total.add(&sidecars);
    total.raise(&peak);
    let whole = Amounts::read(
        spec.resources
            .as_ref()
            .and_then(|resources| resources.requests.as_ref()),
    );
    if whole.milli_cpu > 0 {
        total.milli_cpu = whole.milli_cpu;
    }
    if whole.memory > 0 {
        total.memory = whole.memory;
    }
    total.add(&Amounts::read(spec.overhead.as_ref()));
    total
}

fn host_ports(container: &Container, spec: &core::PodSpec) -> Vec<HostPort> {
    let on_host = spec.host_network.unwrap_or(false);
    let ports = container.ports.iter().flatten();
    let taken = ports.filter_map(|port| {
        let number = port
            .host_port
            .filter(|number| *number > 0)
            .or(on_host.then_some(port.container_port))?;
        let address = port
            .host_ip
            .clone()
            .filter(|address| address != "0.0.0.0")
            .unwrap_or_default();
        Some(HostPort {
            protocol: port.protocol.clone().unwrap_or_else(|| "TCP".into()),
            address,
            port: number,
        })
    });
    taken.collect()
}

/// An image's name with the tag that it has when none is written.
pub(crate) fn normalized(name: &str) -> String {
    let (path, last) = name.rsplit_once('/').map_or(("", name), |(path, last)| (path, last));
    let tagged = last.contains([':', '@']);
    let slash = if path.is_empty() { "" } else { "/" };
    if tagged {
        name.to_owned()
    } else {
        format!("{path}{slash}{last}:latest")
    }
}
