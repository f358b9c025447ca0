//! The control plane's start: its config and secrets where only it can read them, then init starts it.

use crate::acquire::Running;
use crate::events::Kind;
use crate::init::InitError;
use crate::machine::Machine;
use init_protocol::{Request, Service};
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// User and group `control` of the image's /etc/passwd.
const CONTROL: u32 = 60;

/// Why there is no control plane.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Its files.
    #[error("prepare {} for the control plane: {cause}", path.display())]
    Prepare {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// Its start.
    #[error(transparent)]
    Init(#[from] InitError),
}

/// Prepares and starts it; no-op where it runs already.
pub async fn start(machine: &Machine, running: &Running) -> Result<(), ControlError> {
    prepare(machine, running)?;
    machine.init.ask(Request::Start(Service::Control)).await?;
    machine
        .events
        .note(Kind::Service, "control", "asked init to run the control plane");
    Ok(())
}

fn prepare(machine: &Machine, running: &Running) -> Result<(), ControlError> {
    let run = machine.places.control_run();
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |cause| ControlError::Prepare { path, cause }
    };
    for folder in [&run, &machine.places.control_data] {
        own_folder(folder).map_err(failed(folder))?;
    }
    for (name, text) in [("config.toml", &running.text), ("secrets.toml", &running.secrets_text)] {
        let path = run.join(name);
        own_file(&path, text).map_err(failed(&path))?;
    }
    Ok(())
}

/// The folder is control's alone; those above it are not, or control could not reach it.
fn own_folder(folder: &Path) -> io::Result<()> {
    if let Some(above) = folder.parent() {
        fs::create_dir_all(above)?;
    }
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    fs::set_permissions(folder, Permissions::from_mode(0o700))?;
    chown(folder, Some(CONTROL), Some(CONTROL))
}

fn own_file(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(text.as_bytes())?;
    chown(&new, Some(CONTROL), Some(CONTROL))?;
    fs::rename(new, path)
}
