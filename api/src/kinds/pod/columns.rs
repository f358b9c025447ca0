//! `kubectl get pods`: what the columns say (upstream `printers/internalversion` printPod).

use super::{condition, is_finished, is_sidecar};
use crate::{kind::Column, metadata, read};
use jiff::Timestamp;
use serde_json::Value;

pub(super) const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::narrow("Ready", "string", "The containers that are ready, of all."),
    Column::narrow("Status", "string", "What the containers together are doing."),
    Column::narrow(
        "Restarts",
        "string",
        "How often containers were restarted, and when last.",
    ),
    Column::AGE,
    Column::wide("IP", "string", "The pod's address."),
    Column::wide("Node", "string", "The node that it runs on."),
    Column::wide("Nominated Node", "string", "The node that is being cleared for it."),
    Column::wide("Readiness Gates", "string", "The readiness gates that hold, of all."),
];

pub(super) fn row(pod: &Value, now: Timestamp) -> Vec<Value> {
    let state = summarize(pod);
    let mut restarts = state.restarts.to_string();
    if state.restarts != 0 && !state.last_restart.is_empty() {
        restarts = format!("{restarts} ({} ago)", metadata::since(state.last_restart, now));
    }
    let or_none = |text: &str| {
        if text.is_empty() {
            "<none>".to_owned()
        } else {
            text.to_owned()
        }
    };
    vec![
        metadata::name(pod).into(),
        format!("{}/{}", state.ready, state.total).into(),
        state.reason.into(),
        restarts.into(),
        metadata::age(pod, now).into(),
        or_none(&super::first_ip(pod)).into(),
        or_none(read::text(pod, "/spec/nodeName")).into(),
        or_none(read::text(pod, "/status/nominatedNodeName")).into(),
        readiness_gates(pod).into(),
    ]
}

fn readiness_gates(pod: &Value) -> String {
    let gates = read::list(pod, "/spec/readinessGates");
    if gates.is_empty() {
        return "<none>".to_owned();
    }
    let holds = |gate: &&Value| read::text(condition(pod, read::text(gate, "/conditionType")), "/status") == "True";
    format!("{}/{}", gates.iter().filter(holds).count(), gates.len())
}

struct Summary<'a> {
    ready: usize,
    total: usize,
    reason: String,
    restarts: i64,
    last_restart: &'a str,
}

fn summarize(pod: &Value) -> Summary<'_> {
    let phase = read::text(pod, "/status/phase");
    let why = read::text(pod, "/status/reason");
    let gated = read::text(condition(pod, "PodScheduled"), "/reason") == "SchedulingGated";
    let sidecars = read::list(pod, "/spec/initContainers")
        .iter()
        .filter(|c| is_sidecar(c))
        .count();
    let mut summary = Summary {
        ready: 0,
        total: read::list(pod, "/spec/containers").len() + sidecars,
        reason: if gated {
            "SchedulingGated"
        } else if why.is_empty() {
            phase
        } else {
            why
        }
        .to_owned(),
        restarts: 0,
        last_restart: "",
    };
    let initializing = init_containers(pod, &mut summary);
    if !initializing || read::text(condition(pod, "Initialized"), "/status") == "True" {
        containers(pod, &mut summary);
    }
    if metadata::is_deleting(pod) && why == "NodeLost" {
        summary.reason = "Unknown".to_owned();
    } else if metadata::is_deleting(pod) && !is_finished(pod) {
        summary.reason = "Terminating".to_owned();
    }
    summary
}

impl<'a> Summary<'a> {
    fn count_restarts(&mut self, container: &'a Value) {
        self.restarts += read::int(container, "/restartCount");
        // RFC 3339 in UTC sorts as text.
        self.last_restart = self
            .last_restart
            .max(read::text(container, "/lastState/terminated/finishedAt"));
    }
}

/// How a container ended, where no reason says it.
fn exit(terminated: &Value) -> String {
    match (read::text(terminated, "/reason"), read::int(terminated, "/signal")) {
        ("", 0) => format!("ExitCode:{}", read::int(terminated, "/exitCode")),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

/// Whether the pod still waits for an init container, and for which reason.
fn init_containers<'a>(pod: &'a Value, summary: &mut Summary<'a>) -> bool {
    let specs = read::list(pod, "/spec/initContainers");
    for (index, container) in read::list(pod, "/status/initContainerStatuses").iter().enumerate() {
        summary.count_restarts(container);
        let name = read::text(container, "/name");
        let sidecar = specs.iter().any(|c| read::text(c, "/name") == name && is_sidecar(c));
        let terminated = read::some(container, "/state/terminated");
        let waiting = read::text(container, "/state/waiting/reason");
        if terminated.is_some_and(|t| read::int(t, "/exitCode") == 0) {
            continue;
        }
        if sidecar && read::flag(container, "/started") {
            summary.ready += usize::from(read::flag(container, "/ready"));
            continue;
        }
        summary.reason = match terminated {
            Some(terminated) => format!("Init:{}", exit(terminated)),
            None if !waiting.is_empty() && waiting != "PodInitializing" => format!("Init:{waiting}"),
            None => format!("Init:{index}/{}", specs.len()),
        };
        return true;
    }
    false
}

fn containers<'a>(pod: &'a Value, summary: &mut Summary<'a>) {
    // Only sidecars' restarts count beside those of the containers.
    (summary.restarts, summary.last_restart) = (0, "");
    for sidecar in read::list(pod, "/spec/initContainers").iter().filter(|c| is_sidecar(c)) {
        let statuses = read::list(pod, "/status/initContainerStatuses");
        if let Some(status) = statuses.iter().find(|s| s.get("name") == sidecar.get("name")) {
            summary.count_restarts(status);
        }
    }
    let mut running = false;
    for container in read::list(pod, "/status/containerStatuses").iter().rev() {
        summary.count_restarts(container);
        let waiting = read::text(container, "/state/waiting/reason");
        if !waiting.is_empty() {
            summary.reason = waiting.to_owned();
        } else if let Some(terminated) = read::some(container, "/state/terminated") {
            summary.reason = exit(terminated);
        } else if read::flag(container, "/ready") && read::some(container, "/state/running").is_some() {
            running = true;
            summary.ready += 1;
        }
    }
    if summary.reason == "Completed" && running {
        let ready = read::text(condition(pod, "Ready"), "/status") == "True";
        summary.reason = if ready { "Running" } else { "NotReady" }.to_owned();
    }
}

/// The whole row of a pod, for tests of other rooms' statuses.
#[cfg(test)]
fn cells(pod: Value) -> Vec<String> {
    let now: Timestamp = "2026-01-01T01:00:00Z".parse().expect("it is a time");
    row(&pod, now)
        .iter()
        .map(|c| c.as_str().unwrap_or_default().to_owned())
        .collect::<Vec<_>>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(spec: Value, status: Value) -> Value {
        json!({ "metadata": { "name": "p", "creationTimestamp": "2026-01-01T00:00:00Z" }, "spec": spec, "status": status })
    }

    #[test]
    fn pods_read_as_upstream_prints_them() {
        let two = json!({ "containers": [{ "name": "a" }, { "name": "b" }], "nodeName": "n" });
        let init = json!({ "containers": [{ "name": "a" }], "initContainers": [{ "name": "i" }, { "name": "j" }] });
        let sidecar =
            json!({ "containers": [{ "name": "a" }], "initContainers": [{ "name": "i", "restartPolicy": "Always" }] });
        let running = json!({ "state": { "running": {} }, "ready": true, "name": "a" });
        let done = json!({ "state": { "terminated": { "reason": "Completed", "exitCode": 0 } }, "name": "b" });
        let restarted = json!({
            "state": { "waiting": { "reason": "CrashLoopBackOff" } }, "restartCount": 3,
            "lastState": { "terminated": { "finishedAt": "2026-01-01T00:55:00Z" } },
        });
        for (spec, status, ready, reason, restarts) in [
            (&two, json!({ "phase": "Pending" }), "0/2", "Pending", "0"),
            (
                &two,
                json!({ "phase": "Running", "containerStatuses": [running, running] }),
                "2/2",
                "Running",
                "0",
            ),
            (
                &two,
                json!({ "phase": "Running", "containerStatuses": [running, restarted] }),
                "1/2",
                "CrashLoopBackOff",
                "3 (5m ago)",
            ),
            (
                &two,
                json!({ "phase": "Running", "containerStatuses": [running, done] }),
                "1/2",
                "NotReady",
                "0",
            ),
            (
                &two,
                json!({ "phase": "Running", "containerStatuses": [running, done], "conditions": [{ "type": "Ready", "status": "True" }] }),
                "1/2",
                "Running",
                "0",
            ),
            (
                &two,
                json!({ "phase": "Succeeded", "containerStatuses": [done, done] }),
                "0/2",
                "Completed",
                "0",
            ),
            (
                &two,
                json!({ "phase": "Failed", "reason": "Evicted" }),
                "0/2",
                "Evicted",
                "0",
            ),
            (
                &two,
                json!({ "phase": "Failed", "containerStatuses": [{ "state": { "terminated": { "exitCode": 3 } } }] }),
                "0/2",
                "ExitCode:3",
                "0",
            ),
            (
                &two,
                json!({ "phase": "Failed", "containerStatuses": [{ "state": { "terminated": { "signal": 9 } } }] }),
                "0/2",
                "Signal:9",
                "0",
            ),
            (
                &init,
                json!({ "phase": "Pending", "initContainerStatuses": [{ "name": "i", "state": { "running": {} } }] }),
                "0/1",
                "Init:0/2",
                "0",
            ),
            (
                &init,
                json!({ "phase": "Pending", "initContainerStatuses": [done, { "name": "j", "state": { "waiting": { "reason": "PodInitializing" } } }] }),
                "0/1",
                "Init:1/2",
                "0",
            ),
            (
                &init,
                json!({ "phase": "Pending", "initContainerStatuses": [{ "state": { "waiting": { "reason": "ImagePullBackOff" } } }] }),
                "0/1",
                "Init:ImagePullBackOff",
                "0",
            ),
            (
                &init,
                json!({ "phase": "Failed", "initContainerStatuses": [{ "state": { "terminated": { "exitCode": 1, "reason": "Error" } } }] }),
                "0/1",
                "Init:Error",
                "0",
            ),
            (
                &sidecar,
                json!({
                    "phase": "Running", "containerStatuses": [running],
                    "initContainerStatuses": [{ "name": "i", "started": true, "ready": true, "restartCount": 2 }],
                }),
                "2/2",
                "Running",
                "2",
            ),
            (
                &two,
                json!({ "phase": "Pending", "conditions": [{ "type": "PodScheduled", "reason": "SchedulingGated" }] }),
                "0/2",
                "SchedulingGated",
                "0",
            ),
        ] {
            let cells = cells(pod(spec.clone(), status.clone()));
            assert_eq!(
                (&*cells[1], &*cells[2], &*cells[3], &*cells[4]),
                (ready, reason, restarts, "60m"),
                "{status}"
            );
        }
    }

    #[test]
    fn a_pod_that_is_deleted_is_terminating_until_it_has_finished() {
        for (phase, reason, shown) in [
            ("Running", "", "Terminating"),
            ("Succeeded", "", "Succeeded"),
            ("Running", "NodeLost", "Unknown"),
        ] {
            let mut pod = pod(
                json!({ "containers": [{}] }),
                json!({ "phase": phase, "reason": reason }),
            );
            pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:59:00Z".into();
            assert_eq!(cells(pod)[2], shown);
        }
    }

    #[test]
    fn wide_columns_say_none_where_there_is_nothing() {
        let bare = cells(pod(json!({ "containers": [] }), json!({})));
        assert_eq!(bare[5..], ["<none>", "<none>", "<none>", "<none>"]);
        let placed = cells(pod(
            json!({ "nodeName": "n", "readinessGates": [{ "conditionType": "x" }, { "conditionType": "y" }] }),
            json!({ "podIPs": [{ "ip": "10.0.0.1" }], "conditions": [{ "type": "x", "status": "True" }] }),
        ));
        assert_eq!(placed[5..], ["10.0.0.1", "n", "<none>", "1/2"]);
    }
}
