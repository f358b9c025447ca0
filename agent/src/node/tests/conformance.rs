//! What upstream's conformance tests of nodes and volumes do and assert, step by step and grouped by upstream's files (test/e2e of
//! kubernetes/kubernetes), on a node of its own. Programs are the shell's here, and waits are shorter; what is compared is upstream's.

mod env_files;
mod environment;
mod ephemeral;
mod hooks;
mod hosts;
mod images;
mod init;
mod node;
mod pods;
mod probes;
mod refusals;
mod runtime;
mod security;
mod users;
mod volumes;

use super::cluster::{Cluster, INSIDE};
use super::{condition, image};
use serde_json::{Value, json};

/// As many at once as fit on a node beside the probed ones.
const AT_ONCE: usize = 40;

#[test]
fn node_does_what_upstreams_tests_ask() {
    if image::found("busybox").is_none() {
        return eprintln!("SKIPPED: conformance was not tried, because there is no busybox in PATH");
    }
    super::in_namespaces("node::tests::conformance::inside");
}

/// What the test above runs in its namespaces; alone it does nothing.
#[test]
fn inside() {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    let cluster = Cluster::with(images::archives);
    // What has to go well for a while is begun before everything else and looked at after it.
    let probed = probes::begin(&cluster);
    let mut failures = outputs(&cluster);
    type Group = fn(&Cluster);
    let groups: [(&str, Group); 13] = [
        ("env-files", env_files::refused),
        ("expansion", environment::parts_of_volumes_by_variables),
        ("security", security::refused_by_the_node),
        ("users", users::all),
        ("init", init::all),
        ("runtime", runtime::all),
        ("hosts", hosts::all),
        ("ephemeral", ephemeral::all),
        ("pods", pods::all),
        ("hooks", hooks::all),
        ("volumes", volumes::all),
        ("refusals", refusals::all),
        ("node", node::all),
    ];
    failures.extend(
        groups
            .iter()
            .filter_map(|(name, group)| tried(name, || group(&cluster))),
    );
    failures.extend(tried("probes", || probes::end(&cluster, probed)));
    assert!(failures.is_empty(), "these failed, as said above: {failures:?}");
}

/// Does what others do not depend on; its name if it fails, after the panic has said why.
fn tried(name: &str, what: impl FnOnce()) -> Option<String> {
    eprintln!("conformance: {name}");
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(what));
    done.err().map(|_| name.to_owned())
}

/// All pods that run once and say something; the names of those that went wrong.
fn outputs(cluster: &Cluster) -> Vec<String> {
    let mut cases = environment::cases(cluster);
    cases.extend(env_files::cases());
    cases.extend(security::cases());
    cases.extend(hosts::cases());
    cases.extend(volumes::cases(cluster));
    cases.chunks(AT_ONCE).flat_map(|cases| run(cluster, cases)).collect()
}

/// A pod that runs once.
struct Case {
    /// Its name, after upstream's test.
    name: String,
    /// Its spec; image and restart policy are added where they are missing.
    spec: Value,
    /// What its last container says, exactly.
    says: String,
}

fn case(name: impl Into<String>, spec: Value, says: impl Into<String>) -> Case {
    Case {
        name: name.into(),
        spec,
        says: says.into(),
    }
}

/// One container that runs a script, and whatever else it has.
fn script(text: &str, more: Value) -> Value {
    with(json!({"name": "test", "command": ["sh", "-c", text]}), more)
}

fn forever() -> Value {
    script("exec sleep 1000", json!({}))
}

/// An object with the fields of another.
fn with(mut object: Value, more: Value) -> Value {
    let more = more.as_object().unwrap().clone();
    object.as_object_mut().unwrap().extend(more);
    object
}

/// Makes all pods at once, waits until each has succeeded, compares what it said, and takes it away; the names of those that failed.
fn run(cluster: &Cluster, cases: &[Case]) -> Vec<String> {
    for case in cases {
        create(cluster, &case.name, case.spec.clone());
    }
    let ended = |case: &Case| {
        let containers = case.spec["containers"].as_array().unwrap();
        let container = containers.last().unwrap()["name"].as_str().unwrap();
        cluster.wait_for(&case.name, "over", |pod| {
            ["Succeeded", "Failed"]
                .iter()
                .any(|phase| pod["status"]["phase"] == *phase)
        });
        let log = format!("{}/log?container={container}", path(&case.name));
        assert_eq!(
            cluster.ask_text("GET", &log, None),
            (200, case.says.clone()),
            "{}",
            case.name
        );
        assert_eq!(
            cluster.pod(&case.name).unwrap()["status"]["phase"],
            "Succeeded",
            "{}",
            case.name
        );
    };
    let failed = cases
        .iter()
        .filter_map(|case| tried(&case.name, || ended(case)))
        .collect();
    let names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    remove(cluster, &names);
    failed
}

fn create(cluster: &Cluster, name: &str, spec: Value) -> Value {
    let (code, reply) = try_create(cluster, name, spec);
    assert_eq!(code, 201, "{name}: {reply:#}");
    reply
}

fn try_create(cluster: &Cluster, name: &str, spec: Value) -> (u16, Value) {
    let metadata = json!({"name": name, "labels": {"walk": name}, "annotations": {"builder": "bar"}});
    try_create_with(cluster, metadata, spec)
}

fn try_create_with(cluster: &Cluster, metadata: Value, spec: Value) -> (u16, Value) {
    let mut spec = spec;
    for list in ["initContainers", "containers"] {
        for container in spec[list].as_array_mut().into_iter().flatten() {
            if container["image"].is_null() {
                container["image"] = json!(images::SHELL);
            }
        }
    }
    for (key, value) in [
        ("restartPolicy", json!("Never")),
        ("terminationGracePeriodSeconds", json!(1)),
        ("tolerations", json!([{"operator": "Exists"}])),
    ] {
        if spec[key].is_null() {
            spec[key] = value;
        }
    }
    let pod = json!({"metadata": metadata, "spec": spec});
    cluster.ask("POST", "/api/v1/namespaces/default/pods", Some(pod))
}

fn ready(cluster: &Cluster, name: &str) -> Value {
    cluster.wait_for(name, "Ready", |pod| condition(pod, "Ready") == "True")
}

fn remove(cluster: &Cluster, names: &[&str]) {
    names.iter().for_each(|name| cluster.delete(name));
    names.iter().for_each(|name| cluster.wait_until_gone(name));
}

/// The path of a pod.
fn path(name: &str) -> String {
    format!("/api/v1/namespaces/default/pods/{name}")
}
