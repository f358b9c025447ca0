//! Probes over time: a line each for when they are asked and what their answers add up to.

use super::super::observed::{Hook, Stage, Stopping};
use super::*;
use serde_json::json;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn spec(probes: serde_json::Value) -> Spec {
    let mut spec = json!({"name": "a", "image": "i"});
    spec.as_object_mut()
        .unwrap()
        .extend(probes.as_object().unwrap().clone());
    serde_json::from_value(spec).unwrap()
}

fn running() -> Container {
    Container {
        run: Run::Running {
            since: at(100),
            attempt: 0,
        },
        ..Container::default()
    }
}

fn failure() -> Answer {
    Answer::Failure(String::new())
}

/// Asks and answers at the times at which the probe is due; the times, until the verdict is another one.
fn times(spec: &Spec, container: &mut Container, kind: Kind, answers: &[Answer]) -> Vec<i64> {
    let mut times = Vec::new();
    for answer in answers {
        let Some(when) = due(spec, container, kind, false) else {
            break;
        };
        times.push(when.as_second());
        let probe = kind.of(spec).unwrap();
        container.probes.of_mut(kind).asked(probe, when, when);
        assert_eq!(due(spec, container, kind, false), None, "one question at a time");
        container.probes.of_mut(kind).take(probe, answer);
    }
    times
}

#[test]
fn liveness_is_asked_after_its_delay_every_period_until_it_fails_often_enough() {
    let spec = spec(json!({"livenessProbe": {"initialDelaySeconds": 7, "periodSeconds": 5, "failureThreshold": 3}}));
    let mut container = running();
    let answers = [failure(), Answer::Success, failure(), failure(), failure(), failure()];
    let asked = times(&spec, &mut container, Kind::Liveness, &answers);
    assert_eq!(asked, [107, 112, 117, 122, 127]);
    assert_eq!(failed(&spec, &container), Some(Kind::Liveness));
}

#[test]
fn nothing_else_is_asked_before_the_startup_probe_has_succeeded() {
    let spec = spec(json!({"startupProbe": {"periodSeconds": 2, "failureThreshold": 30},
        "livenessProbe": {"periodSeconds": 3}, "readinessProbe": {"periodSeconds": 4, "successThreshold": 2}}));
    let mut container = running();
    assert_eq!(due(&spec, &container, Kind::Liveness, false), None);
    assert_eq!(due(&spec, &container, Kind::Readiness, false), None);
    assert!(!is_started(&spec, &container));
    let asked = times(
        &spec,
        &mut container,
        Kind::Startup,
        &[failure(), failure(), Answer::Success, failure()],
    );
    assert_eq!(asked, [100, 102, 104]);
    assert!(is_started(&spec, &container) && !is_ready(&spec, &container));
    assert_eq!(due(&spec, &container, Kind::Startup, false), None);
    assert_eq!(due(&spec, &container, Kind::Liveness, false), Some(at(100)));
    assert_eq!(times(&spec, &mut container, Kind::Readiness, &[Answer::Success]), [100]);
    assert!(!is_ready(&spec, &container), "two successes are wanted");
    assert_eq!(times(&spec, &mut container, Kind::Readiness, &[Answer::Success]), [104]);
    assert!(is_ready(&spec, &container));
}

#[test]
fn startup_probe_that_fails_often_enough_ends_the_container() {
    let spec = spec(json!({"startupProbe": {"periodSeconds": 1, "failureThreshold": 2}}));
    let mut container = running();
    assert_eq!(
        times(&spec, &mut container, Kind::Startup, &[failure(), failure(), failure()]),
        [100, 101]
    );
    assert_eq!(failed(&spec, &container), Some(Kind::Startup));
}

#[test]
fn readiness_comes_and_goes_and_never_kills() {
    let spec = spec(json!({"readinessProbe": {"periodSeconds": 1, "failureThreshold": 2}}));
    let mut container = running();
    times(
        &spec,
        &mut container,
        Kind::Readiness,
        &[Answer::Warning("redirect".to_owned())],
    );
    assert!(is_ready(&spec, &container));
    times(&spec, &mut container, Kind::Readiness, &[failure()]);
    assert!(is_ready(&spec, &container), "once is not enough");
    times(
        &spec,
        &mut container,
        Kind::Readiness,
        &[Answer::Error("no port".to_owned()), failure()],
    );
    assert!(!is_ready(&spec, &container));
    assert_eq!(failed(&spec, &container), None);
    times(&spec, &mut container, Kind::Readiness, &[Answer::Success]);
    assert!(is_ready(&spec, &container));
}

#[test]
fn pod_on_its_way_out_is_asked_only_whether_it_is_ready() {
    let spec = spec(json!({"livenessProbe": {}, "readinessProbe": {}}));
    let mut container = running();
    assert_eq!(due(&spec, &container, Kind::Liveness, true), None);
    assert_eq!(due(&spec, &container, Kind::Readiness, true), Some(at(100)));
    container.stopping = Some(Stopping {
        deadline: at(130),
        stage: Stage::Turn,
        again: true,
    });
    assert_eq!(due(&spec, &container, Kind::Liveness, false), None);
}

#[test]
fn hook_after_the_start_comes_before_all_probes() {
    let spec = spec(json!({"startupProbe": {}}));
    let mut container = running();
    container.post_start = Hook::Running;
    assert_eq!(due(&spec, &container, Kind::Startup, false), None);
    assert!(!is_started(&spec, &container));
}

#[test]
fn slow_answers_do_not_pile_up_questions() {
    let probe = ProbeSpec {
        period_seconds: Some(1),
        ..ProbeSpec::default()
    };
    let mut state = Probe::default();
    state.asked(&probe, at(100), at(100));
    state.take(&probe, &failure());
    assert_eq!(state.next, Some(at(101)));
    state.asked(&probe, at(101), at(107));
    assert_eq!(state.next, Some(at(108)));
}

#[test]
fn restarted_agent_believes_the_api_and_spreads_its_questions() {
    let spec = spec(json!({"startupProbe": {}, "readinessProbe": {"periodSeconds": 10}}));
    let mut container = running();
    container.probes = Probes::adopted(&spec, true, true, 123_456, at(500));
    assert!(is_started(&spec, &container) && is_ready(&spec, &container));
    assert_eq!(
        due(&spec, &container, Kind::Readiness, false),
        Some(at(500) + SignedDuration::from_millis(3456))
    );
    container.probes = Probes::adopted(&spec, false, false, 0, at(500));
    assert_eq!(due(&spec, &container, Kind::Startup, false), Some(at(500)));
}
