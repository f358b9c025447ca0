//! What the client wants to read: which encoding, and whether whole objects, tables or metadata alone.

use api::status::{self, Status};
use http::{HeaderMap, header::ACCEPT};

/// Media types that this server writes.
pub const OFFERED: &[&str] = &["application/json", "application/yaml", PROTOBUF];

/// Media types in which events are written.
const OFFERED_TO_WATCHES: &[&str] = &[
    "application/json;stream=watch",
    "application/vnd.kubernetes.protobuf;stream=watch",
];

/// Upstream's messages, and what Go's typed clients ask for first.
pub const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// How a reply is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Compact JSON.
    Json,
    /// YAML, for a single reply; never for a watch.
    Yaml,
    /// Upstream's protobuf.
    Protobuf,
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

/// What a reply could be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Whole objects have a protobuf form; those of custom resources have none.
    pub protobuf: bool,
    /// It is a stream of events.
    pub watch: bool,
}

/// Picks the first acceptable clause of highest quality; without an Accept header, JSON.
pub fn negotiate(headers: &HeaderMap, offer: Offer) -> Result<Accepted, Status> {
    if !headers.contains_key(ACCEPT) {
        return Ok(JSON);
    }
    let offered = if offer.watch { OFFERED_TO_WATCHES } else { OFFERED };
    let can = |accepted: Accepted| match (accepted.encoding, accepted.form) {
        (Encoding::Json, _) => true,
        (Encoding::Yaml, _) => !offer.watch,
        (Encoding::Protobuf, Form::Whole) => offer.protobuf,
        (Encoding::Protobuf, Form::Metadata(_)) => true,
        (Encoding::Protobuf, Form::Table(_)) => false,
    };
    best(headers, can).ok_or_else(|| status::not_acceptable(offered))
}

/// How a Status is written to whoever sent these headers: refusals have no other form, and are always written.
pub fn of_refusal(headers: &HeaderMap) -> Encoding {
    let whole = best(headers, |accepted| accepted.form == Form::Whole);
    whole
        .or_else(|| best(headers, |_| true))
        .map_or(Encoding::Json, |accepted| accepted.encoding)
}

/// The first clause of highest quality that `can` be served.
fn best(headers: &HeaderMap, can: impl Fn(Accepted) -> bool) -> Option<Accepted> {
    let mut best: Option<(u16, Accepted)> = None;
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    for (quality, accepted) in values.flat_map(|value| value.split(',')).filter_map(read) {
        // Of equal qualities the client's first one counts.
        if can(accepted) && best.is_none_or(|(before, _)| quality > before) {
            best = Some((quality, accepted));
        }
    }
    best.map(|(_, accepted)| accepted)
}

/// One clause with its quality in thousandths, if this server knows what it asks for.
fn read(clause: &str) -> Option<(u16, Accepted)> {
    let mut parts = clause.split(';').map(str::trim);
    let encoding = match parts.next()? {
        "application/json" | "*/*" | "application/*" => Encoding::Json,
        "application/yaml" => Encoding::Yaml,
        PROTOBUF => Encoding::Protobuf,
        _ => return None,
    };
    let (mut quality, mut kind, mut version, mut group) = (1000, "", "", "");
    for parameter in parts.filter(|parameter| !parameter.is_empty()) {
        match parameter
            .split_once('=')
            .map(|(name, value)| (name.trim(), value.trim()))?
        {
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
        let offer = Offer {
            protobuf: true,
            watch: false,
        };
        for (accept, expected) in [
            ("*/*", whole(Encoding::Json)),
            ("application/yaml", whole(Encoding::Yaml)),
            ("application/yaml;q=0.5, application/json", whole(Encoding::Json)),
            (
                "application/vnd.kubernetes.protobuf,application/json",
                whole(Encoding::Protobuf),
            ),
            (
                "application/vnd.kubernetes.protobuf;q=0.1,application/json",
                whole(Encoding::Json),
            ),
            ("application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io", None),
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
            assert_eq!(negotiate(&headers(accept), offer).ok(), expected, "{accept}");
        }
    }

    fn headers(accept: &str) -> HeaderMap {
        HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())])
    }

    #[test]
    fn what_has_no_protobuf_is_written_in_the_second_choice() {
        let custom = Offer {
            protobuf: false,
            watch: false,
        };
        let both = headers("application/vnd.kubernetes.protobuf,application/json");
        assert_eq!(negotiate(&both, custom).unwrap(), JSON);
        let refused = negotiate(&headers(PROTOBUF), custom).unwrap_err();
        assert_eq!(
            refused.message,
            "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf"
        );
        let metadata = headers("application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1");
        assert_eq!(negotiate(&metadata, custom).unwrap().encoding, Encoding::Protobuf);
        let watch = Offer { watch: true, ..custom };
        let refused = negotiate(&headers("application/yaml"), watch).unwrap_err();
        assert!(
            refused.message.contains("application/json;stream=watch"),
            "{}",
            refused.message
        );
    }

    #[test]
    fn refusals_are_written_as_objects_are() {
        for (accept, expected) in [
            ("application/vnd.kubernetes.protobuf", Encoding::Protobuf),
            (
                "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json",
                Encoding::Json,
            ),
            ("text/html", Encoding::Json),
        ] {
            assert_eq!(of_refusal(&headers(accept)), expected, "{accept}");
        }
    }
}
