//! `pintlectl cluster up`: from sources to a running pod, and what to type next.

use super::{DEFAULT_NAME, supervise};
use crate::elevate;
use anyhow::{Result, ensure};
use clap::Args;
use image::Progress;
use qemu::provider::namespaces;
use qemu::{Artifacts, Cluster, ClusterSpec, ProviderName, oci_images, timeline};
use std::time::Duration;

/// A boot under emulation takes some twenty seconds on an idle host; this is for busy ones.
const UP_DEADLINE: Duration = Duration::from_secs(300);

/// What it is told.
#[derive(Args)]
pub struct Up {
    /// How many machines; the first is control plane and worker, the others are workers. Default: 1.
    #[arg(long)]
    nodes: Option<usize>,
    /// The cluster's name.
    #[arg(long, default_value = DEFAULT_NAME)]
    name: String,
    /// What machines are made of: qemu, or namespaces. Default: qemu.
    #[arg(long)]
    provider: Option<ProviderName>,
    /// Memory of each machine, in MB. Default: 1024.
    #[arg(long)]
    memory: Option<u32>,
    /// Keep the disks of a cluster that exists; else it starts anew.
    #[arg(long)]
    keep: bool,
}

/// Do it.
pub fn run(told: Up) -> Result<()> {
    spec(&told).check()?;
    elevate::ensure_root("building the image makes file systems with the owners that they need")?;
    let progress = Progress::new();
    let artifacts = Artifacts::build(&progress)?;
    let cluster = match Cluster::open(&told.name) {
        Ok(existing) => renew(existing, artifacts, &told)?,
        Err(_) => Cluster::create(spec(&told), artifacts)?,
    };
    let done = bring_up(&cluster, &progress);
    // Also what failed is the person's, to be looked at and removed.
    elevate::give_back(cluster.folder().path())?;
    elevate::give_back_builds()?;
    done
}

/// From files to a running pod.
fn bring_up(cluster: &Cluster, progress: &Progress) -> Result<()> {
    if cluster.plan().spec.provider == ProviderName::Namespaces {
        for lack in namespaces::host_lacks() {
            eprintln!("NOTE  {lack}");
        }
    }
    let is_new = cluster.status().is_err();
    if is_new {
        let step = progress.step("start the machines");
        supervise::start(cluster)?;
        step.done(None);
    }
    let step = progress.step("container images");
    oci_images::provide(&cluster.plan().artifacts.tools, cluster.plan().registry_port)?;
    step.done(None);
    let step = progress.step("boot to pod");
    let stations = timeline::follow(cluster, UP_DEADLINE, |station| step.say(&station.name))?;
    step.done(None);
    if is_new {
        print_stations(&stations);
    }
    print_next(cluster);
    Ok(())
}

/// What is asked for, if it is a new cluster.
fn spec(told: &Up) -> ClusterSpec {
    let mut spec = ClusterSpec::new(&told.name, told.nodes.unwrap_or(1));
    spec.provider = told.provider.unwrap_or(ProviderName::Qemu);
    for machine in &mut spec.machines {
        machine.memory_mib = told.memory.unwrap_or(machine.memory_mib);
    }
    spec
}

/// A cluster that exists: onto what was built now, if that differs from what it runs.
fn renew(mut cluster: Cluster, artifacts: Artifacts, told: &Up) -> Result<Cluster> {
    let spec = &cluster.plan().spec;
    let is_same = told.nodes.is_none_or(|nodes| nodes == spec.machines.len())
        && told.provider.is_none_or(|provider| provider == spec.provider)
        && told
            .memory
            .is_none_or(|memory| spec.machines.iter().all(|machine| machine.memory_mib == memory));
    ensure!(
        is_same,
        "cluster {} exists with {} machines of provider {}: remove it first with `cargo down -- --name {0}`, or choose another --name",
        spec.name,
        spec.machines.len(),
        spec.provider
    );
    if cluster.plan().artifacts == artifacts {
        eprintln!("cluster {} has this image already", told.name);
        return Ok(cluster);
    }
    eprintln!("cluster {} starts again with the new image", told.name);
    cluster.renew(artifacts, told.keep)?;
    Ok(cluster)
}

fn print_stations(stations: &[timeline::Station]) {
    println!();
    for station in stations {
        println!("{:>8.1} s  {}", station.after.as_secs_f64(), station.name);
    }
}

fn print_next(cluster: &Cluster) {
    println!(
        "
Next, with your own kubectl or with `pintlectl kubectl`:
  kubectl get nodes,pods -A -o wide
  kubectl logs -f demo
  kubectl exec -it demo -- sh
  kubectl run web --image {}
The serial console: {}
The end: cargo down -- --name {}

export KUBECONFIG={}",
        oci_images::reference("httpd"),
        cluster.machine(0).plan().console.display(),
        cluster.plan().spec.name,
        cluster.folder().kubeconfig().display()
    );
}
