//! What a machine goes through without losing anything or keeping anything: fork bombs, zombies, floods of log lines, killed
//! supervisors and containers, and pods that come and go while the agent is killed. One machine for all, counted before and after.

use crate::{DEADLINE, apply, eventually, kubectl, pintlectl, shell_pod, text, wait_phase};
use qemu::testing::{HEALTHY_DEADLINE, cluster};
use qemu::{Cluster, ClusterSpec, wait};
use std::time::Duration;

/// Most processes of one pod on this machine: few enough to be reached quickly under emulation.
const POD_PIDS: u64 = 1200;
/// Pods that come and go; `PINTLE_CHURN` says another number.
const CHURN: usize = 60;
/// Pods of 1,115 zombies each, one pod may not have as many as ten thousand; `PINTLE_UNDEAD` says another number, 9 makes them
/// ten thousand. One takes half a minute under emulation.
const UNDEAD: usize = 2;
/// So many at a time.
const WAVE: usize = 30;
/// Churn under emulation: some seconds a pod on a busy host.
const CHURN_DEADLINE: Duration = Duration::from_secs(600);

#[test]
fn a_node_survives_its_pods_and_forgets_them() {
    let mut spec = ClusterSpec::new("survival", 1);
    let node = &mut spec.machines[0].node;
    node.pod_pids = POD_PIDS;
    node.cpu_policy = config::CpuPolicy::Static;
    node.reserved_cpu_millis = 1000;
    spec.machines[0].memory_mib = 2048;
    let cluster = cluster(spec).unwrap();
    cluster.wait_healthy(HEALTHY_DEADLINE).unwrap();
    apply(&cluster, &observer());
    wait_phase(&cluster, "observer", "Running");
    groups_are_weighed_and_limited(&cluster);
    whole_processors_are_ones_own(&cluster);
    // Whatever the first pod of its kind leaves for good is no leak.
    warm_up(&cluster);
    let before = count(&cluster);
    sees_something(&before);
    fork_bomb_is_held(&cluster);
    zombies_harm_nobody(&cluster);
    log_flood_is_rotated(&cluster);
    killed_parts_come_back_once(&cluster);
    pods_come_and_go(&cluster);
    nothing_is_left(&cluster, &before);
    cluster.remove().unwrap();
}

/// A pod that sees what the machine has.
fn observer() -> String {
    let image = qemu::oci_images::reference("demo");
    let paths = [
        ("proc", "/proc"),
        ("groups", "/sys/fs/cgroup"),
        ("pintle", "/var/lib/pintle"),
        ("kubelet", "/var/lib/kubelet"),
        ("logs", "/var/log/pods"),
        ("run", "/run/pintle"),
    ];
    let volume = |(name, path): (&str, &str)| format!("{{name: {name}, hostPath: {{path: {path}}}}}");
    let mount = |(name, _): (&str, &str)| format!("{{name: {name}, mountPath: /host/{name}}}");
    let (volumes, mounts) = (paths.map(volume).join(", "), paths.map(mount).join(", "));
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: observer}}\nspec:\n  hostNetwork: true\n  terminationGracePeriodSeconds: 1\n  volumes: [{volumes}]\n  containers:\n  - name: main\n    image: {image}\n    command: [sh, -c, 'exec sleep 100000']\n    securityContext: {{privileged: true}}\n    volumeMounts: [{mounts}]\n"
    )
}

/// What a shell in the observer says.
fn observe(cluster: &Cluster, script: &str) -> String {
    let arguments = ["exec", "observer", "--", "sh", "-c", script];
    eventually(cluster, &arguments, |_| true).trim().to_owned()
}

/// Processes of pods, zombies, mounts, groups, links, addresses, folders of pods.
fn count(cluster: &Cluster) -> String {
    observe(
        cluster,
        "echo processes $(ls -l /host/proc/[0-9]*/exe 2>/dev/null | grep -c -e pod-init -e busybox) \
         zombies $(grep -l '^State:.Z' /host/proc/[0-9]*/status 2>/dev/null | wc -l) \
         mounts $(wc -l < /host/proc/1/mounts) groups $(find /host/groups/kubepods -type d | wc -l) \
         links $(grep -c : /host/proc/1/net/dev) addresses $(wc -l < /host/pintle/net/addresses) \
         loops $(grep -c loop /host/proc/partitions) \
         folders $(ls /host/kubelet/pods /host/logs /host/pintle/pods /host/run/pods | wc -l)",
    )
}

/// The observer is a pod itself: a count without its own parts would be the same before and after whatever leaks. Addresses it has
/// none, because it uses the machine's.
fn sees_something(counted: &str) {
    let words: Vec<&str> = counted.split_whitespace().collect();
    for kind in ["processes", "mounts", "groups", "links", "folders"] {
        let place = words.iter().position(|word| *word == kind);
        let number = place.and_then(|place| words.get(place + 1)?.parse::<u32>().ok());
        assert!(number.is_some_and(|number| number > 0), "{kind}: {counted}");
    }
}

fn nothing_is_left(cluster: &Cluster, before: &str) {
    let mut last = String::new();
    let same = wait::until("everything to be as before", DEADLINE, || {
        last = count(cluster);
        if last == before {
            Ok(())
        } else {
            Err(format!("before: {before}; now: {last}"))
        }
    });
    same.unwrap_or_else(|why| panic!("{why:#}"));
    println!("before and after: {before}");
}

fn warm_up(cluster: &Cluster) {
    apply(cluster, &shell_pod("first", "true"));
    wait_phase(cluster, "first", "Succeeded");
    delete(cluster, &["first"]);
}

fn delete(cluster: &Cluster, pods: &[&str]) {
    let mut arguments = vec!["delete", "pod", "--grace-period=1", "--wait=false"];
    arguments.extend(pods);
    kubectl(cluster, &arguments);
    eventually(cluster, &["get", "pods", "-o", "name"], |said| {
        pods.iter()
            .all(|pod| !said.lines().any(|line| line == format!("pod/{pod}")))
    });
}

/// The folder of a pod's group in the observer.
fn group(cluster: &Cluster, pod: &str) -> String {
    let uid = kubectl(cluster, &["get", "pod", pod, "-o", "jsonpath={.metadata.uid}"]);
    observe(
        cluster,
        &format!("ls -d /host/groups/kubepods/*/pod{uid} /host/groups/kubepods/pod{uid} 2>/dev/null; true"),
    )
}

fn stays_ready(cluster: &Cluster) {
    let ready = "jsonpath={.items[0].status.conditions[?(@.type==\"Ready\")].status}";
    assert_eq!(kubectl(cluster, &["get", "nodes", "-o", ready]), "True");
}

fn groups_are_weighed_and_limited(cluster: &Cluster) {
    let image = qemu::oci_images::reference("demo");
    let pod = |name: &str, resources: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 1\n  containers:\n  - name: main\n    image: {image}\n    command: [sh, -c, 'exec sleep 100000']\n    resources: {resources}\n"
        )
    };
    let burstable = pod(
        "burstable",
        "{requests: {cpu: 500m, memory: 32Mi}, limits: {memory: 64Mi}}",
    );
    let guaranteed = pod("guaranteed", "{limits: {cpu: 250m, memory: 64Mi}}");
    apply(cluster, &format!("{burstable}---\n{guaranteed}"));
    ["burstable", "guaranteed"]
        .iter()
        .for_each(|pod| wait_phase(cluster, pod, "Running"));
    let read = |path: &str| observe(cluster, &format!("cat {path}"));
    let of = |pod: &str, file: &str| read(&format!("{}/{file}", group(cluster, pod)));
    assert_eq!(of("burstable", "memory.max"), (64 << 20).to_string());
    assert_eq!(of("burstable", "pids.max"), POD_PIDS.to_string());
    assert_eq!(of("burstable", "main.0/memory.oom.group"), "1");
    assert_eq!(of("burstable", "main.0/memory.swap.max"), "0");
    assert_eq!(of("guaranteed", "cpu.max"), "25000 100000");
    assert_eq!(read("/host/groups/kubepods/besteffort/cpu.weight"), "1");
    let weight = |file: &str| read(&format!("/host/groups/kubepods/{file}")).parse::<u64>().unwrap();
    // 500m of one and what others ask for, but not the guaranteed pod's; one of the machine's two processors is reserved.
    assert!((50..100).contains(&weight("burstable/cpu.weight")));
    assert!((100..103).contains(&weight("cpu.weight")));
    let all: u64 = read("/host/groups/kubepods/memory.max").parse().unwrap();
    assert!((1500 << 20..2048 << 20).contains(&all), "{all}");
    delete(cluster, &["burstable", "guaranteed"]);
}

/// One of two processors is reserved; the other is a pod's that asks for a whole one.
fn whole_processors_are_ones_own(cluster: &Cluster) {
    let shared = || observe(cluster, "cat /host/groups/kubepods/besteffort/cpuset.cpus.effective");
    assert_eq!(shared(), "0-1");
    let manifest = shell_pod("selfish", "sleep 100000").replace(
        "    command:",
        "    resources: {limits: {cpu: \"1\", memory: 64Mi}}\n    command:",
    );
    apply(cluster, &manifest);
    wait_phase(cluster, "selfish", "Running");
    let folder = group(cluster, "selfish");
    let own = observe(
        cluster,
        &format!("cat {folder}/main.0/cpuset.cpus {folder}/main.0/cpu.max"),
    );
    assert_eq!(own, "1\nmax 100000");
    let waited = |expected: &'static str| {
        let what = format!("everybody else to have the processors {expected}");
        let same = wait::until(&what, DEADLINE, || match shared() {
            cpus if cpus == expected => Ok(()),
            cpus => Err(format!("they have {cpus}")),
        });
        same.unwrap_or_else(|why| panic!("{why:#}"));
    };
    waited("0");
    delete(cluster, &["selfish"]);
    waited("0-1");
}

fn fork_bomb_is_held(cluster: &Cluster) {
    let bomb = "f() { while true; do sleep 1000 & done; }; f & f & f & exec sleep 100000";
    apply(cluster, &shell_pod("bomb", bomb));
    wait_phase(cluster, "bomb", "Running");
    let folder = group(cluster, "bomb");
    let refused = format!("until grep -q 'max [1-9]' {folder}/pids.events; do sleep 1; done; cat {folder}/pids.peak");
    let peak: u64 = observe(cluster, &refused).parse().unwrap();
    assert!(peak <= POD_PIDS, "{peak}");
    apply(cluster, &shell_pod("neighbour", "true"));
    wait_phase(cluster, "neighbour", "Succeeded");
    stays_ready(cluster);
    delete(cluster, &["bomb", "neighbour"]);
}

fn zombies_harm_nobody(cluster: &Cluster) {
    let pods = number("PINTLE_UNDEAD").unwrap_or(UNDEAD);
    let names: Vec<String> = (0..pods).map(|number| format!("undead-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    // A shell waits for its children now and then, but not once it is another program: they end when it is.
    let script = "mkfifo /tmp/go; n=0; while [ $n -lt 1120 ]; do (read x < /tmp/go) & n=$((n+1)); done; (sleep 2; : > /tmp/go) & exec sleep 100000";
    for (number, name) in (1..).zip(&names) {
        // One after the other: until they have ended, its children have memory.
        apply(cluster, &shell_pod(name, script));
        let wanted = number * 1115;
        let counted = format!(
            "n=0; until [ $n -ge {wanted} ]; do n=$(cat /host/proc/[0-9]*/stat 2>/dev/null | grep -c ') Z '); sleep 1; done; echo $n"
        );
        observe(cluster, &counted);
    }
    apply(cluster, &shell_pod("neighbour", "true"));
    wait_phase(cluster, "neighbour", "Succeeded");
    stays_ready(cluster);
    delete(cluster, &[names.as_slice(), &["neighbour"]].concat());
}

fn log_flood_is_rotated(cluster: &Cluster) {
    apply(
        cluster,
        &shell_pod(
            "flood",
            "yes 0123456789012345678901234567890123456789012345678901234567890123456789",
        ),
    );
    wait_phase(cluster, "flood", "Running");
    let rotated = "until ls /host/logs/default_flood_*/main/0.log.2 2>/dev/null; do sleep 1; done";
    observe(cluster, rotated);
    let kept: u64 = observe(cluster, "du -sk /host/logs/default_flood_* | cut -f1")
        .parse()
        .unwrap();
    assert!(kept < 64 << 10, "{kept} KiB of logs are kept");
    // Lines that come while it is read are shown, too.
    let said = kubectl(cluster, &["logs", "flood", "--tail=3"]);
    assert!(said.lines().count() >= 3 && said.starts_with("0123456789"));
    stays_ready(cluster);
    delete(cluster, &["flood"]);
}

/// A supervisor and a container that are killed come back, each once.
fn killed_parts_come_back_once(cluster: &Cluster) {
    let manifest = shell_pod("phoenix", "sleep 54321; true").replace("restartPolicy: Never", "restartPolicy: Always");
    apply(cluster, &manifest);
    wait_phase(cluster, "phoenix", "Running");
    let restarts = "jsonpath={.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].ready}";
    let running = "for each in /host/proc/[0-9]*; do tr '\\0' ' ' < $each/cmdline; echo; done 2>/dev/null | grep -c 'sleep 5432[1]'; true";
    let counted = || observe(cluster, running);
    let once = counted();
    assert_ne!(once, "0");
    let kill = |part: &str| {
        let folder = group(cluster, "phoenix");
        observe(cluster, &format!("echo 1 > {folder}/{part}/cgroup.kill"));
    };
    kill("main.0");
    eventually(cluster, &["get", "pod", "phoenix", "-o", restarts], |said| {
        said == "1 true"
    });
    kill("pod-init");
    eventually(cluster, &["get", "pod", "phoenix", "-o", restarts], |said| {
        said == "2 true"
    });
    assert_eq!(counted(), once);
    delete(cluster, &["phoenix"]);
    let gone = wait::until("no process of it to be left", DEADLINE, || match counted().as_str() {
        "0" => Ok(()),
        count => Err(format!("{count} are")),
    });
    gone.unwrap_or_else(|why| panic!("{why:#}"));
}

/// Pods are made and deleted in random order; with each wave the agent is killed once while some start and others end.
fn pods_come_and_go(cluster: &Cluster) {
    let all = number("PINTLE_CHURN").unwrap_or(CHURN);
    let begun = std::time::Instant::now();
    let mut seed = 0x9e37_79b9_u64;
    for wave in 0..all.div_ceil(WAVE) {
        let names: Vec<String> = (0..WAVE.min(all - wave * WAVE))
            .map(|number| format!("churn-{wave}-{number}"))
            .collect();
        let script = "trap 'exit 0' TERM; echo hello; sleep 1000 & wait";
        let pods: Vec<String> = names.iter().map(|name| shell_pod(name, script)).collect();
        apply(cluster, &pods.join("---\n"));
        let mut order = names.clone();
        shuffle(&mut order, &mut seed);
        let (first, second) = order.split_at(order.len() / 2);
        remove(cluster, first);
        let killed = pintlectl(cluster, &["services", "--restart", "agent", "--kill"]);
        assert!(killed.status.success(), "{}", text(&killed.stderr));
        remove(cluster, second);
        let gone = wait::until("the wave to be gone", CHURN_DEADLINE, || {
            let said = cluster
                .kubectl(&["get", "pods", "-o", "name"])
                .map_err(|why| format!("{why:#}"))?;
            let left = text(&said.stdout)
                .lines()
                .filter(|line| line.starts_with("pod/churn"))
                .count();
            if left == 0 && said.status.success() {
                Ok(())
            } else {
                Err(format!("{left} are left"))
            }
        });
        gone.unwrap_or_else(|why| panic!("{why:#}"));
    }
    println!("{all} pods came and went in {:.0} s", begun.elapsed().as_secs_f64());
}

/// What the environment says.
fn number(name: &str) -> Option<usize> {
    std::env::var(name).ok()?.parse().ok()
}

fn remove(cluster: &Cluster, pods: &[String]) {
    let mut arguments = vec!["delete", "pod", "--grace-period=1", "--wait=false"];
    arguments.extend(pods.iter().map(String::as_str));
    kubectl(cluster, &arguments);
}

/// The same order each time, so that what fails fails again.
fn shuffle(names: &mut [String], seed: &mut u64) {
    for index in (1..names.len()).rev() {
        // xorshift64
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        names.swap(index, usize::try_from(*seed % (index as u64 + 1)).unwrap_or(0));
    }
}
