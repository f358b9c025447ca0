//! A failed call as one sentence for a person.

use crate::connect::{CALL_DEADLINE, deepest};
use tonic::Status;

/// What went wrong. In TLS 1.3 a server refuses a client's certificate only after the client believes that it is
/// connected, so that refusal comes out of the first call.
pub fn explain(status: &Status) -> String {
    let cause = std::error::Error::source(status).map(deepest).unwrap_or_default();
    let alert = cause.split("fatal alert: ").nth(1).unwrap_or_default();
    match alert.split([' ', ',', ')']).next().unwrap_or_default() {
        "CertificateRequired" => "the machine wants a certificate of its cluster: give --identity FILE".to_owned(),
        "UnknownCA" | "UnknownCa" | "DecryptError" | "BadCertificate" | "CertificateUnknown" => {
            "the machine does not know the CA of your identity: it belongs to another cluster".to_owned()
        }
        "CertificateExpired" => "your identity's certificate has expired: make a new one from the bundle".to_owned(),
        _ if cause == "Timeout expired" || status.message() == "Timeout expired" => {
            format!("the machine did not answer within {} s", CALL_DEADLINE.as_secs())
        }
        _ if status.message() == "transport error" && !cause.is_empty() => format!("the connection broke: {cause}"),
        _ => status.message().to_owned(),
    }
}
