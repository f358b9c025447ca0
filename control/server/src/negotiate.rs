//! What the client wants to read: which encoding, and whether whole objects, tables or metadata alone.

use api::status::{self, Status};
use http::{HeaderMap, header::ACCEPT};

/// Media types that this server writes.
pub const OFFERED: &[&str] = &["application/json", "application/yaml"];

/// How a reply is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Compact JSON.
    Json,
    /// YAML, for a single reply; never for a watch.
    Yaml,
}

/// What becomes of an object on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// It stays as it is.
    Whole,
    /// A row of a `meta.k8s.io` Table.
    Table(TableVersion),
    /// A `meta.k8s.io` PartialObjectMetadata.
    Metadata(TableVersion),
}

/// Version of `meta.k8s.io` that a form is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableVersion {
    /// `meta.k8s.io/v1`.
    V1,
    /// `meta.k8s.io/v1beta1`.
    V1Beta1,
}

/// The outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Encoding.
    pub encoding: Encoding,
    /// Form.
    pub form: Form,
}

// === impl TableVersion ===

impl TableVersion {
    /// As in `apiVersion:`.
    pub const fn api_version(self) -> &'static str {
        match self {
            TableVersion::V1 => "meta.k8s.io/v1",
            TableVersion::V1Beta1 => "meta.k8s.io/v1beta1",
        }
    }
}

/// What is assumed where nothing was asked for.
pub const JSON: Accepted = Accepted {
    encoding: Encoding::Json,
    form: Form::Whole,
};

/// Picks the first acceptable clause of highest quality; without an Accept header, JSON.
pub fn negotiate(headers: &HeaderMap) -> Result<Accepted, Status> {
    let mut clauses: Vec<(u16, Accepted)> = Vec::new();
    let mut asked = false;
    for clause in headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
    {
        asked = true;
        if let Some(accepted) = read(clause) {
            clauses.push(accepted);
        }
    }
    if !asked {
        return Ok(JSON);
    }
    // Stable, so that equal qualities keep the client's order.
    clauses.sort_by_key(|(quality, _)| u16::MAX - quality);
    clauses
        .first()
        .map(|(_, accepted)| *accepted)
        .ok_or_else(|| status::not_acceptable(OFFERED))
}

/// One clause with its quality in thousandths, if this server can satisfy it.
fn read(clause: &str) -> Option<(u16, Accepted)> {
    let mut parts = clause.split(';').map(str::trim);
    let encoding = match parts.next()? {
        "application/json" | "*/*" | "application/*" => Encoding::Json,
        "application/yaml" => Encoding::Yaml,
        _ => return None,
    };
    let (mut quality, mut kind, mut version, mut group) = (1000, "", "", "");
    for parameter in parts {
        match parameter.split_once('=')? {
            ("q", value) => quality = thousandths(value)?,
            ("as", value) => kind = value,
            ("v", value) => version = value,
            ("g", value) => group = value,
            // charset, pretty, stream=watch: nothing that changes the reply.
            _ => {}
        }
    }
    let form = match (kind, group, version) {
        ("", _, _) => Form::Whole,
        ("Table", "meta.k8s.io", "v1") => Form::Table(TableVersion::V1),
        ("Table", "meta.k8s.io", "v1beta1") => Form::Table(TableVersion::V1Beta1),
        ("PartialObjectMetadata" | "PartialObjectMetadataList", "meta.k8s.io", "v1") => {
            Form::Metadata(TableVersion::V1)
        }
        ("PartialObjectMetadata" | "PartialObjectMetadataList", "meta.k8s.io", "v1beta1") => {
            Form::Metadata(TableVersion::V1Beta1)
        }
        _ => return None,
    };
    Some((quality, Accepted { encoding, form })).filter(|(quality, _)| *quality > 0)
}

fn thousandths(value: &str) -> Option<u16> {
    let quality: f32 = value.parse().ok()?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to 0..=1000 first"
    )]
    Some((quality.clamp(0.0, 1.0) * 1000.0) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_clause_that_can_be_served_wins() {
        let whole = |encoding| {
            Some(Accepted {
                encoding,
                form: Form::Whole,
            })
        };
        let table = |version| {
            Some(Accepted {
                encoding: Encoding::Json,
                form: Form::Table(version),
            })
        };
        for (accept, expected) in [
            ("*/*", whole(Encoding::Json)),
            ("application/yaml", whole(Encoding::Yaml)),
            ("application/yaml;q=0.5, application/json", whole(Encoding::Json)),
            (
                "application/vnd.kubernetes.protobuf,application/json",
                whole(Encoding::Json),
            ),
            ("application/vnd.kubernetes.protobuf", None),
            ("text/html", None),
            (
                "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
                table(TableVersion::V1),
            ),
            (
                "application/json;as=Table;v=v2;g=meta.k8s.io,application/json",
                whole(Encoding::Json),
            ),
            ("application/json;as=Table;v=v2;g=meta.k8s.io", None),
            ("application/json;stream=watch", whole(Encoding::Json)),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            assert_eq!(negotiate(&headers).ok(), expected, "{accept}");
        }
    }
}
