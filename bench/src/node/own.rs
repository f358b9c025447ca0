//! Pintle's sandbox: a container more in a pod that is there, and a pod of its own for each container.

use super::{Asked, CAPABILITIES, CPU_WEIGHT, MASKED, MEMORY_MAX, PIDS_MAX, READONLY};
use crate::latency::Latencies;
use crate::report::Report;
use crate::target::progress;
use anyhow::{Context, ensure};
use sandbox::{ContainerPlan, Ipc, Limits, Network, Pod, PodPlan, Processes, Root, Sandboxes, Seccomp, Settings, User};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

pub async fn measure(asked: &Asked, folder: &Path, report: &mut Report) -> anyhow::Result<()> {
    let sandboxes = Sandboxes::open(Settings {
        root: folder.join("run"),
        cgroups: asked.cgroups.clone(),
        pod_init: asked.pod_init.clone(),
    })?;
    in_one_pod(asked, folder, &sandboxes, report).await?;
    in_pods_of_their_own(asked, folder, &sandboxes, report).await
}

async fn in_one_pod(asked: &Asked, folder: &Path, sandboxes: &Sandboxes, report: &mut Report) -> anyhow::Result<()> {
    let pod = sandboxes.start(&pod_plan("one")).await?;
    let bar = progress("containers in one pod", asked.rounds as u64);
    let mut latencies = Latencies::default();
    let begun = Instant::now();
    for round in 0..asked.rounds {
        let attempt = u32::try_from(round).context("count the rounds")?;
        let plan = container_plan(asked, folder, "one", attempt);
        let started = Instant::now();
        run(&pod, &plan).await?;
        pod.remove_container(&plan.name, attempt).await?;
        latencies.push(started.elapsed());
        bar.inc(1);
    }
    let elapsed = begun.elapsed();
    bar.finish_and_clear();
    pod.destroy().await?;
    latencies.report("pintle: container", elapsed, report);
    Ok(())
}

async fn in_pods_of_their_own(
    asked: &Asked,
    folder: &Path,
    sandboxes: &Sandboxes,
    report: &mut Report,
) -> anyhow::Result<()> {
    let bar = progress("pods with a container each", asked.rounds as u64);
    let mut latencies = Latencies::default();
    let begun = Instant::now();
    for round in 0..asked.rounds {
        let id = format!("own-{round}");
        let plan = container_plan(asked, folder, &id, 0);
        let started = Instant::now();
        let pod = sandboxes.start(&pod_plan(&id)).await?;
        run(&pod, &plan).await?;
        pod.destroy().await?;
        latencies.push(started.elapsed());
        bar.inc(1);
    }
    let elapsed = begun.elapsed();
    bar.finish_and_clear();
    latencies.report("pintle: pod and container", elapsed, report);
    Ok(())
}

/// Starts a container and waits for its end.
async fn run(pod: &Pod, plan: &ContainerPlan) -> anyhow::Result<()> {
    let mut events = pod.subscribe().await?;
    pod.start_container(plan).await?;
    loop {
        let state = events.next().await.context("the pod's supervisor is gone")?;
        if state.name == plan.name
            && state.attempt == plan.attempt
            && let Some(ended) = state.ended
        {
            ensure!(ended.exit_code == 0, "/bin/true ended with {}", ended.exit_code);
            return Ok(());
        }
    }
}

fn pod_plan(id: &str) -> PodPlan {
    PodPlan {
        id: format!("bench-{id}"),
        hostname: "bench".to_owned(),
        network: Network::Own,
        ipc: Ipc::Own,
        users: None,
        cgroup: PathBuf::from("pintle-bench").join(id),
        limits: Limits::default(),
        sysctls: Vec::new(),
        labels: BTreeMap::new(),
    }
}

fn container_plan(asked: &Asked, folder: &Path, pod: &str, attempt: u32) -> ContainerPlan {
    ContainerPlan {
        name: "main".to_owned(),
        attempt,
        root: Root {
            lower: vec![asked.rootfs.clone()],
            scratch: folder.join("scratch").join(pod).join(attempt.to_string()),
            readonly: true,
        },
        mounts: Vec::new(),
        argv: vec!["/bin/true".to_owned()],
        env: vec![("PATH".to_owned(), "/bin".to_owned())],
        cwd: "/".into(),
        processes: Processes::Own,
        user: User {
            uid: 0,
            gid: 0,
            groups: Vec::new(),
        },
        capabilities: CAPABILITIES.map(str::to_owned).to_vec(),
        ambient: Vec::new(),
        no_new_privs: true,
        seccomp: Seccomp::RuntimeDefault,
        masked_paths: MASKED.map(PathBuf::from).to_vec(),
        readonly_paths: READONLY.map(PathBuf::from).to_vec(),
        limits: Limits {
            cpu_weight: Some(CPU_WEIGHT),
            memory_max: Some(MEMORY_MAX),
            pids_max: Some(PIDS_MAX),
            ..Limits::default()
        },
        oom_score_adj: 0,
        log: folder.join("logs").join(pod).join(format!("{attempt}.log")),
        tty: false,
        stdin: false,
        stdin_once: false,
        privileged: false,
    }
}
