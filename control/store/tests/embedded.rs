//! The suite of all engines, over the embedded one.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

mod suite;

use proptest::collection::vec;
use proptest::prelude::*;
use store::Store;
use tempfile::TempDir;

struct Folder(TempDir);

impl suite::Place for Folder {
    async fn open(&self) -> Store {
        Store::open(self.0.path()).unwrap()
    }
}

fn folder() -> Folder {
    Folder(tempfile::tempdir().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_store_is_an_ordered_map_with_history(steps in vec(suite::step(), 1..80)) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(suite::run(&folder(), steps));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_and_watchers_at_once_miss_and_repeat_nothing() {
    suite::crowd(&folder()).await;
}

#[tokio::test]
async fn a_snapshot_can_be_restored() {
    suite::snapshots(&folder()).await;
}
