//! Volumes in a folder of the tests' own; those in memory need root and say so.

use super::*;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;

fn machine() -> Machine {
    Machine {
        node: "n1".to_owned(),
        ips: vec![],
        cpu_milli: 1000,
        memory: 1 << 30,
        ..Machine::default()
    }
}

fn lookups(color: &str) -> Lookups {
    let map = serde_json::from_value(json!({"data": {"color": color, "shape": "round"}})).unwrap();
    let secret = serde_json::from_value(json!({"data": {"key": "czNjcmV0"}})).unwrap();
    Lookups {
        config_maps: [("map".to_owned(), Some(map))].into(),
        secrets: [("secret".to_owned(), Some(secret))].into(),
        ..Lookups::default()
    }
}

fn make(volume: Value, lookups: &Lookups, dir: &Path) -> Result<PathBuf, VolumeError> {
    match make_for(volume, json!({}), lookups, dir)?.what {
        What::Path(path) => Ok(path),
        other => panic!("{other:?} is no path"),
    }
}

fn make_for(volume: Value, context: Value, lookups: &Lookups, dir: &Path) -> Result<Volume, VolumeError> {
    let mut volume = volume;
    volume["name"] = json!("v");
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "default", "uid": "u1", "labels": {"app": "x", "tier": "y"}},
        "spec": {"containers": [{"name": "a"}], "volumes": [volume], "securityContext": context}}))
    .unwrap();
    let source = Source {
        pod: &pod,
        ips: &[],
        machine: &machine(),
        lookups,
    };
    Ok(prepare(&source, dir)?["v"].clone())
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn config_map_is_shown_and_changes_all_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let volume = json!({"configMap": {"name": "map", "items":
        [{"key": "color", "path": "deep/color", "mode": 0o400}, {"key": "shape", "path": "shape"}]}});
    let path = make(volume.clone(), &lookups("blue"), dir.path()).unwrap();
    assert_eq!(fs::read_to_string(path.join("deep/color")).unwrap(), "blue");
    assert_eq!(
        (mode(&path.join("deep/color")), mode(&path.join("shape"))),
        (0o400, 0o644)
    );
    let before = fs::read_link(path.join("..data")).unwrap();
    make(volume.clone(), &lookups("blue"), dir.path()).unwrap();
    assert_eq!(fs::read_link(path.join("..data")).unwrap(), before);
    make(volume, &lookups("red"), dir.path()).unwrap();
    assert_ne!(fs::read_link(path.join("..data")).unwrap(), before);
    assert_eq!(fs::read_to_string(path.join("deep/color")).unwrap(), "red");
    // Only one version stays, and what is not shown any more goes.
    make(
        json!({"configMap": {"name": "map", "items": [{"key": "shape", "path": "shape"}]}}),
        &lookups("red"),
        dir.path(),
    )
    .unwrap();
    let mut names: Vec<String> = fs::read_dir(&path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.retain(|name| !name.starts_with("..1") && !name.starts_with("..2"));
    names.sort();
    assert_eq!(names, ["..data", "shape"]);
}

#[test]
fn missing_things_are_named_unless_they_are_optional() {
    let dir = tempfile::tempdir().unwrap();
    let cases = [
        (
            json!({"configMap": {"name": "no"}}),
            "MountVolume.SetUp failed for volume \"v\" : configmap \"no\" not found",
        ),
        (
            json!({"configMap": {"name": "map", "items": [{"key": "k", "path": "k"}]}}),
            "MountVolume.SetUp failed for volume \"v\" : configmap references non-existent config key: k",
        ),
        (
            json!({"configMap": {"name": "map", "items": [{"key": "color", "path": "../k"}]}}),
            "MountVolume.SetUp failed for volume \"v\" : invalid path \"../k\": must be relative and must not begin with or contain '..'",
        ),
    ];
    for (volume, message) in cases {
        assert_eq!(
            make(volume, &lookups("blue"), dir.path()).unwrap_err().to_string(),
            message
        );
    }
    let path = make(
        json!({"configMap": {"name": "no", "optional": true}}),
        &lookups("blue"),
        dir.path(),
    )
    .unwrap();
    assert!(path.join("..data").exists());
    for (source, why) in [
        (json!({"nfs": {"server": "s", "path": "/"}}), "it is not mounted"),
        (
            json!({"iscsi": {"targetPortal": "s", "iqn": "i", "lun": 0}}),
            "this node supports emptyDir",
        ),
    ] {
        let refused = make(source, &lookups("blue"), dir.path()).unwrap_err();
        let expected = format!("MountVolume.SetUp failed for volume \"v\" : {why}");
        assert!(refused.to_string().starts_with(&expected), "{refused}");
    }
}

#[test]
fn pod_is_told_about_itself() {
    let dir = tempfile::tempdir().unwrap();
    let items = json!([{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
        {"path": "cpu", "resourceFieldRef": {"containerName": "a", "resource": "limits.cpu", "divisor": "1m"}}]);
    let path = make(json!({"downwardAPI": {"items": items}}), &lookups("blue"), dir.path()).unwrap();
    assert_eq!(
        fs::read_to_string(path.join("labels")).unwrap(),
        "app=\"x\"\ntier=\"y\""
    );
    assert_eq!(fs::read_to_string(path.join("cpu")).unwrap(), "1000");
}

#[test]
fn empty_and_host_folders_are_what_they_should_be() {
    let dir = tempfile::tempdir().unwrap();
    let path = make(json!({"emptyDir": {}}), &lookups("blue"), dir.path()).unwrap();
    assert_eq!(mode(&path), 0o777);
    let host = dir.path().join("host");
    assert_eq!(
        make(
            json!({"hostPath": {"path": host, "type": "DirectoryOrCreate"}}),
            &lookups(""),
            dir.path()
        )
        .unwrap(),
        host
    );
    let refused = make(
        json!({"hostPath": {"path": host, "type": "File"}}),
        &lookups(""),
        dir.path(),
    )
    .unwrap_err();
    assert!(refused.to_string().ends_with("is not a file"), "{refused}");
    take_away(dir.path()).unwrap();
    assert!(!path.exists() && host.exists());
}

#[test]
fn secrets_live_in_memory_and_go_with_the_pod() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: mounting a tmpfs needs root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = make(
        json!({"secret": {"secretName": "secret", "defaultMode": 0o400}}),
        &lookups(""),
        dir.path(),
    )
    .unwrap();
    assert_eq!(fs::read_to_string(path.join("key")).unwrap(), "s3cret");
    assert_eq!(mounted::below(dir.path()).unwrap(), std::slice::from_ref(&path));
    make(
        json!({"emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}),
        &lookups(""),
        dir.path(),
    )
    .unwrap();
    assert_eq!(mounted::below(dir.path()).unwrap().len(), 2);
    take_away(dir.path()).unwrap();
    assert_eq!((path.exists(), mounted::below(dir.path()).unwrap().len()), (false, 0));
}

#[test]
fn an_empty_folder_is_made_once_and_then_the_containers_own() {
    let dir = tempfile::tempdir().unwrap();
    let path = make(json!({"emptyDir": {}}), &lookups(""), dir.path()).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    make(json!({"emptyDir": {}}), &lookups(""), dir.path()).unwrap();
    assert_eq!(mode(&path), 0o700);
    let refused = make(json!({"emptyDir": {"medium": "Tape"}}), &lookups(""), dir.path()).unwrap_err();
    assert!(refused.to_string().contains("no storage medium \"Tape\""), "{refused}");
}

#[test]
fn files_belong_to_the_pods_group_and_tokens_to_its_user() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: giving files to somebody needs root");
        return;
    }
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let mut lookups = lookups("blue");
    let (audience, seconds) = (String::new(), 3600);
    lookups.tokens = [(TokenReference { audience, seconds }, "t0ken".to_owned())].into();
    let sources = json!({"projected": {"defaultMode": 0o400, "sources": [
        {"serviceAccountToken": {"path": "token"}}, {"configMap": {"name": "map"}}]}});
    let of = |context: Value, name: &str| {
        let volume = make_for(sources.clone(), context, &lookups, dir.path()).unwrap();
        assert!(volume.readonly);
        let What::Path(path) = volume.what else {
            panic!("no path")
        };
        let found = fs::metadata(path.join(name)).unwrap();
        (found.uid(), found.gid(), found.mode() & 0o7777)
    };
    assert_eq!(of(json!({}), "token"), (0, 0, 0o400));
    assert_eq!(of(json!({"runAsUser": 5}), "token"), (5, 0, 0o600));
    assert_eq!(of(json!({"fsGroup": 6}), "token"), (0, 6, 0o640));
    assert_eq!(of(json!({"fsGroup": 6}), "color"), (0, 6, 0o440));
    assert_eq!(of(json!({"fsGroup": 6}), "..data").2, 0o2755);
    take_away(dir.path()).unwrap();
}

#[test]
fn claims_lead_to_what_the_machine_has() {
    let dir = tempfile::tempdir().unwrap();
    let claim = |phase: &str, volume: Value| {
        let claim = json!({"metadata": {"name": "c"}, "spec": {"volumeName": "pv"}, "status": {"phase": phase}});
        let found = super::super::plan::Claim {
            claim: serde_json::from_value(claim).unwrap(),
            volume: Some(serde_json::from_value(json!({"spec": volume})).unwrap()),
        };
        Lookups {
            claims: [("c".to_owned(), Some(found))].into(),
            ..Lookups::default()
        }
    };
    let volume = json!({"persistentVolumeClaim": {"claimName": "c", "readOnly": true}});
    let make = |lookups: &Lookups| make_for(volume.clone(), json!({}), lookups, dir.path());
    let local = json!({"local": {"path": dir.path()}});
    assert_eq!(
        make(&claim("Bound", local.clone())).unwrap(),
        Volume::readonly(dir.path().to_owned())
    );
    let cases = [
        (
            claim("Pending", local),
            "error processing PVC default/c: PVC is not bound",
        ),
        (
            Lookups::default(),
            "error processing PVC default/c: failed to fetch PVC from API server: persistentvolumeclaims \"c\" not found",
        ),
        (
            claim("Bound", json!({"volumeMode": "Block", "local": {"path": "/dev/null"}})),
            "path \"/dev/null\" is not a block device",
        ),
    ];
    for (lookups, sentence) in cases {
        let refused = make(&lookups).unwrap_err().to_string();
        assert!(refused.ends_with(sentence), "{refused}");
    }
}
