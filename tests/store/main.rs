//! The suite of all store engines, over the real etcd of the tools tree, and what only etcd can do: go away and come back.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

#[path = "../../control/store/tests/suite/mod.rs"]
mod suite;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::net::TcpListener;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use store::{EtcdOptions, Expect, Store, Write, snapshot};
use tempfile::TempDir;

/// Longer than etcd takes to start on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// A real etcd, ended with the test.
struct Etcd {
    child: Child,
    data: TempDir,
    client: u16,
    peer: u16,
    prefixes: AtomicU32,
}

/// A prefix of its own in it.
struct Prefix(EtcdOptions);

impl suite::Place for Prefix {
    async fn open(&self) -> Store {
        let deadline = Instant::now() + DEADLINE;
        loop {
            match Store::connect(&self.0).await {
                Ok(store) => return store,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Etcd {
    fn start() -> Etcd {
        let data = tempfile::tempdir().unwrap();
        // Both held at once, so that they differ.
        let [client, peer] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let (client, peer) = (client.local_addr().unwrap().port(), peer.local_addr().unwrap().port());
        let child = spawn(&data, client, peer);
        Etcd {
            child,
            data,
            client,
            peer,
            prefixes: AtomicU32::new(0),
        }
    }

    fn place(&self) -> Prefix {
        let number = self.prefixes.fetch_add(1, Ordering::Relaxed);
        Prefix(EtcdOptions {
            endpoints: vec![format!("http://127.0.0.1:{}", self.client)],
            prefix: format!("/test-{number}"),
        })
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn restart(&mut self) {
        self.child = spawn(&self.data, self.client, self.peer);
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(data: &TempDir, client: u16, peer: u16) -> Child {
    let tools = image::ToolsTree::ensure(&image::Progress::new()).unwrap();
    let (client, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
    tools
        .command("etcd")
        .arg("--data-dir")
        .arg(data.path())
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("default={peer}"), "--log-level", "error"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn put(key: &str) -> Write {
    Write {
        key: key.to_owned(),
        expect: Expect::Anything,
        value: Some("v".into()),
        durable: true,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_engine_keeps_the_same_promises() {
    let etcd = Etcd::start();
    suite::crowd(&etcd.place()).await;
    suite::snapshots(&etcd.place()).await;
    let mut runner = TestRunner::default();
    for _ in 0..12 {
        let steps = proptest::collection::vec(suite::step(), 1..60);
        let steps = steps.new_tree(&mut runner).unwrap().current();
        suite::run(&etcd.place(), steps).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_see_each_others_writes_and_only_one_wins() {
    let etcd = Etcd::start();
    let place = etcd.place();
    let (one, other) = (suite::Place::open(&place).await, suite::Place::open(&place).await);
    let from = other.revision();
    let mut watch = other.watch("/", from).unwrap();
    let change = one.write(put("/a")).await.unwrap();
    let seen = tokio::time::timeout(DEADLINE, watch.next()).await.unwrap().unwrap();
    assert_eq!(**seen, change);
    let contested = |store: &Store| {
        let write = Write {
            expect: Expect::At(change.revision),
            ..put("/a")
        };
        let store = store.clone();
        tokio::spawn(async move { store.write(write).await.is_ok() })
    };
    let (first, second) = (contested(&one), contested(&other));
    assert_ne!(first.await.unwrap(), second.await.unwrap(), "one of two wins");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_etcd_that_was_away_loses_nothing_and_is_found_again() {
    let mut etcd = Etcd::start();
    let store = suite::Place::open(&etcd.place()).await;
    let kept = store.write(put("/kept")).await.unwrap();
    let mut watch = store.watch("/", kept.revision).unwrap();
    etcd.kill();
    let refused = store.write(put("/lost")).await.unwrap_err();
    assert!(refused.to_string().contains("see whether it runs"), "{refused}");
    assert_eq!(store.get("/kept").unwrap().modified, kept.revision, "reads go on");
    etcd.restart();
    let deadline = Instant::now() + DEADLINE;
    while let Err(error) = store.write(put("/back")).await {
        assert!(Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut keys = Vec::new();
    while keys.last().is_none_or(|key| key != "/back") {
        let change = tokio::time::timeout(DEADLINE, watch.next()).await.unwrap().unwrap();
        keys.push(change.entry.key.to_string());
    }
    assert!(store.get("/kept").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_moves_from_one_engine_to_the_other() {
    let etcd = Etcd::start();
    let folder = tempfile::tempdir().unwrap();
    let embedded = Store::open(folder.path()).unwrap();
    for number in 0..300 {
        embedded.write(put(&format!("/pods/a/{number}"))).await.unwrap();
    }
    let mut reader = snapshot::Reader::default();
    snapshot::encode(embedded.range("", None, 0)).for_each(|piece| reader.push(&piece).unwrap());
    let moved = suite::Place::open(&etcd.place()).await;
    let restored = moved.restore(reader.finish().unwrap()).await.unwrap();
    assert_eq!(restored.written, 300);
    let values = |store: &Store| {
        let entries = store.range("/", None, 0).entries;
        entries
            .iter()
            .map(|entry| (entry.key.clone(), entry.value.clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(values(&moved), values(&embedded));
}
