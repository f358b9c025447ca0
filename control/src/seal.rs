//! What of the cluster's state lies encrypted: the kinds that say so, by the keys in the control plane's secrets.

use api::KINDS;
use config::ControlPlaneSecrets;
use store::{SealKey, Seals};
use tracing::warn;

/// How the store seals.
pub fn seals(secrets: &ControlPlaneSecrets) -> Seals {
    if secrets.encryption_keys.is_empty() {
        warn!(
            "the secrets have no [[control-plane.encryption-key]]: Secrets lie unencrypted in the store; \
             add an [[encryption-key]] to the cluster's bundle and make the secrets anew"
        );
    }
    let keys = secrets.encryption_keys.iter();
    // Checked when the secrets were read.
    let keys = keys.filter_map(|key| Some(SealKey::new(&key.name, &key.bytes()?)));
    let sealed = KINDS.iter().filter(|rules| rules.sealed);
    Seals::new(sealed.map(|rules| rules.key_prefix(None)), keys)
}
