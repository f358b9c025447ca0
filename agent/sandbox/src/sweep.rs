//! Removing what a dead pod leaves: cgroups, the shared-memory mount, scratch folders, the state folder.

use crate::DestroyError;
use crate::cgroup::Group;
use std::fmt::Display;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Folder of a pod's state that holds a file per container; its content is the path of the container's scratch folder.
pub const CONTAINERS: &str = "containers";
/// Mount point of the memory that the pod's containers share, in its state folder.
pub const SHM: &str = "shm";

/// Where a pod may have left something.
#[derive(Clone, Debug)]
pub(crate) struct Leftovers {
    pub(crate) pod: String,
    pub(crate) dir: PathBuf,
    pub(crate) cgroup: Option<Group>,
}

impl Leftovers {
    pub(crate) fn kept(&self, what: &str, why: &dyn Display) -> DestroyError {
        DestroyError {
            pod: self.pod.clone(),
            what: what.to_owned(),
            why: why.to_string(),
        }
    }
}

/// Removes all of it; nothing of the pod may run any more. The state folder goes last, so that a failure can be tried again.
pub(crate) fn sweep(left: &Leftovers) -> Result<(), DestroyError> {
    if let Some(group) = &left.cgroup {
        group.remove().map_err(|error| left.kept("its cgroup", &error))?;
    }
    detach(&left.dir.join(SHM)).map_err(|error| left.kept("its shared memory", &error))?;
    for file in fs::read_dir(left.dir.join(CONTAINERS)).into_iter().flatten().flatten() {
        let record = file.path();
        remove_record(&record).map_err(|cause| left.kept(&format!("what {} names", record.display()), &cause))?;
    }
    match fs::remove_dir_all(&left.dir) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            Err(left.kept(&left.dir.display().to_string(), &cause))
        }
        _ => Ok(()),
    }
}

fn detach(mount: &Path) -> Result<(), linux::Error> {
    match linux::mounts::detach(mount) {
        // EINVAL: nothing is mounted there.
        Err(error) if error.errno != EINVAL && error.errno != ENOENT => Err(error),
        _ => Ok(()),
    }
}

const EINVAL: i32 = 22;
const ENOENT: i32 = 2;

/// The two folders that an overlay's scratch folder holds.
pub const SCRATCH: [&str; 2] = ["upper", "work"];

/// The file that names a container's scratch folder; pod-init writes it before anything else of the container is made.
pub fn record(dir: &Path, container: &str, attempt: u32) -> PathBuf {
    dir.join(CONTAINERS).join(format!("{container}.{attempt}"))
}

/// Removes the scratch folder that a record names, then the record.
pub(crate) fn remove_record(record: &Path) -> io::Result<()> {
    let scratch = fs::read_to_string(record).unwrap_or_default();
    if !scratch.is_empty() {
        remove_scratch(Path::new(&scratch))?;
    }
    absent(fs::remove_file(record))
}

/// What overlay leaves in its work folder, the innermost first.
const LEFT_IN_WORK: [&str; 4] = [
    "work/incompat/volatile/dirty",
    "work/incompat/volatile",
    "work/incompat",
    "work",
];

/// Removes what overlay put into a scratch folder, and the folder itself if nothing else is in it.
fn remove_scratch(scratch: &Path) -> io::Result<()> {
    let [upper, work] = SCRATCH.map(|name| scratch.join(name));
    absent(fs::remove_dir_all(upper))?;
    // Five calls instead of thirty; whatever else is there is found below.
    for (place, name) in LEFT_IN_WORK.iter().enumerate() {
        let path = work.join(name);
        let _ = if place == 0 {
            fs::remove_file(path)
        } else {
            fs::remove_dir(path)
        };
    }
    match fs::remove_dir(&work) {
        Err(cause) if cause.kind() == io::ErrorKind::DirectoryNotEmpty => absent(fs::remove_dir_all(work))?,
        done => absent(done)?,
    }
    match absent(fs::remove_dir(scratch)) {
        Err(cause) if cause.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        done => done,
    }
}

fn absent(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
