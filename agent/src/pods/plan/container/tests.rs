//! Specs and what becomes of them.

use super::super::{Lookups, Machine, env};
use super::*;
use serde_json::{Value, json};

fn machine() -> Machine {
    Machine {
        node: "n1".to_owned(),
        ips: vec!["10.77.0.11".parse().unwrap()],
        cpu_milli: 2000,
        memory: 1 << 30,
    }
}

fn image(config: Value) -> oci::Image {
    serde_json::from_value(
        json!({"id": "sha256:1", "digest": "sha256:2", "names": [], "layers": ["/l2", "/l1"],
        "size": 1, "config": config}),
    )
    .unwrap()
}

fn lookups() -> Lookups {
    let map = serde_json::from_value(json!({"data": {"color": "blue", "shape": "round"}})).unwrap();
    let secret = serde_json::from_value(json!({"data": {"key": "czNjcmV0"}})).unwrap();
    Lookups {
        config_maps: [("map".to_owned(), Some(map)), ("gone".to_owned(), None)].into(),
        secrets: [("secret".to_owned(), Some(secret))].into(),
        ..Lookups::default()
    }
}

fn plan_of(container: Value, image: &oci::Image) -> Result<ContainerPlan, Refusal> {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "u1", "labels": {"app": "x"}},
        "spec": {"nodeName": "n1", "serviceAccountName": "sa", "containers": [container]}}))
    .unwrap();
    let spec = pod.spec.as_ref().unwrap();
    let ips = ["10.244.0.2".parse().unwrap(), "fd00::2".parse().unwrap()];
    let env = env::resolve(&pod, &spec.containers[0], &ips, &machine(), &lookups())?;
    super::container(&Inputs {
        pod: &pod,
        spec,
        container: &spec.containers[0],
        attempt: 0,
        image,
        passwd: "app:x:7:7::/home/app:/bin/sh\n".to_owned(),
        group: String::new(),
        env: &env,
        volumes: &[("data".to_owned(), PathBuf::from("/vol/data"))].into(),
        files: &[("/pod/hosts".into(), "/etc/hosts".into())],
        scratch: "/scratch".into(),
        log: "/log".into(),
        memory: 1 << 30,
    })
}

fn env_of(env: Value) -> Result<Vec<(String, String)>, Refusal> {
    let plan = plan_of(json!({"name": "a", "command": ["x"], "env": env}), &image(json!({})))?;
    let own = |name: &str| !["PATH", "HOSTNAME", "HOME"].contains(&name);
    Ok(plan.env.into_iter().filter(|(name, _)| own(name)).collect())
}

#[test]
fn command_and_args_meet_entrypoint_and_cmd_as_upstream_documents() {
    let image = image(json!({"Entrypoint": ["/e"], "Cmd": ["c"]}));
    let cases = [
        (json!({}), vec!["/e", "c"]),
        (json!({"command": ["/x"]}), vec!["/x"]),
        (json!({"args": ["y"]}), vec!["/e", "y"]),
        (json!({"command": ["/x"], "args": ["y"]}), vec!["/x", "y"]),
        (
            json!({"args": ["$(A)$$(A)"], "env": [{"name": "A", "value": "1"}]}),
            vec!["/e", "1$(A)"],
        ),
    ];
    for (mut container, argv) in cases {
        container["name"] = json!("a");
        assert_eq!(plan_of(container, &image).unwrap().argv, argv);
    }
    assert_eq!(
        plan_of(json!({"name": "a"}), &super::tests::image(json!({})))
            .unwrap_err()
            .0,
        "no command specified"
    );
}

#[test]
fn variables_come_from_everywhere() {
    let env = env_of(json!([
        {"name": "A", "value": "1"},
        {"name": "B", "value": "$(A)$(C)"},
        {"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "map", "key": "color"}}},
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "secret", "key": "key"}}},
        {"name": "NONE", "valueFrom": {"configMapKeyRef": {"name": "gone", "key": "x", "optional": true}}},
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "IPS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIPs"}}},
        {"name": "CPUS", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
        {"name": "MEM", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
    ]))
    .unwrap();
    let text: Vec<String> = env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(
        text,
        [
            "A=1",
            "APP=x",
            "B=1$(C)",
            "COLOR=blue",
            "CPUS=2",
            "IP=10.244.0.2",
            "IPS=10.244.0.2,fd00::2",
            "KEY=s3cret",
            "MEM=1024",
            "POD=web"
        ]
    );
}

#[test]
fn missing_sources_are_refused_in_upstreams_words() {
    let cases = [
        (
            json!({"configMapKeyRef": {"name": "gone", "key": "x"}}),
            "configmap \"gone\" not found",
        ),
        (
            json!({"configMapKeyRef": {"name": "map", "key": "x"}}),
            "couldn't find key x in ConfigMap default/map",
        ),
        (
            json!({"secretKeyRef": {"name": "never", "key": "x"}}),
            "secret \"never\" not found",
        ),
        (
            json!({"secretKeyRef": {"name": "secret", "key": "x"}}),
            "couldn't find key x in Secret default/secret",
        ),
    ];
    for (source, message) in cases {
        assert_eq!(
            env_of(json!([{"name": "A", "valueFrom": source}])).unwrap_err().0,
            message
        );
    }
}

#[test]
fn whole_maps_come_with_a_prefix_under_single_variables() {
    let container = json!({"name": "a", "command": ["x"], "envFrom": [{"prefix": "P_", "configMapRef": {"name": "map"}}],
        "env": [{"name": "P_shape", "value": "flat"}]});
    let plan = plan_of(container, &image(json!({"Env": ["PATH=/p", "X=1"]}))).unwrap();
    let get = |name: &str| {
        plan.env
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    };
    assert_eq!(
        (get("P_color"), get("P_shape"), get("PATH"), get("X")),
        (Some("blue"), Some("flat"), Some("/p"), Some("1"))
    );
    assert_eq!((get("HOSTNAME"), get("HOME")), (Some("web"), Some("/")));
}

#[test]
fn volumes_cover_the_nodes_own_files() {
    let mount = |path: &str, more: Value| {
        let mut mount = json!({"name": "data", "mountPath": path});
        mount.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        plan_of(
            json!({"name": "a", "command": ["x"], "volumeMounts": [mount]}),
            &image(json!({})),
        )
    };
    let plan = mount("/data", json!({"subPath": "a/b", "readOnly": true})).unwrap();
    let (folder, path) = ("/vol/data".into(), "a/b".into());
    assert_eq!(plan.mounts[0].source, Source::Inside { folder, path });
    assert!(plan.mounts[0].readonly);
    assert_eq!(plan.mounts[1].target, PathBuf::from("/etc/hosts"));
    assert_eq!(mount("/etc/hosts", json!({})).unwrap().mounts.len(), 1);
    assert!(mount("/data", json!({"subPath": "../x"})).is_err());
    assert!(mount("/data", json!({"subPathExpr": "$(NOPE)"})).is_err());
}
