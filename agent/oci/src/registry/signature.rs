//! Signatures of images as cosign keeps them: beside the image, under a tag made of its digest, made with ECDSA P-256 keys
//! (sigstore/cosign, specs/SIGNATURE_SPEC.md). Which images need one, the machine's config says.

use super::http::{self, Fetch};
use super::{LARGEST_DOCUMENT, PullError, check, fetch_document};
use crate::Reference;
use crate::layers::{digest, hex};
use crate::manifest::{Descriptor, Manifest};
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;

/// Which images must be signed by whom.
#[derive(Clone, Debug, Default)]
pub struct SignaturePolicy {
    /// The one with the longest scope that an image is in counts.
    pub rules: Vec<SignatureRule>,
}

/// One of them.
#[derive(Clone, Debug)]
pub struct SignatureRule {
    /// A registry, or a repository and all below it; `*` for everything.
    pub scope: String,
    /// Any of them suffices; nothing: images in this scope need no signature.
    pub keys: Option<Vec<PublicKey>>,
}

/// An ECDSA P-256 key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    point: Vec<u8>,
}

/// What is no such key.
#[derive(Debug, thiserror::Error)]
#[error("a key for signatures of images is no ECDSA P-256 public key in PEM")]
pub struct BadKey;

/// Where cosign puts a signature, on the layer that it signs.
const ANNOTATION: &str = "dev.cosignproject.cosign/signature";
/// What every payload says that it is.
const TYPE: &str = "cosign container image signature";
/// SubjectPublicKeyInfo of a P-256 key up to its point (RFC 5480).
const P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    image: Signed,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Signed {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

// === impl SignaturePolicy ===

impl SignaturePolicy {
    /// The keys of which one must have signed this image; nothing when it needs no signature.
    pub fn keys_for(&self, image: &Reference) -> Option<&[PublicKey]> {
        let name = format!("{}/{}", image.registry, image.repository);
        let fits = |scope: &str| {
            scope == "*"
                || name
                    .strip_prefix(scope)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let rules = self.rules.iter().filter(|rule| fits(&rule.scope));
        rules
            .max_by_key(|rule| if rule.scope == "*" { 0 } else { rule.scope.len() })?
            .keys
            .as_deref()
    }
}

// === impl PublicKey ===

impl PublicKey {
    /// From `-----BEGIN PUBLIC KEY-----`, as `cosign generate-key-pair` writes it.
    pub fn from_pem(pem: &str) -> Result<Self, BadKey> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).map_err(|_| BadKey)?;
        let point = der.as_ref().strip_prefix(&P256).ok_or(BadKey)?;
        (point.len() == 65)
            .then(|| Self { point: point.to_vec() })
            .ok_or(BadKey)
    }

    /// Tells keys apart.
    pub(crate) fn id(&self) -> String {
        digest(&self.point)
    }

    fn has_signed(&self, payload: &[u8], signature: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.point);
        key.verify(payload, signature).is_ok()
    }
}

/// The key that signed one of these documents, which all lead to the image; refused when none did.
pub(super) async fn verify(fetch: &Fetch, digests: &[String], keys: &[PublicKey]) -> Result<String, PullError> {
    let mut found = 0;
    for signed in digests {
        let text = fetch_document(fetch, &format!("manifests/sha256-{}.sig", hex(signed)), "signature").await;
        let text = match text {
            Err(PullError::NotFound { .. }) => continue,
            other => other?,
        };
        let Ok(Manifest::Image { layers, .. }) = Manifest::parse(&text) else {
            continue;
        };
        for layer in &layers {
            found += 1;
            if let Some(key) = signer(fetch, layer, signed, keys).await? {
                return Ok(key);
            }
        }
    }
    let why = match found {
        0 => "it is not signed".to_owned(),
        found => format!("none of its {found} signatures is by a key of the machine config"),
    };
    Err(PullError::Unsigned {
        image: fetch.image.clone(),
        host: fetch.host.clone(),
        why,
    })
}

async fn signer(
    fetch: &Fetch,
    layer: &Descriptor,
    signed: &str,
    keys: &[PublicKey],
) -> Result<Option<String>, PullError> {
    use base64::Engine;
    let Some(text) = layer.annotations.get(ANNOTATION) else {
        return Ok(None);
    };
    let Ok(signature) = base64::engine::general_purpose::STANDARD.decode(text.trim()) else {
        return Ok(None);
    };
    let response = fetch.get(&format!("blobs/{}", layer.digest), &[], "signature").await?;
    let payload = http::body(fetch, response, LARGEST_DOCUMENT).await?;
    check(fetch, &layer.digest, &payload)?;
    let key = keys.iter().find(|key| key.has_signed(&payload, &signature));
    let is_of_it = serde_json::from_slice::<Payload>(&payload)
        .is_ok_and(|payload| payload.critical.kind == TYPE && payload.critical.image.digest == signed);
    Ok(key.filter(|_| is_of_it).map(PublicKey::id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_scope_counts() {
        let key = |first: u8| PublicKey { point: vec![first] };
        let rule = |scope: &str, keys: Option<Vec<PublicKey>>| SignatureRule {
            scope: scope.to_owned(),
            keys,
        };
        let policy = SignaturePolicy {
            rules: vec![
                rule("*", Some(vec![key(1)])),
                rule("r.test", Some(vec![key(2)])),
                rule("r.test/open", None),
            ],
        };
        let keys = |name: &str| policy.keys_for(&name.parse().unwrap()).map(<[_]>::to_vec);
        assert_eq!(keys("r.test.example/a"), Some(vec![key(1)]));
        assert_eq!(keys("r.test/opened:1"), Some(vec![key(2)]));
        assert_eq!(keys("r.test/open/tool:1"), None);
        assert!(SignaturePolicy::default().keys_for(&"a".parse().unwrap()).is_none());
    }

    #[test]
    fn what_is_no_key_is_refused() {
        assert!(PublicKey::from_pem("-----BEGIN PUBLIC KEY-----\nMAA=\n-----END PUBLIC KEY-----\n").is_err());
        assert!(PublicKey::from_pem("").is_err());
    }
}
