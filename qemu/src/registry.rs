//! A real container registry on a loopback port: docker-registry of the tools tree, its storage shared by all clusters.

use crate::{caches, tools};
use anyhow::{Context, Result};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// It starts in well under a second; this is for hosts that do everything at once.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// Between looks at a process that should never end.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A running registry; dropped, it ends.
pub struct Registry {
    is_wanted: Arc<AtomicBool>,
}

// === impl Registry ===

impl Registry {
    /// Start it on `port` of 127.0.0.1 and wait until it listens.
    pub fn start(tools_tree: &Path, port: u16, log: &Path) -> Result<Self> {
        let config = write_config(port)?;
        let is_wanted = Arc::new(AtomicBool::new(true));
        let registry = Self {
            is_wanted: is_wanted.clone(),
        };
        let (tools_tree, log) = (tools_tree.to_owned(), log.to_owned());
        std::thread::Builder::new()
            .name("registry".to_owned())
            .spawn(move || keep(&tools_tree, &config, &log, &is_wanted))
            .context("start the registry's thread")?;
        crate::wait::until("the container registry", START_DEADLINE, || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(|error| format!("127.0.0.1:{port}: {error}"))
        })?;
        Ok(registry)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.is_wanted.store(false, Ordering::Relaxed);
    }
}

/// The registry runs as long as it is wanted; this thread owns it.
fn keep(tools_tree: &Path, config: &Path, log: &Path, is_wanted: &AtomicBool) {
    while is_wanted.load(Ordering::Relaxed) {
        if let Err(error) = run(tools_tree, config, log, is_wanted) {
            tracing::error!(%error, log = %log.display(), "the container registry ended; starting it again");
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn run(tools_tree: &Path, config: &Path, log: &Path, is_wanted: &AtomicBool) -> Result<()> {
    let output = std::fs::File::options().create(true).append(true).open(log)?;
    let mut command = tools::command(tools_tree, "docker-registry");
    command
        .arg("serve")
        .arg(config)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output);
    linux::lifeline::die_with_thread(&mut command);
    let mut child = command.spawn().context("start docker-registry")?;
    loop {
        if let Some(status) = child.try_wait()? {
            anyhow::bail!("docker-registry ended with {status}");
        }
        if !is_wanted.load(Ordering::Relaxed) {
            child.kill()?;
            child.wait()?;
            return Ok(());
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// One file a port, so that clusters do not overwrite each other's.
fn write_config(port: u16) -> Result<PathBuf> {
    let folder = caches()?.join("registry");
    let storage = folder.join("storage");
    std::fs::create_dir_all(&storage).with_context(|| format!("make {}", storage.display()))?;
    let config = format!(
        "version: 0.1
log:
  level: info
storage:
  filesystem:
    rootdirectory: {}
http:
  addr: 127.0.0.1:{port}
",
        serde_json::to_string(&storage)?
    );
    let path = folder.join(format!("{port}.yml"));
    std::fs::write(&path, config).with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}
