//! A vendor's file: its words, and whether they fit the version that it says (upstream: specs-go/config.go and version.go,
//! pkg/cdi/spec.go, device.go and container-edits.go).

use super::name::{self, BadName};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

/// All versions that there were; the index is their order.
const VERSIONS: [&str; 10] = [
    "0.1.0", "0.2.0", "0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0",
];

/// One file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    cdi_version: String,
    pub kind: String,
    #[serde(default, deserialize_with = "nullable")]
    annotations: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "nullable")]
    pub devices: Vec<Device>,
    /// For each of the devices.
    #[serde(default, deserialize_with = "nullable")]
    pub container_edits: Edits,
}

/// One device.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Device {
    pub name: String,
    #[serde(default, deserialize_with = "nullable")]
    annotations: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "nullable")]
    pub container_edits: Edits,
}

/// What a container gets.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Edits {
    #[serde(default, deserialize_with = "nullable")]
    pub env: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub device_nodes: Vec<DeviceNode>,
    #[serde(default, deserialize_with = "nullable")]
    pub net_devices: Vec<NetDevice>,
    #[serde(default, deserialize_with = "nullable")]
    pub mounts: Vec<Mount>,
    #[serde(default, deserialize_with = "nullable")]
    pub hooks: Vec<Hook>,
    // The specification writes it one way and upstream's program the other, which reads both.
    #[serde(default, deserialize_with = "nullable", alias = "additionalGIDs")]
    pub additional_gids: Vec<u32>,
    pub intel_rdt: Option<IntelRdt>,
}

/// A device file.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DeviceNode {
    pub path: String,
    #[serde(default, deserialize_with = "nullable")]
    pub host_path: String,
    #[serde(default, deserialize_with = "nullable")]
    pub r#type: String,
    #[serde(default, deserialize_with = "nullable")]
    pub major: u32,
    #[serde(default, deserialize_with = "nullable")]
    pub minor: u32,
    pub file_mode: Option<u32>,
    #[serde(default, deserialize_with = "nullable")]
    pub permissions: String,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

/// A network interface of the machine.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetDevice {
    pub host_interface_name: String,
    name: String,
}

/// A mount.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mount {
    pub host_path: String,
    pub container_path: String,
    #[serde(default, deserialize_with = "nullable")]
    pub r#type: String,
    #[serde(default, deserialize_with = "nullable")]
    pub options: Vec<String>,
}

/// A program of the machine that prepares a container; see the OCI runtime specification.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hook {
    pub hook_name: String,
    pub path: String,
    #[serde(default, deserialize_with = "nullable", rename = "args")]
    _args: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    env: Vec<String>,
    #[serde(rename = "timeout")]
    _timeout: Option<i64>,
}

/// Shares of caches and of memory's bandwidth.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IntelRdt {
    #[serde(default, deserialize_with = "nullable", rename = "closID")]
    clos_id: String,
    #[serde(rename = "l3CacheSchema")]
    _l3_cache_schema: Option<String>,
    #[serde(rename = "memBwSchema")]
    _mem_bw_schema: Option<String>,
    schemata: Option<Vec<String>>,
    #[serde(default, deserialize_with = "nullable")]
    enable_monitoring: bool,
    // Of 0.7.0 to 1.0.0.
    #[serde(rename = "enableCMT")]
    _enable_cmt: Option<bool>,
    #[serde(rename = "enableMBM")]
    _enable_mbm: Option<bool>,
}

/// What is wrong with a file.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSpec {
    /// Not these words, or not JSON or YAML at all.
    #[error("{0}")]
    Syntax(String),
    /// No version that there was.
    #[error("invalid version {0:?}")]
    Version(String),
    /// It says more than its version could.
    #[error("the spec version must be at least v{0}")]
    TooOld(&'static str),
    /// No vendor and class.
    #[error("kind {0:?} is no vendor/class")]
    Kind(String),
    /// A part of a name.
    #[error(transparent)]
    Name(#[from] BadName),
    /// No device at all.
    #[error("invalid spec, no devices")]
    Empty,
    /// One twice.
    #[error("invalid spec, multiple device {0:?}")]
    Twice(String),
    /// In what a container gets; of a device or, without a name, of all.
    #[error("{}{edit}", if device.is_empty() { String::new() } else { format!("device {device:?}: ") })]
    Edit { device: String, edit: BadEdit },
}

/// What is wrong with what a container gets.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadEdit {
    #[error("empty device edits")]
    Empty,
    #[error("invalid environment variable {0:?}")]
    Variable(String),
    #[error("invalid (empty) device path")]
    NoPath,
    #[error("device node {0:?}: invalid type {1:?}")]
    Type(String, String),
    #[error("device node {0:?}: invalid permissions {1:?}")]
    Permissions(String, String),
    #[error("invalid mount, empty host path")]
    NoHostPath,
    #[error("invalid mount, empty container path")]
    NoContainerPath,
    #[error("invalid hook name {0:?}")]
    HookName(String),
    #[error("invalid hook {0:?} with empty path")]
    HookPath(String),
    #[error("invalid linux net device, empty or used twice: {0:?} as {1:?}")]
    NetDevice(String, String),
    #[error("invalid ClosID {0:?}")]
    ClosId(String),
}

/// As upstream's language has it: null is as good as nothing.
fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

// === impl Spec ===

impl Spec {
    /// Reads and checks a file's text, JSON or YAML.
    pub fn parse(text: &str) -> Result<Self, BadSpec> {
        let first_line = |sentence: String| BadSpec::Syntax(sentence.lines().next().unwrap_or_default().to_owned());
        let spec: Self = if text.trim_start().starts_with('{') {
            serde_json::from_str(text).map_err(|cause| first_line(cause.to_string()))?
        } else {
            // 0666 is octal where upstream reads it.
            let options = serde_saphyr::options! { legacy_octal_numbers: true, with_snippet: false };
            serde_saphyr::from_str_with_options(text, options).map_err(|cause| first_line(cause.to_string()))?
        };
        spec.check()?;
        Ok(spec)
    }

    fn check(&self) -> Result<(), BadSpec> {
        let version = self.cdi_version.trim_start_matches('v');
        let version = VERSIONS.iter().position(|known| *known == version);
        let version = version.ok_or_else(|| BadSpec::Version(self.cdi_version.clone()))?;
        let needed = self.needed_version();
        if version < needed {
            return Err(BadSpec::TooOld(VERSIONS[needed]));
        }
        let (vendor, class) = name::split(&self.kind).ok_or_else(|| BadSpec::Kind(self.kind.clone()))?;
        name::vendor(vendor)?;
        name::class(class)?;
        let of = |device: &str| {
            let device = device.to_owned();
            move |edit| BadSpec::Edit { device, edit }
        };
        self.container_edits.check().map_err(of(""))?;
        for (place, device) in self.devices.iter().enumerate() {
            name::device(&device.name)?;
            if device.container_edits == Edits::default() {
                return Err(of(&device.name)(BadEdit::Empty));
            }
            device.container_edits.check().map_err(of(&device.name))?;
            if self.devices[..place].iter().any(|other| other.name == device.name) {
                return Err(BadSpec::Twice(device.name.clone()));
            }
        }
        match self.devices.is_empty() {
            true => Err(BadSpec::Empty),
            false => Ok(()),
        }
    }

    /// Index of the first version that has all of its words.
    fn needed_version(&self) -> usize {
        let each = self.devices.iter().map(|device| &device.container_edits);
        let edits: Vec<&Edits> = each.chain([&self.container_edits]).collect();
        let some = |has: fn(&Edits) -> bool| edits.iter().any(|edits| has(edits));
        let begins_with_digit = |device: &Device| device.name.starts_with(|first: char| first.is_ascii_digit());
        let is_noted = |device: &Device| !device.annotations.is_empty();
        let has_dots = name::split(&self.kind).is_some_and(|(_, class)| class.contains('.'));
        if some(Edits::is_of_1_1) {
            9
        } else if some(|edits| edits.intel_rdt.is_some() || !edits.additional_gids.is_empty()) {
            6
        } else if has_dots || !self.annotations.is_empty() || self.devices.iter().any(is_noted) {
            5
        } else if some(|edits| edits.device_nodes.iter().any(|node| !node.host_path.is_empty()))
            || self.devices.iter().any(begins_with_digit)
        {
            4
        } else if some(|edits| edits.mounts.iter().any(|mount| !mount.r#type.is_empty())) {
            3
        } else {
            2
        }
    }
}

// === impl Edits ===

impl Edits {
    fn is_of_1_1(&self) -> bool {
        let rdt = self.intel_rdt.as_ref();
        !self.net_devices.is_empty() || rdt.is_some_and(|rdt| rdt.schemata.is_some() || rdt.enable_monitoring)
    }

    fn check(&self) -> Result<(), BadEdit> {
        self.env.iter().try_for_each(|text| variable(text))?;
        self.device_nodes.iter().try_for_each(DeviceNode::check)?;
        self.hooks.iter().try_for_each(Hook::check)?;
        for mount in &self.mounts {
            if mount.host_path.is_empty() {
                return Err(BadEdit::NoHostPath);
            }
            if mount.container_path.is_empty() {
                return Err(BadEdit::NoContainerPath);
            }
        }
        for (place, device) in self.net_devices.iter().enumerate() {
            let (host, name) = (&device.host_interface_name, &device.name);
            let mut before = self.net_devices[..place].iter();
            let is_known = before.any(|other| other.host_interface_name == *host || other.name == *name);
            if is_known || host.is_empty() || name.is_empty() {
                return Err(BadEdit::NetDevice(host.clone(), name.clone()));
            }
        }
        let clos = self.intel_rdt.as_ref().map_or("", |rdt| rdt.clos_id.as_str());
        let is_file = clos.len() < 4096 && clos != "." && clos != ".." && !clos.contains(['/', '\n']);
        match is_file || clos == "/" {
            true => Ok(()),
            false => Err(BadEdit::ClosId(clos.to_owned())),
        }
    }
}

// === impl DeviceNode ===

impl DeviceNode {
    fn check(&self) -> Result<(), BadEdit> {
        let path = self.path.clone();
        if path.is_empty() {
            return Err(BadEdit::NoPath);
        }
        if !["", "b", "c", "u", "p"].contains(&self.r#type.as_str()) {
            return Err(BadEdit::Type(path, self.r#type.clone()));
        }
        let is_of_letters = self.permissions.chars().all(|letter| "rwm".contains(letter));
        match is_of_letters || self.permissions == "none" {
            true => Ok(()),
            false => Err(BadEdit::Permissions(path, self.permissions.clone())),
        }
    }
}

// === impl Hook ===

impl Hook {
    fn check(&self) -> Result<(), BadEdit> {
        const NAMES: [&str; 6] = [
            "prestart",
            "createRuntime",
            "createContainer",
            "startContainer",
            "poststart",
            "poststop",
        ];
        if !NAMES.contains(&self.hook_name.as_str()) {
            return Err(BadEdit::HookName(self.hook_name.clone()));
        }
        if self.path.is_empty() {
            return Err(BadEdit::HookPath(self.hook_name.clone()));
        }
        self.env.iter().try_for_each(|text| variable(text))
    }
}

/// Whether it is `name=value` that a program can be given.
fn variable(text: &str) -> Result<(), BadEdit> {
    let is_one = text.find('=').is_some_and(|place| place > 0) && !text.contains('\0');
    is_one.then_some(()).ok_or_else(|| BadEdit::Variable(text.to_owned()))
}

#[cfg(test)]
mod tests;
