//! How objects lie in the store, and how they leave it: encoded once a write, shared by everyone who reads.
//!
//! The revision of a write is known only after it, so the stored JSON has an empty `resourceVersion` at a place that is found
//! without parsing: it is the first member of `metadata`, which is the first member that is an object. Reading an object out
//! is then three slices: before, the revision's digits, after.

use bytes::{BufMut, Bytes, BytesMut};
use memchr::memmem;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::sync::LazyLock;
use store::{Entry, Revision};

/// What stands right before the place of the digits.
const MARK: &[u8] = b"\"metadata\":{\"resourceVersion\":\"";

/// What the metadata are called, at the beginning of the mark.
const METADATA: &[u8] = b"\"metadata\":";

/// The bytes of `object` for the store, which keeps them: not one more than they are.
pub fn stored(object: &Value) -> Bytes {
    let mut out = Vec::with_capacity(1024);
    let empty = Map::new();
    let members = object.as_object().unwrap_or(&empty);
    let metadata = members.get("metadata").and_then(Value::as_object).unwrap_or(&empty);
    out.push(b'{');
    for key in ["kind", "apiVersion"] {
        if let Some(value) = members.get(key) {
            member(&mut out, key, value);
            out.push(b',');
        }
    }
    out.extend_from_slice(MARK);
    out.push(b'"');
    for (key, value) in metadata.iter().filter(|(key, _)| *key != "resourceVersion") {
        out.push(b',');
        member(&mut out, key, value);
    }
    out.push(b'}');
    for (key, value) in members
        .iter()
        .filter(|(key, _)| !["kind", "apiVersion", "metadata"].contains(&key.as_str()))
    {
        out.push(b',');
        member(&mut out, key, value);
    }
    out.push(b'}');
    out.into_boxed_slice().into()
}

fn member(out: &mut Vec<u8>, key: &str, value: &Value) {
    serde_json::to_writer(&mut *out, key).expect("this holds because memory takes all that is written to it");
    out.push(b':');
    serde_json::to_writer(&mut *out, value).expect("this holds because memory takes all that is written to it");
}

/// Appends the object in `stored` to `out`, as of `revision`.
pub fn append(out: &mut BytesMut, stored: &[u8], revision: Revision) {
    match place(stored) {
        Some(at) => {
            out.reserve(stored.len() + 20);
            out.put_slice(&stored[..at]);
            out.put_slice(decimal(revision, &mut [0; 20]));
            out.put_slice(&stored[at..]);
        }
        None => out.put_slice(stored),
    }
}

/// What the stored bytes of a kind's objects begin with: their kind and version, which items of upstream's lists do not repeat.
pub fn head(api_version: &str, kind: &str) -> String {
    format!("{{\"kind\":\"{kind}\",\"apiVersion\":\"{api_version}\",")
}

/// Appends the object in `stored` to `out` without its [`head`].
pub fn append_item(out: &mut BytesMut, stored: &[u8], revision: Revision, head: &str) {
    match stored.strip_prefix(head.as_bytes()) {
        Some(rest) => {
            out.put_u8(b'{');
            append(out, rest, revision);
        }
        None => append(out, stored, revision),
    }
}

/// Appends nothing but the metadata of the object in `stored`, as a `PartialObjectMetadata` of that version; false where they
/// are not where [`stored`] puts them.
pub fn append_metadata(out: &mut BytesMut, stored: &[u8], revision: Revision, api_version: &str) -> bool {
    let Some(at) = place(stored) else { return false };
    let from = &stored[at - MARK.len() + METADATA.len()..];
    let mut values = serde_json::Deserializer::from_slice(from).into_iter::<&RawValue>();
    let Some(Ok(metadata)) = values.next() else {
        return false;
    };
    let (before, after) = metadata.get().as_bytes().split_at(MARK.len() - METADATA.len());
    out.reserve(metadata.get().len() + 128);
    out.put_slice(head(api_version, "PartialObjectMetadata").as_bytes());
    out.put_slice(METADATA);
    out.put_slice(before);
    out.put_slice(decimal(revision, &mut [0; 20]));
    out.put_slice(after);
    out.put_u8(b'}');
    true
}

/// The object in `stored` as of `revision`, as JSON text.
pub fn text(stored: &[u8], revision: Revision) -> Bytes {
    let mut out = BytesMut::with_capacity(stored.len() + 20);
    append(&mut out, stored, revision);
    out.freeze()
}

/// The object of an entry, with its `resourceVersion`.
pub fn object(entry: &Entry) -> Value {
    object_at(entry, entry.modified)
}

/// The same as of another revision: what a deletion shows is the last object with the revision of the deletion.
pub fn object_at(entry: &Entry, revision: Revision) -> Value {
    let mut object: Value = serde_json::from_slice(&entry.value).unwrap_or_default();
    set_revision(&mut object, revision);
    object
}

/// Makes `object` the one of that revision.
pub fn set_revision(object: &mut Value, revision: Revision) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("resourceVersion".to_owned(), revision.to_string().into());
    }
}

fn place(stored: &[u8]) -> Option<usize> {
    static FINDER: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(MARK));
    FINDER.find(stored).map(|at| at + MARK.len())
}

fn decimal(number: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut rest = number;
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(rest % 10).unwrap_or_default();
        rest /= 10;
        if rest == 0 {
            return &digits[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_revision_is_put_in_without_parsing() {
        let object = json!({"metadata": {"name": "a", "resourceVersion": "7"}, "spec": {"metadata": {"resourceVersion": ""}}, "kind": "Pod", "apiVersion": "v1"});
        let bytes = stored(&object);
        assert!(bytes.starts_with(
            b"{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"\",\"name\":\"a\"}"
        ));
        let read: Value = serde_json::from_slice(&text(&bytes, 1234)).unwrap();
        let mut expected = object;
        expected["metadata"]["resourceVersion"] = json!("1234");
        assert_eq!(read, expected);

        let mut partial = BytesMut::new();
        assert!(append_metadata(&mut partial, &bytes, 1234, "meta.k8s.io/v1"));
        assert_eq!(
            serde_json::from_slice::<Value>(&partial).unwrap(),
            api::table::partial(&expected)
        );

        let mut item = BytesMut::new();
        append_item(&mut item, &bytes, 1234, &head("v1", "Pod"));
        for name in ["kind", "apiVersion"] {
            expected.as_object_mut().unwrap().remove(name);
        }
        assert_eq!(serde_json::from_slice::<Value>(&item).unwrap(), expected);
    }

    #[test]
    fn digits() {
        for number in [0, 9, 10, u64::MAX] {
            assert_eq!(decimal(number, &mut [0; 20]), number.to_string().as_bytes());
        }
    }
}
