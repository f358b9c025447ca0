//! Volumes of an NFS server: written by one pod and read by another, refused with a reason, and given up when their server hangs.

mod server;

use crate::{apply, eventually, forget_claims, kubectl, pintlectl, shared, shell_pod, text, wait_phase};
use qemu::{Cluster, wait};
use server::Server;
use std::time::Duration;

/// A minute until unwritten data is given up, once for the container and once for the mount, and what a busy host adds to it.
const GIVEN_UP: Duration = Duration::from_secs(420);

#[test]
fn pods_share_what_a_server_keeps_and_outlive_its_end() {
    let cluster = shared();
    let server = Server::start(&cluster.plan().artifacts.tools);
    claim(cluster, "share", &format!("[nfsvers=4.2, hard, port={}]", server.port));

    apply(
        cluster,
        &pod("writer", "{claimName: share}", "echo kept by the server > /data/note"),
    );
    wait_phase(cluster, "writer", "Succeeded");
    kubectl(cluster, &["delete", "pod", "writer"]);
    assert_eq!(mounted(cluster, &["share"]), Vec::<String>::new());

    let reads = "cat /data/note\ntouch /data/more || true\ngrep ' /data nfs4 ' /proc/mounts";
    apply(cluster, &pod("reader", "{claimName: share, readOnly: true}", reads));
    wait_phase(cluster, "reader", "Succeeded");
    let said = kubectl(cluster, &["logs", "reader"]);
    assert!(said.starts_with("kept by the server\n"), "{said}");
    assert!(
        said.contains("Read-only file system") && said.contains(" /data nfs4 ro,"),
        "{said}"
    );
    assert!(said.contains("vers=4.2"), "{said}");
    kubectl(cluster, &["delete", "pod", "reader"]);

    let writes = "while true; do date >> /data/log; done";
    apply(cluster, &pod("stuck", "{claimName: share}", writes));
    wait_phase(cluster, "stuck", "Running");
    eventually(cluster, &["exec", "stuck", "--", "cat", "/data/log"], |said| {
        said.lines().count() > 3
    });
    let uid = kubectl(cluster, &["get", "pod", "stuck", "-o", "jsonpath={.metadata.uid}"]);
    let mounts = mounted(cluster, &["share"]);
    assert!(mounts.iter().any(|line| line.contains(&uid)), "{mounts:?}");

    server.hang();
    kubectl(cluster, &["delete", "pod", "stuck", "--wait=false"]);
    // Neither the agent nor other pods wait for it.
    apply(cluster, &shell_pod("beside", "echo not held up"));
    wait_phase(cluster, "beside", "Succeeded");
    assert_eq!(kubectl(cluster, &["logs", "beside"]), "not held up\n");
    kubectl(cluster, &["delete", "pod", "beside"]);
    gone(cluster, "stuck");
    assert_eq!(mounted(cluster, &["share"]), Vec::<String>::new());
    server.go_on();
    forget_claims(cluster, &["share"]);
}

#[test]
fn what_is_not_to_be_had_is_said_in_one_event_and_the_pod_can_be_deleted() {
    let cluster = shared();
    let server = Server::start(&cluster.plan().artifacts.tools);
    let port = server.port;
    claim(cluster, "odd", &format!("[port={port}, warp=9]"));
    claim(cluster, "old", &format!("[port={port}, vers=4.2]"));
    apply(cluster, &pod("odd", "{claimName: odd}", "true"));
    apply(cluster, &own("nobody", "10.0.2.2", "true"));
    apply(cluster, &own("unnamed", "no-such-server.invalid", "true"));
    for (pod, why) in [
        (
            "odd",
            "an incorrect mount option was specified (nfs: Unknown parameter 'warp')",
        ),
        ("nobody", "no NFS server answers at that address"),
        ("unnamed", "failed to resolve server no-such-server.invalid"),
    ] {
        let events = format!("involvedObject.name={pod},reason=FailedMount");
        let arguments = [
            "get",
            "events",
            "--field-selector",
            &events,
            "-o",
            "jsonpath={.items[*].message}",
        ];
        let said = eventually(cluster, &arguments, |said| said.contains(why));
        assert!(said.starts_with("MountVolume.SetUp failed for volume "), "{said}");
    }
    kubectl(cluster, &["delete", "pod", "odd", "nobody", "unnamed"]);

    server.hang();
    apply(cluster, &pod("silent", "{claimName: old}", "true"));
    let events = [
        "get",
        "events",
        "--field-selector",
        "involvedObject.name=silent,reason=FailedMount",
    ];
    eventually(
        cluster,
        &[&events[..], &["-o", "jsonpath={.items[*].message}"]].concat(),
        |said| said.contains("the server has not answered for 60 s"),
    );
    kubectl(cluster, &["delete", "pod", "silent", "--wait=false"]);
    gone(cluster, "silent");
    assert_eq!(mounted(cluster, &["odd", "old", "data"]), Vec::<String>::new());
    forget_claims(cluster, &["odd", "old"]);
}

/// A persistent volume of the server that the machine sees as 10.0.2.2, and its claim, both of this name.
fn claim(cluster: &Cluster, name: &str, options: &str) {
    let of_both = "accessModes: [ReadWriteMany]\n  storageClassName: \"\"\n";
    apply(
        cluster,
        &format!(
            "apiVersion: v1\nkind: PersistentVolume\nmetadata: {{name: {name}}}\nspec:\n  {of_both}  capacity: {{storage: 1Mi}}\n  \
             mountOptions: {options}\n  nfs: {{server: 10.0.2.2, path: /data}}\n---\napiVersion: v1\nkind: PersistentVolumeClaim\n\
             metadata: {{name: {name}}}\nspec:\n  {of_both}  volumeName: {name}\n  resources: {{requests: {{storage: 1Mi}}}}\n"
        ),
    );
    // Nobody binds claims yet.
    let bound = r#"{"status":{"phase":"Bound"}}"#;
    kubectl(
        cluster,
        &["patch", "pvc", name, "--subresource", "status", "--patch", bound],
    );
}

/// A pod that runs `script` with a claim at /data.
fn pod(name: &str, claim: &str, script: &str) -> String {
    with(&shell_pod(name, script), &format!("persistentVolumeClaim: {claim}"))
}

/// The same with the volume in the pod itself.
fn own(name: &str, server: &str, script: &str) -> String {
    with(
        &shell_pod(name, script),
        &format!("nfs: {{server: {server}, path: /data}}"),
    )
}

fn with(pod: &str, source: &str) -> String {
    format!("{pod}    volumeMounts: [{{name: data, mountPath: /data}}]\n  volumes:\n  - name: data\n    {source}\n")
}

/// Where the machine has these volumes mounted, a line each.
fn mounted(cluster: &Cluster, volumes: &[&str]) -> Vec<String> {
    let output = pintlectl(cluster, &["mounts"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let all = text(&output.stdout);
    all.lines()
        .filter(|line| volumes.iter().any(|name| line.contains(&format!("~nfs/{name} "))))
        .map(str::to_owned)
        .collect()
}

fn gone(cluster: &Cluster, pod: &str) {
    let waited = wait::until(&format!("pod {pod} to be gone"), GIVEN_UP, || {
        let output = cluster
            .kubectl(&["get", "pod", pod])
            .map_err(|why| format!("{why:#}"))?;
        match text(&output.stderr).contains("NotFound") {
            true => Ok(()),
            false => Err(text(&output.stdout)),
        }
    });
    waited.unwrap_or_else(|why| panic!("{why:#}"));
}
