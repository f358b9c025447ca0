//! Upstream's paths of what drivers mount, for programs of the ecosystem look there.

use super::record::Record;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// Where things are.
#[derive(Clone, Debug)]
pub struct Places {
    /// The pods' folders, by UID.
    pub pods: PathBuf,
    /// What belongs to plugins rather than to one pod.
    pub plugins: PathBuf,
    /// Where plugins have the sockets by which they register.
    pub registry: PathBuf,
}

// === impl Places ===

impl Places {
    fn csi(&self) -> PathBuf {
        self.plugins.join("kubernetes.io/csi")
    }

    /// Where a volume is mounted once for all pods.
    pub fn staging(&self, record: &Record) -> PathBuf {
        if record.block {
            return self.csi().join("volumeDevices/staging").join(&record.name);
        }
        let hash = hex(&[&record.handle]);
        self.csi().join(&record.driver).join(hash).join("globalmount")
    }

    /// Where one pod's is mounted.
    pub fn target(&self, pod_uid: &str, record: &Record) -> PathBuf {
        if record.block {
            let all = self.csi().join("volumeDevices/publish");
            return all.join(&record.name).join(pod_uid);
        }
        let pods = self.pods.join(pod_uid).join("volumes/kubernetes.io~csi");
        pods.join(&record.name).join("mount")
    }

    /// Where a pod has a link to a device.
    pub fn device_link(&self, pod_uid: &str, record: &Record) -> PathBuf {
        let links = self.pods.join(pod_uid).join("volumeDevices/kubernetes.io~csi");
        links.join(&record.name)
    }

    /// Upstream's note about one pod's mount; that of a device is all pods'.
    pub fn note(&self, pod_uid: &str, record: &Record) -> PathBuf {
        let folder = if record.block {
            self.csi().join("volumeDevices").join(&record.name).join("data")
        } else {
            let target = self.target(pod_uid, record);
            target.parent().map(Path::to_owned).unwrap_or(target)
        };
        folder.join("vol_data.json")
    }

    /// Upstream's note about what is mounted once for all pods; none about devices.
    pub fn staging_note(&self, record: &Record) -> Option<PathBuf> {
        let staging = self.staging(record);
        let folder = staging.parent().filter(|_| !record.block)?;
        Some(folder.join("vol_data.json"))
    }

    /// The records of what a pod has of drivers.
    pub fn records(&self, pod_uid: &str) -> PathBuf {
        self.pods.join(pod_uid).join("plugins/kubernetes.io~csi")
    }
}

/// SHA-256 of these parts one after the other, in hexadecimal digits.
pub fn hex(parts: &[&str]) -> String {
    use std::fmt::Write;
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part.as_bytes()));
    hash.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
