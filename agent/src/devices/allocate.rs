//! Giving a pod's containers the devices that they ask for, before the pod is taken.

use super::checkpoint::{Artifacts, Share};
use super::plugin::Client;
use super::{Devices, State};
use crate::pods::quantity;
use k8s_openapi::api::core::v1::{Container, Pod};
use proto::deviceplugin::v1beta1 as api;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a plugin may take for one answer; only the pod that wants its devices waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Devices that one container may have first: those of init containers that have ended by then.
type Reusable = BTreeMap<String, BTreeSet<String>>;

impl Devices {
    /// Gives all its containers theirs, or none anything; an error is upstream's sentence without its frame.
    pub async fn allocate(&self, pod: &Pod) -> Result<(), String> {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let Some(spec) = &pod.spec else { return Ok(()) };
        let mut reusable = Reusable::new();
        let init = spec.init_containers.iter().flatten().map(|container| (container, true));
        let all = init.chain(spec.containers.iter().map(|container| (container, false)));
        for (container, is_init) in all {
            // A sidecar keeps what it has.
            let ends = is_init && container.restart_policy.as_deref() != Some("Always");
            for (resource, wanted) in self.wishes(container) {
                let given = self.give(&uid, container, &resource, wanted, &reusable).await;
                match given {
                    Ok(ids) if ends => reusable.entry(resource).or_default().extend(ids),
                    Ok(ids) => {
                        let left = reusable.entry(resource).or_default();
                        left.retain(|id| !ids.contains(id));
                    }
                    Err(why) => {
                        self.take_back(&uid);
                        return Err(why);
                    }
                }
            }
        }
        Ok(())
    }

    /// Resources of plugins that a container asks for, and how many.
    fn wishes(&self, container: &Container) -> Vec<(String, usize)> {
        let state = self.lock();
        let limits = container
            .resources
            .as_ref()
            .and_then(|resources| resources.limits.as_ref());
        let wishes = limits.into_iter().flatten().filter_map(|(resource, amount)| {
            let count = usize::try_from(quantity::milli(amount)? / 1000).ok()?;
            (count > 0 && state.plugins.contains_key(resource)).then(|| (resource.clone(), count))
        });
        wishes.collect()
    }

    async fn give(
        &self,
        uid: &str,
        container: &Container,
        resource: &str,
        wanted: usize,
        reusable: &Reusable,
    ) -> Result<Vec<String>, String> {
        let (ids, client) = {
            let state = self.lock();
            let known = state
                .given
                .get(uid)
                .and_then(|pod| pod.get(&container.name)?.get(resource));
            if let Some(share) = known {
                return Ok(share.ids.clone());
            }
            let none = BTreeSet::new();
            let first = reusable.get(resource).unwrap_or(&none);
            let free = free(&state, resource, first);
            let plugin = &state.plugins[resource];
            if plugin.devices.values().all(|healthy| !healthy) {
                return Err(format!(
                    "no healthy devices present; cannot allocate unhealthy devices {resource}"
                ));
            }
            if free.len() < wanted {
                let available = free.len();
                return Err(format!(
                    "requested number of devices unavailable for {resource}. Requested: {wanted}, Available: {available}"
                ));
            }
            let prefers = plugin.options.get_preferred_allocation_available;
            ((free, first.clone(), prefers), plugin.client.clone())
        };
        let mut client = client.ok_or_else(|| format!("the plugin of {resource} is not there"))?;
        let (free, first, prefers) = ids;
        let preferred = if prefers {
            preferred(&mut client, &free, &first, wanted).await?
        } else {
            Vec::new()
        };
        let ids = choose(&preferred, &first, &free, wanted);
        self.reserve(uid, &container.name, resource, &ids)?;
        let artifacts = allocate(&mut client, &ids).await?;
        let mut state = self.lock();
        let share = Share {
            ids: ids.clone(),
            artifacts,
        };
        state
            .given
            .entry(uid.to_owned())
            .or_default()
            .entry(container.name.clone())
            .or_default()
            .insert(resource.to_owned(), share);
        self.save(&state);
        Ok(ids)
    }

    /// Nobody else gets them while the plugin is asked.
    fn reserve(&self, uid: &str, container: &str, resource: &str, ids: &[String]) -> Result<(), String> {
        let mut state = self.lock();
        let taken = taken(&state, resource, Some(uid));
        if ids.iter().any(|id| taken.contains(id)) {
            return Err(format!("devices of {resource} were given to another pod meanwhile"));
        }
        let share = Share {
            ids: ids.to_vec(),
            artifacts: Artifacts::default(),
        };
        let pod = state.given.entry(uid.to_owned()).or_default();
        pod.entry(container.to_owned())
            .or_default()
            .insert(resource.to_owned(), share);
        Ok(())
    }

    /// Tells plugins that asked for it that a container is about to start.
    pub async fn before_start(&self, uid: &str, container: &str) -> Result<(), String> {
        let calls: Vec<(Client, Vec<String>)> = {
            let state = self.lock();
            let shares = state.given.get(uid).and_then(|pod| pod.get(container));
            let asking = shares.into_iter().flatten().filter_map(|(resource, share)| {
                let plugin = state.plugins.get(resource)?;
                let client = plugin.client.clone().filter(|_| plugin.options.pre_start_required)?;
                Some((client, share.ids.clone()))
            });
            asking.collect()
        };
        for (mut client, devices_ids) in calls {
            let request = api::PreStartContainerRequest { devices_ids };
            let told = tokio::time::timeout(PATIENCE, client.pre_start_container(request)).await;
            match told {
                Ok(Ok(_)) => {}
                Ok(Err(status)) => {
                    return Err(format!("device plugin PreStartContainer rpc failed with err: {status}"));
                }
                Err(_) => return Err("device plugin PreStartContainer rpc did not answer".to_owned()),
            }
        }
        Ok(())
    }
}

/// Devices that somebody has; those of one pod may be left out.
fn taken(state: &State, resource: &str, besides: Option<&str>) -> BTreeSet<String> {
    let pods = state.given.iter().filter(|(uid, _)| Some(uid.as_str()) != besides);
    let shares = pods
        .flat_map(|(_, pod)| pod.values())
        .filter_map(|shares| shares.get(resource));
    shares.flat_map(|share| share.ids.iter().cloned()).collect()
}

/// Devices that work and that nobody has, and those that may be had again.
fn free(state: &State, resource: &str, reusable: &BTreeSet<String>) -> BTreeSet<String> {
    let taken = taken(state, resource, None);
    let plugin = state.plugins.get(resource);
    let healthy = plugin
        .into_iter()
        .flat_map(|plugin| &plugin.devices)
        .filter(|(_, healthy)| **healthy);
    let ids = healthy.map(|(id, _)| id.clone());
    ids.filter(|id| !taken.contains(id) || reusable.contains(id)).collect()
}

/// What the plugin would rather give, then what may be had again, then any, in the order of their names.
fn choose(preferred: &[String], first: &BTreeSet<String>, free: &BTreeSet<String>, wanted: usize) -> Vec<String> {
    let mut chosen: Vec<String> = Vec::new();
    let reused = free.iter().filter(|id| first.contains(*id));
    let liked = preferred.iter().filter(|id| free.contains(*id));
    for id in reused.chain(liked).chain(free) {
        if chosen.len() < wanted && !chosen.contains(id) {
            chosen.push(id.clone());
        }
    }
    chosen
}

async fn preferred(
    client: &mut Client,
    free: &BTreeSet<String>,
    first: &BTreeSet<String>,
    wanted: usize,
) -> Result<Vec<String>, String> {
    let must = free.iter().filter(|id| first.contains(*id)).take(wanted);
    let request = api::ContainerPreferredAllocationRequest {
        available_device_ids: free.iter().cloned().collect(),
        must_include_device_ids: must.cloned().collect(),
        allocation_size: i32::try_from(wanted).unwrap_or(i32::MAX),
    };
    let request = api::PreferredAllocationRequest {
        container_requests: vec![request],
    };
    let said = tokio::time::timeout(PATIENCE, client.get_preferred_allocation(request)).await;
    let said = said.map_err(|_| "device plugin GetPreferredAllocation rpc did not answer".to_owned())?;
    let said = said.map_err(|status| format!("device plugin GetPreferredAllocation rpc failed with err: {status}"))?;
    let first = said.into_inner().container_responses.into_iter().next();
    Ok(first.map(|response| response.device_ids).unwrap_or_default())
}

async fn allocate(client: &mut Client, ids: &[String]) -> Result<Artifacts, String> {
    let request = api::AllocateRequest {
        container_requests: vec![api::ContainerAllocateRequest {
            devices_ids: ids.to_vec(),
        }],
    };
    let said = tokio::time::timeout(PATIENCE, client.allocate(request)).await;
    let said = said.map_err(|_| "device plugin Allocate rpc did not answer".to_owned())?;
    let said = said.map_err(|status| format!("rpc error: code = {:?} desc = {}", status.code(), status.message()))?;
    let response = said.into_inner().container_responses.into_iter().next();
    let response = response.ok_or_else(|| "no containers return in allocation response".to_owned())?;
    match response.cdi_devices.first() {
        Some(device) => Err(format!("CDI device {:?} cannot be resolved on this node", device.name)),
        None => Ok(response.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_had_again_comes_first_then_what_the_plugin_likes() {
        let set = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<BTreeSet<_>>();
        let free = set(&["a", "b", "c", "d"]);
        for (preferred, first, wanted, expected) in [
            (vec![], set(&[]), 2, vec!["a", "b"]),
            (vec!["d", "x"], set(&[]), 2, vec!["d", "a"]),
            (vec!["d"], set(&["c"]), 2, vec!["c", "d"]),
            (vec![], set(&["z"]), 1, vec!["a"]),
        ] {
            let preferred: Vec<String> = preferred.into_iter().map(str::to_owned).collect();
            assert_eq!(
                choose(&preferred, &first, &free, wanted),
                expected,
                "{preferred:?} {first:?}"
            );
        }
    }
}
