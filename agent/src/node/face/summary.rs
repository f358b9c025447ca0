//! `/stats/summary`: what the node and its pods use, as one document (upstream's kubelet/pkg/apis/stats/v1alpha1).

use super::on_disk::{self, OnDisk};
use super::usage::{Disk, Pod, Usage};
use crate::csi::{Drivers, Stats};
use crate::node::Paths;
use jiff::Timestamp;
use sandbox::usage::{ContainerUsage, Traffic};
use serde_json::{Value, json};
use std::ops::Add;
use std::time::SystemTime;

/// Its writing; looks at what pods have on disk, so it blocks.
pub struct Summary<'a> {
    pub usage: &'a Usage,
    /// An earlier look: what a rate is measured from.
    pub before: Option<&'a Usage>,
    pub paths: &'a Paths,
    /// What is known of drivers' volumes.
    pub drivers: &'a Drivers,
    pub node: &'a str,
}

// === impl Summary ===

impl Summary<'_> {
    /// All of it, or nothing but CPU and memory, which looks at no disk.
    pub fn document(&self, only_cpu_and_memory: bool) -> Value {
        if !only_cpu_and_memory {
            let pods: Vec<Value> = self.usage.pods.iter().map(|pod| self.pod(pod)).collect();
            return json!({"node": self.node(), "pods": pods});
        }
        let node = self.node();
        let pods = self.usage.pods.iter().map(|pod| self.pod_in_short(pod));
        let pods: Vec<Value> = pods.collect();
        json!({
            "node": {
                "nodeName": node["nodeName"], "startTime": node["startTime"], "cpu": node["cpu"], "memory": node["memory"],
            },
            "pods": pods,
        })
    }

    fn pod_in_short(&self, pod: &Pod) -> Value {
        let (namespace, name) = pod.entry.names();
        let uid = pod.entry.pod.metadata.uid.as_deref().unwrap_or_default();
        let before = self.before.and_then(|before| before.of_pod(uid));
        let containers = pod.usage.containers.iter().map(|container| {
            let earlier = before.and_then(|before| before.of_container(container));
            json!({
                "name": container.name, "startTime": time(container.started_at),
                "cpu": self.cpu(container.usage.cpu, earlier.map(|earlier| earlier.usage.cpu)),
                "memory": self.memory(&container.usage),
            })
        });
        let containers: Vec<Value> = containers.collect();
        json!({
            "podRef": {"name": name, "namespace": namespace, "uid": uid},
            "containers": containers,
            "cpu": self.cpu(pod.usage.all.cpu, before.map(|before| before.usage.all.cpu)),
            "memory": self.memory(&pod.usage.all),
        })
    }

    fn node(&self) -> Value {
        let node = &self.usage.node;
        let disk = |disk: &Disk| self.disk(disk, disk.used(), disk.inodes.saturating_sub(disk.inodes_free));
        json!({
            "nodeName": self.node,
            "systemContainers": [],
            "startTime": time(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(node.booted)),
            "cpu": self.cpu(node.cpu, self.before.map(|before| before.node.cpu)),
            "memory": {
                "time": self.now(), "availableBytes": node.memory_total.saturating_sub(node.working_set),
                "usageBytes": node.memory, "workingSetBytes": node.working_set, "rssBytes": node.anonymous,
                "pageFaults": node.faults, "majorPageFaults": node.major_faults,
            },
            "network": self.network(&node.traffic),
            "fs": disk(&node.disk),
            "runtime": {"imageFs": disk(&node.image_disk), "containerFs": disk(&node.disk)},
            "rlimit": {"time": self.now(), "maxpid": node.tasks_max, "curproc": node.tasks},
            "swap": {
                "time": self.now(), "swapAvailableBytes": node.swap_total.saturating_sub(node.swap),
                "swapUsageBytes": node.swap,
            },
        })
    }

    fn pod(&self, pod: &Pod) -> Value {
        let (namespace, name) = pod.entry.names();
        let meta = &pod.entry.pod.metadata;
        let uid = meta.uid.as_deref().unwrap_or_default();
        let before = self.before.and_then(|before| before.of_pod(uid));
        let containers = pod.usage.containers.iter().map(|container| {
            let earlier = before.and_then(|before| before.of_container(container));
            self.container(pod, uid, container, earlier)
        });
        let (containers, on_disk): (Vec<Value>, Vec<OnDisk>) = containers.unzip();
        let (volumes, in_volumes) = self.volumes(pod, uid);
        let all = on_disk
            .into_iter()
            .chain([in_volumes])
            .fold(OnDisk::default(), OnDisk::add);
        let started = pod
            .entry
            .pod
            .status
            .as_ref()
            .and_then(|status| status.start_time.as_ref());
        let mut document = json!({
            "podRef": {"name": name, "namespace": namespace, "uid": uid},
            "startTime": started,
            "containers": containers,
            "cpu": self.cpu(pod.usage.all.cpu, before.map(|before| before.usage.all.cpu)),
            "memory": self.memory(&pod.usage.all),
            "volume": volumes,
            "ephemeral-storage": self.disk(&self.usage.node.disk, all.bytes, all.files),
            "process_stats": {"process_count": pod.usage.all.tasks},
            "swap": {"time": self.now(), "swapUsageBytes": pod.usage.all.swap},
        });
        if !pod.traffic.is_empty() {
            document["network"] = self.network(&pod.traffic);
        }
        document
    }

    fn container(
        &self,
        pod: &Pod,
        uid: &str,
        container: &ContainerUsage,
        earlier: Option<&ContainerUsage>,
    ) -> (Value, OnDisk) {
        let (root, logs) = on_disk::of_container(self.paths, uid, &pod.entry.logs, &container.name, container.attempt);
        let disk = &self.usage.node.disk;
        let document = json!({
            "name": container.name,
            "startTime": time(container.started_at),
            "cpu": self.cpu(container.usage.cpu, earlier.map(|earlier| earlier.usage.cpu)),
            "memory": self.memory(&container.usage),
            "rootfs": self.disk(disk, root.bytes, root.files),
            "logs": self.disk(disk, logs.bytes, logs.files),
            "swap": {"time": self.now(), "swapUsageBytes": container.usage.swap},
        });
        (document, root + logs)
    }

    /// The pod's empty folders, and what drivers have said of theirs. Folders in memory are measured as file systems of their own and
    /// are no storage.
    fn volumes(&self, pod: &Pod, uid: &str) -> (Vec<Value>, OnDisk) {
        let mut sum = OnDisk::default();
        let spec = pod.entry.pod.spec.as_ref();
        let volumes = spec.and_then(|spec| spec.volumes.as_ref()).into_iter().flatten();
        let documents = volumes.filter_map(|volume| {
            if let Some(stats) = self.drivers.stats(uid, &volume.name) {
                return Some(driven(&volume.name, pod.entry.names().0, &stats));
            }
            let medium = volume.empty_dir.as_ref()?.medium.as_deref().unwrap_or_default();
            let used = on_disk::of_empty_dir(self.paths, uid, &volume.name);
            if medium.is_empty() {
                sum = sum + used;
            }
            let mut document = self.disk(&self.usage.node.disk, used.bytes, used.files);
            document["name"] = volume.name.as_str().into();
            Some(document)
        });
        let documents = documents.collect();
        (documents, sum)
    }

    fn cpu(&self, now: std::time::Duration, before: Option<std::time::Duration>) -> Value {
        let mut cpu =
            json!({"time": self.now(), "usageCoreNanoSeconds": u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)});
        let window = self
            .before
            .and_then(|before| self.usage.at.duration_since(before.at).ok());
        if let (Some(before), Some(window)) = (before, window.filter(|window| !window.is_zero())) {
            let rate = now.saturating_sub(before).as_secs_f64() / window.as_secs_f64();
            cpu["usageNanoCores"] = ((rate * 1e9) as u64).into();
        }
        cpu
    }

    fn memory(&self, usage: &sandbox::usage::Usage) -> Value {
        let mut memory = json!({
            "time": self.now(), "usageBytes": usage.memory, "workingSetBytes": usage.working_set,
            "rssBytes": usage.anonymous, "pageFaults": usage.faults, "majorPageFaults": usage.major_faults,
        });
        if let Some(limit) = usage.memory_limit {
            memory["availableBytes"] = limit.saturating_sub(usage.working_set).into();
        }
        memory
    }

    fn network(&self, traffic: &[Traffic]) -> Value {
        let one = |traffic: &Traffic| {
            json!({
                "name": traffic.interface,
                "rxBytes": traffic.received[0], "rxErrors": traffic.received[2],
                "txBytes": traffic.sent[0], "txErrors": traffic.sent[2],
            })
        };
        let all: Vec<Value> = traffic.iter().map(one).collect();
        // The default interface's own numbers stand beside the list.
        let mut network = all.first().cloned().unwrap_or_else(|| json!({"name": ""}));
        network["time"] = self.now();
        network["interfaces"] = all.into();
        network
    }

    fn disk(&self, disk: &Disk, used: u64, files: u64) -> Value {
        json!({
            "time": self.now(), "availableBytes": disk.available, "capacityBytes": disk.capacity, "usedBytes": used,
            "inodesFree": disk.inodes_free, "inodes": disk.inodes, "inodesUsed": files,
        })
    }

    fn now(&self) -> Value {
        time(self.usage.at)
    }
}

/// A volume as its driver counts it; claims are named, by which people find theirs.
fn driven(name: &str, namespace: &str, stats: &Stats) -> Value {
    let mut document = json!({"name": name, "time": time(stats.at)});
    if let Some(bytes) = stats.bytes {
        document["availableBytes"] = bytes.available.into();
        document["capacityBytes"] = bytes.total.into();
        document["usedBytes"] = bytes.used.into();
    }
    if let Some(inodes) = stats.inodes {
        document["inodesFree"] = inodes.available.into();
        document["inodes"] = inodes.total.into();
        document["inodesUsed"] = inodes.used.into();
    }
    if let Some(claim) = &stats.claim {
        document["pvcRef"] = json!({"name": claim, "namespace": namespace});
    }
    document
}

fn time(at: SystemTime) -> Value {
    let at = Timestamp::try_from(at).unwrap_or_default();
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into()
}
