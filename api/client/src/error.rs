//! Why a request did not give what was asked for.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;

/// A request that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No reply, or it broke off; the request may or may not have been done.
    #[error("{what}: the API server did not answer")]
    Unreachable {
        /// Method and path.
        what: String,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The server said no.
    #[error("{what}: {}", .status.message.as_deref().unwrap_or("refused without a message"))]
    Refused {
        /// Method and path.
        what: String,
        /// Its words: code, reason, message, details.
        status: Box<Status>,
    },
    /// What was to be sent is no JSON.
    #[error("{what}: the object cannot be written as JSON")]
    Encode {
        /// Method and path.
        what: String,
        /// Why.
        #[source]
        cause: serde_json::Error,
    },
    /// What came back is not what this kind looks like.
    #[error("{what}: the reply cannot be understood")]
    Decode {
        /// Method and path.
        what: String,
        /// Why.
        #[source]
        cause: serde_json::Error,
    },
}

impl Error {
    /// The HTTP status of a refusal; 0 where there was no reply.
    pub fn code(&self) -> i32 {
        match self {
            Error::Refused { status, .. } => status.code.unwrap_or(0),
            Error::Unreachable { .. } | Error::Encode { .. } | Error::Decode { .. } => 0,
        }
    }

    /// The reason of a refusal, such as `AlreadyExists`; empty where there was no reply.
    pub fn reason(&self) -> &str {
        match self {
            Error::Refused { status, .. } => status.reason.as_deref().unwrap_or(""),
            Error::Unreachable { .. } | Error::Encode { .. } | Error::Decode { .. } => "",
        }
    }

    /// There is no such object.
    pub fn is_not_found(&self) -> bool {
        self.code() == 404
    }

    /// The object was written by somebody else meanwhile, or a precondition does not hold.
    pub fn is_conflict(&self) -> bool {
        self.code() == 409 && self.reason() != "AlreadyExists"
    }

    /// There is such an object already.
    pub fn is_already_exists(&self) -> bool {
        self.reason() == "AlreadyExists"
    }

    /// The revision asked for is no longer kept: list again.
    pub fn is_expired(&self) -> bool {
        self.code() == 410
    }
}
