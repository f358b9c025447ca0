//! The PID 1 stage: the phases of the boot in their order, each survived, then the loop.

use crate::cgroups::{self, Cgroups};
use crate::cmdline::CommandLine;
use crate::disk::partitions::{self, Partition};
use crate::disk::prepare::{self, Prepared};
use crate::initramfs::RootHash;
use crate::marks::{self, Marks};
use crate::provider::Provider;
use crate::supervise::Supervisor;
use crate::{console, entropy, mounts, sysctl};
use init_protocol::{Found, LOG_DIR, VOLUMES, Volume};
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::thread;

/// Until the agent knows a better one.
const HOSTNAME: &str = "pintle";

/// Boots the rest of the machine and never returns.
pub fn run(provider: Provider) -> ! {
    let mut marks = match provider {
        Provider::Machine => Marks::since_kernel_start(),
        Provider::Namespaces => Marks::since_now(),
    };
    marks.note("pid1");
    guarded("mounts", || mounts::all(provider));
    if provider == Provider::Machine {
        console::use_kernel_log();
        marks.take_over(Path::new(marks::HANDOVER));
        guarded("kernel settings", own_the_kernel);
    }
    marks.note("mounts-ready");
    let cgroups = guarded("cgroups", || cgroups::prepare(provider)).unwrap_or_else(Cgroups::none);
    guarded("network and name", name_and_loopback);
    marks.note("cgroups-ready");
    let volumes = guarded("volumes", || volumes(provider)).unwrap_or_default();
    for volume in &volumes {
        marks.note_at(&format!("{}-ready", volume.report.volume), volume.at_us);
    }
    if provider == Provider::Machine {
        guarded("entropy", entropy::restore);
    }
    guarded("folders", || leave_folders(&volumes));
    Supervisor::new(provider, marks, cgroups, volumes, environment(provider)).run()
}

/// A phase that panics is lost, the boot is not.
fn guarded<T>(phase: &str, work: impl FnOnce() -> T) -> Option<T> {
    let done = catch_unwind(AssertUnwindSafe(work)).ok();
    if done.is_none() {
        console::error(format_args!(
            "init panicked in its phase \"{phase}\", see above; the boot goes on"
        ));
    }
    done
}

fn own_the_kernel() {
    sysctl::apply();
    // Ctrl-Alt-Del comes to us as SIGINT instead of resetting the machine on the spot.
    if let Err(errno) = nix::sys::reboot::set_cad_enabled(false) {
        console::warn(format_args!("take over Ctrl-Alt-Del: {errno}"));
    }
}

fn name_and_loopback() {
    if let Err(errno) = nix::unistd::sethostname(HOSTNAME) {
        console::warn(format_args!("set the host name to {HOSTNAME}: {errno}"));
    }
    if let Err(error) = linux::loopback::up() {
        console::warn(format_args!("set the loopback link up: {error}"));
    }
}

/// STATE and DATA, both at a time: each waits for its own check.
fn volumes(provider: Provider) -> Vec<Prepared> {
    if provider == Provider::Namespaces {
        let given = |volume| Prepared::now(volume, Found::Given, String::new(), None);
        return [Volume::State, Volume::Data].map(given).into();
    }
    let all = partitions::list().unwrap_or_default();
    let disk = boot_disk(&all);
    let disk = disk.as_deref();
    thread::scope(|scope| {
        let data = scope.spawn(|| prepare::prepare(&prepare::DATA, &all, disk));
        let state = prepare::prepare(&prepare::STATE, &all, disk);
        [Some(state), data.join().ok()].into_iter().flatten().collect()
    })
}

/// The disk of the root that we run from.
fn boot_disk(all: &[Partition]) -> Option<String> {
    let hash: RootHash = CommandLine::of_this_boot().value("roothash")?.parse().ok()?;
    all.iter()
        .find(|partition| partition.uuid == hash.root_partition())
        .map(|root| root.disk.clone())
}

/// What services expect to be there before they run.
fn leave_folders(volumes: &[Prepared]) {
    for folder in [LOG_DIR, "/var/lib", "/var/log"] {
        if let Err(why) = fs::create_dir_all(folder) {
            console::warn(format_args!("make {folder}: {why}"));
        }
    }
    if let Err(why) = link_run(Path::new("/var/run")) {
        console::warn(format_args!("link /var/run to /run: {why}"));
    }
    let lines: String = volumes.iter().map(|volume| format!("{}\n", volume.report)).collect();
    if let Err(why) = fs::write(VOLUMES, lines) {
        console::warn(format_args!("write {VOLUMES}: {why}"));
    }
}

/// Programs of others know /run by its old name as well, and what they leave there must not outlive the boot. A folder of
/// before stays as it is.
fn link_run(link: &Path) -> io::Result<()> {
    match std::os::unix::fs::symlink("/run", link) {
        Err(why) if why.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        done => done,
    }
}

/// What services find in their environment: where programs are, who provides the machine, how much to log.
fn environment(provider: Provider) -> Vec<(String, String)> {
    let mut variables = vec![
        ("PATH".to_owned(), "/usr/bin".to_owned()),
        ("HOME".to_owned(), "/".to_owned()),
    ];
    let log = CommandLine::of_this_boot().value("pintle.log").map(str::to_owned);
    variables.extend(log.map(|level| ("RUST_LOG".to_owned(), level)));
    if provider == Provider::Namespaces {
        let passed_on = |name: &str| name.starts_with("PINTLE_") || name == "RUST_LOG";
        variables.extend(std::env::vars().filter(|(name, _)| passed_on(name)));
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_has_its_old_name_unless_something_else_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let (link, taken) = (folder.path().join("run"), folder.path().join("taken"));
        for _ in 0..2 {
            link_run(&link).unwrap();
            assert_eq!(fs::read_link(&link).unwrap(), Path::new("/run"));
        }
        fs::create_dir(&taken).unwrap();
        link_run(&taken).unwrap();
        assert!(fs::symlink_metadata(&taken).unwrap().is_dir());
        assert!(link_run(&folder.path().join("missing/run")).is_err());
    }
}
