//! What is wanted, where it is mounted and what the kernel is told, by table.

use super::options::attempts;
use super::*;
use crate::pods::plan::Claim;
use serde_json::{Value, json};

fn pod() -> Pod {
    serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "ns", "uid": "u1"}})).unwrap()
}

fn volume(source: Value) -> Spec {
    let mut volume = source;
    volume["name"] = json!("data");
    serde_json::from_value(volume).unwrap()
}

fn claimed(pv: Value) -> Lookups {
    let claim = json!({"metadata": {"name": "c", "namespace": "ns"}, "spec": {"volumeName": "pv1"}, "status": {"phase": "Bound"}});
    let claim = Claim {
        claim: serde_json::from_value(claim).unwrap(),
        volume: Some(serde_json::from_value(json!({"metadata": {"name": "pv1"}, "spec": pv})).unwrap()),
    };
    Lookups {
        claims: [("c".to_owned(), Some(claim))].into(),
        ..Lookups::default()
    }
}

#[test]
fn pods_and_persistent_volumes_name_servers() {
    let own = volume(json!({"nfs": {"server": "fd00::1", "path": "/x", "readOnly": true}}));
    let own = wanted(&pod(), &own, &Lookups::default()).unwrap().unwrap();
    assert_eq!((own.source().as_str(), own.readonly), ("[fd00::1]:/x", true));
    let place = "/k/u1/volumes/kubernetes.io~nfs/data";
    assert_eq!(own.target(Path::new("/k/u1")), Path::new(place));

    let of_claim = volume(json!({"persistentVolumeClaim": {"claimName": "c"}}));
    let pv = claimed(json!({"nfs": {"server": "files.test", "path": "/x"}, "mountOptions": ["hard", "nfsvers=4.1"]}));
    let found = wanted(&pod(), &of_claim, &pv).unwrap().unwrap();
    assert_eq!((found.source().as_str(), found.readonly), ("files.test:/x", false));
    let place = "/k/u1/volumes/kubernetes.io~nfs/pv1";
    assert_eq!(found.target(Path::new("/k/u1")), Path::new(place));
    assert_eq!(found.options, ["hard", "nfsvers=4.1"]);

    let read = volume(json!({"persistentVolumeClaim": {"claimName": "c", "readOnly": true}}));
    assert!(wanted(&pod(), &read, &pv).unwrap().unwrap().readonly);
    let local = claimed(json!({"local": {"path": "/x"}}));
    assert_eq!(wanted(&pod(), &of_claim, &local), Ok(None));
    let block = claimed(json!({"nfs": {"server": "s", "path": "/x"}, "volumeMode": "Block"}));
    assert!(wanted(&pod(), &of_claim, &block).is_err());
}

#[test]
fn options_become_what_the_kernel_is_told() {
    let told = |options: &[&str]| {
        let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
        let attempts = attempts(&options, [10, 0, 0, 9].into(), false);
        let words = |words: &options::Words| {
            let words = words.iter().map(|(key, value)| match value.is_empty() {
                true => key.clone(),
                false => format!("{key}={value}"),
            });
            words.collect::<Vec<_>>().join(",")
        };
        let all: Vec<String> = attempts.versions.iter().map(|attempt| words(&attempt.words)).collect();
        (all.join(" "), attempts)
    };
    for (options, expected) in [
        (
            &[][..],
            "vers=4.2,addr=10.0.0.9 vers=4.1,addr=10.0.0.9 vers=4.0,addr=10.0.0.9 vers=3,addr=10.0.0.9,nolock",
        ),
        (
            &["nfsvers=4", "hard"],
            "vers=4.2,addr=10.0.0.9,hard vers=4.1,addr=10.0.0.9,hard vers=4.0,addr=10.0.0.9,hard",
        ),
        (&["v4.1,port=2050"], "vers=4.1,addr=10.0.0.9,port=2050"),
        (&["vers=4", "minorversion=1"], "vers=4.1,addr=10.0.0.9"),
        (&["vers=3", "local_lock=all"], "vers=3,addr=10.0.0.9,local_lock=all"),
        (&["vers=3", "addr=10.0.0.1", "lock"], "vers=3,addr=10.0.0.1,lock"),
        (
            &[
                "vers=4.2",
                "_netdev",
                "noatime",
                "retry=5",
                "x-systemd.automount",
                "sync",
            ],
            "vers=4.2,addr=10.0.0.9,sync",
        ),
    ] {
        assert_eq!(told(options).0, expected, "{options:?}");
    }
    let (_, attempts) = told(&["ro", "nosuid,nodev", "noexec"]);
    assert!(attempts.readonly && attempts.nosuid && attempts.nodev && attempts.noexec);
}
