//! `pintlectl config validate`: every problem of a file, a line each.

use super::read;
use crate::print::line;
use anyhow::Result;
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

/// What it is told.
#[derive(Args)]
pub struct Validate {
    /// Machine config.
    file: PathBuf,
    /// Its secrets, to check too.
    #[arg(long, value_name = "FILE")]
    secrets: Option<PathBuf>,
}

/// Prints problems as `file:line:column: sentence`, and fails where there are any.
pub fn run(told: &Validate) -> Result<ExitCode> {
    let name = told.file.display();
    let config = match config::parse(&read(&told.file)?) {
        Ok(config) => config,
        Err(problems) => return complain(&name, &problems),
    };
    if let Some(path) = &told.secrets
        && let Err(problems) = config::parse_secrets(&read(path)?, &config)
    {
        return complain(&path.display(), &problems);
    }
    line(format!("{name} is good"))?;
    Ok(ExitCode::SUCCESS)
}

fn complain(name: &dyn std::fmt::Display, problems: &[config::Problem]) -> Result<ExitCode> {
    for problem in problems {
        eprintln!("{name}:{}:{}: {}", problem.line, problem.column, problem.message);
    }
    Ok(ExitCode::FAILURE)
}
