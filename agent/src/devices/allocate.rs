//! Giving a pod's containers the devices that they ask for, before the pod is taken.

use super::checkpoint::{Artifacts, Share};
use super::plugin::Client;
use super::{Devices, State};
use crate::pods::quantity;
use crate::pods::topology::{Hints, Nodes, Topology};
use k8s_openapi::api::core::v1::Container;
use proto::deviceplugin::v1beta1 as api;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a plugin may take for one answer; only the pod that wants its devices waits for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Devices that one container may have first: those of init containers that have ended by then.
pub type Reusable = BTreeMap<String, BTreeSet<String>>;

/// Devices by resource, and how many.
pub type Wishes = Vec<(String, usize)>;

impl Devices {
    /// Gives a container, which ends before others begin or does not, its devices, if possible from `near`; an error is
    /// upstream's sentence without its frame.
    pub async fn allocate(
        &self,
        pod_uid: &str,
        (container, ends): (&Container, bool),
        near: Option<Nodes>,
        reusable: &mut Reusable,
    ) -> Result<(), String> {
        for (resource, wanted) in self.wishes(container) {
            let ids = self
                .give(pod_uid, container, (&resource, wanted), near, reusable)
                .await?;
            let left = reusable.entry(resource).or_default();
            if ends {
                left.extend(ids);
            } else {
                left.retain(|id| !ids.contains(id));
            }
        }
        Ok(())
    }

    /// How each of the wishes can be fulfilled now.
    pub fn hints(&self, topology: &Topology, wishes: &Wishes, reusable: &Reusable) -> Vec<Hints> {
        let state = self.lock();
        let hints = |(resource, wanted): &(String, usize)| -> Hints {
            let devices = &state.plugins.get(resource)?.devices;
            let none = BTreeSet::new();
            let free = free(&state, resource, reusable.get(resource).unwrap_or(&none));
            let near = |id: &String| devices.get(id).map(|device| device.near);
            let all: Vec<Nodes> = devices.keys().filter_map(near).collect();
            // A plugin that says of none where it is does not care.
            all.iter().any(|nodes| nodes.count() > 0).then(|| {
                let free: Vec<Nodes> = free.iter().filter_map(near).collect();
                topology.hints(&all, &free, *wanted)
            })
        };
        wishes.iter().map(hints).collect()
    }

    /// Resources of plugins that a container asks for, and how many.
    pub fn wishes(&self, container: &Container) -> Wishes {
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
        (resource, wanted): (&str, usize),
        near: Option<Nodes>,
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
            if plugin.devices.values().all(|device| !device.is_healthy) {
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
            let is_near = |id: &String| near.is_none_or(|near| plugin.devices[id].near.meet(near));
            let near_free: BTreeSet<String> = free.iter().filter(|id| is_near(id)).cloned().collect();
            // Those that are near are asked for first; where they do not suffice, all.
            let free = if near_free.len() >= wanted { near_free } else { free };
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
        .filter(|(_, device)| device.is_healthy);
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
    let both = |device: &&api::DeviceSpec| !(device.permissions.contains('r') && device.permissions.contains('w'));
    match response.devices.iter().find(both) {
        // Nothing here would keep a program from it.
        Some(device) => Err(format!(
            "device {:?} cannot be given with permissions {:?} alone, only for reading and writing",
            device.host_path, device.permissions
        )),
        None => Artifacts::try_from(response).map_err(|why| why.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::{Device, Plugin};
    use crate::node::Readiness;
    use config::{TopologyPolicy, TopologyScope};
    use std::sync::Arc;

    #[test]
    fn hints_say_near_which_nodes_devices_are_free() {
        let folder = tempfile::tempdir().unwrap();
        let devices = Devices::new(
            folder.path(),
            Arc::new(tokio::sync::watch::Sender::new(Readiness::default())),
        );
        let plugin = |known: &[(&str, &[u32])]| {
            let device = |(id, near): &(&str, &[u32])| {
                let near = near.iter().copied().collect();
                ((*id).to_owned(), Device { is_healthy: true, near })
            };
            Plugin {
                devices: known.iter().map(device).collect(),
                ..Plugin::remembered()
            }
        };
        let mut state = devices.lock();
        state
            .plugins
            .insert("test/card".to_owned(), plugin(&[("a", &[0]), ("b", &[0]), ("c", &[1])]));
        state.plugins.insert("test/anywhere".to_owned(), plugin(&[("x", &[])]));
        let share = Share {
            ids: vec!["a".to_owned()],
            artifacts: Artifacts::default(),
        };
        let of_container = BTreeMap::from([("test/card".to_owned(), share)]);
        state
            .given
            .insert("other".to_owned(), BTreeMap::from([("main".to_owned(), of_container)]));
        drop(state);
        let topology = Topology::new(TopologyPolicy::Restricted, TopologyScope::Container, (0..2).collect());
        let align = |resource: &str, wanted, reusable: &[&str]| {
            let reusable = reusable.iter().map(|id| (*id).to_owned()).collect();
            let reusable = Reusable::from([(resource.to_owned(), reusable)]);
            topology.align(&devices.hints(&topology, &vec![(resource.to_owned(), wanted)], &reusable))
        };
        let only = |node: u32| Ok(Some([node].into_iter().collect::<Nodes>()));
        assert_eq!(align("test/card", 1, &[]), only(0));
        assert!(
            align("test/card", 2, &[]).is_err(),
            "two are on node 0, but one of them is somebody else's"
        );
        assert_eq!(
            align("test/card", 2, &["a"]),
            only(0),
            "unless he is an init container that has ended"
        );
        assert_eq!(align("test/anywhere", 1, &[]), Ok(None));
        assert_eq!(align("test/unknown", 1, &[]), Ok(None));
    }

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
