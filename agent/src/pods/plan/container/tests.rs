//! Specs and what becomes of them.

use super::super::{Lookups, Machine, Volume, What, env};
use super::*;
use serde_json::{Value, json};

fn machine() -> Machine {
    Machine {
        node: "n1".to_owned(),
        ips: vec!["10.77.0.11".parse().unwrap()],
        cpu_milli: 2000,
        memory: 1 << 30,
        ..Machine::default()
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
    let machine = Machine {
        memory_capacity: 1 << 30,
        ..Machine::default()
    };
    super::container(&Inputs {
        pod: &pod,
        spec,
        container: &spec.containers[0],
        attempt: 0,
        image,
        passwd: "app:x:7:7::/home/app:/bin/sh\n".to_owned(),
        group: String::new(),
        hostname: "web",
        env: &env,
        volumes: &volumes(),
        files: &[("/pod/hosts".into(), "/etc/hosts".into())],
        scratch: "/scratch".into(),
        log: "/log".into(),
        seccomp: None,
        machine: &machine,
    })
}

fn volumes() -> Volumes {
    let of = |what, readonly| Volume { what, readonly };
    [
        ("data".to_owned(), Volume::writable("/vol/data".into())),
        ("map".to_owned(), Volume::readonly("/vol/map".into())),
        (
            "image".to_owned(),
            of(What::Image(vec!["/l2".into(), "/l1".into()]), true),
        ),
        ("disk".to_owned(), of(What::Device("/dev/sdb".into()), false)),
    ]
    .into()
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
    assert_eq!(plan.mounts[0].access, Access::Readonly);
    assert_eq!(plan.mounts[1].target, PathBuf::from("/etc/hosts"));
    assert_eq!(mount("/etc/hosts", json!({})).unwrap().mounts.len(), 1);
    assert!(mount("/data", json!({"subPath": "../x"})).is_err());
    assert!(mount("/data", json!({"subPathExpr": "$(NOPE)"})).is_err());
}

#[test]
fn mounts_say_who_may_write_and_what_passes_through() {
    let mounts = |mounts: Value| {
        let plan = plan_of(
            json!({"name": "a", "command": ["x"], "volumeMounts": mounts}),
            &image(json!({})),
        )
        .unwrap();
        let facts = plan.mounts.iter().map(|mount| (mount.access, mount.propagation)).next();
        facts.unwrap()
    };
    let mount = |name: &str, more: Value| {
        let mut mount = json!({"name": name, "mountPath": "/m"});
        mount.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        mounts(json!([mount]))
    };
    let cases = [
        ("data", json!({}), Access::Writable, Propagation::Private),
        ("map", json!({}), Access::Readonly, Propagation::Private),
        (
            "data",
            json!({"readOnly": true, "recursiveReadOnly": "Disabled"}),
            Access::Readonly,
            Propagation::Private,
        ),
        (
            "data",
            json!({"readOnly": true, "recursiveReadOnly": "IfPossible"}),
            Access::ReadonlyRecursive,
            Propagation::Private,
        ),
        (
            "data",
            json!({"mountPropagation": "HostToContainer"}),
            Access::Writable,
            Propagation::FromMachine,
        ),
        (
            "data",
            json!({"mountPropagation": "Bidirectional"}),
            Access::Writable,
            Propagation::Both,
        ),
    ];
    for (name, more, access, propagation) in cases {
        assert_eq!(mount(name, more.clone()), (access, propagation), "{name} {more}");
    }
}

#[test]
fn images_and_devices_are_mounted_as_what_they_are() {
    let container = json!({"name": "a", "command": ["x"],
        "volumeMounts": [{"name": "image", "mountPath": "/image", "subPath": "etc"}],
        "volumeDevices": [{"name": "disk", "devicePath": "/dev/data"}]});
    let plan = plan_of(container, &image(json!({}))).unwrap();
    let (lower, path) = (vec!["/l2".into(), "/l1".into()], "etc".into());
    assert_eq!(plan.mounts[0].source, Source::Layers { lower, path });
    assert_eq!(plan.mounts[1].source, Source::Device("/dev/sdb".into()));
    for (container, sentence) in [
        (
            json!({"volumeMounts": [{"name": "disk", "mountPath": "/d"}]}),
            "volume disk has volumeMode Block, but is specified in volumeMounts",
        ),
        (
            json!({"volumeDevices": [{"name": "data", "devicePath": "/d"}]}),
            "volume data has volumeMode Filesystem, but is specified in volumeDevices",
        ),
    ] {
        let mut container = container;
        container["name"] = json!("a");
        container["command"] = json!(["x"]);
        assert_eq!(plan_of(container, &image(json!({}))).unwrap_err().0, sentence);
    }
}

#[test]
fn paths_from_variables_are_refused_as_upstream_does() {
    let refused = |value: &str| {
        let mount = json!({"name": "data", "mountPath": "/m", "subPathExpr": "$(NAME)"});
        let env = json!([{"name": "NAME", "value": value}]);
        let container = json!({"name": "a", "command": ["x"], "env": env, "volumeMounts": [mount]});
        plan_of(container, &image(json!({})))
            .map(drop)
            .map_err(|refusal| refusal.0)
    };
    assert_eq!(refused("deep/er"), Ok(()));
    let cases = [
        ("", "missing value for NAME"),
        ("/tmp", "error SubPath `/tmp` must not be an absolute path"),
        (
            "a/../..",
            "unable to provision SubPath `a/../..`: must not contain '..'",
        ),
    ];
    for (value, sentence) in cases {
        assert_eq!(refused(value), Err(sentence.to_owned()));
    }
}

#[test]
fn a_container_sees_the_processes_that_its_pod_says() {
    let debugger = json!([{"name": "debugger", "image": "i", "targetContainerName": "a"}]);
    for (spec, of_a, of_debugger) in [
        (json!({}), Processes::Own, Processes::Of("a".to_owned())),
        (json!({"shareProcessNamespace": true}), Processes::Pod, Processes::Pod),
        (json!({"hostPID": true}), Processes::Host, Processes::Host),
    ] {
        let mut pod = json!({"spec": spec});
        pod["spec"]["containers"] = json!([{"name": "a"}]);
        pod["spec"]["ephemeralContainers"] = debugger.clone();
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let spec = pod.spec.as_ref().unwrap();
        let of = |name: &str| processes(&pod, spec, name);
        assert_eq!((of("a"), of("debugger")), (of_a, of_debugger), "{spec:?}");
    }
}
