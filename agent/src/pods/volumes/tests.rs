//! Volumes in a folder of the tests' own; those in memory need root and say so.

use super::*;
use serde_json::{Value, json};

fn machine() -> Machine {
    Machine {
        node: "n1".to_owned(),
        ips: vec![],
        cpu_milli: 1000,
        memory: 1 << 30,
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
    let mut volume = volume;
    volume["name"] = json!("v");
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "web", "labels": {"app": "x", "tier": "y"}},
        "spec": {"containers": [{"name": "a"}], "volumes": [volume]}}))
    .unwrap();
    let source = Source {
        pod: &pod,
        ips: &[],
        machine: &machine(),
        lookups,
    };
    prepare(&source, dir).map(|volumes| volumes["v"].clone())
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
    assert!(
        make(
            json!({"nfs": {"server": "s", "path": "/"}}),
            &lookups("blue"),
            dir.path()
        )
        .is_err()
    );
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
    assert!(refused.to_string().contains("is not a File"), "{refused}");
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
    assert_eq!(mounts_below(dir.path()).unwrap(), std::slice::from_ref(&path));
    make(
        json!({"emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}),
        &lookups(""),
        dir.path(),
    )
    .unwrap();
    assert_eq!(mounts_below(dir.path()).unwrap().len(), 2);
    take_away(dir.path()).unwrap();
    assert_eq!((path.exists(), mounts_below(dir.path()).unwrap().len()), (false, 0));
}
