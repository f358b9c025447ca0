//! Bodies in `application/vnd.kubernetes.protobuf`: read into the same JSON that a client would have sent.
//!
//! Go's typed clients send it (`kubectl create namespace`, `kubectl drain`). Messages are data: `protobuf/fields.txt`.

mod wire;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::OnceLock;
use wire::{Payload, Wire};

/// What every such body begins with (apimachinery pkg/runtime/serializer/protobuf).
const MAGIC: &[u8] = b"k8s\0";

/// Messages nest less than this, whatever a client sends.
const DEPTH: usize = 32;

/// Why a body could not be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ProtobufError {
    /// Not this format at all.
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    NoMagic,
    /// Ends early, or is no protobuf.
    #[error("the message ends early or is malformed")]
    Malformed,
    /// A kind whose fields this server does not know.
    #[error("no kind {kind:?} is known in protobuf; send JSON")]
    UnknownKind {
        /// What the body says it is.
        kind: String,
    },
}

/// One field of a message.
struct Field {
    name: &'static str,
    repeat: Repeat,
    /// A message's name, or a scalar's type.
    of: &'static str,
    /// Its zero means that it is not set.
    zero_is_unset: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeat {
    Once,
    List,
    Map,
    Inline,
}

type Messages = HashMap<&'static str, HashMap<u64, Field>>;

/// The JSON that a body stands for.
pub fn decode(bytes: &[u8]) -> Result<Value, ProtobufError> {
    let envelope = bytes.strip_prefix(MAGIC).ok_or(ProtobufError::NoMagic)?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for field in Wire(envelope) {
        match field? {
            (1, Payload::Bytes(type_meta)) => {
                for field in Wire(type_meta) {
                    match field? {
                        (1, Payload::Bytes(text)) => api_version = String::from_utf8_lossy(text).into_owned(),
                        (2, Payload::Bytes(text)) => kind = String::from_utf8_lossy(text).into_owned(),
                        _ => {}
                    }
                }
            }
            (2, Payload::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    if !messages().contains_key(kind.as_str()) {
        return Err(ProtobufError::UnknownKind { kind });
    }
    let mut object = Map::new();
    object.insert("kind".to_owned(), kind.as_str().into());
    object.insert("apiVersion".to_owned(), api_version.into());
    message(&kind, raw, &mut object, 0)?;
    Ok(Value::Object(object))
}

fn messages() -> &'static Messages {
    static MESSAGES: OnceLock<Messages> = OnceLock::new();
    MESSAGES.get_or_init(|| {
        let mut messages = Messages::new();
        for paragraph in include_str!("protobuf/fields.txt").split("\n\n") {
            let mut lines = paragraph
                .lines()
                .filter(|line| !line.starts_with('#') && !line.is_empty());
            if let Some(name) = lines.next() {
                messages.insert(name, lines.filter_map(field).collect());
            }
        }
        messages
    })
}

fn field(line: &'static str) -> Option<(u64, Field)> {
    let mut words = line.split(' ');
    let (number, name, first) = (words.next()?.parse().ok()?, words.next()?, words.next()?);
    let (repeat, of) = match first {
        "list" => (Repeat::List, words.next()?),
        "map" => (Repeat::Map, words.next()?),
        "inline" => (Repeat::Inline, words.next()?),
        of => (Repeat::Once, of),
    };
    let zero_is_unset = of.ends_with('!');
    Some((
        number,
        Field {
            name,
            repeat,
            of: of.trim_end_matches('!'),
            zero_is_unset,
        },
    ))
}

/// Adds the members of a message to `members`.
fn message(name: &str, bytes: &[u8], members: &mut Map<String, Value>, depth: usize) -> Result<(), ProtobufError> {
    let fields = messages()
        .get(name)
        .filter(|_| depth < DEPTH)
        .ok_or(ProtobufError::Malformed)?;
    for item in Wire(bytes) {
        let (number, payload) = item?;
        let Some(field) = fields.get(&number) else { continue };
        match field.repeat {
            Repeat::Inline => message(field.of, payload.bytes()?, members, depth + 1)?,
            Repeat::Once => {
                let value = value(field.of, &payload, depth)?;
                let unset = value.is_null()
                    || value == json!("")
                    || field.zero_is_unset && (value == json!(0) || value == json!(false));
                if !unset {
                    members.insert(field.name.to_owned(), value);
                }
            }
            Repeat::List => {
                let list = members.entry(field.name).or_insert_with(|| json!([]));
                list.as_array_mut()
                    .ok_or(ProtobufError::Malformed)?
                    .push(value(field.of, &payload, depth)?);
            }
            Repeat::Map => {
                let (key, value) = entry(field.of, payload.bytes()?, depth)?;
                let map = members.entry(field.name).or_insert_with(|| json!({}));
                map.as_object_mut().ok_or(ProtobufError::Malformed)?.insert(key, value);
            }
        }
    }
    Ok(())
}

fn entry(of: &str, bytes: &[u8], depth: usize) -> Result<(String, Value), ProtobufError> {
    // Absent parts of an entry are empty, which for everything in these maps is the empty text.
    let (mut key, mut found) = (String::new(), json!(""));
    for item in Wire(bytes) {
        match item? {
            (1, Payload::Bytes(text)) => key = String::from_utf8_lossy(text).into_owned(),
            (2, payload) => found = value(of, &payload, depth)?,
            _ => {}
        }
    }
    Ok((key, found))
}

fn value(of: &str, payload: &Payload<'_>, depth: usize) -> Result<Value, ProtobufError> {
    Ok(match of {
        "string" => String::from_utf8_lossy(payload.bytes()?).into(),
        "bytes" => STANDARD.encode(payload.bytes()?).into(),
        "bool" => (payload.number()? != 0).into(),
        // Negative numbers of both widths are written as 64 bits in two's complement.
        "int32" | "int64" => payload.number()?.cast_signed().into(),
        special if special.starts_with('@') => written_apart(special, payload.bytes()?)?,
        name => {
            let mut members = Map::new();
            message(name, payload.bytes()?, &mut members, depth + 1)?;
            Value::Object(members)
        }
    })
}

/// Messages that JSON writes in a form of their own.
fn written_apart(of: &str, bytes: &[u8]) -> Result<Value, ProtobufError> {
    let (mut numbers, mut texts) = ([0_i64; 4], [&[][..]; 4]);
    for item in Wire(bytes) {
        match item? {
            (number @ 1..=3, Payload::Number(value)) => numbers[number as usize] = value.cast_signed(),
            (number @ 1..=3, Payload::Bytes(text)) => texts[number as usize] = text,
            _ => {}
        }
    }
    let text = |at: usize| String::from_utf8_lossy(texts[at]).into_owned();
    Ok(match of {
        // Go's zero time.
        "@time" | "@microtime" if numbers[1] == 0 => Value::Null,
        "@time" | "@microtime" => {
            let nanoseconds = i32::try_from(numbers[2]).map_err(|_| ProtobufError::Malformed)?;
            let when = Timestamp::new(numbers[1], nanoseconds).map_err(|_| ProtobufError::Malformed)?;
            let format = if of == "@time" {
                "%Y-%m-%dT%H:%M:%SZ"
            } else {
                "%Y-%m-%dT%H:%M:%S.%6fZ"
            };
            when.strftime(format).to_string().into()
        }
        "@quantity" => text(1).into(),
        "@intorstring" if numbers[1] == 0 => numbers[2].into(),
        "@intorstring" => text(3).into(),
        _ => serde_json::from_slice(texts[1]).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(number: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2, u8::try_from(content.len()).unwrap()];
        out.extend_from_slice(content);
        out
    }

    fn body(kind: &str, raw: &[u8]) -> Vec<u8> {
        let type_meta = [bytes(1, b"v1"), bytes(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), bytes(1, &type_meta), bytes(2, raw)].concat()
    }

    #[test]
    fn a_config_map_is_read() {
        let metadata = [
            bytes(1, b"a"),
            bytes(3, b""),
            bytes(11, &[bytes(1, b"k"), bytes(2, b"v")].concat()),
        ]
        .concat();
        let data = [bytes(1, b"x"), bytes(2, b"1")].concat();
        let raw = [bytes(1, &metadata), bytes(2, &data), bytes(3, &data)].concat();
        let expected = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a", "labels": {"k": "v"}},
            "data": {"x": "1"}, "binaryData": {"x": "MQ=="}});
        assert_eq!(decode(&body("ConfigMap", &raw)), Ok(expected));
    }

    #[test]
    fn zero_counts_where_it_is_a_choice() {
        // gracePeriodSeconds is a pointer in Go: 0 is not absent.
        let options = decode(&body("DeleteOptions", &[1 << 3, 0])).unwrap();
        assert_eq!(options["gracePeriodSeconds"], json!(0));
    }

    #[test]
    fn every_named_message_is_in_the_table() {
        for (name, fields) in messages() {
            for field in fields
                .values()
                .filter(|field| field.of.starts_with(|c: char| c.is_ascii_uppercase()))
            {
                assert!(messages().contains_key(field.of), "{name}.{}: {}", field.name, field.of);
            }
        }
    }

    #[test]
    fn garbage_is_refused() {
        assert_eq!(decode(b"{}"), Err(ProtobufError::NoMagic));
        assert_eq!(
            decode(&body("Gadget", b"")),
            Err(ProtobufError::UnknownKind {
                kind: "Gadget".to_owned()
            })
        );
        let whole = body("ConfigMap", &bytes(1, &bytes(1, b"name")));
        for end in 4..whole.len() {
            // Any prefix is either short of something or whole; never a panic.
            let _ = decode(&whole[..end]);
        }
        assert_eq!(
            decode(&body("ConfigMap", &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x7f])),
            Err(ProtobufError::Malformed)
        );
    }
}
