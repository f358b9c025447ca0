//! What a pod can say in this version, seen from inside its containers.

use crate::{apply, eventually, kubectl, shared, text, wait_phase};

#[test]
fn config_maps_secrets_and_empty_dirs_reach_the_containers() {
    let cluster = shared();
    let image = qemu::oci_images::reference("demo");
    apply(
        cluster,
        &format!(
            r#"
apiVersion: v1
kind: ConfigMap
metadata: {{name: settings}}
data: {{colour: blue, "motd": "good day"}}
---
apiVersion: v1
kind: Secret
metadata: {{name: keys}}
stringData: {{token: s3cr3t}}
---
apiVersion: v1
kind: Pod
metadata: {{name: contents}}
spec:
  terminationGracePeriodSeconds: 1
  volumes:
  - {{name: settings, configMap: {{name: settings}}}}
  - {{name: keys, secret: {{secretName: keys, defaultMode: 0400}}}}
  - {{name: shared, emptyDir: {{}}}}
  containers:
  - name: writer
    image: {image}
    command: [sh, -c, 'echo from-writer > /shared/file; exec httpd -f -p 8080 -h /shared']
    volumeMounts: [{{name: shared, mountPath: /shared}}]
  - name: reader
    image: {image}
    command: [sleep, "3600"]
    env:
    - {{name: COLOUR, valueFrom: {{configMapKeyRef: {{name: settings, key: colour}}}}}}
    - {{name: TOKEN, valueFrom: {{secretKeyRef: {{name: keys, key: token}}}}}}
    - {{name: BOTH, value: "$(COLOUR)-$(TOKEN)-$$(X)"}}
    volumeMounts:
    - {{name: shared, mountPath: /shared}}
    - {{name: settings, mountPath: /settings}}
    - {{name: keys, mountPath: /keys}}
    resources: {{limits: {{memory: 64Mi, cpu: 500m}}}}
"#
        ),
    );
    wait_phase(cluster, "contents", "Running");
    let inside = |script: &str| kubectl(cluster, &["exec", "contents", "-c", "reader", "--", "sh", "-c", script]);
    assert_eq!(inside("echo $BOTH"), "blue-s3cr3t-$(X)\n");
    assert_eq!(inside("cat /settings/motd"), "good day");
    assert_eq!(inside("cat /keys/token; stat -L -c %a /keys/token"), "s3cr3t400\n");
    eventually(
        cluster,
        &["exec", "contents", "-c", "reader", "--", "cat", "/shared/file"],
        |said| said == "from-writer\n",
    );
    // One network for both containers.
    assert_eq!(inside("wget -q -O - http://127.0.0.1:8080/file"), "from-writer\n");
    assert_eq!(
        inside("cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max"),
        "67108864\n50000 100000\n"
    );
    assert_eq!(
        inside("grep -E 'Seccomp:|NoNewPrivs' /proc/self/status | tr -d '\\t'"),
        "NoNewPrivs:0\nSeccomp:2\n"
    );
    kubectl(
        cluster,
        &["delete", "pod/contents", "configmap/settings", "secret/keys"],
    );
}

#[test]
fn a_container_over_its_memory_limit_is_oom_killed_and_restarted() {
    let cluster = shared();
    let image = qemu::oci_images::reference("demo");
    apply(
        cluster,
        &format!(
            r#"
apiVersion: v1
kind: Pod
metadata: {{name: greedy}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: {image}
    command: [sh, -c, 'sleep 1; tail /dev/zero']
    resources: {{limits: {{memory: 16Mi}}}}
"#
        ),
    );
    let reason = "jsonpath={.status.containerStatuses[0].lastState.terminated.reason}";
    eventually(cluster, &["get", "pod", "greedy", "-o", reason], |said| {
        said == "OOMKilled"
    });
    let restarts = "jsonpath={.status.containerStatuses[0].restartCount}";
    eventually(cluster, &["get", "pod", "greedy", "-o", restarts], |said| {
        said.parse::<u32>().is_ok_and(|n| n >= 1)
    });
    kubectl(cluster, &["delete", "pod", "greedy"]);
}

#[test]
fn a_pod_reaches_out_through_the_node() {
    let cluster = shared();
    let port = cluster.plan().registry_port;
    apply(cluster, &crate::shell_pod("outward", "exec sleep 3600"));
    wait_phase(cluster, "outward", "Running");
    // The harness's registry, on the host's loopback as QEMU's user network shows it.
    let url = format!("http://10.0.2.2:{port}/v2/");
    let output = cluster
        .kubectl(&["exec", "outward", "--", "wget", "-q", "-O", "-", &url])
        .unwrap();
    assert_eq!(text(&output.stdout), "{}", "{}", text(&output.stderr));
    kubectl(cluster, &["delete", "pod", "outward"]);
}
