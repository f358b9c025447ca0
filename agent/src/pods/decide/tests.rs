//! Lives of pods, step by step.

use super::super::observed::{Deleted, Ended, Refused, Stage, Stopping};
use super::super::probes::{Answer, Probes};
use super::*;
use serde_json::{Value, json};

mod ways;

fn pod(spec: Value) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": "web", "namespace": "default", "uid": "u1"}, "spec": spec}))
        .unwrap()
}

fn one(policy: &str) -> Pod {
    pod(json!({"restartPolicy": policy, "containers": [{"name": "a", "image": "i"}]}))
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn up() -> Observed {
    Observed {
        sandbox: Sandbox::Up,
        ..Observed::default()
    }
}

fn here() -> Image {
    Image::Here {
        id: "sha256:1".to_owned(),
        named: "i".to_owned(),
    }
}

fn ended(code: i32, finished: i64) -> Run {
    Run::Ended(Ended {
        attempt: 0,
        code,
        reason: "Error",
        message: String::new(),
        started: Some(at(0)),
        finished: at(finished),
    })
}

fn running() -> Run {
    Run::Running {
        since: at(0),
        attempt: 0,
    }
}

fn stop(container: &str, grace: i64, why: Why) -> Action {
    Action::Stop {
        container: container.to_owned(),
        grace,
        why,
    }
}

fn signal(container: &str, kill_at: i64) -> Action {
    Action::Signal {
        container: container.to_owned(),
        kill_at: at(kill_at),
    }
}

fn stopping(deadline: i64, stage: Stage) -> Option<Stopping> {
    Some(Stopping {
        deadline: at(deadline),
        stage,
        again: false,
    })
}

fn actions(pod: &Pod, observed: &Observed, now: i64) -> Vec<Action> {
    decide(pod, observed, at(now)).actions
}

#[test]
fn new_pod_gets_sandbox_then_image_then_start() {
    let pod = one("Always");
    let mut observed = Observed::default();
    assert_eq!(actions(&pod, &observed, 0), [Action::MakeSandbox]);
    observed.sandbox = Sandbox::Up;
    assert_eq!(actions(&pod, &observed, 0), [Action::Pull("a".to_owned())]);
    observed.container_mut("a").image = Image::Pulling;
    assert_eq!(actions(&pod, &observed, 0), []);
    observed.container_mut("a").image = here();
    assert_eq!(actions(&pod, &observed, 0), [Action::Start("a".to_owned())]);
    observed.container_mut("a").run = running();
    assert_eq!(decide(&pod, &observed, at(0)), Decision::default());
}

#[test]
fn failed_sandbox_is_tried_again_after_a_pause() {
    let observed = Observed {
        sandbox: Sandbox::Failed { at: at(100) },
        ..Observed::default()
    };
    assert_eq!(
        decide(&one("Always"), &observed, at(102)),
        Decision {
            actions: vec![],
            wake: Some(at(105))
        }
    );
    assert_eq!(actions(&one("Always"), &observed, 105), [Action::MakeSandbox]);
}

#[test]
fn restart_policy_decides_about_ended_containers() {
    let cases = [
        ("Always", 0, true),
        ("Always", 1, true),
        ("OnFailure", 0, false),
        ("OnFailure", 1, true),
        ("Never", 1, false),
    ];
    for (policy, code, again) in cases {
        let mut observed = up();
        *observed.container_mut("a") = Container {
            run: ended(code, 5),
            image: here(),
            ..Container::default()
        };
        let expected = if again {
            Action::Start("a".to_owned())
        } else {
            Action::TearDown
        };
        assert_eq!(actions(&one(policy), &observed, 5), [expected], "{policy}, exit {code}");
    }
}

#[test]
fn crashing_container_waits_for_its_backoff() {
    let mut observed = up();
    let container = observed.container_mut("a");
    *container = Container {
        run: ended(1, 100),
        image: here(),
        ..Container::default()
    };
    container.backoff.grant(at(90), at(90));
    assert_eq!(
        decide(&one("Always"), &observed, at(101)),
        Decision {
            actions: vec![],
            wake: Some(at(110))
        }
    );
    assert_eq!(actions(&one("Always"), &observed, 110), [Action::Start("a".to_owned())]);
}

#[test]
fn image_that_cannot_be_had_is_asked_for_with_growing_pauses() {
    let mut observed = up();
    let mut backoff = super::super::backoff::Backoff::NONE;
    backoff.grant(at(0), at(0));
    observed.container_mut("a").image = Image::Failed {
        reason: "ErrImagePull",
        message: String::new(),
        at: at(1),
        backoff,
    };
    assert_eq!(
        decide(&one("Always"), &observed, at(2)),
        Decision {
            actions: vec![],
            wake: Some(at(11))
        }
    );
    assert_eq!(actions(&one("Always"), &observed, 11), [Action::Pull("a".to_owned())]);
}

#[test]
fn missing_config_map_is_looked_for_again() {
    let mut observed = up();
    let refused = Refused {
        reason: "CreateContainerConfigError",
        message: String::new(),
        retry: at(20),
    };
    *observed.container_mut("a") = Container {
        image: here(),
        refused: Some(refused),
        ..Container::default()
    };
    assert_eq!(
        decide(&one("Always"), &observed, at(2)),
        Decision {
            actions: vec![],
            wake: Some(at(20))
        }
    );
    assert_eq!(actions(&one("Always"), &observed, 20), [Action::Start("a".to_owned())]);
}

#[test]
fn init_containers_run_one_after_the_other_before_all_others() {
    let pod = pod(json!({
        "initContainers": [{"name": "i1", "image": "i"}, {"name": "i2", "image": "i"}],
        "containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "i"}],
    }));
    let mut observed = up();
    assert_eq!(actions(&pod, &observed, 0), [Action::Pull("i1".to_owned())]);
    observed.container_mut("i1").run = running();
    assert_eq!(actions(&pod, &observed, 0), []);
    observed.container_mut("i1").run = ended(0, 1);
    assert_eq!(actions(&pod, &observed, 1), [Action::Pull("i2".to_owned())]);
    observed.container_mut("i2").run = ended(3, 1);
    assert_eq!(actions(&pod, &observed, 1), [Action::Pull("i2".to_owned())]);
    observed.container_mut("i2").run = ended(0, 1);
    assert_eq!(
        actions(&pod, &observed, 1),
        [Action::Pull("a".to_owned()), Action::Pull("b".to_owned())]
    );
}

#[test]
fn failed_init_container_ends_a_pod_that_is_never_restarted() {
    let pod = pod(json!({
        "restartPolicy": "Never",
        "initContainers": [{"name": "i1", "image": "i"}],
        "containers": [{"name": "a", "image": "i"}],
    }));
    let mut observed = up();
    observed.container_mut("i1").run = ended(3, 1);
    assert_eq!(actions(&pod, &observed, 1), [Action::TearDown]);
}

#[test]
fn sidecar_starts_before_the_containers_and_does_not_keep_the_pod_alive() {
    let pod = pod(json!({
        "restartPolicy": "Never",
        "initContainers": [{"name": "s", "image": "i", "restartPolicy": "Always"}],
        "containers": [{"name": "a", "image": "i"}],
    }));
    let mut observed = up();
    assert_eq!(actions(&pod, &observed, 0), [Action::Pull("s".to_owned())]);
    observed.container_mut("s").run = running();
    assert_eq!(actions(&pod, &observed, 0), [Action::Pull("a".to_owned())]);
    observed.container_mut("a").run = ended(0, 1);
    assert_eq!(
        actions(&pod, &observed, 1),
        [Action::Stop {
            container: "s".to_owned(),
            grace: 30,
            why: Why::PodEnds,
        }]
    );
}

#[test]
fn deleted_pod_is_stopped_killed_taken_down_and_finished() {
    let pod = one("Always");
    let mut observed = up();
    observed.container_mut("a").run = running();
    observed.deleted = Some(Deleted { grace: 7, in_api: true });
    assert_eq!(actions(&pod, &observed, 0), [stop("a", 7, Why::PodEnds)]);
    observed.container_mut("a").stopping = stopping(7, Stage::Turn);
    assert_eq!(actions(&pod, &observed, 0), [signal("a", 7)]);
    observed.container_mut("a").stopping = stopping(7, Stage::Signalled { kill_at: at(7) });
    assert_eq!(
        decide(&pod, &observed, at(3)),
        Decision {
            actions: vec![],
            wake: Some(at(7))
        }
    );
    assert_eq!(actions(&pod, &observed, 7), [Action::Kill("a".to_owned())]);
    observed.container_mut("a").stopping = stopping(7, Stage::Killed);
    assert_eq!(decide(&pod, &observed, at(8)), Decision::default());
    observed.container_mut("a").run = ended(137, 8);
    assert_eq!(actions(&pod, &observed, 8), [Action::TearDown]);
    observed.sandbox = Sandbox::Down;
    assert_eq!(actions(&pod, &observed, 8), [Action::Finish]);
}

#[test]
fn pod_deleted_before_it_had_anything_is_finished_at_once() {
    let observed = Observed {
        deleted: Some(Deleted {
            grace: 30,
            in_api: true,
        }),
        ..Observed::default()
    };
    assert_eq!(actions(&one("Always"), &observed, 0), [Action::Finish]);
}

#[test]
fn pod_past_its_deadline_ends() {
    let pod = pod(json!({"activeDeadlineSeconds": 5, "containers": [{"name": "a", "image": "i"}]}));
    let mut observed = Observed { seen: at(0), ..up() };
    observed.container_mut("a").run = running();
    assert_eq!(
        decide(&pod, &observed, at(1)),
        Decision {
            actions: vec![],
            wake: Some(at(5))
        }
    );
    assert!(matches!(
        actions(&pod, &observed, 5)[..],
        [Action::End {
            reason: "DeadlineExceeded",
            ..
        }]
    ));
    observed.ended = Some(("DeadlineExceeded".to_owned(), String::new()));
    assert_eq!(
        actions(&pod, &observed, 6),
        [Action::Stop {
            container: "a".to_owned(),
            grace: 30,
            why: Why::PodEnds,
        }]
    );
}
