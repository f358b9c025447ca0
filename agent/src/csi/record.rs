//! What is remembered of one pod's volume while a driver has it: written before the driver is first asked, gone after it has let go,
//! so that nothing is forgotten however the agent ends.

use super::places::{Places, hex};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fs;
use std::io;
use std::path::Path;

/// One pod's volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its name in the pod.
    pub volume: String,
    /// Its name in paths: the persistent volume's, else the one in the pod.
    pub name: String,
    /// Whose it is.
    pub driver: String,
    /// How the driver names it.
    pub handle: String,
    /// Whether it lives and dies with the pod.
    pub ephemeral: bool,
    /// Whether it is a device and not a file system.
    pub block: bool,
    /// Whether containers may only read it.
    pub readonly: bool,
    /// Whether it had to be attached to the machine first.
    pub attach: bool,
    /// Whether the driver has said that it is mounted for the pod.
    pub published: bool,
}

// === impl Record ===

impl Record {
    /// Upstream's unique name of a volume on a node.
    pub fn unique(&self) -> String {
        format!("kubernetes.io/csi/{}^{}", self.driver, self.handle)
    }

    /// The name of its VolumeAttachment.
    pub fn attachment(&self, node: &str) -> String {
        format!("csi-{}", hex(&[&self.handle, &self.driver, node]))
    }

    /// Upstream's vol_data.json of one pod's volume.
    pub fn note(&self, node: &str) -> Value {
        let lifecycle = if self.ephemeral { "Ephemeral" } else { "Persistent" };
        json!({
            "attachmentID": self.attachment(node), "driverName": self.driver, "nodeName": node,
            "specVolID": self.name, "volumeHandle": self.handle, "volumeLifecycleMode": lifecycle,
        })
    }

    /// Replaces what was remembered.
    pub fn write(&self, places: &Places, pod_uid: &str) -> io::Result<()> {
        let folder = places.records(pod_uid);
        fs::create_dir_all(&folder)?;
        put(&folder.join(format!("{}.json", self.volume)), &json!(self))
    }

    /// Whether anything is remembered.
    pub fn is_known(&self, places: &Places, pod_uid: &str) -> bool {
        places.records(pod_uid).join(format!("{}.json", self.volume)).exists()
    }

    /// Nothing is to be remembered any more.
    pub fn remove(&self, places: &Places, pod_uid: &str) -> io::Result<()> {
        let folder = places.records(pod_uid);
        gone(fs::remove_file(folder.join(format!("{}.json", self.volume))))?;
        // There may be others.
        let _ = fs::remove_dir(folder);
        Ok(())
    }
}

/// Writes a file whole or not at all.
pub fn put(path: &Path, value: &Value) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let new = path.with_extension("new");
    fs::write(&new, value.to_string())?;
    fs::rename(&new, path)
}

/// What is not there is gone already.
pub fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Those of one pod.
pub fn of_pod(places: &Places, pod_uid: &str) -> Vec<Record> {
    let entries = fs::read_dir(places.records(pod_uid)).into_iter().flatten().flatten();
    let files = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    let read = |path: std::path::PathBuf| match fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text)
            .inspect_err(|error| tracing::error!(file = %path.display(), %error, "a volume's record cannot be read"))
            .ok(),
        Err(_) => None,
    };
    files.filter_map(read).collect()
}

/// Those of all pods, with the pods' UIDs.
pub fn all(places: &Places) -> Vec<(String, Record)> {
    let pods = fs::read_dir(&places.pods).into_iter().flatten().flatten();
    let uids = pods.filter_map(|entry| entry.file_name().into_string().ok());
    let of_one = |uid: String| {
        of_pod(places, &uid)
            .into_iter()
            .map(move |record| (uid.clone(), record))
    };
    uids.flat_map(of_one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn names_and_paths_are_upstreams() {
        let mut record = Record {
            volume: "data".to_owned(),
            name: "pv".to_owned(),
            driver: "d.test".to_owned(),
            handle: "h1".to_owned(),
            ..Record::default()
        };
        let places = Places {
            pods: "/k/pods".into(),
            plugins: "/k/plugins".into(),
            registry: "/k/plugins_registry".into(),
        };
        assert_eq!(record.unique(), "kubernetes.io/csi/d.test^h1");
        // printf h1d.testn1 | sha256sum; printf h1 | sha256sum
        assert_eq!(
            record.attachment("n1"),
            "csi-6dbb4f2e6783da2ed1e67ae11e73fcd970774991daa91d8b7d9759dbced6a6a9"
        );
        let hash = "33112ee14ee469c3eb52fe90322ec81dd404a0093d565a6d71ce77cbc8124e3b";
        let staging = format!("/k/plugins/kubernetes.io/csi/d.test/{hash}/globalmount");
        assert_eq!(places.staging(&record), PathBuf::from(staging));
        assert_eq!(
            places.target("u1", &record),
            PathBuf::from("/k/pods/u1/volumes/kubernetes.io~csi/pv/mount")
        );
        record.block = true;
        assert_eq!(
            places.target("u1", &record),
            PathBuf::from("/k/plugins/kubernetes.io/csi/volumeDevices/publish/pv/u1")
        );
        assert_eq!(places.staging_note(&record), None);
    }

    #[test]
    fn what_is_remembered_is_found_again_until_it_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places {
            pods: dir.path().join("pods"),
            plugins: dir.path().join("plugins"),
            registry: dir.path().join("registry"),
        };
        let record = Record {
            volume: "data".to_owned(),
            published: true,
            ..Record::default()
        };
        record.write(&places, "u1").unwrap();
        assert_eq!(all(&places), [("u1".to_owned(), record.clone())]);
        record.remove(&places, "u1").unwrap();
        record.remove(&places, "u1").unwrap();
        assert!(all(&places).is_empty() && !places.records("u1").exists());
    }
}
