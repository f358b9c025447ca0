//! A machine that loses power in the middle of writes comes back with every one that it acknowledged, and with the config that
//! its firmware gave it the first time.

use qemu::kubernetes::Kubernetes;
use qemu::testing::{HEALTHY_DEADLINE, cluster};
use qemu::{Cluster, ClusterSpec, wait};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// Cuts where nobody asks for more; `PINTLE_POWER_CUTS` does.
const CUTS: u64 = 2;
/// Connections that write at once.
const WRITERS: u64 = 4;
/// Writes that were acknowledged before the power may go, so that each cut has something to lose.
const ACKNOWLEDGED: usize = 20;

/// What was acknowledged: names that are there, and names that were deleted. What got no answer is in neither.
#[derive(Default)]
struct Promised {
    present: BTreeSet<String>,
    gone: BTreeSet<String>,
}

#[test]
fn acknowledged_writes_survive_power_cuts() {
    let cuts = std::env::var("PINTLE_POWER_CUTS").map_or(CUTS, |cuts| cuts.parse().unwrap());
    let cluster = cluster(ClusterSpec::new("cut", 1)).unwrap();
    cluster.wait_healthy(HEALTHY_DEADLINE).unwrap();
    let machine = cluster.machine(0);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let promised = Arc::new(Mutex::new(Promised::default()));
    for cut in 0..cuts {
        let written = runtime.block_on(write_until_cut(&cluster, cut, &promised));
        machine.power_on().unwrap();
        let present = runtime.block_on(present(&cluster));
        let promised = promised.lock().unwrap();
        let lost: Vec<_> = promised.present.difference(&present).collect();
        let risen: Vec<_> = promised.gone.intersection(&present).collect();
        assert!(
            lost.is_empty() && risen.is_empty(),
            "cut {cut}: lost {lost:?}, deleted but there again {risen:?}"
        );
        println!(
            "cut {cut}: {written} writes acknowledged, {} objects there",
            present.len()
        );
    }
    cluster.wait_healthy(HEALTHY_DEADLINE).unwrap();
    cluster.remove().unwrap();
}

/// Cuts the power while writers write; how many of their writes were acknowledged.
async fn write_until_cut(cluster: &Cluster, cut: u64, promised: &Arc<Mutex<Promised>>) -> usize {
    let stop = Arc::new(AtomicBool::new(false));
    let before = promised.lock().unwrap().count();
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let (api, stop, promised) = (cluster.kubernetes().unwrap(), stop.clone(), promised.clone());
        writers.push(tokio::spawn(async move {
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                write(
                    &api,
                    &format!("cut-{cut}-{writer}-{number}"),
                    number % 3 == 2,
                    &promised,
                )
                .await;
                number += 1;
            }
        }));
    }
    let acknowledged = || promised.lock().unwrap().count() - before;
    tokio::task::block_in_place(|| {
        let enough = || {
            (acknowledged() >= ACKNOWLEDGED)
                .then_some(())
                .ok_or_else(|| format!("{}", acknowledged()))
        };
        wait::until("writes to be acknowledged", crate::DEADLINE, enough).unwrap();
        // Not always at the same place of the store's round of writes.
        std::thread::sleep(Duration::from_millis(cut * 37 % 500));
        cluster.machine(0).power_cut().unwrap();
    });
    if cut == 0 {
        // What the firmware has now is no config: the machine must not need it any more.
        for name in ["config.toml", "secrets.toml"] {
            std::fs::write(cluster.machine(0).plan().folder.join(name), "gone").unwrap();
        }
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    acknowledged()
}

/// Creates an object, and deletes it again if asked.
async fn write(api: &Kubernetes, name: &str, delete: bool, promised: &Mutex<Promised>) {
    let object = json!({"metadata": {"name": name}, "data": {"a": "b"}});
    if !matches!(api.create(MAPS, &object).await, Ok(reply) if reply.status.is_success()) {
        return;
    }
    promised.lock().unwrap().present.insert(name.to_owned());
    if delete {
        // Until it is answered, nobody knows.
        promised.lock().unwrap().present.remove(name);
        if matches!(api.delete(&format!("{MAPS}/{name}")).await, Ok(reply) if reply.status.is_success()) {
            promised.lock().unwrap().gone.insert(name.to_owned());
        }
    }
}

/// The names that are there, once the API server answers again.
async fn present(cluster: &Cluster) -> BTreeSet<String> {
    let api = cluster.kubernetes().unwrap();
    let deadline = tokio::time::Instant::now() + HEALTHY_DEADLINE;
    let list = loop {
        match api.object(MAPS).await {
            Ok(list) => break list,
            Err(why) if tokio::time::Instant::now() > deadline => panic!("after the power came back: {why:#}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    };
    let name = |item: &Value| item["metadata"]["name"].as_str().map(str::to_owned);
    list["items"].as_array().unwrap().iter().filter_map(name).collect()
}

// === impl Promised ===

impl Promised {
    fn count(&self) -> usize {
        self.present.len() + self.gone.len()
    }
}
