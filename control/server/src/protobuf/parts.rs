//! What is sent in parts: a list whose items are encoded one by one, and the frames of a watch.

use super::encode::message;
use super::numbers::{self, Message};
use super::wire::{bytes_field, length_field};
use super::{MAGIC, type_of};
use api::schema::{self, Type};
use serde_json::Value;

/// Encoding and media type of the content: empty, but written, as upstream writes them.
pub(super) const TAIL: &[u8] = &[0x1a, 0, 0x22, 0];

/// The metadata of a list.
pub(super) const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";

/// Encodes the items of a list of one kind.
#[derive(Clone, Copy)]
pub struct Items {
    of: &'static Type,
    numbers: &'static Message,
}

// === impl Items ===

impl Items {
    /// Of objects of `kind`. None where that has no protobuf form.
    pub fn of(api_version: &str, kind: &str) -> Option<Self> {
        let of = type_of(api_version, kind)?;
        let numbers = numbers::of(&of.name)?;
        Some(Self { of, numbers })
    }

    /// One item, as it stands in the list.
    pub fn item(self, object: &Value) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        bytes_field(&mut out, 2, &message(self.numbers, self.of, object.as_object()?)?);
        Some(out)
    }

    /// All that stands before the items, which are `length` bytes together.
    pub fn before(api_version: &str, list_kind: &str, metadata: &Value, length: usize) -> Option<Vec<u8>> {
        let meta = list_meta(metadata)?;
        let mut out = head(api_version, list_kind);
        length_field(&mut out, 2, meta.len() + length);
        out.extend_from_slice(&meta);
        Some(out)
    }

    /// All that stands after them.
    pub const AFTER: &'static [u8] = TAIL;
}

/// The envelope up to its content.
pub(super) fn head(api_version: &str, kind: &str) -> Vec<u8> {
    let mut type_meta = Vec::new();
    bytes_field(&mut type_meta, 1, api_version.as_bytes());
    bytes_field(&mut type_meta, 2, kind.as_bytes());
    let mut out = MAGIC.to_vec();
    bytes_field(&mut out, 1, &type_meta);
    out
}

/// A list's metadata, as it stands in the list.
pub(super) fn list_meta(metadata: &Value) -> Option<Vec<u8>> {
    let of = schema::types().by_name(LIST_META)?;
    let mut out = Vec::new();
    bytes_field(
        &mut out,
        1,
        &message(numbers::of(&of.name)?, of, metadata.as_object()?)?,
    );
    Some(out)
}

/// One event of a watch: a `WatchEvent` around an enveloped object, behind its length in four bytes, most significant first
/// (apimachinery pkg/util/framer).
pub fn frame(event: &str, enveloped: &[u8]) -> Vec<u8> {
    let mut raw = Vec::with_capacity(enveloped.len() + 8);
    bytes_field(&mut raw, 1, enveloped);
    let mut out = vec![0; 4];
    bytes_field(&mut out, 1, event.as_bytes());
    bytes_field(&mut out, 2, &raw);
    let length = u32::try_from(out.len() - 4).expect("this holds because an object is a few MiB at most");
    out[..4].copy_from_slice(&length.to_be_bytes());
    out
}
