//! What `[node]` may say: how a machine runs pods. Names and defaults follow upstream's kubelet where it has them.

use crate::machine::is_default;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a machine runs pods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Node {
    /// Most pods at a time.
    #[serde(skip_serializing_if = "is_usual_pods")]
    pub max_pods: u32,
    /// Most processes and threads of one pod; 0 for no limit but the machine's.
    #[serde(skip_serializing_if = "is_default")]
    pub pod_pids: u64,
    /// Thousandths of a CPU that are kept for the machine itself.
    #[serde(skip_serializing_if = "is_default")]
    pub reserved_cpu_millis: u32,
    /// MiB of memory that are kept for the machine itself, besides what eviction keeps free.
    #[serde(skip_serializing_if = "is_default")]
    pub reserved_memory_mib: u32,
    /// Who may use the machine's swap, if it has any.
    #[serde(skip_serializing_if = "is_default")]
    pub swap: Swap,
    /// Who gets CPUs of its own.
    #[serde(skip_serializing_if = "is_default")]
    pub cpu_policy: CpuPolicy,
    /// Whether CPUs and devices of a pod are to be near each other.
    #[serde(skip_serializing_if = "is_default")]
    pub topology_policy: TopologyPolicy,
    /// What of a pod is to be near each other.
    #[serde(skip_serializing_if = "is_default")]
    pub topology_scope: TopologyScope,
    /// When pods are evicted.
    #[serde(skip_serializing_if = "is_default")]
    pub eviction: Eviction,
    /// How pods end when the machine goes down in order.
    #[serde(skip_serializing_if = "is_default")]
    pub shutdown: Shutdown,
    /// Pods that the machine runs by itself, whether or not the Kubernetes API is there; it only shows them, as
    /// `<name>-<machine>`. They may refer to nothing that only the API knows.
    #[serde(rename = "static-pod", skip_serializing_if = "Vec::is_empty")]
    pub static_pods: Vec<StaticPod>,
}

/// A pod that the machine runs by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct StaticPod {
    /// A Pod of `v1`, its YAML as it would stand in a file.
    pub manifest: String,
}

/// Who may use swap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Swap {
    /// No pod.
    #[default]
    None,
    /// Containers of Burstable pods, each a share as large as its share of memory.
    Limited,
}

/// Who gets CPUs of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CpuPolicy {
    /// Nobody: all containers share all CPUs by weight.
    #[default]
    None,
    /// Containers of Guaranteed pods that ask for whole CPUs; `reserved-cpu-millis` says how much stays with everybody else.
    Static,
}

/// What becomes of pods whose CPUs and devices cannot come from as few NUMA nodes as could ever do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TopologyPolicy {
    /// Nobody looks.
    #[default]
    None,
    /// They run all the same.
    BestEffort,
    /// They are refused.
    Restricted,
    /// They are refused, and so are those that one node never could serve.
    SingleNumaNode,
}

/// What of a pod is to be near each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TopologyScope {
    /// What one container has.
    #[default]
    Container,
    /// What all containers of a pod have.
    Pod,
}

/// When pods are evicted: as soon as less than this is left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Eviction {
    /// MiB of memory; without a number 100, or a tenth of a machine that has less than 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u32>,
    /// Percent of DATA, on which pods and images are.
    pub disk_percent: u32,
    /// Percent of DATA's inodes.
    pub inodes_percent: u32,
    /// Percent of DATA below which images that nobody uses go, before pods do.
    pub images_percent: u32,
    /// Percent of the process IDs that there are.
    pub pids_percent: u32,
    /// Seconds that a condition like MemoryPressure stays after its cause is gone.
    pub pressure_seconds: u32,
    /// Thresholds that a node may be below for a while.
    #[serde(skip_serializing_if = "is_default")]
    pub soft: SoftEviction,
}

/// When pods are evicted in peace: once less than this has been left for a while. 0: never for that reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct SoftEviction {
    /// MiB of memory.
    pub memory_mib: u32,
    /// Percent of DATA, on which pods and images are.
    pub disk_percent: u32,
    /// Percent of DATA's inodes.
    pub inodes_percent: u32,
    /// Percent of DATA below which images that nobody uses go, before pods do.
    pub images_percent: u32,
    /// Percent of the process IDs that there are.
    pub pids_percent: u32,
    /// Seconds that less must have been left.
    pub grace_seconds: u32,
    /// Most seconds that an evicted pod has between the stop signal and SIGKILL; a shorter time of its own counts.
    pub pod_grace_seconds: u32,
}

/// How pods end when the machine goes down in order: ordinary ones first, then critical ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Shutdown {
    /// Seconds for all of them.
    pub grace_seconds: u32,
    /// The last of these seconds, for critical pods alone.
    pub critical_seconds: u32,
}

// === impl Node ===

/// Upstream's maxPods.
const USUAL_PODS: u32 = 110;

impl Default for Node {
    fn default() -> Self {
        Self {
            max_pods: USUAL_PODS,
            pod_pids: 0,
            reserved_cpu_millis: 0,
            reserved_memory_mib: 0,
            swap: Swap::None,
            cpu_policy: CpuPolicy::None,
            topology_policy: TopologyPolicy::None,
            topology_scope: TopologyScope::Container,
            eviction: Eviction::default(),
            shutdown: Shutdown::default(),
            static_pods: Vec::new(),
        }
    }
}

// === impl Eviction ===

impl Default for Eviction {
    /// Upstream's evictionHard and evictionPressureTransitionPeriod. It has no threshold for process IDs; ours lets a fork bomb
    /// be evicted.
    fn default() -> Self {
        Self {
            memory_mib: None,
            disk_percent: 10,
            inodes_percent: 5,
            images_percent: 15,
            pids_percent: 10,
            pressure_seconds: 300,
            soft: SoftEviction::default(),
        }
    }
}

impl Eviction {
    /// Bytes of memory that are kept free of a machine that has so many: upstream's threshold, which would leave nothing of a small
    /// machine, or what was said.
    pub fn memory_bytes(&self, all: u64) -> u64 {
        const USUAL: u64 = 100 << 20;
        self.memory_mib.map_or(USUAL.min(all / 10), |mib| u64::from(mib) << 20)
    }
}

// === impl SoftEviction ===

impl Default for SoftEviction {
    /// Upstream has no soft thresholds by default and wants a time for each; a minute and a half is what its documentation shows.
    fn default() -> Self {
        Self {
            memory_mib: 0,
            disk_percent: 0,
            inodes_percent: 0,
            images_percent: 0,
            pids_percent: 0,
            grace_seconds: 90,
            pod_grace_seconds: 0,
        }
    }
}

// === impl Shutdown ===

impl Default for Shutdown {
    /// Upstream's default is none at all, since its kubelet is not told; half a minute, the last third of it for critical pods,
    /// is what its documentation begins with.
    fn default() -> Self {
        Self {
            grace_seconds: 30,
            critical_seconds: 10,
        }
    }
}

fn is_usual_pods(pods: &u32) -> bool {
    *pods == USUAL_PODS
}
