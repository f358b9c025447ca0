//! System call filters that are files of this node: profiles as Docker and the OCI runtimes write them, made into the kernel's
//! instructions. The default filter is pod-init's own.

mod calls;
mod profile;
mod program;

use sandbox::Seccomp;
use std::fs;
use std::path::Path;

/// Largest profile that is read; Docker's own has 20 KiB.
const LARGEST: u64 = 1 << 20;
/// The most that the kernel takes (linux/filter.h, BPF_MAXINSNS).
const MOST_INSTRUCTIONS: usize = 4096;

/// The filter in a file, for a container with these capabilities; an error is one sentence.
pub fn load(path: &Path, capabilities: &[String]) -> Result<Seccomp, String> {
    let failed = |why: String| format!("cannot load seccomp profile {:?}: {why}", path.display().to_string());
    let text = read(path).map_err(|error| failed(error.to_string()))?;
    compile(&text, capabilities).map_err(failed)
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let found = fs::metadata(path)?;
    match found.is_file() && found.len() <= LARGEST {
        true => fs::read(path),
        false => Err(std::io::Error::other("it is no file of at most 1 MiB")),
    }
}

fn compile(text: &[u8], capabilities: &[String]) -> Result<Seccomp, String> {
    let read: profile::Profile = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let program = program::assemble(&read.rules(capabilities)?);
    if program.len() > MOST_INSTRUCTIONS {
        let length = program.len();
        return Err(format!(
            "it makes a filter of {length} instructions, and the kernel takes {MOST_INSTRUCTIONS}"
        ));
    }
    Ok(Seccomp::Program(program))
}
