//! The process that does what may wait for a server: `agent nfs ORDER`, one order as JSON, its answer a sentence on stdout.

use super::options::{Attempt, Attempts};
use linux::mounts::{self, Attributes, NotMounted};
use nix::libc;
use nix::mount::{MntFlags, umount2};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The agent's first argument if it is to be such a process.
pub const WORD: &str = "nfs";

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Mount `source` on `target`, which is there.
    Mount {
        source: String,
        target: PathBuf,
        attempts: Attempts,
    },
    /// Ask the server about its folder.
    Ask(PathBuf),
    /// Write what is not written yet, unmount, remove the folder.
    LetGo(PathBuf),
    /// Have every request that waits for the server fail.
    Fail(PathBuf),
    /// Unmount whatever becomes of unwritten data, remove the folder.
    Detach(PathBuf),
}

/// Carries out the order in the arguments behind [`WORD`].
pub fn run(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let order = arguments.next().unwrap_or_default();
    let order = serde_json::from_slice(order.as_encoded_bytes());
    let done = match &order {
        Ok(order) => carry_out(order),
        Err(error) => Err(format!("read the order: {error}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn carry_out(order: &Order) -> Result<(), String> {
    match order {
        Order::Mount {
            source,
            target,
            attempts,
        } => {
            // Whoever wants it mounted is gone with the agent; the next one asks again.
            let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
            mount(source, target, attempts)
        }
        Order::Ask(target) => {
            let flags = AtFlags::STATX_FORCE_SYNC | AtFlags::SYMLINK_NOFOLLOW;
            let said = rustix::fs::statx(CWD, target, flags, StatxFlags::BASIC_STATS);
            said.map(drop)
                .map_err(|errno| io::Error::from_raw_os_error(errno.raw_os_error()).to_string())
        }
        Order::LetGo(target) => {
            // A folder that cannot be opened, e.g. not by root, has nothing of ours that is not written: pods' files are closed.
            if let Ok(root) = rustix::fs::open(target, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
                let _ = rustix::fs::syncfs(&root);
            }
            detach(target)
        }
        Order::Fail(target) => {
            // The kernel fails requests only on the way to an unmount, which would succeed where only containers use the volume; then
            // nobody could do it again. So it is a copy that goes, in a mount namespace of this process's own.
            linux::namespaces::unshare_mounts().map_err(|error| error.to_string())?;
            mounts::make_slave().map_err(|error| error.to_string())?;
            let _ = umount2(target, MntFlags::MNT_FORCE | MntFlags::UMOUNT_NOFOLLOW);
            Ok(())
        }
        Order::Detach(target) => detach(target),
    }
}

/// Once its folder is gone, nothing can be mounted there any more: not by a process either that was told to and was too slow.
fn detach(target: &Path) -> Result<(), String> {
    while super::is_mounted(target) {
        umount2(target, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW)
            .map_err(|errno| format!("unmount {}: {}", target.display(), io::Error::from(errno)))?;
    }
    match fs::remove_dir(target) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(format!("remove {}: {error}", target.display())),
        Err(_) | Ok(()) => Ok(()),
    }
}

fn mount(source: &str, target: &Path, attempts: &Attempts) -> Result<(), String> {
    let mut first = None;
    for attempt in &attempts.versions {
        let refused = match make(source, target, attempt, attempts) {
            Ok(()) => return Ok(()),
            Err(refused) => refused,
        };
        let goes_on = goes_on(&refused);
        // What the newest version is told is the best reason, unless it is only that it is unknown.
        if !goes_on || !matches!(refused.error.errno, libc::EPROTONOSUPPORT | libc::EOPNOTSUPP) {
            first.get_or_insert(refused);
        }
        if !goes_on {
            break;
        }
    }
    Err(sentence(first.as_ref(), attempts))
}

fn make(source: &str, target: &Path, attempt: &Attempt, attempts: &Attempts) -> Result<(), NotMounted> {
    let words = attempt.words.iter();
    let words = words.map(|(key, value)| (key.as_str(), Path::new(value.as_str())));
    let options: Vec<(&str, &Path)> = std::iter::once(("source", Path::new(source))).chain(words).collect();
    let attributes = Attributes {
        readonly: attempts.readonly,
        nosuid: attempts.nosuid,
        nodev: attempts.nodev,
        noexec: attempts.noexec,
    };
    let mount = mounts::make("nfs", &options, attributes)?;
    let refused = |error| NotMounted {
        fstype: "nfs",
        error,
        said: String::new(),
    };
    let place = fs::File::open(target).map_err(|cause| refused(linux::Error::io("open")(cause)))?;
    mounts::attach(std::os::fd::AsFd::as_fd(&mount), std::os::fd::AsFd::as_fd(&place)).map_err(refused)
}

/// Whether an older version may do what this one could not: `mount.nfs` goes on at the same (nfs-utils, utils/mount/stropts.c).
fn goes_on(refused: &NotMounted) -> bool {
    match refused.error.errno {
        libc::EPROTONOSUPPORT | libc::EOPNOTSUPP | libc::ENOENT | libc::ECONNREFUSED => true,
        // The kernel's own words are about options, and those stay.
        libc::EINVAL => refused.said.is_empty(),
        _ => false,
    }
}

/// Why not, for whoever reads the pod's events; none: no version is spoken on both sides.
fn sentence(refused: Option<&NotMounted>, attempts: &Attempts) -> String {
    let Some(refused) = refused else {
        let tried: Vec<&str> = attempts
            .versions
            .iter()
            .map(|attempt| attempt.version.as_str())
            .collect();
        return format!("the server does not speak NFS version {}", tried.join(", "));
    };
    let system = io::Error::from_raw_os_error(refused.error.errno);
    let why = match refused.error.errno {
        libc::ENOENT => "the server has no such path".to_owned(),
        libc::EACCES | libc::EPERM => "access denied by server".to_owned(),
        libc::ECONNREFUSED => "no NFS server answers at that address: connection refused".to_owned(),
        libc::ETIMEDOUT => "the server does not answer: connection timed out".to_owned(),
        libc::EINVAL => "an incorrect mount option was specified".to_owned(),
        libc::ENODEV => "this node's kernel has no NFS client".to_owned(),
        _ => system.to_string(),
    };
    match refused.said.is_empty() {
        true => why,
        false => format!("{why} ({})", refused.said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(errno: i32, said: &str) -> NotMounted {
        NotMounted {
            fstype: "nfs",
            error: linux::Error {
                call: "fsconfig",
                errno,
            },
            said: said.to_owned(),
        }
    }

    #[test]
    fn reasons_are_sentences_and_options_that_are_refused_end_the_search() {
        let attempts = super::super::options::attempts(&[], [10, 0, 0, 1].into(), false);
        let unknown = refused(libc::EINVAL, "nfs: Unknown parameter 'warp'");
        assert_eq!(
            sentence(Some(&unknown), &attempts),
            "an incorrect mount option was specified (nfs: Unknown parameter 'warp')"
        );
        assert_eq!(
            sentence(None, &attempts),
            "the server does not speak NFS version 4.2, 4.1, 4.0, 3"
        );
        for (errno, said, expected) in [
            (libc::EINVAL, "nfs: Unknown parameter 'warp'", false),
            (libc::EINVAL, "", true),
            (libc::ENOENT, "", true),
            (libc::EACCES, "", false),
            (libc::ETIMEDOUT, "", false),
        ] {
            assert_eq!(goes_on(&refused(errno, said)), expected, "{errno} {said}");
        }
    }

    #[test]
    fn a_folder_on_which_nothing_is_mounted_is_removed_but_never_what_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("v");
        carry_out(&Order::LetGo(target.clone())).unwrap();
        fs::create_dir(&target).unwrap();
        fs::write(target.join("file"), "precious").unwrap();
        let refused = carry_out(&Order::Detach(target.clone())).unwrap_err();
        assert!(refused.starts_with("remove "), "{refused}");
        fs::remove_file(target.join("file")).unwrap();
        carry_out(&Order::Ask(target.clone())).unwrap();
        carry_out(&Order::LetGo(target.clone())).unwrap();
        assert!(!target.exists());
    }
}
