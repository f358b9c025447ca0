//! What a pod wants of a driver: from a volume of its spec, or a claim's persistent volume, to plain values; pure.

use super::client::Capabilities;
use super::places::hex;
use super::record::Record;
use crate::pods::plan::Lookups;
use crate::pods::volumes::claim;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeSpec, Pod, Volume};
use proto::csi::v1 as api;
use proto::csi::v1::volume_capability::access_mode::Mode;
use std::collections::BTreeMap;

/// Upstream's word for a file system that is none.
const BLOCK: &str = "Block";

/// A secret of some namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretName {
    pub namespace: String,
    pub name: String,
}

/// One volume.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanted {
    /// What is remembered of it.
    pub record: Record,
    /// May be empty.
    pub fs_type: String,
    /// For the driver alone.
    pub attributes: BTreeMap<String, String>,
    /// Words like `ReadWriteOnce`; none of a volume that is no persistent one.
    pub access_modes: Vec<String>,
    pub mount_options: Vec<String>,
    pub stage_secret: Option<SecretName>,
    pub publish_secret: Option<SecretName>,
    pub expand_secret: Option<SecretName>,
    /// The claim behind a persistent volume, and its volume's size in bytes.
    pub claim: Option<(PersistentVolumeClaim, i64)>,
}

/// What a driver is asked for; none if the volume is not a driver's. An error is upstream's sentence.
pub fn wanted(pod: &Pod, volume: &Volume, lookups: &Lookups) -> Result<Option<Wanted>, String> {
    if let Some(source) = &volume.csi {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let secret = source.node_publish_secret_ref.as_ref();
        return Ok(Some(Wanted {
            record: Record {
                volume: volume.name.clone(),
                name: volume.name.clone(),
                driver: source.driver.clone(),
                handle: format!("csi-{}", hex(&[uid, &volume.name])),
                ephemeral: true,
                readonly: source.read_only == Some(true),
                ..Record::default()
            },
            fs_type: source.fs_type.clone().unwrap_or_default(),
            attributes: source.volume_attributes.clone().unwrap_or_default(),
            publish_secret: secret.map(|secret| SecretName {
                namespace: pod.metadata.namespace.clone().unwrap_or_default(),
                name: secret.name.clone(),
            }),
            ..Wanted::default()
        }));
    }
    let Some((name, readonly)) = claim::name(pod, volume) else {
        return Ok(None);
    };
    let (claim, spec) = claim::bound(pod, volume, &name, lookups)?;
    Ok(persistent(volume, claim, spec, readonly))
}

fn persistent(
    volume: &Volume,
    claim: &PersistentVolumeClaim,
    spec: &PersistentVolumeSpec,
    readonly: bool,
) -> Option<Wanted> {
    let source = spec.csi.as_ref()?;
    let name = claim.spec.as_ref().and_then(|spec| spec.volume_name.clone());
    let secret = |reference: &Option<k8s_openapi::api::core::v1::SecretReference>| {
        reference.as_ref().map(|reference| SecretName {
            namespace: reference.namespace.clone().unwrap_or_default(),
            name: reference.name.clone().unwrap_or_default(),
        })
    };
    let size = spec.capacity.as_ref().and_then(|capacity| capacity.get("storage"));
    let size = size.and_then(crate::pods::quantity::whole).unwrap_or(0);
    Some(Wanted {
        record: Record {
            volume: volume.name.clone(),
            name: name.unwrap_or_default(),
            driver: source.driver.clone(),
            handle: source.volume_handle.clone(),
            block: spec.volume_mode.as_deref() == Some(BLOCK),
            readonly,
            ..Record::default()
        },
        fs_type: source.fs_type.clone().unwrap_or_default(),
        attributes: source.volume_attributes.clone().unwrap_or_default(),
        access_modes: spec.access_modes.clone().unwrap_or_default(),
        mount_options: spec.mount_options.clone().unwrap_or_default(),
        stage_secret: secret(&source.node_stage_secret_ref),
        publish_secret: secret(&source.node_publish_secret_ref),
        expand_secret: secret(&source.node_expand_secret_ref),
        claim: Some((claim.clone(), size)),
    })
}

// === impl Wanted ===

impl Wanted {
    /// As the driver wants to hear it.
    pub fn capability(&self, can: Capabilities, group: Option<u32>) -> api::VolumeCapability {
        use api::volume_capability::{AccessMode, AccessType, BlockVolume, MountVolume};
        let access = if self.record.block {
            AccessType::Block(BlockVolume {})
        } else {
            AccessType::Mount(MountVolume {
                fs_type: self.fs_type.clone(),
                mount_flags: self.mount_options.clone(),
                volume_mount_group: group
                    .filter(|_| can.gives_to_group)
                    .map(|group| group.to_string())
                    .unwrap_or_default(),
            })
        };
        let mode = mode(self.access_modes.first().map_or("ReadWriteOnce", String::as_str), can);
        api::VolumeCapability {
            access_mode: Some(AccessMode { mode: mode.into() }),
            access_type: Some(access),
        }
    }

    /// Whether this node gives the volume to the pod's group (upstream's supportsFSGroup).
    pub fn is_given_to_group(&self, policy: Option<&str>) -> bool {
        match policy {
            _ if self.record.readonly || self.record.block => false,
            Some("None") => false,
            Some("File") => true,
            _ if self.fs_type.is_empty() => false,
            _ => self.record.ephemeral || self.access_modes.iter().any(|mode| mode == "ReadWriteOnce"),
        }
    }
}

fn mode(word: &str, can: Capabilities) -> Mode {
    match (word, can.knows_single_writers) {
        ("ReadWriteOnce", true) => Mode::SingleNodeMultiWriter,
        ("ReadWriteOncePod", true) => Mode::SingleNodeSingleWriter,
        ("ReadWriteOnce" | "ReadWriteOncePod", false) => Mode::SingleNodeWriter,
        ("ReadOnlyMany", _) => Mode::MultiNodeReaderOnly,
        ("ReadWriteMany", _) => Mode::MultiNodeMultiWriter,
        (_, _) => Mode::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_volume_of_the_pods_own_is_named_after_the_pod() {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"namespace": "ns", "uid": "u1"}})).unwrap();
        let volume = serde_json::from_value(json!({"name": "v", "csi": {"driver": "d.test", "readOnly": true,
            "nodePublishSecretRef": {"name": "s"}, "volumeAttributes": {"a": "b"}}}))
        .unwrap();
        let found = wanted(&pod, &volume, &Lookups::default()).unwrap().unwrap();
        assert_eq!(found.record.handle, format!("csi-{}", hex(&["u1v"])));
        assert!(found.record.ephemeral && found.record.readonly && !found.record.block);
        let secret = SecretName {
            namespace: "ns".to_owned(),
            name: "s".to_owned(),
        };
        assert_eq!((found.publish_secret, found.stage_secret), (Some(secret), None));
        let other = serde_json::from_value(json!({"name": "v", "emptyDir": {}})).unwrap();
        assert_eq!(wanted(&pod, &other, &Lookups::default()).unwrap(), None);
    }

    #[test]
    fn access_modes_are_told_in_the_drivers_words() {
        let can = |knows_single_writers| Capabilities {
            knows_single_writers,
            ..Capabilities::default()
        };
        for (word, knows, expected) in [
            ("ReadWriteOnce", false, Mode::SingleNodeWriter),
            ("ReadWriteOnce", true, Mode::SingleNodeMultiWriter),
            ("ReadWriteOncePod", false, Mode::SingleNodeWriter),
            ("ReadWriteOncePod", true, Mode::SingleNodeSingleWriter),
            ("ReadOnlyMany", true, Mode::MultiNodeReaderOnly),
            ("ReadWriteMany", false, Mode::MultiNodeMultiWriter),
        ] {
            assert_eq!(mode(word, can(knows)), expected, "{word} {knows}");
        }
    }

    #[test]
    fn groups_get_what_the_drivers_policy_says() {
        let wanted = |fs_type: &str, modes: &[&str], ephemeral| Wanted {
            fs_type: fs_type.to_owned(),
            access_modes: modes.iter().map(|mode| (*mode).to_owned()).collect(),
            record: Record {
                ephemeral,
                ..Record::default()
            },
            ..Wanted::default()
        };
        let once = ["ReadWriteOnce"];
        for (wanted, policy, expected) in [
            (wanted("ext4", &once, false), None, true),
            (wanted("ext4", &once, false), Some("ReadWriteOnceWithFSType"), true),
            (wanted("", &once, false), None, false),
            (wanted("ext4", &["ReadWriteMany"], false), None, false),
            (wanted("ext4", &[], true), None, true),
            (wanted("", &[], false), Some("File"), true),
            (wanted("ext4", &once, false), Some("None"), false),
        ] {
            assert_eq!(wanted.is_given_to_group(policy), expected, "{wanted:?} {policy:?}");
        }
        let readonly = Wanted {
            record: Record {
                readonly: true,
                ..Record::default()
            },
            ..wanted("ext4", &once, false)
        };
        assert!(!readonly.is_given_to_group(Some("File")));
    }
}
