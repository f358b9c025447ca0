//! Attaching to a container: seeing what it writes, writing to it, going and coming back, also as another agent.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

mod world;

use sandbox::{Exec, Pod};
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use world::{DEADLINE, World, ended, log, world};

async fn start(
    world: &World,
    name: &str,
    script: &str,
    change: impl FnOnce(&mut sandbox::ContainerPlan),
) -> (Pod, std::path::PathBuf) {
    let pod = world.sandboxes.start(&world.pod(name)).await.unwrap();
    let mut plan = world.container(name, "main", script);
    change(&mut plan);
    pod.start_container(&plan).await.unwrap();
    (pod, plan.log)
}

async fn say(attached: &mut Exec, words: &str) {
    attached
        .stdin
        .as_mut()
        .unwrap()
        .write_all(words.as_bytes())
        .await
        .unwrap();
}

/// Reads until `words` have come.
async fn hear(from: &mut sandbox::Reader, words: &str) -> String {
    let mut heard = String::new();
    let reading = async {
        while !heard.contains(words) {
            let mut buffer = [0; 1024];
            let length = from.read(&mut buffer).await.unwrap();
            assert!(length > 0, "it ended after {heard:?}");
            heard.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
    };
    tokio::time::timeout(DEADLINE, reading)
        .await
        .unwrap_or_else(|_| panic!("{words:?} does not come"));
    heard
}

#[tokio::test]
async fn a_caller_comes_goes_and_comes_again_and_everything_is_logged() {
    let Some(world) = world("attach") else { return };
    let script = "while read line; do echo got $line; echo bad $line >&2; done; echo end of input";
    let (pod, path) = start(&world, "attach", script, |plan| plan.stdin = true).await;

    let mut first = pod.attach("main", true, true, true).await.unwrap();
    say(&mut first, "one\n").await;
    hear(first.stdout.as_mut().unwrap(), "got one\n").await;
    hear(first.stderr.as_mut().unwrap(), "bad one\n").await;
    drop(first.stdin.take());
    first.end_input().await.unwrap();
    drop(first);

    // As an agent that was started anew finds it.
    let adopted = world.sandboxes.adopt_all().await.unwrap().pop().unwrap().1;
    let mut second = adopted.attach("main", true, true, false).await.unwrap();
    assert!(second.stderr.is_none());
    let mut watcher = adopted.attach("main", false, true, true).await.unwrap();
    assert!(watcher.stdin.is_none());
    say(&mut second, "two\n").await;
    hear(second.stdout.as_mut().unwrap(), "got two\n").await;
    hear(watcher.stdout.as_mut().unwrap(), "got two\n").await;
    hear(watcher.stderr.as_mut().unwrap(), "bad two\n").await;

    pod.stop("main", 9, DEADLINE).await.unwrap();
    assert_eq!(watcher.wait().await.unwrap(), 137);
    let mut rest = String::new();
    watcher.stdout.take().unwrap().read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "");
    let said = log(&path);
    for line in ["stdout got one", "stderr bad one", "stdout got two", "stderr bad two"] {
        assert!(said.contains(line), "{line} is not in\n{said}");
    }
    assert!(pod.attach("main", true, true, true).await.is_err());
    assert!(pod.attach("nobody", true, true, true).await.is_err());
    pod.destroy().await.unwrap();
}

#[tokio::test]
async fn input_that_is_given_once_ends_with_its_caller() {
    let Some(world) = world("once") else { return };
    let (pod, path) = start(&world, "once", "cat; echo over", |plan| {
        (plan.stdin, plan.stdin_once) = (true, true)
    })
    .await;
    let mut attached = pod.attach("main", true, true, true).await.unwrap();
    say(&mut attached, "words").await;
    drop(attached.stdin.take());
    attached.end_input().await.unwrap();
    let mut out = String::new();
    attached.stdout.take().unwrap().read_to_string(&mut out).await.unwrap();
    assert_eq!(out, "wordsover\n");
    assert_eq!(attached.wait().await.unwrap(), 0);
    assert_eq!(log(&path), "stdout wordsover\n");

    // One that goes without a word ends it, too.
    pod.remove_container("main", 0).await.unwrap();
    let mut plan = world.container("once", "main", "cat; echo over");
    (plan.stdin, plan.stdin_once, plan.attempt) = (true, true, 1);
    pod.start_container(&plan).await.unwrap();
    drop(pod.attach("main", true, true, true).await.unwrap());
    assert_eq!(ended(&pod, "main").await.ended.unwrap().exit_code, 0);
    pod.destroy().await.unwrap();
}

#[tokio::test]
async fn a_terminal_is_attached_to_with_its_size() {
    let Some(world) = world("attach-tty") else { return };
    let change = |plan: &mut sandbox::ContainerPlan| (plan.tty, plan.stdin) = (true, true);
    let (pod, path) = start(
        &world,
        "attach-tty",
        "while read line; do stty size; echo got $line; done",
        change,
    )
    .await;
    for (rows, word) in [(40, "first"), (50, "second")] {
        let mut attached = pod.attach("main", true, true, true).await.unwrap();
        assert!(attached.stderr.is_none());
        attached.resize(rows, 120).unwrap();
        say(&mut attached, &format!("{word}\n")).await;
        let heard = hear(attached.stdout.as_mut().unwrap(), &format!("got {word}")).await;
        assert!(heard.contains(&format!("{rows} 120")), "{heard}");
    }
    assert!(log(&path).contains("stdout got second"));
    pod.destroy().await.unwrap();
}

#[tokio::test]
async fn a_slow_caller_loses_nothing_and_one_that_is_gone_holds_nothing_up() {
    let Some(world) = world("slow") else { return };
    let change = |plan: &mut sandbox::ContainerPlan| (plan.stdin, plan.stdin_once) = (true, true);
    let (pod, path) = start(&world, "slow", "cat > /dev/null; seq 1 100000", change).await;
    let mut slow = pod.attach("main", false, true, true).await.unwrap();
    let gone = pod.attach("main", true, true, true).await.unwrap();
    // Its input ends, so the numbers begin, and it never reads one of them.
    drop(gone);
    let mut out = Vec::new();
    let mut stdout = slow.stdout.take().unwrap();
    let asked = Instant::now();
    let mut buffer = [0; 700];
    while let Ok(length @ 1..) = stdout.read(&mut buffer).await {
        out.extend_from_slice(&buffer[..length]);
        assert!(asked.elapsed() < DEADLINE);
    }
    let lines: Vec<&str> = std::str::from_utf8(&out).unwrap().lines().collect();
    assert_eq!((lines.len(), lines[0], lines[99_999]), (100_000, "1", "100000"));
    assert!(log(&path).ends_with("stdout 100000\n"));
    pod.destroy().await.unwrap();
}
