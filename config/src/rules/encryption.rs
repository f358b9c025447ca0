//! The keys that Secrets are encrypted with. What they are is never said.

use super::words::is_dns_label;
use crate::place::Place;
use crate::secrets::EncryptionKey;

/// What is wrong with `keys`, which stand at `place`.
pub(crate) fn check(keys: &[EncryptionKey], place: &str) -> Vec<(Place, String)> {
    let mut broken = Vec::new();
    for (nth, key) in keys.iter().enumerate() {
        let place = Place::of(place).index(nth);
        if !is_dns_label(&key.name) {
            let message = format!("{:?} is no DNS label, which an encryption key is called by", key.name);
            broken.push((place.key("name"), message));
        }
        if key.bytes().is_none() {
            let message = format!(
                "encryption key {:?} is not {} bytes in base64",
                key.name,
                EncryptionKey::BYTES
            );
            broken.push((place.key("key"), message));
        }
        if keys[..nth].iter().any(|before| before.name == key.name) {
            broken.push((
                place.key("name"),
                format!("encryption key {:?} stands here twice", key.name),
            ));
        }
    }
    broken
}
