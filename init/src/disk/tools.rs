//! Running a program of the tools folder (mke2fs, e2fsck): dynamic programs of Debian, through the loader that lies beside them.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// Where the image keeps them, with their libraries.
const FOLDER: &str = "/usr/lib/pintle/tools";
const LOADER: &str = "ld-linux-x86-64.so.2";

/// How a tool ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; nothing where a signal ended it.
    pub code: Option<i32>,
    /// All that it wrote, on one line.
    pub said: String,
}

/// A tool that could not be run at all.
#[derive(Debug, thiserror::Error)]
#[error("run {FOLDER}/{tool}")]
pub struct ToolError {
    tool: &'static str,
    #[source]
    cause: io::Error,
}

/// Runs `tool` to its end. There is no deadline: a file system check that is cut short leaves worse than it found.
pub fn run(tool: &'static str, arguments: &[&str]) -> Result<Ended, ToolError> {
    let folder = Path::new(FOLDER);
    let mut command = Command::new(folder.join(LOADER));
    command
        .arg("--library-path")
        .arg(folder)
        .arg(folder.join(tool))
        .args(arguments)
        .stdin(Stdio::null());
    let output = command.output().map_err(|cause| ToolError { tool, cause })?;
    let text = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&text)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    Ok(Ended {
        code: output.status.code(),
        said,
    })
}
