//! A request for a certificate (PKCS #10), and the certificate that a CA makes of it.
//!
//! The subject and the key go over byte by byte, so that a certificate says exactly what was asked for and approved; the
//! certificate is therefore written here and not by the library, which keeps one value of each subject attribute.

use crate::authority::{Authority, IssueError};
use rcgen::{SigningKey, date_time_ymd};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::pki_types::pem::{PemObject, SectionKind};
use std::net::IpAddr;
use std::time::Duration;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::der_parser::der::parse_der;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};

/// A peer's clock may be behind ours (upstream: five minutes).
const BACKDATED: Duration = Duration::from_secs(300);
/// ecdsa-with-SHA256.
const ALGORITHM: &[u64] = &[1, 2, 840, 10045, 4, 3, 2];

/// What somebody asks a CA to certify; its signature was good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// CN; empty if there is none.
    pub common_name: String,
    /// O, in the request's order.
    pub organizations: Vec<String>,
    /// DNS names.
    pub dns: Vec<String>,
    /// IP addresses.
    pub addresses: Vec<IpAddr>,
    /// How many names of other sorts there are: mail addresses, URIs.
    pub other_names: usize,
    subject: Vec<u8>,
    key: Vec<u8>,
    /// The subject's alternative names as they came.
    names: Option<Vec<u8>>,
}

/// Why a request cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Not PEM, or of something else.
    #[error("PEM block type must be CERTIFICATE REQUEST")]
    Pem,
    /// Not PKCS #10.
    #[error("read the certificate request: it is not PKCS #10 in DER: {0}")]
    Der(String),
    /// Whoever made it does not have the key.
    #[error("check the certificate request: its signature is not of the key in it")]
    Signature,
}

// === impl Request ===

impl Request {
    /// Reads a request and checks its signature.
    pub fn from_pem(pem: &str) -> Result<Self, RequestError> {
        let der = <(SectionKind, Vec<u8>)>::pem_slice_iter(pem.as_bytes())
            .find_map(|section| section.ok().filter(|(kind, _)| *kind == SectionKind::Csr))
            .map(|(_, der)| der)
            .ok_or(RequestError::Pem)?;
        let (_, request) =
            X509CertificationRequest::from_der(&der).map_err(|cause| RequestError::Der(cause.to_string()))?;
        request.verify_signature().map_err(|_| RequestError::Signature)?;
        let info = &request.certification_request_info;
        // The parser takes a name up to what is none in it, and would leave it shorter than it says it is.
        if !is_whole(info.subject.as_raw()) || !is_whole(info.subject_pki.raw) {
            return Err(RequestError::Der("its subject or its key is cut short".to_owned()));
        }
        let mut read = Self {
            common_name: info
                .subject
                .iter_common_name()
                .find_map(|cn| cn.as_str().ok())
                .unwrap_or_default()
                .to_owned(),
            organizations: info
                .subject
                .iter_organization()
                .filter_map(|o| o.as_str().ok())
                .map(str::to_owned)
                .collect(),
            dns: Vec::new(),
            addresses: Vec::new(),
            other_names: 0,
            subject: info.subject.as_raw().to_vec(),
            key: info.subject_pki.raw.to_vec(),
            names: None,
        };
        for extension in request.requested_extensions().into_iter().flatten() {
            if let ParsedExtension::SubjectAlternativeName(names) = extension {
                names.general_names.iter().for_each(|name| read.add(name));
                read.names = Some(encoded_names(&names.general_names));
            }
        }
        Ok(read)
    }

    fn add(&mut self, name: &GeneralName<'_>) {
        match name {
            GeneralName::DNSName(name) => self.dns.push((*name).to_owned()),
            GeneralName::IPAddress(bytes) => match address(bytes) {
                Some(address) => self.addresses.push(address),
                None => self.other_names += 1,
            },
            _ => self.other_names += 1,
        }
    }
}

/// Whether this is one value of DER and nothing besides.
fn is_whole(bytes: &[u8]) -> bool {
    parse_der(bytes).is_ok_and(|(rest, _)| rest.is_empty())
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    }
}

/// The names that certificates may have here; others a signer refuses before.
fn encoded_names(names: &[GeneralName<'_>]) -> Vec<u8> {
    let parts: Vec<Vec<u8>> = names
        .iter()
        .filter_map(|name| match name {
            GeneralName::RFC822Name(name) => Some(der(0x81, &[name.as_bytes()])),
            GeneralName::DNSName(name) => Some(der(0x82, &[name.as_bytes()])),
            GeneralName::URI(name) => Some(der(0x86, &[name.as_bytes()])),
            GeneralName::IPAddress(bytes) => Some(der(0x87, &[bytes])),
            _ => None,
        })
        .collect();
    sequence(&parts)
}

// === impl Authority ===

impl Authority {
    /// The certificate (PEM) of what `request` asks for, good for `usages` (words of certificates.k8s.io/v1) and for `life`, but
    /// not longer than this CA.
    pub fn sign(&self, request: &Request, usages: &[String], life: Duration) -> Result<String, IssueError> {
        let refused = |cause| IssueError::Issue {
            name: request.common_name.clone(),
            cause,
        };
        let own = crate::tls::certificates(self.certificate())
            .map_err(|_| refused(rcgen::Error::CouldNotParseCertificate))?;
        let (_, own) = X509Certificate::from_der(own.first().map_or(&[][..], AsRef::as_ref))
            .map_err(|_| refused(rcgen::Error::CouldNotParseCertificate))?;
        let mut serial = [0; 16];
        SystemRandom::new()
            .fill(&mut serial)
            .map_err(|_| refused(rcgen::Error::RingUnspecified))?;
        // A positive number of constant length (RFC 5280 §4.1.2.2).
        serial[0] = serial[0] & 0x3f | 0x40;
        let now = crate::Clock.now();
        let end = (now + life).as_secs();
        let end = end.min(own.validity().not_after.timestamp().try_into().unwrap_or(end));
        let algorithm = sequence(&[oid(ALGORITHM)]);
        let body = sequence(&[
            der(0xa0, &[&der(0x02, &[&[2]])]),
            der(0x02, &[&serial]),
            algorithm.clone(),
            own.subject().as_raw().to_vec(),
            sequence(&[time(now.saturating_sub(BACKDATED).as_secs()), time(end)]),
            request.subject.clone(),
            request.key.clone(),
            der(0xa3, &[&sequence(&extensions(request, usages, &own))]),
        ]);
        let signature = self.key().sign(&body).map_err(refused)?;
        let certificate = sequence(&[body, algorithm, der(0x03, &[&[0], &signature])]);
        Ok(pem(&certificate))
    }
}

fn extensions(request: &Request, usages: &[String], own: &X509Certificate<'_>) -> Vec<Vec<u8>> {
    const CRITICAL: &[u8] = &[0x01, 0x01, 0xff];
    let extension = |id: &[u64], critical: bool, value: &[u8]| {
        let flag = if critical { CRITICAL } else { &[] };
        der(0x30, &[&oid(id), flag, &der(0x04, &[value])])
    };
    let mut all = Vec::new();
    let (bits, purposes) = usage(usages);
    if bits != 0 {
        let unused = u8::try_from(bits.trailing_zeros()).unwrap_or_default();
        all.push(extension(&[2, 5, 29, 15], true, &der(0x03, &[&[unused, bits]])));
    }
    if !purposes.is_empty() {
        all.push(extension(&[2, 5, 29, 37], false, &sequence(&purposes)));
    }
    all.push(extension(&[2, 5, 29, 19], true, &sequence(&[])));
    let own_id = own
        .extensions()
        .iter()
        .find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0),
            _ => None,
        });
    if let Some(id) = own_id {
        all.push(extension(&[2, 5, 29, 35], false, &sequence(&[der(0x80, &[id])])));
    }
    if let Some(names) = &request.names {
        all.push(extension(&[2, 5, 29, 17], false, names));
    }
    all
}

/// Key usage, highest bit first, and extended key usages (RFC 5280 §4.2.1.3, §4.2.1.12) of upstream's words.
fn usage(words: &[String]) -> (u8, Vec<Vec<u8>>) {
    let (mut bits, mut purposes) = (0, Vec::new());
    for word in words {
        let purpose: &[u64] = match word.as_str() {
            "signing" | "digital signature" => {
                bits |= 0x80;
                continue;
            }
            "content commitment" => {
                bits |= 0x40;
                continue;
            }
            "key encipherment" => {
                bits |= 0x20;
                continue;
            }
            "data encipherment" => {
                bits |= 0x10;
                continue;
            }
            "key agreement" => {
                bits |= 0x08;
                continue;
            }
            "server auth" => &[1, 3, 6, 1, 5, 5, 7, 3, 1],
            "client auth" => &[1, 3, 6, 1, 5, 5, 7, 3, 2],
            "code signing" => &[1, 3, 6, 1, 5, 5, 7, 3, 3],
            "email protection" | "s/mime" => &[1, 3, 6, 1, 5, 5, 7, 3, 4],
            "timestamping" => &[1, 3, 6, 1, 5, 5, 7, 3, 8],
            "ocsp signing" => &[1, 3, 6, 1, 5, 5, 7, 3, 9],
            // Nothing that a leaf of this CA is for.
            _ => continue,
        };
        purposes.push(oid(purpose));
    }
    (bits, purposes)
}

/// One value of DER: its tag, its length, its content.
fn der(tag: u8, content: &[&[u8]]) -> Vec<u8> {
    let length: usize = content.iter().map(|part| part.len()).sum();
    let mut out = vec![tag];
    let bytes = length.to_be_bytes();
    if length < 0x80 {
        out.push(bytes[bytes.len() - 1]);
    } else {
        let first = bytes.iter().position(|byte| *byte != 0).unwrap_or_default();
        let digits = &bytes[first..];
        out.push(0x80 | u8::try_from(digits.len()).unwrap_or_default());
        out.extend_from_slice(digits);
    }
    content.iter().for_each(|part| out.extend_from_slice(part));
    out
}

fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    der(0x30, &parts)
}

fn oid(arcs: &[u64]) -> Vec<u8> {
    let mut content = vec![u8::try_from(arcs[0] * 40 + arcs[1]).unwrap_or_default()];
    for arc in &arcs[2..] {
        let mut digits = vec![u8::try_from(arc & 0x7f).unwrap_or_default()];
        let mut rest = arc >> 7;
        while rest > 0 {
            digits.push(u8::try_from(rest & 0x7f).unwrap_or_default() | 0x80);
            rest >>= 7;
        }
        content.extend(digits.iter().rev());
    }
    der(0x06, &[&content])
}

/// UTCTime until 2049, GeneralizedTime after (RFC 5280 §4.1.2.5).
fn time(seconds: u64) -> Vec<u8> {
    let when = date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
    let (year, month) = (when.year(), u8::from(when.month()));
    let rest = format!(
        "{month:02}{:02}{:02}{:02}{:02}Z",
        when.day(),
        when.hour(),
        when.minute(),
        when.second()
    );
    if year < 2050 {
        der(0x17, &[format!("{:02}{rest}", year % 100).as_bytes()])
    } else {
        der(0x18, &[format!("{year:04}{rest}").as_bytes()])
    }
}

fn pem(certificate: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(certificate);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for start in (0..text.len()).step_by(64) {
        pem.push_str(&text[start..text.len().min(start + 64)]);
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Subject, tls};
    use config::KeyPair;
    use rcgen::{CertificateParams, DnType, PKCS_ECDSA_P256_SHA256, SanType};

    fn asked() -> (String, String) {
        let key = rcgen::KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = CertificateParams::new(vec!["n1.test".to_owned()]).unwrap();
        params
            .subject_alt_names
            .push(SanType::IpAddress("10.0.0.1".parse().unwrap()));
        params.distinguished_name.push(DnType::CommonName, "system:node:n1");
        params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
        (
            params.serialize_request(&key).unwrap().pem().unwrap(),
            key.serialize_pem(),
        )
    }

    #[test]
    fn a_signed_request_is_a_certificate_that_tls_takes() {
        let authority = Authority::create("test CA").unwrap();
        let (pem, key) = asked();
        let request = Request::from_pem(&pem).unwrap();
        assert_eq!(
            (request.common_name.as_str(), request.dns.len(), request.addresses.len()),
            ("system:node:n1", 1, 1)
        );
        let usages = ["digital signature", "key encipherment", "server auth", "client auth"].map(str::to_owned);
        let certificate = authority.sign(&request, &usages, Duration::from_secs(3600)).unwrap();
        let der = tls::certificates(&certificate).unwrap();
        let subject = Subject::of(&der[0]).unwrap();
        assert_eq!(
            (subject.common_name.as_str(), subject.organizations.as_slice()),
            ("system:node:n1", &["system:nodes".to_owned()][..])
        );
        let (_, parsed) = X509Certificate::from_der(&der[0]).unwrap();
        let own = tls::certificates(authority.certificate()).unwrap();
        let (_, own) = X509Certificate::from_der(&own[0]).unwrap();
        parsed.verify_signature(Some(own.public_key())).unwrap();
        assert!(parsed.validity().is_valid() && !parsed.is_ca());
        assert!(parsed.extended_key_usage().unwrap().unwrap().value.client_auth);
        assert_eq!(
            parsed
                .subject_alternative_name()
                .unwrap()
                .unwrap()
                .value
                .general_names
                .len(),
            2
        );
        let pair = KeyPair { certificate, key };
        tls::server(&pair, tls::Callers::Anybody, &[]).unwrap();
    }

    #[test]
    fn a_request_that_was_changed_is_refused() {
        let (pem, _) = asked();
        assert!(matches!(Request::from_pem("nothing"), Err(RequestError::Pem)));
        let certificate = Authority::create("x").unwrap();
        assert!(matches!(
            Request::from_pem(certificate.certificate()),
            Err(RequestError::Pem)
        ));
        let mut der: Vec<u8> = <(SectionKind, Vec<u8>)>::from_pem_slice(pem.as_bytes()).unwrap().1;
        let at = der.windows(2).position(|pair| pair == b"n1").unwrap();
        der[at + 1] = b'2';
        let changed = super::pem(&der).replace("CERTIFICATE", "CERTIFICATE REQUEST");
        assert!(matches!(Request::from_pem(&changed), Err(RequestError::Signature)));
    }

    #[test]
    fn der_of_many_lengths() {
        assert_eq!(der(0x04, &[&[7; 3]])[..2], [0x04, 3]);
        assert_eq!(der(0x04, &[&[7; 200]])[..3], [0x04, 0x81, 200]);
        assert_eq!(der(0x04, &[&[7; 300]])[..4], [0x04, 0x82, 1, 44]);
        assert_eq!(
            oid(ALGORITHM),
            [0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02]
        );
    }
}
