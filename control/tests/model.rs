//! The API's promises under load and kills: writes to an object have one order, no acknowledged write is lost, nobody reads
//! backwards, and a watch tells each change once and in order.
//!
//! A run is a few rounds: clients write and read at random, then the server is killed, in the middle of it every other time,
//! and started again on its data. `PINTLE_MODEL_KILLS` asks for more rounds, `PINTLE_MODEL_SEED` for a run that was seen.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

mod child;
mod model_parts;

use child::{Control, DEADLINE, send};
use http::Method;
use model_parts::client::Worker;
use model_parts::history::History;
use model_parts::random::Random;
use model_parts::watcher::Watcher;
use model_parts::{MAPS, NAMES};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Connections that write and read.
const WORKERS: u64 = 6;
/// Connections that watch from a round's beginning.
const WATCHERS: usize = 2;
/// Rounds where nobody asks for more: with a start of a second in a debug build well below half a minute.
const KILLS: u64 = 8;
/// A start on a busy machine takes seconds; past this no further round begins unless rounds were asked for.
const ENOUGH: Duration = Duration::from_secs(20);

fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_apis_promises_hold_under_load_and_kills() {
    let seed = asked("PINTLE_MODEL_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let kills = asked("PINTLE_MODEL_KILLS");
    println!("PINTLE_MODEL_SEED={seed}");
    let mut random = Random::new(seed);
    let folder = TempDir::new().unwrap();
    let history = Arc::new(History::default());
    let (began, mut rounds, mut mid_load) = (Instant::now(), 0, 0);
    let mut control = Control::start(folder.path()).await;
    while rounds < kills.unwrap_or(KILLS) && (kills.is_some() || began.elapsed() < ENOUGH) {
        let in_the_middle = rounds % 2 == 1;
        control = round(control, folder.path(), &history, &mut random, in_the_middle).await;
        rounds += 1;
        mid_load += u64::from(in_the_middle);
    }
    let counts = history.counts();
    println!(
        "{rounds} kills, {mid_load} of them under load, in {:?}: {counts}",
        began.elapsed()
    );
    assert!(counts.acknowledged > 0 && counts.events > 0);
}

/// Load, a kill, a start, and everything that must hold then.
async fn round(
    control: Control,
    data: &std::path::Path,
    history: &Arc<History>,
    random: &mut Random,
    in_the_middle: bool,
) -> Control {
    let client = control.client();
    let list = send(&client, Method::GET, MAPS, &Value::Null).await;
    history.settle(&list.body);
    let mut watchers = Vec::new();
    for _ in 0..WATCHERS {
        watchers.push(Watcher::begin(&control, true).await);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let workers = (0..WORKERS).map(|_| {
        let worker = Worker::new(control.client(), history.clone(), random.next());
        tokio::spawn(worker.run(stop.clone()))
    });
    let workers: Vec<_> = workers.collect();
    tokio::time::sleep(Duration::from_millis(100 + random.below(300))).await;
    watchers.push(Watcher::begin(&control, false).await);
    tokio::time::sleep(Duration::from_millis(100 + random.below(300))).await;
    if in_the_middle {
        control.kill();
        stop.store(true, Ordering::Relaxed);
        join(workers).await;
    } else {
        stop.store(true, Ordering::Relaxed);
        join(workers).await;
        let name = format!("fence-{}", random.next());
        let fence = json!({"metadata": {"name": name}, "data": {"stamp": "fence"}});
        let made = send(&client, Method::POST, MAPS, &fence).await;
        assert_eq!(made.code, 201, "{}", made.body);
        for watcher in &mut watchers {
            watcher.until(&name).await;
        }
        control.kill();
    }
    for watcher in watchers {
        let told = watcher.end().await;
        history.check_watch(&told, !in_the_middle);
    }
    let control = Control::start(data).await;
    let list = send(&control.client(), Method::GET, MAPS, &Value::Null).await;
    assert_eq!(list.code, 200, "{}", list.body);
    history.check_survivors(&list.body);
    // Names that nobody writes to any more would only make lists longer.
    for item in list.body["items"].as_array().unwrap() {
        let name = item["metadata"]["name"].as_str().unwrap();
        if !NAMES.contains(&name) && name.starts_with("fence-") {
            send(
                &control.client(),
                Method::DELETE,
                &format!("{MAPS}/{name}"),
                &Value::Null,
            )
            .await;
        }
    }
    control
}

async fn join(workers: Vec<tokio::task::JoinHandle<()>>) {
    for worker in workers {
        tokio::time::timeout(DEADLINE, worker)
            .await
            .expect("a worker ends")
            .unwrap();
    }
}
