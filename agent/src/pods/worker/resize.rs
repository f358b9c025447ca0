//! Other requests and limits for containers that run (KEP-1287): written into their cgroups, or why not.

use super::Worker;
use crate::pods::decide::Why;
use crate::pods::observed::Resize;
use crate::pods::plan::requests;
use crate::pods::plan::resources::{self, Changed};
use crate::pods::{plan, spec};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use sandbox::cgroup::CgroupError;
use std::sync::Arc;

impl Worker {
    /// Gives running containers what the pod wants by now, as far as this node has it.
    pub(super) fn resize(&mut self) {
        let pod = self.pod.clone();
        let Some(spec) = pod.spec.as_ref().filter(|_| self.observed.deleted.is_none()) else {
            return;
        };
        let containers = spec::containers(&pod).iter().chain(spec::init_containers(&pod));
        let changed: Vec<&Container> = containers
            .filter(|container| self.is_to_be_resized(container))
            .collect();
        let before = self.observed.resize.take();
        if !changed.is_empty() {
            self.observed.resize = match self.can_be_resized(spec) {
                Some(pending) => Some(pending),
                None => {
                    self.allocate(&pod, &changed);
                    self.give(spec, &changed).err()
                }
            };
        }
        if !changed.is_empty() || before != self.observed.resize {
            self.changed = true;
        }
    }

    /// What nobody knows the present limits of is left alone.
    fn is_to_be_resized(&self, spec: &Container) -> bool {
        let container = self.observed.container(&spec.name);
        let differs = |given| resources::changed(given, spec).is_any();
        container.runs() && container.stopping.is_none() && container.resources.as_ref().is_some_and(differs)
    }

    /// Whether the node ever has as much, and has it now.
    fn can_be_resized(&self, spec: &PodSpec) -> Option<Resize> {
        if self.host.machine.cpus.is_used() && spec::qos(spec) == spec::Qos::Guaranteed {
            return Some(Resize {
                condition: "PodResizePending",
                reason: "Infeasible",
                message: "Resize is infeasible for Guaranteed Pods alongside CPU Manager static policy".to_owned(),
            });
        }
        let used = self.host.ledger.used_besides(&self.uid());
        resources::obstacle(spec, &used, &self.host.machine)
    }

    /// From now on it is theirs, whenever it comes into force.
    fn allocate(&mut self, pod: &Arc<Pod>, changed: &[&Container]) {
        for container in changed {
            let wanted = container.resources.clone().unwrap_or_default();
            self.observed.container_mut(&container.name).allocated = Some(wanted);
        }
        if let Some(spec) = spec::as_allocated(pod, &self.observed) {
            self.host.ledger.give(pod, requests::requests(&spec));
        }
    }

    fn give(&mut self, spec: &PodSpec, changed: &[&Container]) -> Result<(), Resize> {
        let failed = |message: String| Resize {
            condition: "PodResizeInProgress",
            reason: "Error",
            message,
        };
        let wrong = |error: CgroupError| failed(error.to_string());
        let cgroup = plan::cgroup(spec, &self.uid());
        let sandboxes = self.host.sandboxes.clone();
        for container in changed {
            let attempt = self.attempt(&container.name).unwrap_or(0);
            let limit = resources::container(spec, container, &self.host.machine).memory_max;
            let used = sandboxes.group(&cgroup, Some((&container.name, attempt)));
            let used = used.map_or(0, |group| group.memory_in_use());
            // The kernel would make room by killing.
            if let Some(limit) = limit.filter(|limit| *limit < used) {
                return Err(failed(format!(
                    "attempting to set container {:?} memory limit ({limit}) below current usage ({used})",
                    container.name
                )));
            }
        }
        if let Some(group) = sandboxes.group(&cgroup, None) {
            group
                .limit_anew(&resources::pod(spec, &self.host.machine))
                .map_err(wrong)?;
        }
        for container in changed {
            let given = self
                .observed
                .container(&container.name)
                .resources
                .clone()
                .unwrap_or_default();
            let change = resources::changed(&given, container);
            self.give_one(spec, &cgroup, container, change).map_err(wrong)?;
        }
        Ok(())
    }

    fn give_one(
        &mut self,
        of_pod: &PodSpec,
        cgroup: &std::path::Path,
        spec: &Container,
        change: Changed,
    ) -> Result<(), CgroupError> {
        let name = &spec.name;
        if change.restarts(spec) {
            let grace = spec::grace(&self.pod);
            self.stop(name, grace, Why::Resized);
            return Ok(());
        }
        let attempt = self.attempt(name).unwrap_or(0);
        if let Some(group) = self.host.sandboxes.group(cgroup, Some((name, attempt))) {
            group.limit_anew(&resources::container(of_pod, spec, &self.host.machine))?;
        }
        tracing::info!(pod = %spec::full_name(&self.pod), container = %name, "container is resized");
        self.observed.container_mut(name).resources = Some(spec.resources.clone().unwrap_or_default());
        Ok(())
    }
}
