//! What sandboxes and containers use, in CRI's words.

use super::{Cri, now, status};
use proto::cri::pintle::cri::v1::{Container, Sandbox};
use proto::cri::runtime::v1 as cri;
use sandbox::usage::{PodUsage, Traffic, Usage};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use tonic::Status;

/// A sandbox with what it uses.
pub struct Used {
    pub record: Sandbox,
    pub usage: PodUsage,
    /// Nothing on the machine's network.
    pub traffic: Vec<Traffic>,
    /// Its containers that run, with what they use and what their upper layers hold.
    pub containers: Vec<(Container, Usage, cri::FilesystemUsage)>,
}

impl Cri {
    /// What the sandboxes that run and are meant use.
    pub(super) async fn look(&self, means: impl Fn(&Sandbox) -> bool) -> Result<Vec<Used>, Status> {
        let mut records = self.sandboxes.all();
        records.retain(|record| !record.stopped && means(record));
        let live = self.live().clone();
        let running = records.into_iter().filter_map(|record| {
            let pod = live.get(&record.id)?.clone();
            Some((record, pod))
        });
        let (records, pods): (Vec<Sandbox>, Vec<sandbox::Pod>) = running.unzip();
        let usages = sandbox::usage::of_pods(&pods).await;
        let mut containers = self.containers.all();
        containers.retain(|container| status::state(container) == status::State::Running);
        let folder = self.host.paths.cri.join("containers");
        crate::machine::refuse::blocking(move || {
            let each = records.into_iter().zip(pods).zip(usages);
            let looked = each.filter_map(|((record, pod), usage)| {
                let traffic = match record.ips.is_empty() {
                    true => Vec::new(),
                    false => sandbox::usage::traffic(pod.pid()),
                };
                Some(used(record, usage?, traffic, &containers, &folder))
            });
            Ok(looked.collect())
        })
        .await
    }

    /// Statistics of the containers that run and are meant.
    pub(super) async fn container_stats(
        &self,
        filter: Option<&cri::ContainerStatsFilter>,
    ) -> Result<Vec<cri::ContainerStats>, Status> {
        let filter = filter.cloned().unwrap_or_default();
        let used = self
            .look(|record| record.id.starts_with(&filter.pod_sandbox_id))
            .await?;
        let containers = used.iter().flat_map(|used| &used.containers);
        let meant = containers.filter(|(record, _, _)| {
            let labels = record.config.as_ref().map(|config| &config.labels);
            record.id.starts_with(&filter.id) && status::labels_fit(&filter.label_selector, labels)
        });
        Ok(meant
            .map(|(record, usage, disk)| of_container(record, usage, disk))
            .collect())
    }

    /// Statistics of the sandboxes that run and are meant.
    pub(super) async fn sandbox_stats(
        &self,
        filter: Option<&cri::PodSandboxStatsFilter>,
    ) -> Result<Vec<cri::PodSandboxStats>, Status> {
        let filter = filter.cloned().unwrap_or_default();
        let means = |record: &Sandbox| {
            let labels = record.config.as_ref().map(|config| &config.labels);
            record.id.starts_with(&filter.id) && status::labels_fit(&filter.label_selector, labels)
        };
        Ok(self.look(means).await?.iter().map(of_sandbox).collect())
    }
}

fn used(record: Sandbox, usage: PodUsage, traffic: Vec<Traffic>, containers: &[Container], folder: &Path) -> Used {
    let mine = containers.iter().filter(|container| container.sandbox_id == record.id);
    let containers = mine.filter_map(|container| {
        let known = usage.containers.iter().find(|known| known.name == container.id)?;
        let disk = disk(&folder.join(&container.id).join("scratch"), now());
        Some((container.clone(), known.usage.clone(), disk))
    });
    Used {
        containers: containers.collect(),
        record,
        usage,
        traffic,
    }
}

fn some(value: u64) -> Option<cri::UInt64Value> {
    Some(cri::UInt64Value { value })
}

fn cpu(usage: &Usage, at: i64) -> cri::CpuUsage {
    cri::CpuUsage {
        timestamp: at,
        usage_core_nano_seconds: some(u64::try_from(usage.cpu.as_nanos()).unwrap_or(u64::MAX)),
        ..cri::CpuUsage::default()
    }
}

fn memory(usage: &Usage, at: i64) -> cri::MemoryUsage {
    let available = usage.memory_limit.map(|limit| limit.saturating_sub(usage.working_set));
    cri::MemoryUsage {
        timestamp: at,
        working_set_bytes: some(usage.working_set),
        available_bytes: available.and_then(some),
        usage_bytes: some(usage.memory),
        rss_bytes: some(usage.anonymous),
        page_faults: some(usage.faults),
        major_page_faults: some(usage.major_faults),
        psi: None,
    }
}

fn of_container(record: &Container, usage: &Usage, disk: &cri::FilesystemUsage) -> cri::ContainerStats {
    let config = record.config.clone().unwrap_or_default();
    let at = now();
    cri::ContainerStats {
        attributes: Some(cri::ContainerAttributes {
            id: record.id.clone(),
            metadata: config.metadata,
            labels: config.labels,
            annotations: config.annotations,
        }),
        cpu: Some(cpu(usage, at)),
        memory: Some(memory(usage, at)),
        writable_layer: Some(disk.clone()),
        swap: Some(cri::SwapUsage {
            timestamp: at,
            swap_available_bytes: None,
            swap_usage_bytes: some(usage.swap),
        }),
        io: None,
    }
}

fn of_sandbox(used: &Used) -> cri::PodSandboxStats {
    let config = used.record.config.clone().unwrap_or_default();
    let at = now();
    let interface = |traffic: &Traffic| cri::NetworkInterfaceUsage {
        name: traffic.interface.clone(),
        rx_bytes: some(traffic.received[0]),
        rx_errors: some(traffic.received[2]),
        tx_bytes: some(traffic.sent[0]),
        tx_errors: some(traffic.sent[2]),
    };
    let mut interfaces = used.traffic.iter().map(interface);
    let all = &used.usage.all;
    let containers = used.containers.iter();
    cri::PodSandboxStats {
        attributes: Some(cri::PodSandboxAttributes {
            id: used.record.id.clone(),
            metadata: config.metadata,
            labels: config.labels,
            annotations: config.annotations,
        }),
        linux: Some(cri::LinuxPodSandboxStats {
            cpu: Some(cpu(all, at)),
            memory: Some(memory(all, at)),
            network: (!used.traffic.is_empty()).then(|| cri::NetworkUsage {
                timestamp: at,
                default_interface: interfaces.next(),
                interfaces: interfaces.collect(),
            }),
            process: Some(cri::ProcessUsage {
                timestamp: at,
                process_count: some(all.tasks),
            }),
            containers: containers
                .map(|(record, usage, disk)| of_container(record, usage, disk))
                .collect(),
            io: None,
        }),
    }
}

/// What a folder holds on its disk, hard links counted once. Blocks.
pub fn disk(folder: &Path, at: i64) -> cri::FilesystemUsage {
    let (mut bytes, mut seen) = (0, BTreeSet::new());
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            if seen.insert((meta.dev(), meta.ino())) {
                bytes += meta.blocks() * 512;
                if meta.is_dir() {
                    folders.push(entry.path());
                }
            }
        }
    }
    cri::FilesystemUsage {
        timestamp: at,
        fs_id: Some(cri::FilesystemIdentifier {
            mountpoint: folder.display().to_string(),
        }),
        used_bytes: some(bytes),
        inodes_used: some(seen.len() as u64),
    }
}
