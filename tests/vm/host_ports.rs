//! Ports of a machine that lead to a pod: from the machine itself, from other pods, and after the pod has gone from nowhere.

use crate::{apply, eventually, kubectl, shared, wait_phase};

#[test]
fn a_host_port_leads_to_its_pod_from_machine_and_pods() {
    let cluster = shared();
    let image = qemu::oci_images::reference("demo");
    let serve = "mkdir -p /www; echo it is me > /www/index.html; exec httpd -f -p 80 -h /www";
    let pod = |name: &str, rest: &str, script: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  terminationGracePeriodSeconds: 1\n  {rest}\n  containers:\n  - name: main\n    image: {image}\n    command: [sh, -c, {script:?}]\n"
        )
    };
    apply(
        cluster,
        &(pod("web", "restartPolicy: Always", serve) + "    ports: [{containerPort: 80, hostPort: 8085}]\n"),
    );
    apply(cluster, &pod("outside", "hostNetwork: true", "exec sleep 100000"));
    apply(cluster, &pod("neighbour", "restartPolicy: Always", "exec sleep 100000"));
    ["web", "outside", "neighbour"]
        .iter()
        .for_each(|name| wait_phase(cluster, name, "Running"));
    let address = kubectl(cluster, &["get", "pod", "web", "-o", "jsonpath={.status.hostIP}"]);
    let ask = |from: &str, address: &str, wanted: &dyn Fn(&str) -> bool| {
        let script = format!("wget -q -T 5 -O - http://{address}:8085/ 2>/dev/null || echo nobody");
        eventually(cluster, &["exec", from, "--", "sh", "-c", &script], wanted);
    };
    for (from, address) in [
        ("outside", "127.0.0.1"),
        ("outside", address.as_str()),
        ("neighbour", address.as_str()),
        ("web", address.as_str()),
    ] {
        ask(from, address, &|said| said == "it is me\n");
    }
    kubectl(cluster, &["delete", "pod", "web"]);
    ask("outside", "127.0.0.1", &|said| said == "nobody\n");
    kubectl(cluster, &["delete", "pod", "outside", "neighbour"]);
}

/// No image here speaks SCTP, so this is what the machine offers to those that do: sockets, and tracking by which ports are led.
#[test]
fn a_host_port_may_be_of_sctp() {
    let cluster = shared();
    let image = qemu::oci_images::reference("demo");
    apply(
        cluster,
        &format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: sctp}}\nspec:\n  terminationGracePeriodSeconds: 1\n  containers:\n  - name: main\n    image: {image}\n    command: [sh, -c, 'exec sleep 100000']\n    ports: [{{containerPort: 36412, hostPort: 36412, protocol: SCTP}}]\n"
        ),
    );
    wait_phase(cluster, "sctp", "Running");
    let look = "cut -d' ' -f1 /proc/net/protocols | grep -x SCTP; ls /proc/sys/net/netfilter | grep -c '^nf_conntrack_sctp_timeout_established$'";
    assert_eq!(kubectl(cluster, &["exec", "sctp", "--", "sh", "-c", look]), "SCTP\n1\n");
    kubectl(cluster, &["delete", "pod", "sctp"]);
}
