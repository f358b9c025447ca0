//! Who a certificate speaks for.

use ring::digest;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The names in a peer's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// CN: a user, a node.
    pub common_name: String,
    /// O, in the certificate's order: groups or roles.
    pub organizations: Vec<String>,
}

/// Bytes that are no certificate, or one that names nobody.
#[derive(Debug, thiserror::Error)]
pub enum SubjectError {
    /// Not X.509.
    #[error("read the peer's certificate: it is not X.509 in DER: {0}")]
    NotX509(String),
    /// Anonymous.
    #[error("read the peer's certificate: its subject has no common name")]
    NoCommonName,
}

// === impl Subject ===

impl Subject {
    /// From a certificate in DER whose chain was verified already; here nothing is verified.
    pub fn of(certificate: &[u8]) -> Result<Self, SubjectError> {
        let (_, x509) =
            X509Certificate::from_der(certificate).map_err(|cause| SubjectError::NotX509(cause.to_string()))?;
        let subject = x509.subject();
        let common_name = subject
            .iter_common_name()
            .find_map(|cn| cn.as_str().ok())
            .ok_or(SubjectError::NoCommonName)?;
        let organizations = subject
            .iter_organization()
            .filter_map(|o| o.as_str().ok())
            .map(str::to_owned)
            .collect();
        Ok(Self {
            common_name: common_name.to_owned(),
            organizations,
        })
    }
}

/// SHA-256 of a certificate in DER as people compare it: 32 pairs of hex digits with colons between.
pub fn fingerprint(certificate: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, certificate);
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<Vec<_>>()
        .join(":")
}
