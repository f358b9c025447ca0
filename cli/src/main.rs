//! `pintlectl`: everything a person does to machines and to throw-away clusters.

mod arguments;
mod cluster;
mod config;
mod elevate;
mod kubectl;
mod machine;
mod print;
mod store;
mod verify;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Everything a person does to Pintle machines and to throw-away clusters.
#[derive(Parser)]
#[command(name = "pintlectl", version)]
struct CommandLine {
    #[command(flatten)]
    target: machine::Target,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Machine configs: make, check, read, apply.
    #[command(subcommand)]
    Config(config::Command),
    /// Is the cluster healthy?
    Health(machine::health::Health),
    /// What the machine is.
    Info,
    /// What happened on the machine.
    Events(machine::events::Events),
    /// The programs that PID 1 keeps running.
    Services(machine::services::Services),
    /// What a service wrote.
    Logs(machine::logs::Logs),
    /// The kernel's log.
    Dmesg(machine::dmesg::Dmesg),
    /// All processes.
    Processes(machine::processes::Processes),
    /// Memory of the machine and of Pintle's own programs.
    Memory,
    /// What is mounted where.
    Mounts,
    /// The container images on the machine.
    #[command(subcommand)]
    Oci(machine::oci::Command),
    /// Where the boot's time went.
    Timeline,
    /// Restart the machine.
    Reboot(machine::reboot::Reboot),
    /// Switch the machine off.
    Shutdown(machine::shutdown::Shutdown),
    /// Wipe the machine's config and keys.
    Reset(machine::reset::Reset),
    /// Throw-away clusters on this host.
    #[command(subcommand)]
    Cluster(cluster::Command),
    /// kubectl, for people who have none: with KUBECONFIG if it is set, else with a throw-away cluster's.
    Kubectl(kubectl::Kubectl),
    /// Everything that a cluster keeps: out into a file, and back in.
    #[command(subcommand)]
    Store(store::Command),
    /// Everything that has to hold: format, lints, the image, every test.
    Verify(verify::Verify),
}

fn main() -> ExitCode {
    let told = CommandLine::parse_from(arguments::swallow_separator(std::env::args_os()));
    run(&told.target, told.command).unwrap_or_else(|error| {
        if print::is_closed(&error) {
            return ExitCode::SUCCESS;
        }
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(target: &machine::Target, command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Config(command) => config::run(target, command),
        Command::Health(told) => machine::health::run(target, &told),
        Command::Info => machine::run(target, machine::info::run),
        Command::Events(told) => machine::run(target, async |machine| machine::events::run(machine, told).await),
        Command::Services(told) => machine::run(target, async |machine| machine::services::run(machine, told).await),
        Command::Logs(told) => machine::run(target, async |machine| machine::logs::run(machine, told).await),
        Command::Dmesg(told) => machine::run(target, async |machine| machine::dmesg::run(machine, told).await),
        Command::Processes(told) => machine::run(target, async |machine| machine::processes::run(machine, told).await),
        Command::Memory => machine::run(target, machine::memory::run),
        Command::Mounts => machine::run(target, machine::mounts::run),
        Command::Oci(command) => machine::run(target, async |machine| machine::oci::run(machine, command).await),
        Command::Timeline => machine::run(target, machine::timeline::run),
        Command::Reboot(told) => machine::run(target, async |machine| machine::reboot::run(machine, told).await),
        Command::Shutdown(told) => machine::run(target, async |machine| machine::shutdown::run(machine, told).await),
        Command::Reset(told) => {
            let told = told.confirmed()?;
            machine::run(target, async |machine| machine::reset::run(machine, told).await)
        }
        Command::Cluster(command) => cluster::run(command),
        Command::Kubectl(command) => kubectl::run(command),
        Command::Store(command) => store::run(command),
        Command::Verify(command) => verify::run(command),
    }
}
