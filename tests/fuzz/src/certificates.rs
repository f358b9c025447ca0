//! Requests for certificates (PKCS #10), of whoever may ask. What is good is certified as who it
//! says it is.

use crate::Target;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use identity::{Authority, Request, Subject, SubjectError};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::sync::LazyLock;
use std::time::Duration;

/// What is signed in a request (its CertificationRequestInfo, DER); the signature is made here, or no change would get past it.
pub const TARGET: Target = Target {
    name: "certificates",
    seeds,
    run,
};

/// The private key 1, which is nobody's secret, as PKCS #8.
const ONE: &str = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAGhRANCAARrF9Hy4SxCR/i85uVjpEDydwN9gS3rM6D0oTlF2JjClk/jQuL+Gn+bjufrSnwPnhYrzjNXazFezsu2QGg3v1H1";

/// By that key, of `openssl req -new`: a node's, and one with names of all sorts.
const REQUESTS: [&str; 2] = [
    "MIIBEDCBuAIBADAwMRUwEwYDVQQKDAxzeXN0ZW06bm9kZXMxFzAVBgNVBAMMDnN5c3RlbTpub2RlOm4xMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9aAmMCQGCSqGSIb3DQEJDjEXMBUwEwYDVR0RBAwwCoICbjGHBAoAAAswCgYIKoZIzj0EAwIDRwAwRAIgTh9lpeyLm+uj9RHyiLlkBpeWxGoqHwDqUBiULiR4lnYCICpn2so7O7H0Juz5+BCJMGcSpw10Vd+b/R/qGBp6ZCCV",
    "MIIBTjCB9AIBADA6MQowCAYDVQQKDAFhMQowCAYDVQQKDAFiMQowCAYDVQQDDAFjMRQwEgYJKoZIhvcNAQkBFgV4QHkuejBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABGsX0fLhLEJH+Lzm5WOkQPJ3A32BLeszoPShOUXYmMKWT+NC4v4af5uO5+tKfA+eFivOM1drMV7Oy7ZAaDe/UfWgWDBWBgkqhkiG9w0BCQ4xSTBHMDgGA1UdEQQxMC+CBmEudGVzdIcQ/QAAAAAAAAAAAAAAAAAAAYEFeEB5LnqGDHNwaWZmZTovL2EvYjALBgNVHQ8EBAMCB4AwCgYIKoZIzj0EAwIDSQAwRgIhAKZ5ymxFR8KlfdaRjN0tYNpB5QQ7Lsw5W5lw4p8ePjDIAiEAgWrtte0aKwh8RX4b7alV2Y4jvD8iLG0jk/d3tpI4cS8=",
];

/// ecdsa-with-SHA256, as an AlgorithmIdentifier.
const ALGORITHM: [u8; 12] = [0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];

static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| Authority::create("ca").expect("an authority can be made"));

fn seeds() -> Vec<Vec<u8>> {
    let info = |text: &str| {
        let request = STANDARD.decode(text).expect("this is base64");
        // A sequence whose length takes two bytes more, and in it the information, which is one too.
        let length = usize::from(u16::from_be_bytes([request[6], request[7]]));
        match request[5] {
            0x82 => request[4..8 + length].to_vec(),
            _ => request[4..7 + usize::from(request[6])].to_vec(),
        }
    };
    REQUESTS.map(info).to_vec()
}

fn run(info: &[u8]) -> bool {
    let pem = format!(
        "-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n",
        STANDARD.encode(signed(info))
    );
    match Request::from_pem(&pem) {
        Ok(request) => {
            let usages = ["client auth".to_owned()];
            let certificate = AUTHORITY.sign(&request, &usages, Duration::from_secs(600));
            let certificate = certificate.expect("what could be read can be certified");
            let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("a certificate is PEM");
            match Subject::of(&certificate) {
                Ok(subject) => assert_eq!(
                    (subject.common_name, subject.organizations),
                    (request.common_name, request.organizations),
                    "certified as somebody else"
                ),
                Err(SubjectError::NoCommonName) => assert!(request.common_name.is_empty(), "the name is lost"),
                Err(error) => panic!("{error}"),
            }
            true
        }
        Err(error) => {
            assert!(!error.to_string().is_empty(), "refused without a word");
            false
        }
    }
}

fn signed(info: &[u8]) -> Vec<u8> {
    let random = SystemRandom::new();
    let key = STANDARD.decode(ONE).expect("this is base64");
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &key, &random).expect("this is a key");
    let signature = key.sign(&random, info).expect("a key signs");
    let signature = [
        &[3, u8::try_from(signature.as_ref().len() + 1).expect("it is short"), 0],
        signature.as_ref(),
    ]
    .concat();
    let body = [info, &ALGORITHM, &signature].concat();
    let length = u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes();
    [&[0x30, 0x82, length[0], length[1]], body.as_slice()].concat()
}
