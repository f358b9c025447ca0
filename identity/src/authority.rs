//! A certificate authority and what it issues. Keys are ECDSA P-256, PKCS #8 in PEM.

use crate::Clock;
use config::KeyPair;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, date_time_ymd,
};
use std::time::Duration;

/// A CA outlives the machines that it made.
const CA_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// As upstream's cluster tools: long enough for a machine that is asleep, short enough to matter.
const LEAF_LIFE: Duration = Duration::from_secs(365 * 24 * 3600);
/// A peer's clock may be behind ours.
const BACKDATED: Duration = Duration::from_secs(3600);

/// A CA that can sign.
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, rcgen::KeyPair>,
}

/// A certificate to be issued.
#[derive(Clone, Debug, Default)]
pub struct Leaf {
    /// CN.
    pub common_name: String,
    /// O; at most two.
    pub organizations: Vec<String>,
    /// DNS names and IP addresses of a server.
    pub names: Vec<String>,
    /// What it is good for.
    pub purpose: Purpose,
}

/// What a certificate is good for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Purpose {
    /// To be called.
    #[default]
    Server,
    /// To call.
    Client,
    /// Both, e.g. a node.
    ServerAndClient,
}

/// Why a certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// No CA in the PEM, or its key is of another kind.
    #[error("read certificate authority: {cause}; give its certificate and its ECDSA P-256 key in PEM")]
    Authority {
        /// What was wrong with it.
        cause: rcgen::Error,
    },
    /// A name that cannot stand in a certificate.
    #[error("issue certificate for {name:?}: {cause}")]
    Issue {
        /// CN that was asked for.
        name: String,
        /// What was wrong with it.
        cause: rcgen::Error,
    },
    /// The encoder keeps one value per attribute type, of which an organization has two spellings.
    #[error("issue certificate for {name:?}: {count} organizations asked for, at most 2 can be written")]
    Organizations {
        /// CN that was asked for.
        name: String,
        /// How many.
        count: usize,
    },
    /// The system gave no random bytes.
    #[error("draw an encryption key: the system gave no random bytes")]
    Random,
}

// === impl Authority ===

impl Authority {
    /// A new CA of this common name.
    pub fn create(common_name: &str) -> Result<Self, IssueError> {
        let issue = |cause| IssueError::Issue {
            name: common_name.to_owned(),
            cause,
        };
        let key = generate().map_err(issue)?;
        let mut params = params(common_name, &[], CA_LIFE)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(issue)?.pem();
        Ok(Self {
            certificate,
            issuer: Issuer::new(params, key),
        })
    }

    /// A CA from its certificate and key.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, IssueError> {
        let authority = |cause| IssueError::Authority { cause };
        let key = rcgen::KeyPair::from_pem(key).map_err(authority)?;
        let issuer = Issuer::from_ca_cert_pem(certificate, key).map_err(authority)?;
        Ok(Self {
            certificate: certificate.to_owned(),
            issuer,
        })
    }

    /// Its certificate, PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Its key, to sign with.
    pub(crate) fn key(&self) -> &rcgen::KeyPair {
        self.issuer.key()
    }

    /// Certificate and key, to be kept.
    pub fn to_pem(&self) -> KeyPair {
        KeyPair {
            certificate: self.certificate.clone(),
            key: self.issuer.key().serialize_pem(),
        }
    }

    /// Make a key and a certificate for it.
    pub fn issue(&self, leaf: &Leaf) -> Result<KeyPair, IssueError> {
        let issue = |cause| IssueError::Issue {
            name: leaf.common_name.clone(),
            cause,
        };
        let key = generate().map_err(issue)?;
        let mut params = leaf_params(leaf)?;
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer).map_err(issue)?.pem();
        Ok(KeyPair {
            certificate,
            key: key.serialize_pem(),
        })
    }
}

/// A certificate that vouches for itself: for a machine that has no config yet, known by its fingerprint.
pub fn self_signed(leaf: &Leaf) -> Result<KeyPair, IssueError> {
    let issue = |cause| IssueError::Issue {
        name: leaf.common_name.clone(),
        cause,
    };
    let key = generate().map_err(issue)?;
    let certificate = leaf_params(leaf)?.self_signed(&key).map_err(issue)?.pem();
    Ok(KeyPair {
        certificate,
        key: key.serialize_pem(),
    })
}

/// A fresh private key without a certificate, PKCS #8 in PEM; signs e.g. service-account tokens (ES256).
pub fn new_key() -> Result<String, IssueError> {
    let key = generate().map_err(|cause| IssueError::Issue {
        name: "key".to_owned(),
        cause,
    })?;
    Ok(key.serialize_pem())
}

fn generate() -> Result<rcgen::KeyPair, rcgen::Error> {
    rcgen::KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
}

fn leaf_params(leaf: &Leaf) -> Result<CertificateParams, IssueError> {
    let mut params = params(&leaf.common_name, &leaf.organizations, LEAF_LIFE)?;
    params.subject_alt_names = CertificateParams::new(leaf.names.clone())
        .map_err(|cause| IssueError::Issue {
            name: leaf.common_name.clone(),
            cause,
        })?
        .subject_alt_names;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = match leaf.purpose {
        Purpose::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
        Purpose::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
        Purpose::ServerAndClient => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
    };
    Ok(params)
}

fn params(name: &str, organizations: &[String], life: Duration) -> Result<CertificateParams, IssueError> {
    let mut subject = DistinguishedName::new();
    // The same attribute by its name and by its number, since the encoder keeps one value of each.
    let spellings = [DnType::OrganizationName, DnType::CustomDnType(vec![2, 5, 4, 10])];
    if organizations.len() > spellings.len() {
        return Err(IssueError::Organizations {
            name: name.to_owned(),
            count: organizations.len(),
        });
    }
    for (spelling, organization) in spellings.into_iter().zip(organizations) {
        subject.push(spelling, organization);
    }
    subject.push(DnType::CommonName, name);
    let now = date_time_ymd(1970, 1, 1) + Clock.now();
    let mut params = CertificateParams::default();
    params.distinguished_name = subject;
    params.not_before = now - BACKDATED;
    params.not_after = now + life;
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Subject, tls};

    #[test]
    fn a_certificate_carries_its_names_and_a_reread_authority_still_signs() {
        let made = Authority::create("test CA").unwrap().to_pem();
        let authority = Authority::from_pem(&made.certificate, &made.key).unwrap();
        let leaf = Leaf {
            common_name: "alice".into(),
            organizations: vec!["dev".into(), "os:reader".into()],
            names: vec!["localhost".into(), "::1".into()],
            purpose: Purpose::ServerAndClient,
        };
        let pair = authority.issue(&leaf).unwrap();
        let der = tls::certificates(&pair.certificate).unwrap();
        let subject = Subject::of(&der[0]).unwrap();
        assert_eq!(subject.common_name, "alice");
        assert_eq!(subject.organizations, ["dev", "os:reader"]);
        let crowded = Leaf {
            organizations: vec!["a".into(), "b".into(), "c".into()],
            ..leaf
        };
        assert!(authority.issue(&crowded).is_err());
    }
}
