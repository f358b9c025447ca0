//! The pods bound to this node, made real: desired state in, plans down, status up.

mod admit;
mod backoff;
pub mod cpus;
mod decide;
pub mod directory;
pub mod events;
pub mod eviction;
pub mod groups;
mod hooks;
pub mod host;
mod hostname;
pub mod image_check;
pub mod image_gc;
pub mod images;
pub mod ledger;
pub mod objects;
mod observed;
pub mod plan;
pub mod probes;
pub mod quantity;
pub mod shutdown;
mod spec;
pub mod starts;
pub mod static_pods;
mod status;
pub mod tokens;
pub mod topology;
pub mod users;
pub mod volumes;
mod worker;

use client::{Api, Cache, ListOptions, Update};
use host::Host;
use k8s_openapi::api::core::v1::Pod;
use static_pods::{StaticPods, is_mirror};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use worker::{Input, Worker};

/// How long an orphan's containers get between SIGTERM and SIGKILL: the API's default grace, since nobody knows theirs.
const ORPHAN_GRACE: Duration = Duration::from_secs(30);

/// Workers, by the pod's UID.
type Workers = BTreeMap<String, mpsc::UnboundedSender<Input>>;

pub use spec::any_container as container_of;
pub use status::waiting_reason;

/// Makes every pod bound to this node real, for ever. Pods that outlived an agent are taken over as they run; those that
/// the API no longer has are stopped, but only once the API has said so.
pub async fn run(host: Arc<Host>) {
    let mut adopted = adopt(&host).await;
    let mut static_pods = StaticPods::start(&host, &mut adopted);
    let options = ListOptions {
        field_selector: format!("spec.nodeName={}", host.machine.node),
        ..ListOptions::default()
    };
    let api = Api::<Pod>::all(host.transport.clone());
    let cache = Cache::start(api, options, CancellationToken::new());
    tokio::select! {
        _ = cache.ready() => {}
        never = static_pods.follow() => match never {},
    }
    let of_api = cache.list();
    let of_api = of_api.iter().filter(|pod| !is_mirror(pod));
    let mut wanted: BTreeSet<String> = of_api.filter_map(|pod| pod.metadata.uid.clone()).collect();
    wanted.extend(host.mirrors.uids());
    tracing::info!(
        wanted = wanted.len(),
        running = adopted.len(),
        "pods of this node are known"
    );
    remove_orphans(&host, &mut adopted, &wanted).await;
    keep_places(&host, &cache.list());
    let mut changes = cache.follow();
    let mut workers = Workers::new();
    // What follows begins with all that there is.
    host.mirrors.listed();
    loop {
        let update = tokio::select! {
            update = changes.recv() => update,
            never = static_pods.follow() => match never {},
        };
        let Some(update) = update else { return };
        take(&host, &mut workers, &mut adopted, update).await;
        workers.retain(|_, inputs| !inputs.is_closed());
    }
}

/// Pods that were taken before this agent began keep their places, whoever comes first now.
fn keep_places(host: &Host, pods: &[Arc<Pod>]) {
    for pod in pods.iter().filter(|pod| !is_mirror(pod)) {
        let Some((spec, status)) = pod.spec.as_ref().zip(pod.status.as_ref()) else {
            continue;
        };
        let is_over = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
        if status.start_time.is_some() && !is_over {
            // Nobody hears this one; the pod's worker takes the place over.
            let (worker, _) = mpsc::unbounded_channel();
            host.ledger.take(pod.clone(), plan::requests::requests(spec), worker);
        }
    }
}

/// What runs already, by the pod's UID.
async fn adopt(host: &Host) -> BTreeMap<String, sandbox::Pod> {
    loop {
        match host.sandboxes.adopt_all().await {
            Ok(found) => {
                let by_uid = found.into_iter().map(|(plan, pod)| {
                    let uid = plan.labels.get(plan::LABEL_UID).cloned();
                    let uid = uid.unwrap_or(plan.id);
                    if let Some(users) = plan.users {
                        host.users.keep(&uid, users);
                    }
                    (uid, pod)
                });
                return by_uid.collect();
            }
            Err(error) => {
                tracing::error!(%error, "running pods cannot be found, trying again");
                tokio::time::sleep(Duration::from_secs(5)).await;
            }
        }
    }
}

async fn take(
    host: &Arc<Host>,
    workers: &mut Workers,
    adopted: &mut BTreeMap<String, sandbox::Pod>,
    update: Update<Pod>,
) {
    host.mirrors.take(&update);
    let uid = |pod: &Arc<Pod>| pod.metadata.uid.clone().unwrap_or_default();
    if let Some(before) = &update.before
        && update.now.as_ref().is_none_or(|now| uid(now) != uid(before))
        && let Some(inputs) = workers.get(&uid(before))
    {
        let _ = inputs.send(Input::Gone);
    }
    let Some(now) = update.now.filter(|now| !is_mirror(now)) else {
        return;
    };
    if let Some(inputs) = workers.get(&uid(&now))
        && inputs.send(Input::Desired(now.clone())).is_ok()
    {
        return;
    }
    let sandbox = adopted.remove(&uid(&now));
    let (worker, inputs) = Worker::new(host.clone(), now.clone(), sandbox).await;
    workers.insert(uid(&now), inputs);
    tokio::spawn(worker.run());
}

/// Stops pods that nobody wants and removes what former ones left.
async fn remove_orphans(host: &Arc<Host>, adopted: &mut BTreeMap<String, sandbox::Pod>, wanted: &BTreeSet<String>) {
    let mut known = wanted.clone();
    for (uid, sandbox) in adopted.extract_if(.., |uid, _| !wanted.contains(uid)) {
        tracing::info!(uid, "the API has no such pod, stopping it");
        known.insert(uid.clone());
        let host = host.clone();
        tokio::spawn(async move { stop_orphan(&host, &uid, &sandbox).await });
    }
    let mut kept: Vec<String> = wanted.iter().cloned().collect();
    kept.extend(crate::cri::address_owners(&host.paths));
    if let Err(error) = host.network.keep_only(&kept).await {
        tracing::warn!(%error, "addresses of former pods not taken back");
    }
    host.devices.keep_only(wanted);
    // An orphan's are removed when it has stopped: until then it uses them.
    let folders = [&host.paths.kubelet, &host.paths.pods].into_iter();
    let left: BTreeSet<String> = folders.flat_map(|folder| names_in(folder)).collect();
    for uid in left.into_iter().filter(|uid| !known.contains(uid)) {
        forget(host, uid);
    }
    let of_cri = crate::cri::pod_uids(&host.paths);
    for name in names_in(&host.paths.logs) {
        let uid = name.rsplit_once('_').map(|(_, uid)| uid);
        let is_known = uid.is_some_and(|uid| known.contains(uid) || of_cri.contains(uid));
        if !is_known {
            let _ = fs::remove_dir_all(host.paths.logs.join(name));
        }
    }
}

async fn stop_orphan(host: &Arc<Host>, uid: &str, sandbox: &sandbox::Pod) {
    for state in sandbox.states().await.unwrap_or_default() {
        if state.ended.is_none() {
            let _ = sandbox.stop(&state.name, nix::libc::SIGTERM, ORPHAN_GRACE).await;
        }
    }
    if let Err(error) = sandbox.destroy().await {
        tracing::warn!(uid, %error, "orphan not taken down");
    }
    let _ = host.network.take_back(uid).await;
    forget(host, uid.to_owned());
}

/// Removes what is left of a pod that the API does not have, once whoever brought its volumes has let go of them.
fn forget(host: &Arc<Host>, uid: String) {
    let none = host.paths.logs.join("none");
    if !host.serves_volumes(&uid) {
        return remove_traces(host, &uid, &none);
    }
    let host = host.clone();
    tokio::spawn(async move {
        let told =
            |why: String| tracing::warn!(uid, why, "a volume of a former pod is not unmounted yet, trying again");
        host.release_volumes(&uid, told).await;
        remove_traces(&host, &uid, &none);
    });
}

/// Everything of a pod that is on disk, its logs included.
fn remove_traces(host: &Host, uid: &str, logs: &Path) {
    let dir = host.pod_dir(uid);
    host.drivers.forget(uid);
    host.forget_objects(uid);
    if let Err(error) = volumes::take_away(&dir) {
        tracing::warn!(uid, %error, "volumes not taken away");
        return;
    }
    for folder in [&dir, &host.scratch_dir(uid), logs] {
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(uid, folder = %folder.display(), %error, "not removed");
            }
            Err(_) | Ok(()) => {}
        }
    }
    host.users.take_back(uid);
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}
