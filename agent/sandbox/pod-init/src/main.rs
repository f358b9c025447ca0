//! `pod-init`: one small supervisor per pod: holds its namespaces, starts its containers, keeps their logs, reports their exits.
//!
//! Started as `pod-init <state folder> <cgroup tree>` in the pod's IPC, UTS and network namespaces and the machine's mount
//! namespace, with a pipe for its first word as descriptor 3 and the namespace of `sandbox::bare` as descriptor 4. One thread, one poll
//! loop, no async runtime: a child of it may do what it likes between clone and exec.

mod attach;
mod births;
mod child;
mod container;
mod enter;
mod exec;
mod identity;
mod log;
mod output;
mod peer;
mod program;
mod report;
mod requests;
mod rootfs;
mod seccomp;
mod setup;
mod supervisor;
mod users;
mod volume;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use supervisor::Supervisor;

fn main() -> ExitCode {
    let Some([ready, bare]) = linux::clone::extra() else {
        eprintln!("pod-init is started by Pintle's agent, which gives it descriptors 3 and 4");
        return ExitCode::FAILURE;
    };
    let mut ready = std::fs::File::from(ready);
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(dir), Some(cgroups)) = (arguments.next(), arguments.next()) else {
        // The agent reads it; without an agent there is nobody to tell.
        let _ = ready.write_all(b"usage: pod-init <state folder> <cgroup tree>");
        return ExitCode::FAILURE;
    };
    let mut supervisor = match setup::prepare(&dir, &cgroups, bare) {
        Ok(supervisor) => supervisor,
        Err(error) => {
            let _ = ready.write_all(error.to_string().as_bytes());
            return ExitCode::FAILURE;
        }
    };
    let _ = ready.write_all(sandbox::READY.as_bytes());
    drop(ready);
    run(&mut supervisor)
}

fn run(supervisor: &mut Supervisor) -> ExitCode {
    while !supervisor.is_over() {
        if let Err(error) = supervisor.turn() {
            eprintln!("pod-init: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
