//! A profile's text and what it comes to for one container: the OCI runtime specification's `seccomp`, and what Docker's format has
//! besides, conditions under which a rule counts.

use super::calls;
use serde::Deserialize;
use std::collections::BTreeMap;

/// As Go names this machine.
const ARCHITECTURE: &str = "amd64";
/// How many arguments a call has.
const ARGUMENTS: u32 = 6;

/// All of it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    default_action: String,
    default_errno_ret: Option<u16>,
    #[serde(default)]
    syscalls: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    /// What came before `names`.
    name: Option<String>,
    #[serde(default)]
    names: Vec<String>,
    action: String,
    errno_ret: Option<u16>,
    args: Option<Vec<Argument>>,
    #[serde(default)]
    includes: When,
    #[serde(default)]
    excludes: When,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: u32,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct When {
    caps: Vec<String>,
    arches: Vec<String>,
    min_kernel: String,
}

/// What happens to calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// By number: those whose conditions hold, in their order.
    pub calls: BTreeMap<u32, Vec<Rule>>,
    /// To all others.
    pub default: u32,
    /// To calls that are newer than all that the profile names.
    pub newer: u32,
}

/// One rule of one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// All of them hold.
    pub conditions: Vec<Condition>,
    /// The kernel's word for what happens then.
    pub action: u32,
}

/// Something about an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    pub index: u32,
    pub operator: Operator,
    pub value: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// Only these bits are compared.
    Masked(u64),
}

// === impl Profile ===

impl Profile {
    /// For a container with these capabilities, on this machine.
    pub fn rules(&self, capabilities: &[String]) -> Result<Rules, String> {
        let default = action(&self.default_action, self.default_errno_ret)?;
        let mut calls: BTreeMap<u32, Vec<Rule>> = BTreeMap::new();
        for entry in self.syscalls.iter().filter(|entry| entry.counts(capabilities)) {
            let action = action(&entry.action, entry.errno_ret)?;
            let conditions = entry.args.iter().flatten().map(Argument::condition);
            let conditions: Vec<Condition> = conditions.collect::<Result<_, _>>()?;
            let numbers = entry.names.iter().chain(&entry.name);
            for number in numbers.filter_map(|name| calls::number(name)) {
                let rules = calls.entry(number).or_default();
                rules.extend(
                    alternatives(&conditions)
                        .into_iter()
                        .map(|conditions| Rule { conditions, action }),
                );
            }
        }
        // Those without a condition would hide whatever comes after them.
        for rules in calls.values_mut() {
            rules.sort_by_key(|rule| rule.conditions.is_empty());
        }
        // So that libraries fall back to what they did before there was such a call (runc's rule).
        let is_permissive = matches!(
            self.default_action.as_str(),
            "SCMP_ACT_ALLOW" | "SCMP_ACT_LOG" | "SCMP_ACT_TRACE"
        );
        let newer = match is_permissive || calls.is_empty() {
            true => default,
            false => action("SCMP_ACT_ERRNO", Some(nix::libc::ENOSYS as u16))?,
        };
        Ok(Rules { calls, default, newer })
    }
}

// === impl Entry ===

impl Entry {
    fn counts(&self, capabilities: &[String]) -> bool {
        let has = |name: &String| capabilities.contains(name);
        let is_here = |name: &String| name == ARCHITECTURE;
        let (includes, excludes) = (&self.includes, &self.excludes);
        let is_new_enough =
            |kernel: &str| kernel.is_empty() || kernel_of(kernel).is_none_or(|kernel| kernel <= present());
        let included = includes.caps.iter().all(has)
            && (includes.arches.is_empty() || includes.arches.iter().any(is_here))
            && is_new_enough(&includes.min_kernel);
        let excluded = excludes.caps.iter().any(has)
            || excludes.arches.iter().any(is_here)
            || (!excludes.min_kernel.is_empty() && is_new_enough(&excludes.min_kernel));
        included && !excluded
    }
}

// === impl Argument ===

impl Argument {
    fn condition(&self) -> Result<Condition, String> {
        let operator = match self.op.as_str() {
            "SCMP_CMP_EQ" => Operator::Equal,
            "SCMP_CMP_NE" => Operator::NotEqual,
            "SCMP_CMP_LT" => Operator::Less,
            "SCMP_CMP_LE" => Operator::LessOrEqual,
            "SCMP_CMP_GT" => Operator::Greater,
            "SCMP_CMP_GE" => Operator::GreaterOrEqual,
            "SCMP_CMP_MASKED_EQ" => Operator::Masked(self.value),
            other => return Err(format!("{other:?} compares nothing")),
        };
        if self.index >= ARGUMENTS {
            return Err(format!("a call has no argument {}", self.index));
        }
        let value = match operator {
            Operator::Masked(_) => self.value_two,
            _ => self.value,
        };
        Ok(Condition {
            index: self.index,
            operator,
            value,
        })
    }
}

/// Conditions of one argument hold one or the other, those of several all together (runc's rule).
fn alternatives(conditions: &[Condition]) -> Vec<Vec<Condition>> {
    let is_twice = |condition: &Condition| conditions.iter().filter(|other| other.index == condition.index).count() > 1;
    if conditions.iter().any(is_twice) {
        return conditions.iter().map(|condition| vec![*condition]).collect();
    }
    vec![conditions.to_vec()]
}

/// The kernel's word for it.
fn action(name: &str, errno: Option<u16>) -> Result<u32, String> {
    use nix::libc;
    let errno = u32::from(errno.unwrap_or(libc::EPERM as u16));
    match name {
        "SCMP_ACT_ALLOW" => Ok(libc::SECCOMP_RET_ALLOW),
        "SCMP_ACT_ERRNO" => Ok(libc::SECCOMP_RET_ERRNO | errno),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Ok(libc::SECCOMP_RET_KILL_THREAD),
        "SCMP_ACT_KILL_PROCESS" => Ok(libc::SECCOMP_RET_KILL_PROCESS),
        "SCMP_ACT_LOG" => Ok(libc::SECCOMP_RET_LOG),
        "SCMP_ACT_TRAP" => Ok(libc::SECCOMP_RET_TRAP),
        "SCMP_ACT_TRACE" => Ok(libc::SECCOMP_RET_TRACE | errno),
        "SCMP_ACT_NOTIFY" => Err("SCMP_ACT_NOTIFY asks a program, and this node has none for it".to_owned()),
        other => Err(format!("{other:?} is no action")),
    }
}

fn kernel_of(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn present() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    kernel_of(&release).unwrap_or_default()
}
