//! Secrets, apart from the machine config so that people can commit the latter.
//!
//! A [`Bundle`] belongs to the administrator and makes machines; a [`Secrets`] file belongs to one machine and holds
//! only what that machine needs. None of them has `Debug`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A certificate with its private key, both PEM.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct KeyPair {
    /// Certificate, then any intermediate ones.
    pub certificate: String,
    /// PKCS #8 private key.
    pub key: String,
}

/// What a machine needs to prove who it is.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Secrets {
    /// Version of this format; 1.
    pub version: u32,
    /// CA of the machine API: whoever shows a certificate of it may call, by its role.
    pub machine_ca: String,
    /// The machine API's serving certificate.
    pub machine: KeyPair,
    /// CA of the Kubernetes API.
    pub cluster_ca: String,
    /// The node's identity: `CN=system:node:<name>, O=system:nodes`, for its client and for :10250.
    pub node: KeyPair,
    /// Only on machines with the role `control-plane`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control_plane: Option<ControlPlaneSecrets>,
    /// What registries want to know before they give container images.
    #[serde(default, rename = "registry", skip_serializing_if = "Vec::is_empty")]
    pub registries: Vec<RegistryLogin>,
}

/// Who this machine is towards one registry: a user with a password, or a token. Shown to this host alone.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RegistryLogin {
    /// Host and port as images name it, or as a mirror's URL does.
    pub host: String,
    /// User name; with `password`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Password, or the personal token that the registry takes for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// A bearer token that the registry takes as it is; instead of `username` and `password`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// What a control plane needs.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ControlPlaneSecrets {
    /// The Kubernetes API's serving certificate.
    pub server: KeyPair,
    /// Client identity towards :10250 of every node.
    pub node_client: KeyPair,
    /// Private key of the cluster CA, PEM.
    pub cluster_ca_key: String,
    /// Signs service-account tokens, PEM.
    pub service_account_key: String,
    /// What Secrets are encrypted with where they are kept: the first encrypts, each of them decrypts. With none they lie there
    /// as they are.
    #[serde(default, rename = "encryption-key", skip_serializing_if = "Vec::is_empty")]
    pub encryption_keys: Vec<EncryptionKey>,
}

/// A key of AES-256.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct EncryptionKey {
    /// What it is called beside all that it encrypted, a DNS label; never used again for another key.
    pub name: String,
    /// 32 random bytes in base64.
    pub key: String,
}

/// All that makes a cluster: CAs with their keys. Made once, kept by the administrator.
#[derive(Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Bundle {
    /// Version of this format; 1.
    pub version: u32,
    /// CA of the machine API.
    pub machine_ca: KeyPair,
    /// CA of the Kubernetes API.
    pub cluster_ca: KeyPair,
    /// Signs service-account tokens, PEM.
    pub service_account_key: String,
    /// What Secrets are encrypted with where they are kept, see [`ControlPlaneSecrets::encryption_keys`]. To change the key, put
    /// a new one before it and make the control planes' secrets anew.
    #[serde(default, rename = "encryption-key", skip_serializing_if = "Vec::is_empty")]
    pub encryption_keys: Vec<EncryptionKey>,
}

// === impl EncryptionKey ===

impl EncryptionKey {
    /// Bytes of a key.
    pub const BYTES: usize = 32;

    /// A key out of `bytes`, which nobody else knows.
    pub fn new(name: &str, bytes: &[u8; Self::BYTES]) -> Self {
        Self {
            name: name.to_owned(),
            key: STANDARD.encode(bytes),
        }
    }

    /// Its bytes; none where it is not 32 of them in base64.
    pub fn bytes(&self) -> Option<[u8; Self::BYTES]> {
        STANDARD.decode(&self.key).ok()?.try_into().ok()
    }
}
