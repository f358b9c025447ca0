//! The levels that a namespace's labels ask for.

use api::FieldError;
use serde_json::Value;
use std::fmt;

/// How much pods may ask for, from anything to little.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Privileged,
    Baseline,
    Restricted,
}

/// A level as of a minor version of Kubernetes; none for the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LevelVersion {
    pub(super) level: Level,
    pub(super) version: Option<u32>,
}

/// What is refused and what is warned of. (What would be audited is the audit log's.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Policy {
    pub(super) enforce: LevelVersion,
    pub(super) warn: LevelVersion,
}

impl fmt::Display for LevelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        };
        match self.version {
            None => write!(f, "{level}:latest"),
            Some(minor) => write!(f, "{level}:v1.{minor}"),
        }
    }
}

impl Policy {
    /// From labels, with what is wrong about them. A level that cannot be read is the strictest for what is refused and the
    /// laxest for the rest.
    pub(super) fn of(labels: Option<&Value>) -> (Policy, Vec<FieldError>) {
        let label = |name: &str| {
            let key = format!("pod-security.kubernetes.io/{name}");
            let text = labels.and_then(|labels| labels.get(&key)).and_then(Value::as_str);
            text.map(|text| (format!("metadata.labels[{key}]"), text))
        };
        let mut errors = Vec::new();
        let mut mode = |name: &str, otherwise: Level| {
            let level = label(name).map(|(field, text)| {
                level(text).unwrap_or_else(|| {
                    let why = "must be one of privileged, baseline, restricted";
                    errors.push(FieldError::invalid(field, text, why));
                    otherwise
                })
            });
            let version = label(&format!("{name}-version")).and_then(|(field, text)| {
                version(text).unwrap_or_else(|| {
                    errors.push(FieldError::invalid(field, text, "must be \"latest\" or \"v1.x\""));
                    None
                })
            });
            (level, version)
        };
        let (enforce, version) = mode("enforce", Level::Restricted);
        let _audit = mode("audit", Level::Privileged);
        let (warn, warn_version) = mode("warn", Level::Privileged);
        let enforce = LevelVersion {
            level: enforce.unwrap_or(Level::Privileged),
            version,
        };
        // Who enforces without saying what to warn of hears at least of that.
        let warn = match warn {
            Some(level) => LevelVersion {
                level,
                version: warn_version,
            },
            None => enforce,
        };
        (Policy { enforce, warn }, errors)
    }
}

fn level(text: &str) -> Option<Level> {
    match text {
        "privileged" => Some(Level::Privileged),
        "baseline" => Some(Level::Baseline),
        "restricted" => Some(Level::Restricted),
        _ => None,
    }
}

/// None for what is no version.
fn version(text: &str) -> Option<Option<u32>> {
    if text == "latest" {
        return Some(None);
    }
    let minor = text.strip_prefix("v1.")?;
    let canonical = minor.bytes().all(|byte| byte.is_ascii_digit()) && (minor == "0" || !minor.starts_with('0'));
    minor.parse().ok().filter(|_| canonical).map(Some)
}
