//! What was acknowledged is there after SIGKILL and after a disk that was full; what was not never comes back half.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use store::{Expect, Store, Write, WriteError};

/// Names the folder, and so makes this program the child of the test of the same name.
const CHILD: &str = "STORE_TEST_DIR";

fn child_of(test: &str, dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn put(key: String, value: Vec<u8>, durable: bool) -> Write {
    Write {
        key,
        expect: Expect::Absent,
        value: Some(value.into()),
        durable,
    }
}

#[test]
fn acknowledged_writes_survive_sigkill() {
    if let Some(dir) = std::env::var_os(CHILD) {
        return write_until_killed(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let mut last_seen = 0;
    for round in 0..4 {
        let mut child = child_of("acknowledged_writes_survive_sigkill", dir.path());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut acknowledged: Vec<(String, u64)> = Vec::new();
        while acknowledged.len() < 500 * (round + 1) {
            if let Some(change) = parse(&lines.next().unwrap()) {
                acknowledged.push(change);
            }
        }
        child.kill().unwrap();
        // What was still in the pipe had been acknowledged too.
        acknowledged.extend(lines.filter_map(|line| parse(&line)));
        child.wait().unwrap();
        let store = Store::open(dir.path()).unwrap();
        for (key, revision) in &acknowledged {
            let entry = store
                .get(key)
                .unwrap_or_else(|| panic!("{key} was acknowledged and is gone"));
            assert_eq!(entry.modified, *revision);
            assert_eq!(entry.value.len(), 700);
            assert!(*revision > last_seen, "no revision was given out twice");
        }
        last_seen = acknowledged.iter().map(|(_, revision)| *revision).max().unwrap();
        assert!(store.revision() >= last_seen);
        assert!(
            store.watch("/", last_seen).is_err(),
            "history does not reach over a crash, and says so"
        );
    }
}

fn parse(line: &str) -> Option<(String, u64)> {
    let (key, revision) = line.strip_prefix("ack ")?.split_once(' ')?;
    Some((key.to_owned(), revision.parse().ok()?))
}

#[tokio::main]
async fn write_until_killed(dir: &Path) {
    let store = Store::open(dir).unwrap();
    let session = store.revision();
    let tasks: Vec<_> = (0..32)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                for number in 0.. {
                    let change = store
                        .write(put(format!("/{session}/{task}/{number}"), vec![7; 700], true))
                        .await
                        .unwrap();
                    // One system call a line, so that a line is whole or not there.
                    let line = format!("ack {} {}\n", change.entry.key, change.revision);
                    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
                    store
                        .write(put(format!("/{session}/lease/{task}/{number}"), vec![1], false))
                        .await
                        .unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[test]
fn a_full_disk_refuses_writes_with_a_sentence_and_writing_goes_on_when_there_is_space() {
    if let Some(dir) = std::env::var_os(CHILD) {
        return fill_the_disk(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let test = "a_full_disk_refuses_writes_with_a_sentence_and_writing_goes_on_when_there_is_space";
    // The limit of file size stands for the disk's end: writing past it fails in the same places. Without the trap
    // the kernel would kill instead (man 2 setrlimit, RLIMIT_FSIZE). Units: 1 KiB.
    let status = Command::new("bash")
        .args([
            "-c",
            r#"trap '' XFSZ; ulimit -S -f 6000; exec "$0" --exact "$1" --nocapture"#,
        ])
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env(CHILD, dir.path())
        .status()
        .unwrap();
    assert!(status.success());
    let store = Store::open(dir.path()).unwrap();
    let keys: Vec<String> = store
        .range("/", None, 0)
        .entries
        .iter()
        .map(|entry| entry.key.to_string())
        .collect();
    let expected = std::fs::read_to_string(dir.path().join("expected")).unwrap();
    assert_eq!(keys, expected.lines().collect::<Vec<_>>());
}

#[tokio::main]
async fn fill_the_disk(dir: &Path) {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let store = Store::open(dir).unwrap();
    let mut written = Vec::new();
    let refused = loop {
        let key = format!("/{:05}", written.len());
        match store.write(put(key.clone(), vec![3; 50_000], true)).await {
            Ok(_) => written.push(key),
            Err(refused) => break (key, refused),
        }
    };
    let (key, error) = refused;
    assert!(matches!(error, WriteError::Full(_)), "{error}");
    assert!(error.to_string().contains("no space left"), "{error}");
    assert!(!written.is_empty());
    assert!(store.get(&key).is_none(), "a failed write is not visible");
    assert_eq!(store.range("/", None, 0).entries.len(), written.len());
    store
        .write(put("/lease".into(), vec![1], false))
        .await
        .expect("what needs no disk goes on");
    written.push("/lease".into());
    let (_, hard) = getrlimit(Resource::RLIMIT_FSIZE).unwrap();
    setrlimit(Resource::RLIMIT_FSIZE, hard, hard).unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while let Err(error) = store.write(put("/after".into(), vec![4; 50_000], true)).await {
        assert!(std::time::Instant::now() < deadline, "still refused: {error}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    written.push("/after".into());
    written.sort();
    std::fs::write(dir.join("expected"), written.join("\n")).unwrap();
}

/// A store of three commits, closed; its folder and its only log.
async fn closed_store() -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    for number in 0..3 {
        store
            .write(put(format!("/{number}"), vec![7; 300], true))
            .await
            .unwrap();
    }
    drop(store);
    let log = dir.path().join("log.0000000000000000");
    (dir, log)
}

#[tokio::test]
async fn damage_is_refused_with_its_place_and_left_alone() {
    type Harm = fn(&mut Vec<u8>);
    let table: [(Harm, &str); 3] = [
        (|bytes| *bytes = b"not a store".to_vec(), "not of the kind"),
        (|bytes| bytes[200] ^= 1, "byte 16 and what follows"),
        (|bytes| bytes[500] ^= 1, "do not fit their checksum"),
    ];
    for (harm, expected) in table {
        let (dir, log) = closed_store().await;
        let mut bytes = std::fs::read(&log).unwrap();
        harm(&mut bytes);
        std::fs::write(&log, &bytes).unwrap();
        let error = Store::open(dir.path()).err().unwrap().to_string();
        assert!(
            error.contains("log.0000000000000000") && error.contains(expected),
            "{error}"
        );
        assert_eq!(std::fs::read(&log).unwrap(), bytes);
    }
}

#[tokio::test]
async fn a_missing_log_is_named() {
    let (dir, log) = closed_store().await;
    drop(Store::open(dir.path()).unwrap());
    std::fs::remove_file(log).unwrap();
    let error = Store::open(dir.path()).err().unwrap().to_string();
    assert!(error.contains("commit 0 is missing"), "{error}");
}

#[tokio::test]
async fn half_a_commit_at_the_end_never_happened() {
    let (dir, log) = closed_store().await;
    let whole = std::fs::read(&log).unwrap();
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    // The last frame, of the close, is short; the one before holds the third write.
    for lost in [1, 20, 100, 300] {
        let mut torn = whole.clone();
        torn[used - lost..].fill(0);
        std::fs::remove_dir_all(dir.path()).unwrap();
        std::fs::create_dir(dir.path()).unwrap();
        std::fs::write(&log, torn).unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert!(store.get("/1").is_some(), "{lost} bytes lost");
        store.write(put("/after".into(), vec![1; 3000], true)).await.unwrap();
        drop(store);
        let store = Store::open(dir.path()).unwrap();
        assert!(store.get("/after").is_some() && store.get("/1").is_some());
    }
}

#[tokio::test]
async fn checkpoints_replace_the_logs_and_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let (rounds, keys) = (60, 10);
    for round in 0..rounds {
        for key in 0..keys {
            let write = Write {
                expect: Expect::Anything,
                ..put(format!("/{key}"), vec![round; 100_000], true)
            };
            store.write(write).await.unwrap();
        }
    }
    let revision = store.revision();
    drop(store);
    let size: u64 = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();
    assert!(size < 40 << 20, "60 MB were written, {size} bytes are kept");
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.revision(), revision);
    for key in 0..keys {
        assert_eq!(store.get(&format!("/{key}")).unwrap().value, vec![rounds - 1; 100_000]);
    }
    drop(store);
    for _ in 0..20 {
        drop(Store::open(dir.path()).unwrap());
    }
    let logs = std::fs::read_dir(dir.path()).unwrap().count();
    assert!(logs < 16, "starts leave {logs} files");
}

#[test]
fn a_second_process_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _store = Store::open(dir.path()).unwrap();
    let error = Store::open(dir.path()).err().unwrap().to_string();
    assert!(error.contains("another process"), "{error}");
}

#[test]
fn only_the_owner_can_read_the_files() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let _store = Store::open(dir.path()).unwrap();
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
