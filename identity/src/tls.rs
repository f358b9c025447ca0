//! TLS settings from PEM: who we are, whom we trust. One crypto provider, one clock.

use crate::Clock;
use config::KeyPair;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use std::sync::Arc;

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Not PEM, or nothing in it.
    #[error("read {what} from PEM: {cause}")]
    Pem {
        /// Which part.
        what: &'static str,
        /// What was wrong with it.
        cause: rustls::pki_types::pem::Error,
    },
    /// Key and certificate do not fit, or the CA is none.
    #[error("use {what} for TLS: {cause}")]
    Rejected {
        /// Which part.
        what: &'static str,
        /// What was wrong with it.
        cause: String,
    },
}

/// Which callers a server lets through its handshake.
#[derive(Clone, Copy, Debug)]
pub enum Callers<'a> {
    /// Only with a certificate of this CA (PEM).
    Of(&'a str),
    /// With a certificate of this CA (PEM), or with none; whoever shows none is told apart later.
    MayBeOf(&'a str),
    /// Anybody; certificates are not asked for.
    Anybody,
}

/// How a client knows that it speaks to the right server.
#[derive(Clone, Copy, Debug)]
pub enum Trust<'a> {
    /// Its certificate is of this CA (PEM) and bears its name.
    Authority(&'a str),
    /// Its certificate has this SHA-256 fingerprint, whatever its names.
    Fingerprint(&'a str),
    /// It speaks TLS, with whatever certificate: probes, and what stands behind a proxied port, have one of their own making.
    Nobody,
}

/// A server's side. `alpn` in order of preference, e.g. `["h2"]`.
pub fn server(own: &KeyPair, callers: Callers<'_>, alpn: &[&str]) -> Result<Arc<ServerConfig>, TlsError> {
    let rejected = |cause: rustls::Error| TlsError::Rejected {
        what: "the server's certificate and key",
        cause: cause.to_string(),
    };
    let builder = ServerConfig::builder_with_details(provider(), Arc::new(Clock))
        .with_safe_default_protocol_versions()
        .map_err(rejected)?;
    let builder = match callers {
        Callers::Of(ca) => {
            builder.with_client_cert_verifier(client_verifier(ca)?.build().map_err(|cause| unusable_ca(&cause))?)
        }
        Callers::MayBeOf(ca) => builder.with_client_cert_verifier(
            client_verifier(ca)?
                .allow_unauthenticated()
                .build()
                .map_err(|cause| unusable_ca(&cause))?,
        ),
        Callers::Anybody => builder.with_no_client_auth(),
    };
    let mut server = builder
        .with_single_cert(certificates(&own.certificate)?, key(&own.key)?)
        .map_err(rejected)?;
    server.alpn_protocols = protocols(alpn);
    Ok(Arc::new(server))
}

/// A client's side; without `own` it shows no certificate.
pub fn client(trust: Trust<'_>, own: Option<&KeyPair>, alpn: &[&str]) -> Result<Arc<ClientConfig>, TlsError> {
    let rejected = |cause: rustls::Error| TlsError::Rejected {
        what: "the client's certificate and key",
        cause: cause.to_string(),
    };
    let builder = ClientConfig::builder_with_details(provider(), Arc::new(Clock))
        .with_safe_default_protocol_versions()
        .map_err(rejected)?;
    let builder = match trust {
        Trust::Authority(ca) => {
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots(ca)?), provider())
                .build()
                .map_err(|cause| unusable_ca(&cause))?;
            builder.with_webpki_verifier(verifier)
        }
        Trust::Fingerprint(wanted) => builder.dangerous().with_custom_certificate_verifier(Arc::new(Pinned {
            fingerprint: wanted.to_ascii_lowercase(),
            provider: provider(),
        })),
        Trust::Nobody => builder.dangerous().with_custom_certificate_verifier(anybody()),
    };
    let mut client = match own {
        Some(own) => builder
            .with_client_auth_cert(certificates(&own.certificate)?, key(&own.key)?)
            .map_err(rejected)?,
        None => builder.with_no_client_auth(),
    };
    client.alpn_protocols = protocols(alpn);
    Ok(Arc::new(client))
}

/// Checks nothing, for a client that finds out only at a connection whether it must know the server.
pub fn anybody() -> Arc<dyn ServerCertVerifier> {
    Arc::new(Anybody { provider: provider() })
}

/// All certificates of a PEM text, in DER.
pub fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bad = |cause| TlsError::Pem {
        what: "certificate",
        cause,
    };
    let found = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(bad)?;
    if found.is_empty() {
        Err(bad(rustls::pki_types::pem::Error::NoItemsFound))
    } else {
        Ok(found)
    }
}

/// The first private key of a PEM text, in DER.
pub fn key(pem: &str) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|cause| TlsError::Pem {
        what: "private key",
        cause,
    })
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn protocols(alpn: &[&str]) -> Vec<Vec<u8>> {
    alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect()
}

fn roots(ca: &str) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca)? {
        roots.add(certificate).map_err(|cause| unusable_ca(&cause))?;
    }
    Ok(roots)
}

fn client_verifier(ca: &str) -> Result<rustls::server::ClientCertVerifierBuilder, TlsError> {
    Ok(WebPkiClientVerifier::builder_with_provider(
        Arc::new(roots(ca)?),
        provider(),
    ))
}

fn unusable_ca(cause: &dyn std::error::Error) -> TlsError {
    TlsError::Rejected {
        what: "the CA certificate",
        cause: cause.to_string(),
    }
}

/// Accepts the one certificate that a person compared by eye.
#[derive(Debug)]
struct Pinned {
    fingerprint: String,
    provider: Arc<CryptoProvider>,
}

/// Accepts every certificate, and every proof that it is the server's: nobody asks who that is.
#[derive(Debug)]
struct Anybody {
    provider: Arc<CryptoProvider>,
}

// === impl Pinned ===

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let shown = crate::fingerprint(end_entity);
        if shown == self.fingerprint {
            return Ok(ServerCertVerified::assertion());
        }
        Err(rustls::Error::General(format!(
            "the machine shows a certificate with fingerprint {shown}, not {}",
            self.fingerprint
        )))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

// === impl Anybody ===

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
