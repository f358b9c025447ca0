//! `/version`: the Kubernetes version whose API this is. Clients parse `major` and `minor` as plain numbers.

use crate::negotiate::Encoding;
use crate::reply;
use client::Body;
use http::Response;
use serde_json::json;

/// The API's version; what follows the `+` is build metadata to semver, so tools compare only what is before.
pub(crate) const GIT_VERSION: &str = "v1.36.0+pintle";

pub(super) fn serve() -> Response<Body> {
    let version = json!({
        "major": "1", "minor": "36", "emulationMajor": "1", "emulationMinor": "36",
        "minCompatibilityMajor": "1", "minCompatibilityMinor": "35",
        "gitVersion": GIT_VERSION, "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none", "compiler": "rustc", "platform": format!("linux/{}", architecture()),
    });
    reply::object(200, Encoding::Json, &version)
}

/// In Go's words, which is what clients expect here.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
