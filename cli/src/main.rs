//! `pintlectl`: everything a person does to machines and to throw-away clusters.

mod arguments;
mod cluster;
mod elevate;
mod kubectl;
mod verify;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Everything a person does to Pintle machines and to throw-away clusters.
#[derive(Parser)]
#[command(name = "pintlectl", version)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Throw-away clusters on this host.
    #[command(subcommand)]
    Cluster(cluster::Command),
    /// kubectl, for people who have none: with KUBECONFIG if it is set, else with a throw-away cluster's.
    Kubectl(kubectl::Kubectl),
    /// Everything that has to hold: format, lints, the image, every test.
    Verify(verify::Verify),
}

fn main() -> ExitCode {
    let command = CommandLine::parse_from(arguments::swallow_separator(std::env::args_os())).command;
    let done = match command {
        Command::Cluster(command) => cluster::run(command),
        Command::Kubectl(command) => kubectl::run(command),
        Command::Verify(command) => verify::run(command),
    };
    done.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
