//! Volumes of storage drivers: registered, mounted, shared, full, grown, hanging, dead, and mounted still when the agent begins anew.

mod driver;

use super::cluster::{Cluster, INSIDE};
use super::image;
use driver::{Driver, HANGS};
use serde_json::{Value, json};
use std::path::Path;

const NAME: &str = "plain.csi.test";
const OWN: &str = "own.csi.test";

#[test]
fn drivers_mount_volumes() {
    super::in_namespaces("node::tests::csi::inside");
}

/// What `drivers_mount_volumes` runs in its namespaces; alone it does nothing.
#[test]
fn inside() {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    let mut cluster = Cluster::start();
    let mut driver = driver_registers(&cluster);
    volume_is_attached_staged_and_published(&cluster, &driver);
    volume_is_shared_and_given_back_by_the_last(&cluster, &driver);
    volume_of_a_pods_own_learns_who_the_pod_is(&cluster);
    troubles_are_named(&cluster);
    a_driver_that_hangs_holds_up_nobody_else(&cluster, &driver);
    devices_are_shown(&cluster, &driver);
    a_driver_that_died_is_waited_for(&cluster, &mut driver);
    mounted_volumes_outlive_the_agent(&mut cluster, &driver);
    driver.leave();
    cluster.eventually("the driver is listed no more", || {
        let drivers = cluster.ask("GET", "/apis/storage.k8s.io/v1/csinodes/n1", None).1["spec"]["drivers"].clone();
        let node = cluster.ask("GET", "/api/v1/nodes/n1", None).1;
        let id = node["metadata"]["annotations"]["csi.volume.kubernetes.io/nodeid"].clone();
        (drivers.is_null() || drivers == json!([]))
            .then_some(())
            .filter(|()| id.is_null())
    });
}

fn start(cluster: &Cluster, name: &str, described: Value) -> Driver {
    let object = json!({"metadata": {"name": name}, "spec": described});
    let made = cluster.ask("POST", "/apis/storage.k8s.io/v1/csidrivers", Some(object));
    assert_eq!(made.0, 201, "{}", made.1);
    let paths = cluster.paths();
    let driver = Driver::start(name, &paths.plugins, &paths.plugins_registry);
    cluster.eventually("the driver is registered", || {
        driver
            .heard
            .all()
            .contains(&"registered true ".to_owned())
            .then_some(())
    });
    driver
}

fn driver_registers(cluster: &Cluster) -> Driver {
    // A CSINode is there before any driver: the scheduler looks at it.
    cluster.eventually("the CSINode is there", || {
        let (code, node) = cluster.ask("GET", "/apis/storage.k8s.io/v1/csinodes/n1", None);
        (code == 200 && node["metadata"]["ownerReferences"][0]["kind"] == "Node").then_some(())
    });
    let described = json!({"attachRequired": true, "requiresRepublish": true, "fsGroupPolicy": "File"});
    let driver = start(cluster, NAME, described);
    let listed = cluster.ask("GET", "/apis/storage.k8s.io/v1/csinodes/n1", None).1["spec"]["drivers"].clone();
    let topology = format!("topology.{NAME}/node");
    assert_eq!(
        listed,
        json!([{"name": NAME, "nodeID": "node-of-the-driver", "topologyKeys": [topology], "allocatable": {"count": 5}}])
    );
    let node = cluster.ask("GET", "/api/v1/nodes/n1", None).1;
    let annotations = &node["metadata"]["annotations"];
    assert_eq!(
        annotations["csi.volume.kubernetes.io/nodeid"],
        json!({NAME: "node-of-the-driver"}).to_string()
    );
    assert_eq!(
        annotations["volumes.kubernetes.io/controller-managed-attach-detach"],
        "true"
    );
    assert_eq!(node["metadata"]["labels"][&topology], "n1");
    driver
}

/// A claim that is bound to a volume of the driver; no controller of volumes runs here, so the test is it.
fn claim(cluster: &Cluster, name: &str, handle: &str, more: Value) {
    let mut spec = json!({"capacity": {"storage": "2Mi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "test",
        "claimRef": {"namespace": "default", "name": name},
        "csi": {"driver": NAME, "volumeHandle": handle, "fsType": "ext4", "volumeAttributes": {"word": name}}});
    merge(&mut spec, more);
    let mode = spec["volumeMode"].as_str().unwrap_or("Filesystem").to_owned();
    let volume = json!({"metadata": {"name": format!("pv-{name}")}, "spec": spec});
    let made = cluster.ask("POST", "/api/v1/persistentvolumes", Some(volume));
    assert_eq!(made.0, 201, "{}", made.1);
    let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Mi"}}, "volumeMode": mode,
        "storageClassName": "test", "volumeName": format!("pv-{name}")});
    cluster.create(
        "persistentvolumeclaims",
        json!({"metadata": {"name": name}, "spec": spec}),
    );
    let bound = json!([{"op": "add", "path": "/status/phase", "value": "Bound"},
        {"op": "add", "path": "/status/capacity", "value": {"storage": "1Mi"}}]);
    let path = format!("/api/v1/namespaces/default/persistentvolumeclaims/{name}/status");
    let made = cluster.ask("PATCH", &path, Some(bound));
    assert_eq!(made.0, 200, "{}", made.1);
}

fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}

/// What the attach-detach controller and the driver's attacher would do.
fn attach(cluster: &Cluster, handle: &str, volume: &str) {
    use sha2::{Digest, Sha256};
    let hash = Sha256::digest(format!("{handle}{NAME}n1"));
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let name = format!("csi-{hash}");
    let spec = json!({"attacher": NAME, "nodeName": "n1", "source": {"persistentVolumeName": volume}});
    let object = json!({"metadata": {"name": name}, "spec": spec});
    let all = "/apis/storage.k8s.io/v1/volumeattachments";
    let made = cluster.ask("POST", all, Some(object));
    assert_eq!(made.0, 201, "{}", made.1);
    let status = json!({"attached": true, "attachmentMetadata": {"device": "/dev/x"}});
    let patch = json!([{"op": "add", "path": "/status", "value": status}]);
    let made = cluster.ask("PATCH", &format!("{all}/{name}/status"), Some(patch));
    assert_eq!(made.0, 200, "{}", made.1);
}

/// A pod with one container and one volume, seen at /data.
fn pod(cluster: &Cluster, name: &str, volume: Value, more: Value) {
    let mut volume = volume;
    volume["name"] = json!("data");
    let script = "cat /data/word; exec sleep 1000";
    let mut spec = json!({"terminationGracePeriodSeconds": 0, "nodeName": "n1", "volumes": [volume],
        "containers": [{"name": "a", "image": image::NAME, "command": ["sh", "-c", script],
            "volumeMounts": [{"name": "data", "mountPath": "/data"}]}]});
    merge(&mut spec, more);
    cluster.create("pods", json!({"metadata": {"name": name}, "spec": spec}));
}

fn of_claim(name: &str) -> Value {
    json!({"persistentVolumeClaim": {"claimName": name}})
}

fn in_use(cluster: &Cluster) -> Value {
    cluster.ask("GET", "/api/v1/nodes/n1", None).1["status"]["volumesInUse"].clone()
}

fn wait_for(cluster: &Cluster, driver: &Driver, lines: &[&str]) {
    let heard = || format!("{:#?}", driver.heard.all());
    cluster.eventually_or(&format!("the driver has heard {lines:?}"), heard, || {
        let all = driver.heard.all();
        lines
            .iter()
            .all(|line| all.iter().any(|heard| heard == line))
            .then_some(())
    });
}

fn volume_is_attached_staged_and_published(cluster: &Cluster, driver: &Driver) {
    cluster.create(
        "secrets",
        json!({"metadata": {"name": "key"}, "stringData": {"key": "s3cret"}}),
    );
    let secret = json!({"name": "key", "namespace": "default"});
    claim(
        cluster,
        "disk",
        "h1",
        json!({"mountOptions": ["noatime"], "csi": {"nodeStageSecretRef": secret, "nodePublishSecretRef": secret}}),
    );
    pod(
        cluster,
        "one",
        of_claim("disk"),
        json!({"securityContext": {"fsGroup": 77}}),
    );
    let unique = format!("kubernetes.io/csi/{NAME}^h1");
    cluster.eventually("the node says that it uses the volume", || {
        (in_use(cluster) == json!([unique])).then_some(())
    });
    assert_eq!(driver.heard.of("stage"), Vec::<String>::new(), "it is not attached yet");
    attach(cluster, "h1", "pv-disk");
    cluster.wait_for_log("one", "a", "disk\n");
    let told = "context:device=/dev/x secret:key=s3cret";
    wait_for(
        cluster,
        driver,
        &[
            &format!("stage h1 ext4 [noatime] SingleNodeWriter attribute:word=disk {told}"),
            &format!("publish h1 ext4 [noatime] SingleNodeWriter attribute:word=disk {told}"),
            "expand h1 2097152",
        ],
    );
    let group = cluster.exec("one", "a", &["sh", "-c", "set -- $(ls -ldn /data); echo $1 $4"], "");
    assert_eq!(group.0, "drwxrwsrwt 77\n", "{group:?}");
    cluster.eventually("the claim has grown", || {
        let claim = cluster
            .ask("GET", "/api/v1/namespaces/default/persistentvolumeclaims/disk", None)
            .1;
        (claim["status"]["capacity"]["storage"] == "2Mi").then_some(())
    });
    cluster.eventually("the driver has said how full the volume is", || {
        let (_, summary) = cluster.ask("GET", "/api/v1/nodes/n1/proxy/stats/summary", None);
        let pods = summary["pods"].as_array()?.clone();
        let mut volumes = pods
            .into_iter()
            .flat_map(|pod| pod["volume"].as_array().cloned().unwrap_or_default());
        let volume = volumes.find(|volume| volume["pvcRef"] == json!({"name": "disk", "namespace": "default"}))?;
        (volume["usedBytes"] == 400 && volume["inodesUsed"] == 7).then_some(())
    });
    let uid = cluster.pod("one").unwrap()["metadata"]["uid"]
        .as_str()
        .unwrap()
        .to_owned();
    let note = cluster
        .paths()
        .kubelet
        .join(&uid)
        .join("volumes/kubernetes.io~csi/pv-disk/vol_data.json");
    let note: Value = serde_json::from_slice(&std::fs::read(note).unwrap()).unwrap();
    assert_eq!(
        (&note["volumeHandle"], &note["driverName"]),
        (&json!("h1"), &json!(NAME))
    );
}

/// The pod `one` runs already.
fn volume_is_shared_and_given_back_by_the_last(cluster: &Cluster, driver: &Driver) {
    pod(cluster, "two", of_claim("disk"), json!({}));
    cluster.wait_for_log("two", "a", "disk\n");
    assert_eq!(
        (driver.heard.of("stage h1").len(), driver.heard.of("publish h1").len()),
        (1, 2)
    );
    remove(cluster, "one");
    assert_eq!(
        (
            driver.heard.of("unpublish h1").len(),
            driver.heard.of("unstage h1").len()
        ),
        (1, 0)
    );
    assert_eq!(cluster.exec("two", "a", &["cat", "/data/word"], "").0, "disk\n");
    remove(cluster, "two");
    assert_eq!(
        (
            driver.heard.of("unpublish h1").len(),
            driver.heard.of("unstage h1").len()
        ),
        (2, 1)
    );
    cluster.eventually("the node uses the volume no more", || {
        (in_use(cluster) == json!([]) || in_use(cluster).is_null()).then_some(())
    });
    let staged = cluster.paths().plugins.join("kubernetes.io/csi").join(NAME);
    assert_eq!(std::fs::read_dir(staged).unwrap().count(), 0);
}

fn remove(cluster: &Cluster, name: &str) {
    cluster.delete(name);
    cluster.wait_until_gone(name);
}

fn volume_of_a_pods_own_learns_who_the_pod_is(cluster: &Cluster) {
    let mut driver = start(
        cluster,
        OWN,
        json!({"attachRequired": false, "podInfoOnMount": true, "volumeLifecycleModes": ["Ephemeral"],
            "tokenRequests": [{"audience": "vault"}]}),
    );
    let volume =
        |readonly: bool| json!({"csi": {"driver": OWN, "readOnly": readonly, "volumeAttributes": {"word": "mine"}}});
    pod(cluster, "own", volume(true), json!({}));
    cluster.wait_for_log("own", "a", "mine\n");
    let heard = driver.heard.of("publish").remove(0);
    for word in [
        " readonly ",
        "attribute:csi.storage.k8s.io/pod.name=own ",
        "attribute:csi.storage.k8s.io/ephemeral=true",
        "attribute:csi.storage.k8s.io/serviceAccount.name=default",
        "attribute:csi.storage.k8s.io/serviceAccount.tokens={\"vault\":{\"token\":\"",
    ] {
        assert!(heard.contains(word), "{word} is not in {heard}");
    }
    let written = cluster.exec("own", "a", &["sh", "-c", "echo > /data/x"], "");
    assert!(written.1.contains("Read-only file system"), "{written:?}");
    remove(cluster, "own");
    assert_eq!(driver.heard.of("unpublish").len(), 1);
    assert_eq!(driver.heard.of("stage").len() + driver.heard.of("unstage").len(), 0);
    driver.leave();
}

fn troubles_are_named(cluster: &Cluster) {
    let missing = json!({"csi": {"driver": "nobody.test"}});
    pod(cluster, "nobody", missing, json!({}));
    let sentence = "MountVolume.SetUp failed for volume \"data\" : kubernetes.io/csi: mounter.SetUpAt failed to check volume \
        lifecycle mode: volume mode \"Ephemeral\" not supported by driver nobody.test (no CSIDriver object)";
    cluster.wait_for_event("nobody", "FailedMount", sentence);
    remove(cluster, "nobody");

    claim(cluster, "fire", "refused", json!({}));
    attach(cluster, "refused", "pv-fire");
    pod(cluster, "burns", of_claim("fire"), json!({}));
    let sentence =
        "MountVolume.MountDevice failed for volume \"pv-fire\" : rpc error: code = Internal desc = the disk is on fire";
    cluster.wait_for_event("burns", "FailedMount", sentence);
    remove(cluster, "burns");

    claim(cluster, "lost", "h9", json!({"csi": {"driver": "lost.test"}}));
    let object = json!({"metadata": {"name": "lost.test"}, "spec": {"attachRequired": false}});
    assert_eq!(
        cluster
            .ask("POST", "/apis/storage.k8s.io/v1/csidrivers", Some(object))
            .0,
        201
    );
    pod(cluster, "waits", of_claim("lost"), json!({}));
    let sentence = "MountVolume.MountDevice failed for volume \"pv-lost\" : kubernetes.io/csi: attacher.MountDevice failed to create \
        newCsiDriverClient: driver name lost.test not found in the list of registered CSI drivers";
    cluster.wait_for_event("waits", "FailedMount", sentence);
    remove(cluster, "waits");
}

fn a_driver_that_hangs_holds_up_nobody_else(cluster: &Cluster, driver: &Driver) {
    claim(cluster, "slow", HANGS, json!({}));
    attach(cluster, HANGS, "pv-slow");
    pod(cluster, "slow", of_claim("slow"), json!({}));
    cluster.eventually("the driver hangs", || {
        (driver.heard.of("publish hangs").len() == 1).then_some(())
    });
    claim(cluster, "quick", "h2", json!({}));
    attach(cluster, "h2", "pv-quick");
    pod(cluster, "quick", of_claim("quick"), json!({}));
    cluster.wait_for_log("quick", "a", "quick\n");
    assert_eq!(cluster.pod("slow").unwrap()["status"]["phase"], "Pending");
    remove(cluster, "slow");
    assert_eq!(driver.heard.of("unpublish hangs").len(), 1);
    remove(cluster, "quick");
}

fn devices_are_shown(cluster: &Cluster, driver: &Driver) {
    claim(cluster, "raw", "h3", json!({"volumeMode": "Block"}));
    attach(cluster, "h3", "pv-raw");
    let container = json!([{"name": "a", "image": image::NAME, "volumeDevices": [{"name": "data", "devicePath": "/dev/raw"}],
        "command": ["sh", "-c", "set -- $(ls -ln /dev/raw); echo $1 $5 $6; exec sleep 1000"]}]);
    pod(cluster, "raw", of_claim("raw"), json!({"containers": container}));
    cluster.wait_for_log("raw", "a", "crw-rw-rw- 1, 5\n");
    assert_eq!(
        driver.heard.of("publish h3"),
        ["publish h3 block SingleNodeWriter attribute:word=raw context:device=/dev/x"]
    );
    remove(cluster, "raw");
    assert_eq!(
        (
            driver.heard.of("unpublish h3").len(),
            driver.heard.of("unstage h3").len()
        ),
        (1, 1)
    );
}

fn a_driver_that_died_is_waited_for(cluster: &Cluster, driver: &mut Driver) {
    claim(cluster, "held", "h4", json!({}));
    attach(cluster, "h4", "pv-held");
    pod(cluster, "held", of_claim("held"), json!({}));
    cluster.wait_for_log("held", "a", "held\n");
    driver.kill();
    cluster.delete("held");
    let sentence = "UnmountVolume.TearDown failed for volume \"pv-held\" : kubernetes.io/csi: Unmounter.TearDownAt failed: rpc error: code = Unavailable";
    cluster.wait_for_event("held", "FailedUnmount", sentence);
    assert!(cluster.pod("held").is_some(), "it stays until the volume is unmounted");
    driver.begin();
    cluster.wait_until_gone("held");
    assert_eq!(
        (
            driver.heard.of("unpublish h4").len(),
            driver.heard.of("unstage h4").len()
        ),
        (1, 1)
    );
}

fn mounted_volumes_outlive_the_agent(cluster: &mut Cluster, driver: &Driver) {
    claim(cluster, "kept", "h5", json!({}));
    attach(cluster, "h5", "pv-kept");
    pod(cluster, "kept", of_claim("kept"), json!({}));
    claim(cluster, "left", "h6", json!({}));
    attach(cluster, "h6", "pv-left");
    pod(cluster, "left", of_claim("left"), json!({}));
    cluster.wait_for_log("kept", "a", "kept\n");
    cluster.wait_for_log("left", "a", "left\n");
    let (staged, published) = (driver.heard.of("stage h5"), driver.heard.of("publish h5"));
    cluster.kill_agent();
    let options = json!({"gracePeriodSeconds": 0});
    let gone = cluster.ask("DELETE", "/api/v1/namespaces/default/pods/left", Some(options));
    assert_eq!(gone.0, 200, "{}", gone.1);
    cluster.start_agent();
    cluster.eventually("what a removed pod had is unmounted", || {
        (driver.heard.of("unpublish h6").len() == 1 && driver.heard.of("unstage h6").len() == 1).then_some(())
    });
    cluster.wait_for_log("kept", "a", "kept\n");
    assert_eq!(cluster.exec("kept", "a", &["cat", "/data/word"], "").0, "kept\n");
    // It is not mounted anew; the driver wants to hear of it again and again, and hears the same.
    assert_eq!((staged.len(), driver.heard.of("stage h5")), (1, staged));
    let again = driver.heard.of("publish h5");
    assert!(
        !published.is_empty() && again.iter().all(|heard| *heard == published[0]),
        "{again:?}"
    );
    cluster.eventually("the node still says what it uses", || {
        (in_use(cluster) == json!([format!("kubernetes.io/csi/{NAME}^h5")])).then_some(())
    });
    remove(cluster, "kept");
    assert_eq!(
        (
            driver.heard.of("unpublish h5").len(),
            driver.heard.of("unstage h5").len()
        ),
        (1, 1)
    );
    let left = mounts_below(&cluster.paths().plugins);
    assert!(left.is_empty(), "{left:?}");
}

fn mounts_below(folder: &Path) -> Vec<String> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    points
        .filter(|point| Path::new(point).starts_with(folder))
        .map(str::to_owned)
        .collect()
}
