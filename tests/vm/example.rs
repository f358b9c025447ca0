//! The example that people are given runs, with all that is in it.

use crate::{eventually, kubectl, shared};

#[test]
fn the_pod_with_everything_becomes_ready_and_holds_what_it_says() {
    let cluster = shared();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/examples/everything.yaml");
    kubectl(cluster, &["apply", "-f", file]);
    eventually(
        cluster,
        &[
            "get",
            "pod",
            "everything",
            "-o",
            r#"jsonpath={.status.conditions[?(@.type=="Ready")].status}"#,
        ],
        |said| said == "True",
    );
    let script = "cat /v/memory/mark /v/config/deep/color /v/secret/key /v/self/memory /v/disk/page; test -s /v/all/token && echo token; \
                  touch /v/machine/x /v/image/y 2>/dev/null || echo read-only";
    let said = kubectl(cluster, &["exec", "everything", "-c", "main", "--", "sh", "-c", script]);
    assert_eq!(said, "started\nblues3cret64prepared\ntoken\nread-only\n");
    let init = "jsonpath={.status.initContainerStatuses[*].started} {.status.initContainerStatuses[0].state.terminated.reason}";
    assert_eq!(
        kubectl(cluster, &["get", "pod", "everything", "-o", init]),
        "false true Completed"
    );
    kubectl(cluster, &["delete", "-f", file]);
}
