//! Clusters for tests and measurements: made of the built image, gone with the test's process.

use crate::{Artifacts, Cluster, ClusterFolder, ClusterSpec, oci_images};
use anyhow::{Context, Result};
use std::sync::OnceLock;
use std::time::Duration;

/// A cluster that every test of this binary may use, as long as it leaves it healthy: one machine, control plane and
/// worker, with the demo images in its registry. Booted by whoever asks first.
pub fn shared() -> Result<&'static Cluster> {
    static SHARED: OnceLock<Result<Cluster, String>> = OnceLock::new();
    let boot = || {
        let cluster = cluster(ClusterSpec::new("shared", 1))?;
        cluster.wait_healthy(HEALTHY_DEADLINE)?;
        Ok(cluster)
    };
    let boot = || boot().map_err(|error: anyhow::Error| format!("{error:#}"));
    let shared = SHARED.get_or_init(boot).as_ref();
    shared.map_err(|why| anyhow::anyhow!("the shared cluster: {why}"))
}

/// Four times the slowest boot under emulation on two cores that others use too.
pub const HEALTHY_DEADLINE: Duration = Duration::from_secs(240);

/// A cluster of its own for one test, starting now; its machines die with this process at the latest.
pub fn cluster(spec: ClusterSpec) -> Result<Cluster> {
    cluster_of(spec, artifacts()?)
}

/// The same of something else than the built image.
pub fn cluster_of(spec: ClusterSpec, artifacts: Artifacts) -> Result<Cluster> {
    remove_leftovers()?;
    let name = format!("test-{}-{}", std::process::id(), spec.name);
    let tools = artifacts.tools.clone();
    let mut cluster = Cluster::create(ClusterSpec { name, ..spec }, artifacts)?;
    cluster.supervise_here()?;
    oci_images::provide(&tools, cluster.plan().registry_port)?;
    Ok(cluster)
}

/// The built image, built once by whoever asks first.
pub fn artifacts() -> Result<Artifacts> {
    static BUILT: OnceLock<Result<Artifacts, String>> = OnceLock::new();
    let build = || Artifacts::build(&image::Progress::new()).map_err(|error| format!("{error:#}"));
    let built = BUILT.get_or_init(build).clone();
    built.map_err(|why| anyhow::anyhow!("build the image: {why}"))
}

/// Folders of test processes that are gone: a test that fails leaves its cluster's logs to be read until then.
fn remove_leftovers() -> Result<()> {
    for name in ClusterFolder::names()? {
        let process = name.strip_prefix("test-").and_then(|rest| rest.split('-').next());
        if process.is_some_and(|id| !std::path::Path::new("/proc").join(id).exists()) {
            let folder = ClusterFolder::of(&name)?;
            std::fs::remove_dir_all(folder.path()).with_context(|| format!("remove {}", folder.path().display()))?;
        }
    }
    Ok(())
}
