//! A pod's life: sharing, stopping, executing, outliving its agent, and leaving nothing behind.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

mod world;

use sandbox::Processes;
use std::io::BufRead;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use world::{DEADLINE, World, cgroups, ended, eventually, exec, log, world};

const TERM: i32 = 15;

#[tokio::test]
async fn containers_of_a_pod_share_name_network_and_memory() {
    let Some(world) = world("share") else { return };
    let pod = world.sandboxes.start(&world.pod("share")).await.unwrap();
    let first = world.container(
        "share",
        "first",
        "echo shared > /dev/shm/word; readlink /proc/self/ns/net; readlink /proc/self/ns/ipc; sleep 100",
    );
    pod.start_container(&first).await.unwrap();
    eventually(|| log(&first.log).contains("ipc:")).await;
    let second = world.container(
        "share",
        "second",
        "cat /dev/shm/word; hostname; readlink /proc/self/ns/net; readlink /proc/self/ns/ipc",
    );
    pod.start_container(&second).await.unwrap();
    ended(&pod, "second").await;

    let said = log(&second.log);
    assert!(said.starts_with("stdout shared\nstdout host-of-share\n"), "{said}");
    assert!(said.ends_with(&log(&first.log)), "{said}");
    let own = std::fs::read_link("/proc/self/ns/net").unwrap();
    assert!(!said.contains(own.to_str().unwrap()), "{said}");
    pod.destroy().await.unwrap();
}

/// Prints the command line of every process it sees, with its number.
const SEEN: &str = "for p in /proc/[0-9]*; do echo \"${p#/proc/} $(tr '\\0' ' ' < $p/cmdline)\"; done";

#[tokio::test]
async fn containers_see_the_processes_that_they_are_to_see() {
    let Some(world) = world("seen") else { return };
    let pod = world.sandboxes.start(&world.pod("seen")).await.unwrap();
    let start = async |name: &str, script: &str, processes: Processes| {
        let mut plan = world.container("seen", name, script);
        plan.processes = processes;
        pod.start_container(&plan).await.unwrap();
        plan
    };
    let waits = "echo ready; trap 'exit 3' TERM; while :; do sleep 0.1; done";
    let first = start("first", waits, Processes::Pod).await;
    eventually(|| log(&first.log).contains("ready")).await;
    let alone = start("alone", "echo ready; sleep 1000", Processes::Own).await;
    eventually(|| log(&alone.log).contains("ready")).await;

    let second = start("second", SEEN, Processes::Pod).await;
    ended(&pod, "second").await;
    let said = log(&second.log);
    assert!(said.contains("trap 'exit 3'") && !said.contains("sleep 1000"), "{said}");
    // Not the first container: what holds the namespace is number 1.
    assert!(said.contains("stdout 1 ") && !said.contains("stdout 1 sh"), "{said}");

    let aimed = start("aimed", SEEN, Processes::Of("alone".to_owned())).await;
    ended(&pod, "aimed").await;
    let said = log(&aimed.log);
    assert!(said.contains("stdout 1 sleep 1000") && !said.contains("trap"), "{said}");

    let wide = start("wide", SEEN, Processes::Host).await;
    ended(&pod, "wide").await;
    let said = log(&wide.log);
    assert!(said.contains("sleep 1000") && said.contains("trap 'exit 3'"), "{said}");

    // A neighbour can signal it; without a namespace of its own it takes signals as any program does.
    let kill = "for p in /proc/[0-9]*; do grep -q trap $p/cmdline && [ $p != /proc/$$ ] && kill ${p#/proc/}; done";
    let mut killer = world.container("seen", "killer", kill);
    killer.processes = Processes::Pod;
    pod.start_container(&killer).await.unwrap();
    assert_eq!(ended(&pod, "first").await.ended.unwrap().exit_code, 3);

    let mut lost = world.container("seen", "lost", "true");
    lost.processes = Processes::Of("first".to_owned());
    let refused = pod.start_container(&lost).await.unwrap_err().to_string();
    assert!(refused.contains("container first does not run"), "{refused}");
    pod.destroy().await.unwrap();
}

#[tokio::test]
async fn processes_that_are_shared_end_with_the_pod() {
    let Some(world) = world("holder") else { return };
    let pod = world.sandboxes.start(&world.pod("holder")).await.unwrap();
    let mut plan = world.container("holder", "main", "sh -c 'sleep 987654' & echo started; exit 0");
    plan.processes = Processes::Pod;
    pod.start_container(&plan).await.unwrap();
    ended(&pod, "main").await;
    pod.destroy().await.unwrap();
    let left = || {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let lines = processes.filter_map(|process| std::fs::read_to_string(process.path().join("cmdline")).ok());
        lines.filter(|line| line.contains("987654")).count()
    };
    eventually(|| left() == 0).await;
}

#[tokio::test]
async fn stopping_asks_first_and_kills_later() {
    let Some(world) = world("stop") else { return };
    let pod = world.sandboxes.start(&world.pod("stop")).await.unwrap();
    let polite = world.container(
        "stop",
        "polite",
        "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.1; done",
    );
    let deaf = world.container("stop", "deaf", "trap '' TERM; echo ready; while :; do sleep 0.1; done");
    for plan in [&polite, &deaf] {
        pod.start_container(plan).await.unwrap();
        eventually(|| log(&plan.log).contains("ready")).await;
    }

    let state = pod.stop("polite", TERM, DEADLINE).await.unwrap();
    assert_eq!(state.ended.unwrap().exit_code, 7);
    assert!(log(&polite.log).contains("bye"));

    let asked = Instant::now();
    let state = pod.stop("deaf", TERM, Duration::from_millis(300)).await.unwrap();
    let end = state.ended.unwrap();
    assert_eq!((end.exit_code, end.signal), (137, Some(9)));
    assert!(asked.elapsed() >= Duration::from_millis(300));

    // Stopping what has ended is no error, signalling it is.
    pod.stop("deaf", TERM, DEADLINE).await.unwrap();
    assert!(pod.signal("deaf", TERM).await.is_err());
    assert!(pod.stop("nobody", TERM, DEADLINE).await.is_err());

    pod.remove_container("deaf", 0).await.unwrap();
    assert!(!deaf.root.scratch.exists());
    assert_eq!(pod.states().await.unwrap().len(), 1);
    let mut again = deaf.clone();
    again.attempt = 1;
    pod.start_container(&again).await.unwrap();
    pod.destroy().await.unwrap();
}

#[tokio::test]
async fn programs_are_executed_in_a_running_container() {
    let Some(world) = world("exec") else { return };
    let pod = world.sandboxes.start(&world.pod("exec")).await.unwrap();
    pod.start_container(&world.container("exec", "main", "sleep 1000"))
        .await
        .unwrap();

    let mut plan = exec(
        "main",
        "cat; echo err >&2; hostname; grep -E '^(CapEff|Seccomp:)' /proc/self/status; echo $COLOUR; ps; exit 5",
    );
    plan.stdin = true;
    let mut cat = pod.exec(&plan).await.unwrap();
    let mut stdin = cat.stdin.take().unwrap();
    stdin.write_all(b"over and back\n").await.unwrap();
    drop(stdin);
    let (mut out, mut err) = (String::new(), String::new());
    cat.stdout.take().unwrap().read_to_string(&mut out).await.unwrap();
    cat.stderr.take().unwrap().read_to_string(&mut err).await.unwrap();
    assert_eq!(cat.wait().await.unwrap(), 5);
    assert!(
        out.starts_with("over and back\nhost-of-exec\nCapEff:\t00000000080004e1\nSeccomp:\t2\nblue\n"),
        "{out}"
    );
    assert!(out.contains("sleep 1000"), "{out}");
    assert_eq!(err, "err\n");

    let mut missing = exec("main", "");
    missing.argv = vec!["/no/such".to_owned()];
    let error = pod.exec(&missing).await.err().unwrap();
    assert_eq!(
        error.to_string(),
        "exec /no/such: No such file or directory in the image"
    );
    assert!(pod.exec(&exec("nobody", "true")).await.is_err());

    let mut killed = pod.exec(&exec("main", "kill -9 $$")).await.unwrap();
    assert_eq!(killed.wait().await.unwrap(), 137);
    pod.destroy().await.unwrap();
}

#[tokio::test]
async fn a_terminal_has_a_size_and_an_end() {
    let Some(world) = world("tty") else { return };
    let pod = world.sandboxes.start(&world.pod("tty")).await.unwrap();
    pod.start_container(&world.container("tty", "main", "sleep 1000"))
        .await
        .unwrap();
    let mut plan = exec("main", "tty; read line; stty size; echo got $line; exit 4");
    plan.tty = true;
    let mut shell = pod.exec(&plan).await.unwrap();
    shell.resize(41, 132).unwrap();
    shell.stdin.as_mut().unwrap().write_all(b"words\n").await.unwrap();
    let mut out = String::new();
    shell.stdout.take().unwrap().read_to_string(&mut out).await.unwrap();
    assert!(out.contains("/dev/pts/0"), "{out}");
    assert!(out.contains("41 132\r\ngot words"), "{out}");
    assert_eq!(shell.wait().await.unwrap(), 4);
    pod.destroy().await.unwrap();
}

#[tokio::test]
async fn a_program_dies_with_whoever_asked_for_it() {
    let Some(world) = world("hangup") else { return };
    let pod = world.sandboxes.start(&world.pod("hangup")).await.unwrap();
    pod.start_container(&world.container("hangup", "main", "sleep 1000"))
        .await
        .unwrap();
    // Nobody else's command line has it.
    let words = format!("sleep 4321{}", std::process::id());
    let forgotten = pod.exec(&exec("main", &format!("exec {words}"))).await.unwrap();
    let words = words.replace(' ', "\0");
    eventually(|| processes(&words) > 0).await;
    drop(forgotten);
    eventually(|| processes(&words) == 0).await;
    pod.destroy().await.unwrap();
}

/// Not a test of its own: the agent of the next one, in a process that can be killed.
#[tokio::test]
async fn agent_that_will_be_killed() {
    let Some(dir) = std::env::var_os("PINTLE_TEST_DOOMED_AGENT") else {
        return;
    };
    let world = World::at(Path::new(&dir), "killed", true);
    let pod = world.sandboxes.start(&world.pod("orphan")).await.unwrap();
    pod.start_container(&world.container(
        "orphan",
        "main",
        "i=0; while :; do echo tick $i; i=$((i+1)); sleep 0.1; done",
    ))
    .await
    .unwrap();
    println!("\nstarted");
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn pods_outlive_an_agent_that_is_killed() {
    let Some(world) = world("killed") else { return };
    let mut agent = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "agent_that_will_be_killed", "--nocapture"])
        .env("PINTLE_TEST_DOOMED_AGENT", &world.dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = std::io::BufReader::new(agent.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line == "started"));
    agent.kill().unwrap();
    agent.wait().unwrap();

    let mut adopted = world.sandboxes.adopt_all().await.unwrap();
    let (plan, pod) = adopted.pop().unwrap();
    assert_eq!(plan, world.pod("orphan"));
    let state = pod.states().await.unwrap().remove(0);
    assert_eq!((state.name.as_str(), state.ended), ("main", None));
    let path = world.dir.join("logs/orphan/main.log");
    let before = log(&path).lines().count();
    eventually(|| log(&path).lines().count() > before).await;

    let mut echo = pod.exec(&exec("main", "exit 6")).await.unwrap();
    assert_eq!(echo.wait().await.unwrap(), 6);
    pod.destroy().await.unwrap();
    assert!(std::fs::read_dir(world.dir.join("run")).unwrap().next().is_none());
}

#[tokio::test]
async fn containers_die_with_pod_init_and_the_remains_are_removed() {
    let Some(world) = world("accident") else { return };
    let pod = world.sandboxes.start(&world.pod("accident")).await.unwrap();
    pod.start_container(&world.container("accident", "main", "sleep 5432"))
        .await
        .unwrap();
    Command::new("kill")
        .args(["-9", &pod.pid().to_string()])
        .status()
        .unwrap();
    tokio::time::timeout(DEADLINE, pod.gone()).await.unwrap();
    eventually(|| processes("5432") == 0).await;
    assert!(pod.states().await.is_err());

    assert!(world.sandboxes.adopt_all().await.unwrap().is_empty());
    assert_nothing_is_left(&world);
}

#[tokio::test]
async fn nothing_is_left_of_destroyed_pods() {
    let Some(world) = world("leak") else { return };
    for round in 0..3 {
        let mut pods = Vec::new();
        for number in 0..4 {
            let id = format!("leak{round}-{number}");
            let pod = world.sandboxes.start(&world.pod(&id)).await.unwrap();
            pod.start_container(&world.container(&id, "a", "touch /x; sleep 6543"))
                .await
                .unwrap();
            pod.start_container(&world.container(&id, "b", "exit 1")).await.unwrap();
            pods.push(pod);
        }
        let twice = world.sandboxes.start(&world.pod(&format!("leak{round}-0"))).await;
        assert!(twice.unwrap_err().to_string().contains("exists already"));
        for pod in pods {
            pod.destroy().await.unwrap();
            assert!(pod.states().await.is_err());
            pod.destroy().await.unwrap();
        }
    }
    assert_nothing_is_left(&world);
    assert_eq!(processes("6543"), 0);
}

#[tokio::test]
async fn a_machine_without_cgroups_runs_pods_without_limits() {
    let Some(world) = world("bare") else { return };
    let settings = sandbox::Settings {
        root: world.dir.join("run"),
        cgroups: "/no/such/tree".into(),
        pod_init: env!("CARGO_BIN_EXE_pod-init").into(),
    };
    let sandboxes = sandbox::Sandboxes::open(settings).unwrap();
    let pod = sandboxes.start(&world.pod("bare")).await.unwrap();
    pod.start_container(&world.container("bare", "main", "sleep 7654"))
        .await
        .unwrap();
    assert_eq!(sandboxes.adopt_all().await.unwrap().len(), 1);
    pod.destroy().await.unwrap();
    eventually(|| processes("7654") == 0).await;
    assert_nothing_is_left(&world);
}

fn assert_nothing_is_left(world: &World) {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let dir = world.dir.to_str().unwrap();
    assert!(!mounts.contains(dir), "{mounts}");
    assert!(std::fs::read_dir(world.dir.join("run")).unwrap().next().is_none());
    let scratch: Vec<_> = walk(&world.dir.join("scratch"));
    assert!(scratch.iter().all(|path| path.is_dir()), "{scratch:?}");
    let groups = cgroups().join(world.cgroup());
    let left: Vec<_> = std::fs::read_dir(&groups)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|e| e.path().is_dir())
        .collect();
    assert!(left.is_empty(), "{left:?}");
    let inits = processes(dir);
    assert_eq!(inits, 0, "pod-init still runs");
}

fn walk(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries: Vec<_> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path())
        .collect();
    entries
        .iter()
        .flat_map(|path| walk(path))
        .chain(entries.clone())
        .collect()
}

/// Living processes with these words on their command line.
fn processes(words: &str) -> usize {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let own = std::process::id().to_string();
    all.filter(|entry| entry.file_name().to_str() != Some(&own))
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .filter(|line| String::from_utf8_lossy(line).contains(words))
        .count()
}
