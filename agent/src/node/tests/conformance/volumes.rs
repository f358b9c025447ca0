//! Files that pods see. Upstream: empty_dir.go, configmap_volume.go, secrets_volume.go, downwardapi_volume.go, projected_*.go and
//! host_path.go of test/e2e/common/storage, empty_dir_wrapper.go and subpath.go of test/e2e/storage.

use super::super::cluster::Cluster;
use super::super::registry;
use super::environment::allocatable;
use super::{Case, case, create, forever, path, ready, remove, script, with};
use serde_json::{Value, json};

pub fn cases(cluster: &Cluster) -> Vec<Case> {
    let mut cases = empty_dirs();
    cases.extend(empty_dirs_of_groups());
    cases.extend(files("configmap", "configMap", &json!({"name": "walk"})));
    cases.extend(files("secret", "secret", &json!({"secretName": "walk"})));
    cases.extend(together());
    cases.extend(downward(cluster));
    cases.extend(host_paths(cluster));
    cases.extend(parts());
    namesake(cluster);
    cases
}

/// A container that sees a volume `v` at /v.
fn sees(text: &str) -> Value {
    script(text, json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]}))
}

fn of(volume: Value, context: Value, container: Value) -> Value {
    json!({"volumes": [with(json!({"name": "v"}), volume)], "securityContext": context, "containers": [container]})
}

fn empty_dirs() -> Vec<Case> {
    let mut cases = Vec::new();
    for (medium, name) in [("", "default"), ("Memory", "tmpfs")] {
        let volume = json!({"emptyDir": {"medium": medium}});
        let kind = if medium.is_empty() {
            ""
        } else {
            "; busybox stat -f -c %T /v"
        };
        let said = if medium.is_empty() { "" } else { "tmpfs\n" };
        for (user, who) in [(0, "root"), (1001, "user")] {
            for mode in ["644", "666", "777"] {
                let text = format!(
                    "echo new > /v/file; busybox chmod {mode} /v/file; cat /v/file; busybox stat -c %a /v/file{kind}"
                );
                let spec = of(volume.clone(), json!({"runAsUser": user}), sees(&text));
                cases.push(case(
                    format!("empty-{who}-{mode}-{name}"),
                    spec,
                    format!("new\n{mode}\n{said}"),
                ));
            }
        }
        let mode = sees(&format!("busybox stat -c %a /v{kind}"));
        cases.push(case(
            format!("empty-mode-{name}"),
            of(volume, json!({}), mode),
            format!("777\n{said}"),
        ));
    }
    let sized = json!({"emptyDir": {"medium": "Memory", "sizeLimit": "10Mi"}});
    let text = "busybox df /v | busybox tail -1 | busybox awk '{print $2}'";
    cases.push(case("empty-sized", of(sized, json!({}), sees(text)), "10240\n"));
    let shared = |name: &str, text: &str| with(sees(text), json!({"name": name}));
    let spec = json!({"volumes": [{"name": "v", "emptyDir": {}}], "containers": [
        shared("sub", "echo Hello from the sub-container > /v/shareddata.txt"),
        shared("main", "until [ -s /v/shareddata.txt ]; do sleep 0.1; done; cat /v/shareddata.txt")]});
    cases.push(case("empty-shared", spec, "Hello from the sub-container\n"));
    cases
}

fn empty_dirs_of_groups() -> Vec<Case> {
    let volume = || json!({"emptyDir": {"medium": "Memory"}});
    let group = |user: i64| json!({"runAsUser": user, "fsGroup": 123});
    let new = "umask 002; echo x > /v/file; busybox stat -c '%a %g' /v/file";
    let part = script(
        "busybox stat -c '%a %u %g' /v",
        json!({"volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "test-subpath"}]}),
    );
    vec![
        case("group-root", of(volume(), group(0), sees(new)), "664 123\n"),
        case("group-user", of(volume(), group(1001), sees(new)), "664 123\n"),
        case("group-part", of(volume(), group(1001), part), "2777 0 123\n"),
        case(
            "group-mode",
            of(volume(), group(0), sees("busybox stat -c %a /v")),
            "2777\n",
        ),
        case(
            "group-disk",
            of(json!({"emptyDir": {}}), group(0), sees("busybox stat -c %a /v")),
            "2777\n",
        ),
    ]
}

/// Volumes of one kind, alone and as part of a projected one.
fn files(kind: &str, key: &str, source: &Value) -> Vec<Case> {
    let read = "cat /v/data-1; echo; busybox stat -L -c %a /v/data-1";
    let mapped = "cat /v/path/to/data-2; echo; busybox stat -L -c %a /v/path/to/data-2";
    let items = |item: Value| json!({"items": [with(json!({"key": "data_2", "path": "path/to/data-2"}), item)]});
    let rows = [
        ("plain", json!({}), read, json!({}), "value-1\n644\n"),
        ("mode", json!({"defaultMode": 0o400}), read, json!({}), "value-1\n400\n"),
        ("mapped", items(json!({})), mapped, json!({}), "value-2\n644\n"),
        (
            "mapped-mode",
            items(json!({"mode": 0o400})),
            mapped,
            json!({}),
            "value-2\n400\n",
        ),
        ("user", json!({}), read, json!({"runAsUser": 1000}), "value-1\n644\n"),
        (
            "mapped-user",
            items(json!({})),
            mapped,
            json!({"runAsUser": 1000}),
            "value-2\n644\n",
        ),
        (
            "user-group",
            json!({"defaultMode": 0o440}),
            read,
            json!({"runAsUser": 1000, "fsGroup": 1001}),
            "value-1\n440\n",
        ),
    ];
    let mut cases = Vec::new();
    for (like, more, text, who, said) in rows {
        let mut projection = with(json!({"name": "walk"}), more.clone());
        let mode = projection.as_object_mut().unwrap().remove("defaultMode");
        let mut projected = json!({"sources": [{key: projection}]});
        if let Some(mode) = mode {
            projected["defaultMode"] = mode;
        }
        let alone = of(json!({key: with(source.clone(), more)}), who.clone(), sees(text));
        cases.push(case(format!("{kind}-{like}"), alone, said));
        let spec = of(json!({"projected": projected}), who, sees(text));
        cases.push(case(format!("projected-{kind}-{like}"), spec, said));
    }
    let mounts = json!([{"name": "v", "mountPath": "/v"}, {"name": "w", "mountPath": "/w"}]);
    let reads = || script("cat /v/data-1 /w/data-1", json!({"volumeMounts": mounts}));
    let volumes = json!([{"name": "v", key: source}, {"name": "w", key: source}]);
    cases.push(case(
        format!("{kind}-twice"),
        json!({"volumes": volumes, "containers": [reads()]}),
        "value-1value-1",
    ));
    let projected = json!({"sources": [{key: {"name": "walk"}}]});
    let volumes = json!([{"name": "v", "projected": projected}, {"name": "w", "projected": projected}]);
    let spec = json!({"volumes": volumes, "containers": [reads()]});
    cases.push(case(format!("projected-{kind}-twice"), spec, "value-1value-1"));
    cases
}

/// Everything in one volume, and volumes of which each is made of an empty one.
fn together() -> Vec<Case> {
    let own = json!([{"path": "podname", "fieldRef": {"fieldPath": "metadata.name"}}]);
    let all = json!([{"configMap": {"name": "walk", "items": [{"key": "data-1", "path": "cm"}]}},
        {"secret": {"name": "walk", "items": [{"key": "data-1", "path": "secret"}]}}, {"downwardAPI": {"items": own}}]);
    let mounts = json!([{"name": "c", "mountPath": "/c"}, {"name": "s", "mountPath": "/s"}]);
    let volumes =
        json!([{"name": "c", "configMap": {"name": "walk"}}, {"name": "s", "secret": {"secretName": "walk"}}]);
    let both = script("cat /c/data-1 /s/data-1", json!({"volumeMounts": mounts}));
    let binary = sees("cat /v/data-1; busybox hexdump -e '4/1 \"%02x\"' /v/dump.bin");
    vec![
        case(
            "binary",
            of(json!({"configMap": {"name": "walk"}}), json!({}), binary),
            "value-1deadbeef",
        ),
        case(
            "projected-all",
            of(
                json!({"projected": {"sources": all}}),
                json!({}),
                sees("cat /v/cm /v/secret /v/podname"),
            ),
            "value-1value-1projected-all",
        ),
        case(
            "wrapped",
            json!({"volumes": volumes, "containers": [both]}),
            "value-1value-1",
        ),
    ]
}

fn downward(cluster: &Cluster) -> Vec<Case> {
    let amounts = json!({"limits": {"cpu": "1250m", "memory": "64Mi"}, "requests": {"cpu": "250m", "memory": "32Mi"}});
    let file = |path: &str, resource: &str| json!({"path": path, "resourceFieldRef": {"containerName": "test", "resource": resource}});
    let items = json!([file("a", "limits.cpu"), file("b", "limits.memory"), file("c", "requests.cpu"), file("d", "requests.memory"),
        {"path": "podname", "mode": 0o400, "fieldRef": {"fieldPath": "metadata.name"}}]);
    let shows = "for f in a b c d podname; do cat /v/$f; echo; done; busybox stat -L -c %a /v/a /v/podname";
    let (cpus, memory) = allocatable(cluster);
    let mut cases = Vec::new();
    for way in ["downward", "projected-downward"] {
        let volume = match way {
            "downward" => json!({"downwardAPI": {"defaultMode": 0o440, "items": items}}),
            _ => json!({"projected": {"defaultMode": 0o440, "sources": [{"downwardAPI": {"items": items}}]}}),
        };
        let limited = with(sees(shows), json!({"resources": amounts}));
        let said = format!("2\n67108864\n1\n33554432\n{way}-files\n440\n400\n");
        cases.push(case(
            format!("{way}-files"),
            of(volume.clone(), json!({}), limited),
            said,
        ));
        let bare = of(volume.clone(), json!({}), sees("cat /v/a; echo; cat /v/b"));
        cases.push(case(format!("{way}-all"), bare, format!("{cpus}\n{memory}")));
        let user = json!({"runAsUser": 1000, "fsGroup": 1001});
        let grouped = of(
            volume,
            user,
            sees("cat /v/podname; busybox stat -L -c ' %a %g' /v/podname"),
        );
        cases.push(case(format!("{way}-group"), grouped, format!("{way}-group 440 1001\n")));
    }
    cases
}

fn host_paths(cluster: &Cluster) -> Vec<Case> {
    use std::os::unix::fs::PermissionsExt;
    let folder = cluster.folder().join("host-path");
    std::fs::create_dir_all(folder.join("there")).unwrap();
    std::fs::write(folder.join("file"), "").unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o1777)).unwrap();
    let at = |part: &str, kind: &str| json!({"hostPath": {"path": folder.join(part), "type": kind}});
    let pair = |part: &str, says: &str| {
        let mut writes = with(
            sees("echo mount-tester new file > /v/test-file-$NAME"),
            json!({"name": "writes"}),
        );
        writes["env"] = json!([{"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]);
        if !part.is_empty() {
            writes["volumeMounts"][0]["subPath"] = json!(part);
        }
        let reads = sees(&format!("until [ -s {says} ]; do sleep 0.1; done; cat {says}"));
        json!({"volumes": [with(json!({"name": "v"}), at("", ""))], "containers": [writes, reads]})
    };
    let mut cases = vec![
        case(
            "host-mode",
            of(at("", ""), json!({}), sees("busybox stat -c %a /v")),
            "1777\n",
        ),
        case(
            "host-write",
            pair("", "/v/test-file-host-write"),
            "mount-tester new file\n",
        ),
        case(
            "host-part",
            pair("sub-path", "/v/sub-path/test-file-host-part"),
            "mount-tester new file\n",
        ),
    ];
    for (name, part, kind, is) in [
        ("host-directory", "there", "Directory", "directory"),
        ("host-directory-made", "made", "DirectoryOrCreate", "directory"),
        ("host-file", "file", "File", "regular empty file"),
        ("host-file-made", "made-file", "FileOrCreate", "regular empty file"),
    ] {
        cases.push(case(
            name,
            of(at(part, kind), json!({}), sees("busybox stat -c %F /v")),
            format!("{is}\n"),
        ));
    }
    let device = json!({"hostPath": {"path": "/dev/null", "type": "CharDevice"}});
    cases.push(case(
        "host-device",
        of(device, json!({}), sees("busybox stat -c %F /v")),
        "character special file\n",
    ));
    cases
}

/// Parts of volumes that are written as a whole.
fn parts() -> Vec<Case> {
    let own = json!({"items": [{"path": "downward/podname", "fieldRef": {"fieldPath": "metadata.name"}}]});
    let sources = json!([{"configMap": {"name": "walk", "items": [{"key": "data-1", "path": "projected/data"}]}}]);
    let part = |name: &str, volume: Value, at: &str, part: &str, said: &str| {
        let mounts = json!({"volumeMounts": [{"name": "v", "mountPath": at, "subPath": part}]});
        let read = if part == "projected" {
            format!("{at}/data")
        } else {
            at.to_owned()
        };
        case(
            format!("part-{name}"),
            of(volume, json!({}), script(&format!("cat {read}"), mounts)),
            said,
        )
    };
    vec![
        part(
            "configmap",
            json!({"configMap": {"name": "walk"}}),
            "/part",
            "data-1",
            "value-1",
        ),
        part(
            "existing",
            json!({"configMap": {"name": "walk"}}),
            "/etc/passwd",
            "data-1",
            "value-1",
        ),
        part(
            "secret",
            json!({"secret": {"secretName": "walk"}}),
            "/part",
            "data-1",
            "value-1",
        ),
        part(
            "downward",
            json!({"downwardAPI": own}),
            "/part",
            "downward/podname",
            "part-downward",
        ),
        part(
            "projected",
            json!({"projected": {"sources": sources}}),
            "/part",
            "projected",
            "value-1",
        ),
    ]
}

/// A secret of the same name elsewhere is another one.
fn namesake(cluster: &Cluster) {
    let space = json!({"metadata": {"name": "elsewhere"}});
    assert_eq!(cluster.ask("POST", "/api/v1/namespaces", Some(space)).0, 201);
    let secret = json!({"metadata": {"name": "walk"}, "stringData": {"data-1": "another"}});
    assert_eq!(
        cluster
            .ask("POST", "/api/v1/namespaces/elsewhere/secrets", Some(secret))
            .0,
        201
    );
}

pub fn all(cluster: &Cluster) {
    immutable_objects(cluster);
    images(cluster);
    host_paths_that_are_something_else(cluster);
    labels_and_annotations_follow(cluster);
}

fn immutable_objects(cluster: &Cluster) {
    for (kind, data) in [("configmaps", "value"), ("secrets", "dmFsdWU=")] {
        let all = format!("/api/v1/namespaces/default/{kind}");
        let object = json!({"metadata": {"name": "immutable"}, "data": {"data-1": data}});
        assert_eq!(cluster.ask("POST", &all, Some(object)).0, 201);
        let one = format!("{all}/immutable");
        let change = |change: Value| cluster.merge(&one, &change).0;
        assert_eq!(change(json!({"data": {"data-1": "bmV3"}})), 200, "{kind}");
        assert_eq!(change(json!({"immutable": true})), 200, "{kind}");
        assert_eq!(change(json!({"data": {"data-1": "b3RoZXI="}})), 422, "{kind}");
        assert_eq!(change(json!({"immutable": false})), 422, "{kind}");
        assert_eq!(
            change(json!({"metadata": {"labels": {"still": "mutable"}}})),
            200,
            "{kind}"
        );
        assert_eq!(cluster.ask("DELETE", &one, None).0, 200);
    }
}

/// An image that has to be asked for each time. Upstream: image_volume.go of test/e2e/common/node.
fn images(cluster: &Cluster) {
    let registry = registry::serve(&cluster.folder().join("walk"), registry::Callers::Anybody);
    let image = json!({"image": {"reference": format!("{registry}/shell:1"), "pullPolicy": "Always"}});
    let container = with(
        forever(),
        json!({"volumeMounts": [{"name": "v", "mountPath": "/volume"}]}),
    );
    create(
        cluster,
        "image-volume",
        with(of(image, json!({}), container), json!({"restartPolicy": "Always"})),
    );
    ready(cluster, "image-volume");
    let (groups, ..) = cluster.exec("image-volume", "test", &["cat", "/volume/etc/group"], "");
    assert!(groups.contains("group-defined-in-image"), "{groups}");
    remove(cluster, &["image-volume"]);
}

fn host_paths_that_are_something_else(cluster: &Cluster) {
    let file = cluster.folder().join("host-path/file");
    let none = cluster.folder().join("host-path/none");
    let rows = [
        ("host-no-directory", &file, "Directory", "is not a directory"),
        ("host-none", &none, "File", "is not a file"),
        ("host-no-socket", &file, "Socket", "is not a socket file"),
        ("host-no-device", &file, "BlockDevice", "is not a block device"),
    ];
    for (name, path, kind, _) in rows {
        create(
            cluster,
            name,
            of(
                json!({"hostPath": {"path": path, "type": kind}}),
                json!({}),
                sees("exit 0"),
            ),
        );
    }
    for (name, path, _, why) in rows {
        let said = format!("hostPath type check failed: {} {why}", path.display());
        cluster.wait_for_event(name, "FailedMount", &said);
    }
    remove(cluster, &rows.map(|(name, ..)| name));
}

fn labels_and_annotations_follow(cluster: &Cluster) {
    let items = json!({"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
        {"path": "annotations", "fieldRef": {"fieldPath": "metadata.annotations"}}]});
    let projected = json!({"projected": {"sources": [{"downwardAPI": items}]}});
    let names = ["follows", "follows-projected"];
    for (name, volume) in names.into_iter().zip([json!({"downwardAPI": items}), projected]) {
        let container = with(forever(), json!({"volumeMounts": [{"name": "v", "mountPath": "/v"}]}));
        create(cluster, name, of(volume, json!({}), container));
    }
    let reads = |name: &str, wanted: &str| {
        cluster.eventually(&format!("{name} reads {wanted}"), || {
            (cluster
                .exec(name, "test", &["cat", "/v/labels", "/v/annotations"], "")
                .0
                == wanted)
                .then_some(())
        });
    };
    for name in names {
        ready(cluster, name);
        reads(name, &format!("walk=\"{name}\"builder=\"bar\""));
        let change = json!({"metadata": {"labels": {"key3": "value3"}, "annotations": {"builder": "foo"}}});
        assert_eq!(cluster.merge(&path(name), &change).0, 200);
    }
    for name in names {
        reads(name, &format!("key3=\"value3\"\nwalk=\"{name}\"builder=\"foo\""));
    }
    remove(cluster, &names);
}
