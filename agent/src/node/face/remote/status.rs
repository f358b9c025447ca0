//! How a program ended, as upstream's servers tell it.

use serde_json::{Value, json};

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It returned this.
    Ended(i32),
    /// There was no program, or it was lost.
    Failed(String),
}

// === impl Outcome ===

impl Outcome {
    /// A `Status`, for the protocols from v4 on; kubectl takes its exit code from it.
    pub fn status(&self) -> Value {
        match self {
            Outcome::Ended(0) => json!({"metadata": {}, "status": "Success"}),
            Outcome::Ended(code) => json!({
                "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode", "message": self.sentence(),
                "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
            }),
            Outcome::Failed(why) => json!({
                "metadata": {}, "status": "Failure", "reason": "InternalError", "code": 500, "message": self.sentence(),
                "details": {"causes": [{"message": why}]},
            }),
        }
    }

    /// A sentence, for the older ones; nothing for a success.
    pub fn sentence(&self) -> String {
        match self {
            Outcome::Ended(0) => String::new(),
            Outcome::Ended(code) => format!("command terminated with non-zero exit code: {code}"),
            Outcome::Failed(why) => format!("Internal error occurred: {why}"),
        }
    }

    /// What the protocol of this name tells.
    pub fn told(&self, protocol: &str) -> String {
        match protocol.starts_with("v4.") || protocol.starts_with("v5.") {
            true => self.status().to_string(),
            false => self.sentence(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_protocol_is_told_in_its_own_way() {
        let failed = Outcome::Ended(7);
        assert_eq!(failed.told("v4.channel.k8s.io"), failed.status().to_string());
        assert_eq!(failed.status()["details"]["causes"][0]["message"], "7");
        assert_eq!(
            failed.told("channel.k8s.io"),
            "command terminated with non-zero exit code: 7"
        );
        assert_eq!(Outcome::Ended(0).told(""), "");
        assert_eq!(Outcome::Ended(0).status()["status"], "Success");
    }
}
