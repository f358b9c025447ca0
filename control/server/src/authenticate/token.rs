//! JSON Web Tokens as this cluster issues them: ES256, one key, its id in the header; and the documents by which others check
//! them (RFC 7515, RFC 7517, OpenID Connect Discovery 1.0).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use serde_json::{Value, json};

/// What stands before the point in the DER of a P-256 public key (RFC 5480).
const KEY_INFO: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// Longer tokens are not read: the largest that is issued here has less than half of it.
const LONGEST: usize = 16 * 1024;

/// Who issues tokens that stand in Secrets and do not end.
pub(super) const LASTING_ISSUER: &str = "kubernetes/serviceaccount";

/// Why tokens cannot be signed.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// No private key in the PEM.
    #[error("read the key that signs service account tokens: {0}")]
    Pem(#[from] identity::tls::TlsError),
    /// Another sort of key.
    #[error("use the key that signs service account tokens: {0}; it must be ECDSA P-256 in PKCS #8")]
    Key(ring::error::KeyRejected),
}

/// Issues tokens and knows its own.
pub struct Tokens {
    key: EcdsaKeyPair,
    random: SystemRandom,
    id: String,
    issuer: String,
}

// === impl Tokens ===

impl Tokens {
    /// With a private key (PEM) and the issuer's URL, such as `https://kubernetes.default.svc.cluster.local`.
    pub fn new(key: &str, issuer: impl Into<String>) -> Result<Self, TokensError> {
        let der = identity::tls::key(key)?;
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_der(), &random)
            .map_err(TokensError::Key)?;
        let info = [&KEY_INFO, key.public_key().as_ref()].concat();
        // Upstream's key id: the digest of the public key's DER.
        let id = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &info));
        Ok(Self {
            key,
            random,
            id,
            issuer: issuer.into(),
        })
    }

    /// Who issues: also the audience of tokens for this API.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// A signed token with these claims; none if the machine has no randomness.
    pub(crate) fn sign(&self, claims: &Value) -> Option<String> {
        let header = json!({ "alg": "ES256", "kid": self.id });
        let text = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", text(&header), text(claims));
        let signature = self.key.sign(&self.random, signed.as_bytes()).ok()?;
        Some(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// The claims of a token that this key signed; times and names in it are not judged here.
    pub(crate) fn verify(&self, token: &str) -> Option<Value> {
        if token.len() > LONGEST {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let part = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
        let header: Value = serde_json::from_slice(&part(header)?).ok()?;
        // One algorithm, so that nobody chooses a weaker one.
        if header.get("alg")? != "ES256" {
            return None;
        }
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public_key())
            .verify(signed.as_bytes(), &part(signature)?)
            .ok()?;
        let claims: Value = serde_json::from_slice(&part(claims)?).ok()?;
        let issuer = claims.get("iss")?.as_str()?;
        (issuer == self.issuer || issuer == LASTING_ISSUER).then_some(claims)
    }

    /// `/.well-known/openid-configuration`; `address` (host:port) is where this server is reached.
    pub(crate) fn discovery(&self, address: &str) -> Value {
        json!({
            "issuer": self.issuer,
            "jwks_uri": format!("https://{address}/openid/v1/jwks"),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })
    }

    /// `/openid/v1/jwks`.
    pub(crate) fn key_set(&self) -> Value {
        // 4, then x and y (SEC 1 §2.3.3).
        let point = self.key.public_key().as_ref();
        let (x, y) = point[1..].split_at(32);
        json!({ "keys": [{
            "use": "sig", "kty": "EC", "kid": self.id, "crv": "P-256", "alg": "ES256",
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        }]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> Tokens {
        Tokens::new(&identity::new_key().unwrap(), "https://issuer.test").unwrap()
    }

    #[test]
    fn only_own_tokens_are_known() {
        let tokens = tokens();
        let claims = json!({ "iss": "https://issuer.test", "sub": "a" });
        let token = tokens.sign(&claims).unwrap();
        assert_eq!(tokens.verify(&token), Some(claims.clone()));
        let (head, signature) = token.rsplit_once('.').unwrap();
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
        let (_, body) = head.split_once('.').unwrap();
        let longer = URL_SAFE_NO_PAD.encode(json!({ "iss": "https://issuer.test", "sub": "b" }).to_string());
        for forged in [
            format!("{none}.{body}."),
            format!("{none}.{body}.{signature}"),
            format!("{}.{longer}.{signature}", head.split_once('.').unwrap().0),
            format!("{head}."),
            head.to_owned(),
            String::new(),
            "a.b.c".to_owned(),
            "x".repeat(100_000),
            super::tests::tokens().sign(&claims).unwrap(),
            tokens.sign(&json!({ "iss": "https://other.test" })).unwrap(),
        ] {
            assert_eq!(tokens.verify(&forged), None, "{forged:.60}");
        }
    }

    #[test]
    fn a_key_of_another_sort_is_refused_with_a_sentence() {
        assert!(Tokens::new("no key", "i").is_err_and(|cause| cause.to_string().contains("service account tokens")));
    }
}
