//! What registries and archives say about an image: manifests, lists of them, configs (OCI image spec and Docker's schema 2).

use crate::Config;
use crate::reference::check_digest;
use serde::Deserialize;

/// Every form that is understood, for an `Accept` header.
pub(crate) const MEDIA_TYPES: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";
/// The one kind of machine that Pintle runs on.
const OS: &str = "linux";
const ARCHITECTURE: &str = "amd64";

/// A blob by what is in it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub(crate) digest: String,
    #[serde(default)]
    pub(crate) size: u64,
    #[serde(default)]
    platform: Option<Platform>,
    #[serde(default)]
    pub(crate) annotations: std::collections::BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Platform {
    os: String,
    architecture: String,
}

/// A manifest or a list of them: which one, only its fields tell for sure.
#[derive(Debug, Deserialize)]
struct Document {
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
}

/// What a manifest document holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Manifest {
    /// One image: its config and its layers, lowest first.
    Image {
        config: Descriptor,
        layers: Vec<Descriptor>,
    },
    /// Several.
    List(Vec<Descriptor>),
}

/// An image's config file.
#[derive(Debug, Deserialize)]
pub(crate) struct ConfigFile {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    config: Option<LooseConfig>,
    rootfs: RootFs,
}

#[derive(Debug, Deserialize)]
struct RootFs {
    diff_ids: Vec<String>,
}

/// The same with the nulls that Docker writes for what is not set.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct LooseConfig {
    user: Option<String>,
    env: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    working_dir: Option<String>,
    stop_signal: Option<String>,
}

/// Why a document is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// Not the JSON that it should be.
    #[error("its {what} cannot be read: {why}")]
    Unreadable {
        /// `manifest` or `config`.
        what: &'static str,
        /// Where it is wrong.
        why: String,
    },
    /// None for this machine.
    #[error("it has no variant for {OS}/{ARCHITECTURE}, only for {0}")]
    Platform(String),
    /// Contradicts itself.
    #[error("its manifest has {layers} layers and its config {diff_ids}")]
    Layers {
        /// In the manifest.
        layers: usize,
        /// In the config.
        diff_ids: usize,
    },
}

// === impl Manifest ===

impl Manifest {
    pub(crate) fn parse(text: &[u8]) -> Result<Manifest, ManifestError> {
        let unreadable = |why: String| ManifestError::Unreadable { what: "manifest", why };
        let document: Document = serde_json::from_slice(text).map_err(|cause| unreadable(cause.to_string()))?;
        let manifest = match (document.manifests, document.config) {
            // Two readers could take it for two things (GHSA-mc8v-mgrf-8f4m).
            (Some(_), Some(_)) => return Err(unreadable("it is a list of manifests and an image at once".to_owned())),
            (Some(manifests), None) => Manifest::List(manifests),
            (None, Some(config)) => Manifest::Image {
                config,
                layers: document.layers,
            },
            (None, None) => return Err(unreadable("it has neither a config nor a list of manifests".to_owned())),
        };
        for descriptor in manifest.descriptors() {
            check_digest(&descriptor.digest).map_err(|why| unreadable(why.to_owned()))?;
        }
        Ok(manifest)
    }

    fn descriptors(&self) -> Vec<&Descriptor> {
        match self {
            Manifest::List(manifests) => manifests.iter().collect(),
            Manifest::Image { config, layers } => std::iter::once(config).chain(layers).collect(),
        }
    }
}

/// The manifest for this machine.
pub(crate) fn choose(manifests: &[Descriptor]) -> Result<&Descriptor, ManifestError> {
    let fits = |descriptor: &&Descriptor| {
        descriptor
            .platform
            .as_ref()
            .is_none_or(|platform| platform.os == OS && platform.architecture == ARCHITECTURE)
    };
    manifests.iter().find(fits).ok_or_else(|| {
        let others = manifests.iter().filter_map(|descriptor| descriptor.platform.as_ref());
        let others: Vec<String> = others
            .map(|platform| format!("{}/{}", platform.os, platform.architecture))
            .collect();
        ManifestError::Platform(others.join(", "))
    })
}

// === impl ConfigFile ===

impl ConfigFile {
    /// Checked against the number of layers that the manifest has.
    pub(crate) fn parse(text: &[u8], layers: usize) -> Result<ConfigFile, ManifestError> {
        let unreadable = |why: String| ManifestError::Unreadable { what: "config", why };
        let file: ConfigFile = serde_json::from_slice(text).map_err(|cause| unreadable(cause.to_string()))?;
        let fits = |value: &str, ours: &str| value.is_empty() || value == ours;
        if !fits(&file.os, OS) || !fits(&file.architecture, ARCHITECTURE) {
            return Err(ManifestError::Platform(format!("{}/{}", file.os, file.architecture)));
        }
        for id in &file.rootfs.diff_ids {
            check_digest(id).map_err(|why| unreadable(why.to_owned()))?;
        }
        if file.rootfs.diff_ids.len() != layers {
            return Err(ManifestError::Layers {
                layers,
                diff_ids: file.rootfs.diff_ids.len(),
            });
        }
        Ok(file)
    }

    /// Digests of the unpacked layers, lowest first.
    pub(crate) fn diff_ids(&self) -> &[String] {
        &self.rootfs.diff_ids
    }

    pub(crate) fn into_config(self) -> Config {
        let loose = self.config.unwrap_or_default();
        Config {
            user: loose.user.unwrap_or_default(),
            env: loose.env.unwrap_or_default(),
            entrypoint: loose.entrypoint.unwrap_or_default(),
            cmd: loose.cmd.unwrap_or_default(),
            working_dir: loose.working_dir.unwrap_or_default(),
            stop_signal: loose.stop_signal.unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variant_for_this_machine_is_chosen() {
        let digest = |c: &str| format!("sha256:{}", c.repeat(64));
        let list = format!(
            r#"{{"manifests":[{{"digest":"{}","size":1,"platform":{{"os":"linux","architecture":"arm64"}}}},
                {{"digest":"{}","size":1,"platform":{{"os":"linux","architecture":"amd64"}}}}]}}"#,
            digest("a"),
            digest("b")
        );
        let Manifest::List(manifests) = Manifest::parse(list.as_bytes()).unwrap() else {
            panic!("it is a list");
        };
        assert_eq!(choose(&manifests).unwrap().digest, digest("b"));
        let error = choose(&manifests[..1]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "it has no variant for linux/amd64, only for linux/arm64"
        );
    }

    #[test]
    fn a_config_may_hold_nulls_and_must_fit_its_manifest() {
        let text = format!(
            r#"{{"os":"linux","architecture":"amd64","config":{{"Cmd":null,"Env":["A=b"]}},"rootfs":{{"diff_ids":["sha256:{}"]}}}}"#,
            "0".repeat(64)
        );
        let config = ConfigFile::parse(text.as_bytes(), 1).unwrap().into_config();
        assert_eq!((config.cmd.len(), config.env.len()), (0, 1));
        let error = ConfigFile::parse(text.as_bytes(), 2).unwrap_err();
        assert_eq!(error.to_string(), "its manifest has 2 layers and its config 1");
    }

    #[test]
    fn a_digest_that_could_be_a_path_is_refused() {
        let text = r#"{"config":{"digest":"sha256:../../etc/passwd","size":1},"layers":[]}"#;
        assert!(Manifest::parse(text.as_bytes()).is_err());
    }
}
