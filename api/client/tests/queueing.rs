//! The work queue gives each key to one worker at a time, once for many askings, and again later after failures.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

use client::{Queue, work};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

#[tokio::test(start_paused = true)]
async fn askings_before_the_work_are_one_and_during_it_one_more() {
    let queue = Queue::new();
    queue.add("a");
    queue.add("a");
    queue.add("b");
    assert_eq!(queue.next().await, "a");
    queue.add("a");
    queue.add("a");
    assert_eq!(queue.next().await, "b");
    assert!(queue.is_empty(), "a is being worked on");
    queue.done(&"a");
    assert_eq!(queue.next().await, "a");
    queue.done(&"a");
    assert!(queue.is_empty());
}

#[tokio::test(start_paused = true)]
async fn failures_wait_longer_each_time_until_forgotten() {
    let queue = Queue::new();
    let start = tokio::time::Instant::now();
    let mut waits = Vec::new();
    for failure in 0..5 {
        if failure == 4 {
            queue.forget(&"a");
        }
        let before = start.elapsed();
        queue.add_after_failure("a");
        assert_eq!(queue.next().await, "a");
        queue.done(&"a");
        waits.push((start.elapsed() - before).as_millis() / 5);
    }
    assert_eq!(waits, [1, 2, 4, 8, 1]);
}

#[tokio::test(start_paused = true)]
async fn an_earlier_asking_overtakes_a_later_one() {
    let queue = Queue::new();
    queue.add_after("late", Duration::from_secs(60));
    queue.add_after("soon", Duration::from_secs(1));
    assert_eq!(queue.next().await, "soon");
    queue.add("now");
    assert_eq!(queue.next().await, "now");
    assert_eq!(queue.next().await, "late");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_workers_do_all_and_never_two_the_same() {
    let queue = Queue::<usize>::new();
    let stop = CancellationToken::new();
    let working = Arc::new(Mutex::new(HashMap::<usize, usize>::new()));
    let done = Arc::new(AtomicUsize::new(0));
    let worker = {
        let (queue, stop, done, working) = (queue.clone(), stop.clone(), done.clone(), working.clone());
        tokio::spawn(async move {
            let reconcile = move |key: usize| {
                let (done, working) = (done.clone(), working.clone());
                async move {
                    assert!(working.lock().unwrap().insert(key, key).is_none(), "two at once");
                    tokio::task::yield_now().await;
                    working.lock().unwrap().remove(&key);
                    // Each fails the first time.
                    if done.fetch_add(1, Ordering::SeqCst) < 50 {
                        Err("not yet")
                    } else {
                        Ok(())
                    }
                }
            };
            work("test", &queue, 8, &stop, reconcile).await;
        })
    };
    (0..50).for_each(|key| queue.add(key));
    let all = async {
        while done.load(Ordering::SeqCst) < 100 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), all).await.unwrap();
    stop.cancel();
    worker.await.unwrap();
}
