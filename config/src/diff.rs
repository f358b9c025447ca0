//! What differs between two machine configs, key by key, and what it takes to apply it.

use crate::machine::MachineConfig;
use std::collections::BTreeMap;
use std::fmt;
use toml::Value;

/// All that differs, in the order of the keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes(pub Vec<Change>);

/// One key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its path, e.g. `network.hosts.registry`.
    pub key: String,
    /// What it was, as TOML; `None` where it was not there.
    pub old: Option<String>,
    /// What it becomes, as TOML; `None` where it goes.
    pub new: Option<String>,
    /// What it takes.
    pub effect: Effect,
}

/// What it takes to apply a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Nothing: it is applied while everything runs.
    Live,
    /// The machine starts again.
    Reboot,
}

/// Tables that the running agent re-reads; everything else is read once, at start.
const LIVE: [&str; 3] = ["network.hosts", "network.nameservers", "node.static-pod"];

/// From an old config to a new one.
pub fn diff(old: &MachineConfig, new: &MachineConfig) -> Changes {
    let (old, new) = (flat(old), flat(new));
    let mut keys = old.keys().chain(new.keys()).collect::<Vec<_>>();
    keys.sort();
    keys.dedup();
    let differing = keys.into_iter().filter(|key| old.get(*key) != new.get(*key));
    let change = |key: &String| Change {
        key: key.clone(),
        old: old.get(key).cloned(),
        new: new.get(key).cloned(),
        effect: effect(key),
    };
    Changes(differing.map(change).collect())
}

// === impl Changes ===

impl Changes {
    /// Whether the two configs say the same.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What it takes to apply all of them.
    pub fn effect(&self) -> Effect {
        self.0.iter().map(|change| change.effect).max().unwrap_or(Effect::Live)
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in &self.0 {
            let effect = match change.effect {
                Effect::Live => "# applies live",
                Effect::Reboot => "# needs a reboot",
            };
            if let Some(old) = &change.old {
                writeln!(f, "- {} = {old}", change.key)?;
            }
            match &change.new {
                Some(new) => writeln!(f, "+ {} = {new}  {effect}", change.key)?,
                None => writeln!(f, "  ({} goes)  {effect}", change.key)?,
            }
        }
        Ok(())
    }
}

fn effect(key: &str) -> Effect {
    let inside = |table: &str| {
        key.strip_prefix(table)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    if LIVE.into_iter().any(inside) {
        Effect::Live
    } else {
        Effect::Reboot
    }
}

/// Every leaf by its path.
fn flat(config: &MachineConfig) -> BTreeMap<String, String> {
    let value = Value::try_from(config).expect("a machine config is TOML because it was read from it");
    let mut leaves = BTreeMap::new();
    collect(String::new(), &value, &mut leaves);
    leaves
}

fn collect(path: String, value: &Value, leaves: &mut BTreeMap<String, String>) {
    match value {
        Value::Table(table) => {
            for (key, value) in table {
                let below = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                collect(below, value, leaves);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_table) => {
            for (nth, item) in items.iter().enumerate() {
                collect(format!("{path}[{nth}]"), item, leaves);
            }
        }
        leaf => {
            leaves.insert(path, leaf.to_string());
        }
    }
}
