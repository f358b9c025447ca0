//! Mount options: from mount(8)'s words to what the kernel is told for each version of NFS that is worth a try; pure.
//!
//! What `mount.nfs` does for others is done here: the kernel takes no ranges of versions and has no daemon that keeps locks of
//! version 3 (man 5 nfs).

use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// From the best to the oldest, as `mount.nfs` tries them.
const VERSIONS: [&str; 4] = ["4.2", "4.1", "4.0", "3"];

/// Words for mount(8) and its kin, or without a meaning on NFS.
const NOT_FOR_THE_KERNEL: [&str; 23] = [
    "defaults",
    "auto",
    "noauto",
    "_netdev",
    "nofail",
    "user",
    "nouser",
    "users",
    "owner",
    "group",
    "bg",
    "fg",
    "suid",
    "dev",
    "exec",
    "rw",
    "async",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "relatime",
    "strictatime",
];

/// Key and value; an empty value is a word that stands alone.
pub type Words = Vec<(String, String)>;

/// What there is to try.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempts {
    /// One after the other.
    pub versions: Vec<Attempt>,
    pub readonly: bool,
    pub nosuid: bool,
    pub nodev: bool,
    pub noexec: bool,
}

/// One version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    pub version: String,
    pub words: Words,
}

/// All that the options leave to be tried.
pub fn attempts(options: &[String], address: IpAddr, readonly: bool) -> Attempts {
    let mut attempts = Attempts {
        readonly,
        ..Attempts::default()
    };
    let (mut version, mut minor, mut words) = (None, None, Words::new());
    for word in options.iter().flat_map(|option| option.split(',')).map(str::trim) {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        match (key, value) {
            ("ro", _) => attempts.readonly = true,
            ("nosuid", _) => attempts.nosuid = true,
            ("nodev", _) => attempts.nodev = true,
            ("noexec", _) => attempts.noexec = true,
            ("vers" | "nfsvers", value) => version = Some(value.to_owned()),
            ("v2" | "v3" | "v4" | "v4.0" | "v4.1" | "v4.2", _) => version = key.strip_prefix('v').map(str::to_owned),
            ("minorversion", value) => minor = Some(value.to_owned()),
            ("" | "retry" | "comment", _) => {}
            (key, _) if key.starts_with("x-") || NOT_FOR_THE_KERNEL.contains(&key) => {}
            (key, value) => words.push((key.to_owned(), value.to_owned())),
        }
    }
    let tried = versions(version, minor);
    let attempt = |version: String| Attempt {
        words: complete(&version, &words, address),
        version,
    };
    attempts.versions = tried.into_iter().map(attempt).collect();
    attempts
}

fn versions(version: Option<String>, minor: Option<String>) -> Vec<String> {
    let all = VERSIONS.iter().map(|version| (*version).to_owned());
    match (version, minor) {
        (None, None) => all.collect(),
        (None, Some(minor)) => vec![format!("4.{minor}")],
        (Some(version), Some(minor)) if version == "4" => vec![format!("4.{minor}")],
        (Some(version), None) if version == "4" => all.filter(|version| version.starts_with('4')).collect(),
        (Some(version), _) => vec![version],
    }
}

fn complete(version: &str, words: &Words, address: IpAddr) -> Words {
    let says = |wanted: &[&str]| words.iter().any(|(key, _)| wanted.contains(&key.as_str()));
    let mut all = vec![("vers".to_owned(), version.to_owned())];
    if !says(&["addr"]) {
        all.push(("addr".to_owned(), address.to_string()));
    }
    // Its locks need rpc.statd on both sides, and no node of ours has it: they hold on this node alone then.
    if version.starts_with('3') && !says(&["lock", "nolock", "local_lock"]) {
        all.push(("nolock".to_owned(), String::new()));
    }
    all.extend(words.iter().cloned());
    all
}
