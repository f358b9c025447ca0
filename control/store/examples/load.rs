//! Measures the store: `cargo run --release -p store --example load -- [folder] [objects]`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use store::{Expect, Store, Write};

const VALUE: usize = 2048;

fn put(key: String, durable: bool) -> Write {
    Write {
        key,
        expect: Expect::Anything,
        value: Some(vec![b'x'; VALUE].into()),
        durable,
    }
}

#[tokio::main]
async fn main() {
    let mut args = std::env::args().skip(1);
    let dir = args
        .next()
        .map_or_else(std::env::temp_dir, PathBuf::from)
        .join("store-load");
    let objects: u64 = args.next().and_then(|count| count.parse().ok()).unwrap_or(100_000);
    let _ = std::fs::remove_dir_all(&dir);
    let store = Store::open(&dir).expect("open");
    for (clients, durable) in [(1, true), (8, true), (64, true), (512, true), (64, false)] {
        writes(&store, clients, durable).await;
    }
    fill(&store, objects).await;
    ranges(&store, objects);
    fan_out(&store).await;
    drop(store);
    let started = Instant::now();
    let store = Store::open(&dir).expect("open again");
    println!(
        "open with {} objects: {:?}",
        store.range("/", None, 1).remaining + 1,
        started.elapsed()
    );
    drop(store);
    let _ = std::fs::remove_dir_all(&dir);
}

async fn writes(store: &Store, clients: u64, durable: bool) {
    let (started, window) = (Instant::now(), Duration::from_secs(2));
    let tasks: Vec<_> = (0..clients)
        .map(|client| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut times = Vec::new();
                while started.elapsed() < window {
                    let begun = Instant::now();
                    store
                        .write(put(format!("/w/{client}/{}", times.len() % 100), durable))
                        .await
                        .expect("write");
                    times.push(begun.elapsed());
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.expect("a writer"));
    }
    times.sort();
    let rate = times.len() as f64 / window.as_secs_f64();
    println!(
        "{clients:4} writers, durable {durable:5}: {rate:8.0} writes/s, p50 {:?}, p99 {:?}",
        times[times.len() / 2],
        times[times.len() * 99 / 100]
    );
}

async fn fill(store: &Store, objects: u64) {
    let (started, next) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let tasks: Vec<_> = (0..256)
        .map(|_| {
            let (store, next) = (store.clone(), next.clone());
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= objects {
                        return;
                    }
                    store
                        .write(put(format!("/pods/ns-{}/pod-{number:07}", number % 100), true))
                        .await
                        .expect("write");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("a writer");
    }
    println!("{objects} objects created in {:?}", started.elapsed());
}

fn ranges(store: &Store, objects: u64) {
    let started = Instant::now();
    assert_eq!(store.range("/pods/", None, 0).entries.len() as u64, objects);
    println!("range of {objects} objects: {:?}", started.elapsed());
    let started = Instant::now();
    let page = store.range("/pods/", Some("/pods/ns-50/"), 500);
    println!(
        "page of {} objects of {objects}: {:?}",
        page.entries.len(),
        started.elapsed()
    );
}

async fn fan_out(store: &Store) {
    let (watchers, changes) = (1000, 1000);
    let from = store.revision();
    let tasks: Vec<_> = (0..watchers)
        .map(|_| {
            let mut watch = store.watch("/fan/", from).expect("watch");
            tokio::spawn(async move {
                let mut seen = 0;
                while seen < changes {
                    seen += watch.next_batch(256).await.expect("not cut off").len();
                }
            })
        })
        .collect();
    let started = Instant::now();
    for number in 0..changes {
        store.write(put(format!("/fan/{number}"), false)).await.expect("write");
    }
    for task in tasks {
        task.await.expect("a watcher");
    }
    let events = (watchers * changes) as f64 / started.elapsed().as_secs_f64();
    println!("{watchers} watchers × {changes} changes: {events:.0} events/s");
}
