//! Hooks, sidecars, probes, ephemeral containers and rules: what they make of a pod's way up and down.

use super::*;

#[test]
fn hook_before_the_stop_has_the_grace_period_and_two_seconds_are_left_after_it() {
    let pod = one("Always");
    let mut observed = up();
    observed.container_mut("a").run = running();
    observed.deleted = Some(Deleted {
        grace: 30,
        in_api: true,
    });
    observed.container_mut("a").stopping = stopping(30, Stage::Hook);
    let waits = Decision {
        actions: vec![],
        wake: Some(at(30)),
    };
    assert_eq!(decide(&pod, &observed, at(29)), waits);
    assert_eq!(actions(&pod, &observed, 30), [signal("a", 32)]);
    observed.container_mut("a").stopping = stopping(30, Stage::Turn);
    assert_eq!(actions(&pod, &observed, 10), [signal("a", 30)]);
    assert_eq!(actions(&pod, &observed, 29), [signal("a", 31)]);
}

#[test]
fn sidecars_are_sent_their_signal_in_reverse_after_all_others() {
    let pod = pod(json!({
        "initContainers": [{"name": "s1", "image": "i", "restartPolicy": "Always"},
            {"name": "s2", "image": "i", "restartPolicy": "Always"}],
        "containers": [{"name": "a", "image": "i"}],
    }));
    let mut observed = up();
    for name in ["s1", "s2", "a"] {
        observed.container_mut(name).run = running();
    }
    observed.deleted = Some(Deleted { grace: 9, in_api: true });
    let all = [
        stop("a", 9, Why::PodEnds),
        stop("s1", 9, Why::PodEnds),
        stop("s2", 9, Why::PodEnds),
    ];
    assert_eq!(actions(&pod, &observed, 0), all);
    for name in ["s1", "s2", "a"] {
        observed.container_mut(name).stopping = stopping(9, Stage::Turn);
    }
    for (name, ends) in [("a", 1), ("s2", 2), ("s1", 3)] {
        assert_eq!(actions(&pod, &observed, ends), [signal(name, 9)]);
        observed.container_mut(name).run = ended(0, ends);
    }
    for name in ["s1", "s2"] {
        observed.container_mut(name).run = running();
    }
    observed.container_mut("a").run = running();
    observed.container_mut("a").stopping = stopping(9, Stage::Signalled { kill_at: at(11) });
    assert_eq!(
        actions(&pod, &observed, 9),
        [signal("s1", 11), signal("s2", 11)],
        "nobody waits longer than the grace period"
    );
}

#[test]
fn sidecar_starts_the_next_once_it_has_started() {
    let pod = pod(json!({
        "initContainers": [{"name": "s", "image": "i", "restartPolicy": "Always", "startupProbe": {"periodSeconds": 1}},
            {"name": "i1", "image": "i"}],
        "containers": [{"name": "a", "image": "i"}],
    }));
    let mut observed = up();
    observed.container_mut("s").run = running();
    let asks = Action::Probe {
        container: "s".to_owned(),
        kind: Kind::Startup,
        due: at(0),
    };
    assert_eq!(actions(&pod, &observed, 0), [asks]);
    let probe = pod.spec.as_ref().unwrap().init_containers.as_ref().unwrap()[0]
        .startup_probe
        .clone()
        .unwrap();
    let probes = &mut observed.container_mut("s").probes.startup;
    probes.asked(&probe, at(0), at(0));
    probes.take(&probe, &Answer::Success);
    assert_eq!(actions(&pod, &observed, 0), [Action::Pull("i1".to_owned())]);
    observed.container_mut("i1").run = ended(0, 1);
    assert_eq!(actions(&pod, &observed, 1), [Action::Pull("a".to_owned())]);
    observed.container_mut("a").run = running();
    observed.container_mut("s").run = ended(0, 2);
    observed.container_mut("s").probes = Probes::NONE;
    assert_eq!(
        actions(&pod, &observed, 2),
        [Action::Pull("s".to_owned())],
        "a sidecar that ends runs again"
    );
}

#[test]
fn failed_liveness_stops_and_starts_even_what_ends_well() {
    let pod = pod(
        json!({"restartPolicy": "OnFailure", "terminationGracePeriodSeconds": 40, "containers": [
        {"name": "a", "image": "i", "livenessProbe": {"failureThreshold": 1, "terminationGracePeriodSeconds": 5}}]}),
    );
    let mut observed = up();
    observed.container_mut("a").run = running();
    let probe = spec::containers(&pod)[0].liveness_probe.clone().unwrap();
    observed
        .container_mut("a")
        .probes
        .liveness
        .take(&probe, &Answer::Failure(String::new()));
    let why = Why::ProbeFailed {
        kind: Kind::Liveness,
        again: true,
    };
    assert_eq!(actions(&pod, &observed, 3), [stop("a", 5, why)]);
    assert_eq!(why.message("a"), "Container a failed liveness probe, will be restarted");
    observed.container_mut("a").stopping = Some(Stopping {
        deadline: at(8),
        stage: Stage::Turn,
        again: true,
    });
    assert_eq!(actions(&pod, &observed, 3), [signal("a", 8)]);
    let Run::Ended(over) = ended(0, 4) else { return };
    observed.container_mut("a").end(over);
    assert_eq!(actions(&pod, &observed, 4), [Action::Pull("a".to_owned())]);
}

#[test]
fn hook_after_a_start_holds_up_the_containers_after_it() {
    let pod = pod(json!({"containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "i"}]}));
    let mut observed = up();
    observed.container_mut("a").image = Image::Pulling;
    observed.container_mut("b").image = here();
    assert_eq!(actions(&pod, &observed, 0), []);
    observed.container_mut("a").run = running();
    observed.container_mut("a").post_start = Hook::Running;
    assert_eq!(actions(&pod, &observed, 0), []);
    observed.container_mut("a").post_start = Hook::Failed;
    assert_eq!(
        actions(&pod, &observed, 0),
        [stop("a", 30, Why::PostStartFailed), Action::Start("b".to_owned())]
    );
    observed.container_mut("a").post_start = Hook::Over;
    assert_eq!(actions(&pod, &observed, 0), [Action::Start("b".to_owned())]);
}

#[test]
fn container_with_a_hook_starts_alone_where_all_images_are_there() {
    let hook = json!({"postStart": {"exec": {"command": ["x"]}}});
    let pod = pod(json!({"containers": [{"name": "a", "image": "i", "lifecycle": hook}, {"name": "b", "image": "i"}]}));
    let mut observed = up();
    for name in ["a", "b"] {
        observed.container_mut(name).image = here();
    }
    assert_eq!(actions(&pod, &observed, 0), [Action::Start("a".to_owned())]);
    // One that cannot be started holds up nobody.
    observed.container_mut("a").refused = Some(Refused {
        reason: "CreateContainerError",
        message: "no".to_owned(),
        retry: at(9),
    });
    assert_eq!(actions(&pod, &observed, 0), [Action::Start("b".to_owned())]);
}

#[test]
fn ephemeral_container_runs_once_beside_the_others() {
    let pod =
        pod(json!({"containers": [{"name": "a", "image": "i"}], "ephemeralContainers": [{"name": "e", "image": "i"}]}));
    let mut observed = up();
    observed.container_mut("a").run = running();
    assert_eq!(actions(&pod, &observed, 0), [Action::Pull("e".to_owned())]);
    observed.container_mut("e").run = ended(1, 1);
    assert_eq!(decide(&pod, &observed, at(1)), Decision::default());
}

#[test]
fn rules_of_a_container_come_before_its_policy() {
    let rule = |operator: &str| json!([{"action": "Restart", "exitCodes": {"operator": operator, "values": [42]}}]);
    let cases = [
        ("Never", "In", 42, true),
        ("Never", "In", 1, false),
        ("Never", "NotIn", 1, true),
        ("OnFailure", "In", 1, true),
        ("OnFailure", "In", 0, false),
    ];
    for (policy, operator, code, again) in cases {
        let pod = pod(
            json!({"restartPolicy": "Never", "containers": [{"name": "a", "image": "i",
            "restartPolicy": policy, "restartPolicyRules": rule(operator)}]}),
        );
        assert_eq!(
            spec::restarts(&pod, &spec::containers(&pod)[0], code),
            again,
            "{policy} {operator} {code}"
        );
    }
}

#[test]
fn container_that_is_to_be_another_image_is_changed() {
    let pod = pod(json!({"containers": [{"name": "a", "image": "new"}]}));
    let mut observed = up();
    observed.container_mut("a").run = running();
    observed.container_mut("a").made_of = "old".to_owned();
    assert_eq!(
        actions(&pod, &observed, 0),
        [stop("a", 30, Why::Changed { again: true })]
    );
}

#[test]
fn one_containers_end_may_have_all_begin_anew() {
    let rules = json!([{"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [42]}}]);
    let pod = pod(
        json!({"restartPolicy": "Never", "initContainers": [{"name": "i", "image": "i"}],
        "containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "i", "restartPolicyRules": rules}]}),
    );
    let mut observed = up();
    for (name, run) in [("i", ended(0, 1)), ("a", running()), ("b", ended(41, 5))] {
        observed.container_mut(name).run = run;
        observed.container_mut(name).attempt = 1;
    }
    assert!(actions(&pod, &observed, 6).is_empty());
    observed.container_mut("b").run = ended(42, 5);
    // Without grace: killed as soon as it is known to be stopped.
    assert_eq!(actions(&pod, &observed, 6), [stop("a", 0, Why::AllRestart)]);
    observed.container_mut("a").stopping = stopping(6, Stage::Turn);
    assert_eq!(actions(&pod, &observed, 6), [Action::Kill("a".to_owned())]);
    observed.container_mut("a").stopping = stopping(6, Stage::Killed);
    assert!(actions(&pod, &observed, 6).is_empty());
    observed.container_mut("a").stopping = None;
    observed.container_mut("a").run = ended(137, 7);
    assert_eq!(actions(&pod, &observed, 7), [Action::BeginAnew]);
    for name in ["i", "a", "b"] {
        observed.container_mut(name).begin_anew(name == "b", at(7));
    }
    assert_eq!(actions(&pod, &observed, 7), [Action::Pull("i".to_owned())]);
    // Once more, it waits.
    observed.container_mut("b").run = ended(42, 8);
    assert_eq!(decide(&pod, &observed, at(8)).wake, Some(at(18)));
}
