//! Watchers get each change once and in order, whatever happens at the same time; those that do not read are cut off.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

use store::{Compacted, Expect, Lagged, Store, Write};

fn put(key: impl Into<String>, value: impl Into<Vec<u8>>, durable: bool) -> Write {
    Write {
        key: key.into(),
        expect: Expect::Anything,
        value: Some(value.into().into()),
        durable,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_increments_by_compare_and_swap_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.write(put("/count", "0", true)).await.unwrap();
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut done = 0;
                while done < 25 {
                    let entry = store.get("/count").unwrap();
                    let count: u64 = std::str::from_utf8(&entry.value).unwrap().parse().unwrap();
                    let mut write = put("/count", (count + 1).to_string(), true);
                    write.expect = Expect::At(entry.modified);
                    done += u64::from(store.write(write).await.is_ok());
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let entry = store.get("/count").unwrap();
    assert_eq!(&*entry.value, b"200");
    assert_eq!((entry.created, entry.modified), (1, 201));
}

#[tokio::test]
async fn a_watcher_that_does_not_read_is_cut_off_and_others_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let mut idle = store.watch("/busy/", 0).unwrap();
    let mut elsewhere = store.watch("/quiet/", 0).unwrap();
    let mut last = 0;
    while last < 17_000 {
        let writes = (0..1000).map(|_| store.write(put("/busy/key", "v", false)));
        last = futures(writes.collect()).await;
    }
    assert_eq!(idle.next().await.err(), Some(Lagged));
    assert_eq!(idle.next_batch(10).await.err(), Some(Lagged));
    assert_eq!(idle.progress(), None);
    store.write(put("/quiet/key", "v", false)).await.unwrap();
    assert_eq!(&*elsewhere.next().await.unwrap().entry.key, "/quiet/key");
}

async fn futures<F: Future<Output = Result<store::Change, store::WriteError>>>(writes: Vec<F>) -> u64 {
    let mut last = 0;
    for write in writes {
        last = write.await.unwrap().revision;
    }
    last
}

#[tokio::test]
async fn what_is_compacted_can_be_neither_watched_nor_read_and_what_is_not_can() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    for number in 1..=10 {
        store.write(put("/key", number.to_string(), true)).await.unwrap();
    }
    store.compact(6);
    assert_eq!(store.watch("/", 5).err(), Some(Compacted { asked: 5, compacted: 6 }));
    assert!(store.range_at("/", None, 0, 5).is_err());
    assert_eq!(&*store.range_at("/", None, 0, 6).unwrap().entries[0].value, b"6");
    assert_eq!(store.watch("/", 6).unwrap().next().await.unwrap().revision, 7);
    store.compact(1000);
    assert_eq!(store.compacted(), 10, "never past what there is");
    assert_eq!(store.watch("/", 10).unwrap().progress(), Some(10));
}
