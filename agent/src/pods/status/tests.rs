//! What people see in `kubectl get` and `describe`, situation by situation.

use super::super::backoff::Backoff;
use super::super::observed::{Deleted, Ended, Image, Refused, Run, Sandbox};
use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn pod(policy: &str) -> Pod {
    serde_json::from_value(
        json!({"metadata": {"name": "web", "namespace": "default", "uid": "u1", "generation": 1},
        "spec": {"restartPolicy": policy, "containers": [{"name": "a", "image": "busybox"}]}}),
    )
    .unwrap()
}

fn up() -> Observed {
    Observed {
        sandbox: Sandbox::Up,
        ips: vec!["10.244.0.2".parse().unwrap()],
        ..Observed::default()
    }
}

fn ended(code: i32, reason: &'static str, finished: i64) -> Ended {
    Ended {
        attempt: 0,
        code,
        reason,
        message: String::new(),
        started: Some(at(1)),
        finished: at(finished),
    }
}

/// Phase, state's reason, and whether the pod is ready.
fn shown(pod: &Pod, observed: &Observed, now: i64) -> (String, String, bool) {
    let status = status(pod, observed, &["10.77.0.11".parse().unwrap()], at(now));
    let state = status.container_statuses.as_ref().unwrap()[0].state.clone().unwrap();
    let waiting = state.waiting.and_then(|waiting| waiting.reason);
    let terminated = state.terminated.and_then(|terminated| terminated.reason);
    let reason = waiting.or(terminated).unwrap_or_else(|| "Running".to_owned());
    let ready = status
        .conditions
        .unwrap()
        .iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    (status.phase.unwrap(), reason, ready)
}

fn is(phase: &str, reason: &str, ready: bool) -> (String, String, bool) {
    (phase.to_owned(), reason.to_owned(), ready)
}

#[test]
fn pod_that_is_deleted_before_it_ran_has_failed() {
    let pod = pod("Always");
    let mut observed = up();
    observed.deleted = Some(Deleted { grace: 1, in_api: true });
    assert_eq!(shown(&pod, &observed, 0), is("Pending", "ContainerCreating", false));
    observed.sandbox = Sandbox::Down;
    assert_eq!(shown(&pod, &observed, 0), is("Failed", "ContainerStatusUnknown", false));
}

#[test]
fn pod_comes_up() {
    let pod = pod("Always");
    let mut observed = Observed::default();
    assert_eq!(shown(&pod, &observed, 0), is("Pending", "ContainerCreating", false));
    observed = up();
    observed.container_mut("a").image = Image::Pulling;
    assert_eq!(shown(&pod, &observed, 0), is("Pending", "ContainerCreating", false));
    observed.container_mut("a").run = Run::Running {
        since: at(1),
        attempt: 0,
    };
    observed.container_mut("a").attempt = 1;
    assert_eq!(shown(&pod, &observed, 2), is("Running", "Running", true));
    let status = status(&pod, &observed, &[], at(2));
    assert_eq!(status.container_statuses.unwrap()[0].restart_count, 0);
    assert_eq!(
        (status.pod_ip.as_deref(), status.qos_class.as_deref()),
        (Some("10.244.0.2"), Some("BestEffort"))
    );
}

#[test]
fn container_that_ends_is_completed_or_crashes() {
    let cases = [
        ("Never", 0, "Completed", is("Succeeded", "Completed", false)),
        ("Never", 3, "Error", is("Failed", "Error", false)),
        ("OnFailure", 0, "Completed", is("Succeeded", "Completed", false)),
        ("OnFailure", 137, "OOMKilled", is("Running", "CrashLoopBackOff", false)),
        ("Always", 0, "Completed", is("Running", "CrashLoopBackOff", false)),
        ("Always", 128, "StartError", is("Running", "CrashLoopBackOff", false)),
    ];
    for (policy, code, reason, expected) in cases {
        let mut observed = up();
        let container = observed.container_mut("a");
        container.run = Run::Ended(ended(code, reason, 100));
        container.backoff.grant(at(99), at(99));
        assert_eq!(shown(&pod(policy), &observed, 101), expected, "{policy} {code}");
    }
}

#[test]
fn crash_loop_says_how_long_and_keeps_the_last_end() {
    let mut observed = up();
    let container = observed.container_mut("a");
    container.run = Run::Ended(ended(1, "Error", 100));
    (0..4).for_each(|_| container.backoff.grant(at(99), at(99)));
    let status = status(&pod("Always"), &observed, &[], at(101));
    let shown = &status.container_statuses.unwrap()[0];
    let waiting = shown.state.clone().unwrap().waiting.unwrap();
    assert_eq!(
        waiting.message.unwrap(),
        "back-off 1m20s restarting failed container=a pod=web_default(u1)"
    );
    assert_eq!(shown.last_state.clone().unwrap().terminated.unwrap().exit_code, 1);
}

#[test]
fn image_and_config_troubles_are_named() {
    let mut observed = up();
    let mut backoff = Backoff::NONE;
    backoff.grant(at(0), at(0));
    let failed = |backoff| Image::Failed {
        reason: "ErrImagePull",
        message: "no such image".to_owned(),
        at: at(0),
        backoff,
    };
    observed.container_mut("a").image = failed(backoff);
    assert_eq!(
        shown(&pod("Always"), &observed, 1),
        is("Pending", "ErrImagePull", false)
    );
    backoff.grant(at(0), at(0));
    observed.container_mut("a").image = failed(backoff);
    assert_eq!(
        shown(&pod("Always"), &observed, 1),
        is("Pending", "ImagePullBackOff", false)
    );
    let refused = Refused {
        reason: "CreateContainerConfigError",
        message: "secret \"x\" not found".to_owned(),
        retry: at(9),
    };
    observed.container_mut("a").refused = Some(refused);
    assert_eq!(
        shown(&pod("Always"), &observed, 1),
        is("Pending", "CreateContainerConfigError", false)
    );
}

#[test]
fn conditions_keep_their_dates_and_those_of_others() {
    let mut pod = pod("Always");
    pod.status = serde_json::from_value(json!({"conditions": [
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": "1970-01-01T00:00:07Z"},
        {"type": "Ready", "status": "True", "lastTransitionTime": "1970-01-01T00:00:07Z"},
        {"type": "example.test/gate", "status": "True"}]}))
    .unwrap();
    let status = status(&pod, &up(), &[], at(50));
    let conditions = status.conditions.unwrap();
    let of = |kind: &str| conditions.iter().find(|condition| condition.type_ == kind).unwrap();
    assert_eq!(of("PodScheduled").last_transition_time, Some(Time(at(7))));
    assert_eq!(of("Ready").last_transition_time, Some(Time(at(50))));
    assert_eq!(
        of("Ready").message.as_deref(),
        Some("containers with unready status: [a]")
    );
    assert_eq!(of("example.test/gate").status, "True");
}

#[test]
fn patch_has_only_what_changed() {
    let pod = pod("Always");
    let first = status(&pod, &Observed::default(), &[], at(0));
    assert!(patch(pod.metadata.uid.as_deref(), Some(&first), &first).is_none());
    let mut second = first.clone();
    second.phase = Some("Running".to_owned());
    let sent = patch(pod.metadata.uid.as_deref(), Some(&first), &second).unwrap();
    assert_eq!(sent, json!({"metadata": {"uid": "u1"}, "status": {"phase": "Running"}}));
    let third = status(&pod, &up(), &[], at(0));
    assert_eq!(
        patch(pod.metadata.uid.as_deref(), Some(&third), &first).unwrap()["status"]["podIP"],
        Value::Null
    );
}

#[test]
fn patch_says_its_own_conditions_and_takes_back_what_they_no_longer_say() {
    let mut pod = pod("Always");
    let conditions = |status: &str| json!({"conditions": [{"type": "example.test/gate", "status": status}]});
    pod.status = serde_json::from_value(conditions("False")).unwrap();
    let shut = status(&pod, &Observed::default(), &[], at(0));
    pod.status = serde_json::from_value(conditions("True")).unwrap();
    let mut open = status(&pod, &Observed::default(), &[], at(0));
    assert!(
        patch(pod.metadata.uid.as_deref(), Some(&shut), &open).is_none(),
        "others' conditions are theirs"
    );
    let ready = open
        .conditions
        .as_mut()
        .unwrap()
        .iter_mut()
        .find(|condition| condition.type_ == "Ready");
    let ready = ready.unwrap();
    assert!(ready.reason.is_some() && ready.message.is_some());
    (ready.status, ready.reason, ready.message) = ("True".to_owned(), None, None);
    let sent = patch(pod.metadata.uid.as_deref(), Some(&shut), &open).unwrap()["status"]["conditions"].clone();
    assert_eq!(sent.as_array().unwrap().len(), 1, "{sent}");
    let ready = sent[0].as_object().unwrap();
    assert_eq!((&ready["type"], &ready["status"]), (&json!("Ready"), &json!("True")));
    assert_eq!(
        (ready.get("reason"), ready.get("message")),
        (Some(&Value::Null), Some(&Value::Null))
    );
}

#[test]
fn a_pod_that_the_node_refuses_waits_for_nothing() {
    let pod = pod("Always");
    let mut observed = Observed {
        ended: Some((
            "OutOfcpu".to_owned(),
            "Pod was rejected: it asks for too much".to_owned(),
        )),
        ..Observed::default()
    };
    let refused = status(&pod, &observed, &[], at(0));
    assert_eq!(
        (
            refused.phase.as_deref(),
            refused.reason.as_deref(),
            refused.container_statuses
        ),
        (Some("Failed"), Some("OutOfcpu"), None)
    );
    observed.sandbox = Sandbox::Down;
    assert!(status(&pod, &observed, &[], at(0)).container_statuses.is_some());
}
