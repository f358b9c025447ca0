//! Which of the machine's users are whose: a range for each pod that has users of its own, remembered on disk.
//!
//! A pod keeps its range until nothing of it is left; the file is upstream's kubelet's (pkg/kubelet/userns), in the pod's folder.

use sandbox::Users;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The file's name.
const FILE: &str = "userns";

/// The ranges of all pods. Range 0 is the machine's own.
#[derive(Debug)]
pub struct Ranges {
    /// The pods' folders, by UID.
    folder: PathBuf,
    taken: Mutex<BTreeMap<String, u32>>,
}

/// Why a pod has no range.
#[derive(Debug, thiserror::Error)]
pub enum NoRange {
    /// Each has an owner.
    #[error("the user namespace of pod {0}: all ranges of users are taken")]
    AllTaken(String),
    /// It could not be remembered.
    #[error("remember the users of a pod in {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        cause: io::Error,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    uid_mappings: Vec<Mapping>,
    gid_mappings: Vec<Mapping>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mapping {
    host_id: u32,
    container_id: u32,
    length: u32,
}

// === impl Ranges ===

impl Ranges {
    /// Reads what was given away before.
    pub fn open(folder: &Path) -> Ranges {
        let pods = fs::read_dir(folder).into_iter().flatten().flatten();
        let taken = pods.filter_map(|pod| {
            let path = pod.path().join(FILE);
            let first = read(&path).inspect_err(|why| {
                if why.kind() != io::ErrorKind::NotFound {
                    tracing::error!(path = %path.display(), %why, "which users a pod has is not known any more");
                }
            });
            Some((pod.file_name().into_string().ok()?, first.ok()? / Users::COUNT))
        });
        Ranges {
            folder: folder.to_owned(),
            taken: Mutex::new(taken.collect()),
        }
    }

    /// The pod's users, the same ones each time.
    pub fn give(&self, uid: &str) -> Result<Users, NoRange> {
        let mut taken = self.taken();
        if let Some(range) = taken.get(uid) {
            return Ok(users(*range));
        }
        let range = free(&taken).ok_or_else(|| NoRange::AllTaken(uid.to_owned()))?;
        let given = users(range);
        let folder = self.folder.join(uid);
        write(&folder, given.first).map_err(|cause| NoRange::File {
            path: folder.join(FILE),
            cause,
        })?;
        taken.insert(uid.to_owned(), range);
        Ok(given)
    }

    /// The pod runs with these, whatever the disk remembers.
    pub fn keep(&self, uid: &str, users: Users) {
        self.taken().insert(uid.to_owned(), users.first / Users::COUNT);
    }

    /// Nothing of the pod is left.
    pub fn take_back(&self, uid: &str) {
        self.taken().remove(uid);
    }

    fn taken(&self) -> MutexGuard<'_, BTreeMap<String, u32>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the kernel makes user namespaces at all.
pub fn are_possible() -> bool {
    let most = fs::read_to_string("/proc/sys/user/max_user_namespaces");
    most.is_ok_and(|most| most.trim() != "0")
}

fn users(range: u32) -> Users {
    Users {
        first: range * Users::COUNT,
        count: Users::COUNT,
    }
}

/// The lowest that nobody has; the last one holds the number that means no user.
fn free(taken: &BTreeMap<String, u32>) -> Option<u32> {
    let taken: std::collections::BTreeSet<u32> = taken.values().copied().collect();
    (1..u32::MAX / Users::COUNT).find(|range| !taken.contains(range))
}

fn read(path: &Path) -> io::Result<u32> {
    let written: Written = serde_json::from_slice(&fs::read(path)?)?;
    let first = written.uid_mappings.first().map(|mapping| mapping.host_id);
    first.ok_or_else(|| io::Error::other("it names no users"))
}

/// Whole or not at all, whenever the power goes.
fn write(folder: &Path, first: u32) -> io::Result<()> {
    let all = vec![Mapping {
        host_id: first,
        container_id: 0,
        length: Users::COUNT,
    }];
    let written = Written {
        uid_mappings: all.clone(),
        gid_mappings: all,
    };
    fs::create_dir_all(folder)?;
    let new = folder.join(format!("{FILE}.new"));
    let file = fs::File::create(&new)?;
    serde_json::to_writer(&file, &written)?;
    file.sync_data()?;
    fs::rename(&new, folder.join(FILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_keep_their_users_through_a_restart_and_share_them_with_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let ranges = Ranges::open(folder.path());
        assert_eq!(ranges.give("a").unwrap().first, 65536);
        assert_eq!(ranges.give("b").unwrap().first, 131_072);
        assert_eq!(ranges.give("a").unwrap().first, 65536);

        // Of a pod without users of its own there is a folder, too.
        fs::create_dir(folder.path().join("plain")).unwrap();
        let ranges = Ranges::open(folder.path());
        assert_eq!(ranges.give("c").unwrap().first, 196_608);
        assert_eq!(ranges.give("b").unwrap().first, 131_072);

        ranges.take_back("a");
        assert_eq!(ranges.give("d").unwrap().first, 65536);
    }

    #[test]
    fn a_torn_file_costs_a_pod_its_users_and_nobody_else_theirs() {
        let folder = tempfile::tempdir().unwrap();
        Ranges::open(folder.path()).give("a").unwrap();
        fs::create_dir(folder.path().join("torn")).unwrap();
        fs::write(folder.path().join("torn").join(FILE), "{\"uidMappings\":[").unwrap();
        let ranges = Ranges::open(folder.path());
        assert_eq!(ranges.give("a").unwrap().first, 65536);
        // Unless it runs: then it is known what it has.
        ranges.keep("runs", users(2));
        assert_eq!(ranges.give("runs").unwrap().first, 131_072);
        assert_eq!(ranges.give("torn").unwrap().first, 196_608);
    }

    #[test]
    fn no_range_ends_beyond_the_numbers_that_there_are() {
        let all = (1..65535).map(|range| (range.to_string(), range)).collect();
        assert_eq!(free(&all), None);
        assert_eq!(users(65534).first.checked_add(Users::COUNT - 1), Some(4_294_901_759));
    }
}
