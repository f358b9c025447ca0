//! The last of admission: a pod's containers get their CPUs and devices one after the other, from NUMA nodes as near to each other as
//! the machine's config wants it (upstream: pkg/kubelet/cm/topologymanager, scopes).

use super::{Rejection, Verdict};
use crate::devices::{Devices, Reusable};
use crate::pods::cpus::{Cpus, Set};
use crate::pods::host::Host;
use crate::pods::spec::is_sidecar;
use crate::pods::topology::{Nodes, TooFarApart};
use config::TopologyScope;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use std::collections::BTreeMap;

/// The same verdict for a pod that got all of its own; one that did not has no place after all and nothing.
pub async fn aligned(host: &Host, pod: &Pod, spec: &PodSpec, verdict: Verdict) -> Verdict {
    let Verdict::Taken { after, .. } = verdict else {
        return verdict;
    };
    let uid = pod.metadata.uid.clone().unwrap_or_default();
    match give(host, &uid, spec).await {
        Ok(cpus) => Verdict::Taken { after, cpus },
        Err(rejection) => {
            host.devices.take_back(&uid);
            Verdict::Rejected(rejection)
        }
    }
}

async fn give(host: &Host, uid: &str, spec: &PodSpec) -> Result<BTreeMap<String, Set>, Rejection> {
    let cpus = &host.machine.cpus;
    let mut given = Given {
        taken: host.ledger.all_pinned(),
        reusable: Reusable::new(),
    };
    let mut chosen = BTreeMap::new();
    let of_pod = match host.machine.topology.scope {
        TopologyScope::Pod => Some(near(host, spec, &all(spec), &given)?),
        TopologyScope::Container => None,
    };
    for (container, ends) in all(spec) {
        let near = match of_pod {
            Some(near) => near,
            None => near(host, spec, &[(container, ends)], &given)?,
        };
        let wish = cpus.wish(spec, &container.name);
        if wish > 0 {
            let set = cpus.choose_near(wish, &given.taken, near).map_err(unexpected)?;
            given.taken.extend(&set);
            chosen.insert(container.name.clone(), set);
        }
        let devices = host.devices.allocate(uid, (container, ends), near, &mut given.reusable);
        let failed = |why| unexpected(format!("Allocate failed due to {why}, which is unexpected"));
        devices.await.map_err(failed)?;
    }
    Ok(chosen)
}

/// What containers before have got.
struct Given {
    taken: Set,
    reusable: Reusable,
}

/// Init containers first, as they run; whether each ends before others begin.
fn all(spec: &PodSpec) -> Vec<(&Container, bool)> {
    let init = spec.init_containers.iter().flatten();
    let init = init.map(|container| (container, !is_sidecar(container)));
    init.chain(spec.containers.iter().map(|container| (container, false)))
        .collect()
}

/// From which nodes all of these together are to have what they want.
fn near(
    host: &Host,
    spec: &PodSpec,
    containers: &[(&Container, bool)],
    given: &Given,
) -> Result<Option<Nodes>, Rejection> {
    let topology = &host.machine.topology;
    if !topology.is_used() {
        return Ok(None);
    }
    let wishes = devices(&host.devices, containers);
    let mut hints = host.devices.hints(topology, &wishes, &given.reusable);
    hints.push(
        host.machine
            .cpus
            .hints(topology, processors(&host.machine.cpus, spec, containers), &given.taken),
    );
    topology.align(&hints).map_err(|TooFarApart| {
        (
            "TopologyAffinityError".to_owned(),
            "Resources cannot be allocated with Topology locality".to_owned(),
        )
    })
}

fn processors(cpus: &Cpus, spec: &PodSpec, containers: &[(&Container, bool)]) -> usize {
    containers
        .iter()
        .map(|(container, _)| cpus.wish(spec, &container.name))
        .sum()
}

/// What those that run beside each other want together; one that ends before gives its own back.
fn devices(devices: &Devices, containers: &[(&Container, bool)]) -> Vec<(String, usize)> {
    let mut together = BTreeMap::<String, usize>::new();
    let mut alone = BTreeMap::<String, usize>::new();
    for (container, ends) in containers {
        for (resource, wanted) in devices.wishes(container) {
            let running = together.entry(resource.clone()).or_insert(0);
            match ends {
                true => {
                    let most = alone.entry(resource).or_insert(0);
                    *most = (*most).max(*running + wanted);
                }
                false => *running += wanted,
            }
        }
    }
    let most = |(resource, wanted): (String, usize)| {
        let alone = alone.get(&resource).copied().unwrap_or(0);
        (resource, wanted.max(alone))
    };
    together.into_iter().map(most).collect()
}

fn unexpected(message: String) -> Rejection {
    ("UnexpectedAdmissionError".to_owned(), message)
}
