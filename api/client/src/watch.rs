//! A watch's stream of events: one JSON object a line, parsed as it comes.

use crate::error::Error;
use crate::transport::Body;
use bytes::{Buf, BytesMut};
use http_body_util::BodyExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Status};
use serde::de::{self, DeserializeOwned, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::marker::PhantomData;
use std::{fmt, io};

/// The longest event taken. An object may have 1.5 MiB (etcd's limit), JSON may escape every byte of it.
const EVENT_BYTES: usize = 16 << 20;

/// The annotation on the bookmark after the last initial event (KEP-3157).
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// What a watch tells.
#[derive(Debug)]
pub enum Event<K> {
    /// Is there now.
    Added(K),
    /// Has changed.
    Modified(K),
    /// Is gone; as it last was.
    Deleted(K),
    /// Nothing else happened up to this version.
    Bookmark {
        /// Version from which a watch may go on.
        resource_version: String,
        /// All objects present when the watch began have been sent.
        initial_events_end: bool,
    },
}

/// A running watch; dropping it ends it.
pub struct Watch<K> {
    what: String,
    body: Body,
    buffer: BytesMut,
    /// No line end before this place of `buffer`.
    searched: usize,
    kind: PhantomData<fn() -> K>,
}

/// A line of a watch: what happened, and to what.
enum Told<K> {
    Happened(Event<K>),
    Refused(Box<Status>),
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Type {
    Added,
    Modified,
    Deleted,
    Bookmark,
    Error,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Member {
    Type,
    Object,
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Marked {
    metadata: ObjectMeta,
}

impl<K: DeserializeOwned> Watch<K> {
    pub(crate) fn new(what: String, body: Body) -> Watch<K> {
        Watch {
            what,
            body,
            buffer: BytesMut::new(),
            searched: 0,
            kind: PhantomData,
        }
    }

    /// The next event; none when the server ended the watch in good order. After an error the watch is over. Cancel safe.
    pub async fn next(&mut self) -> Result<Option<Event<K>>, Error> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.buffer[self.searched..]) {
                let line = self.buffer.split_to(self.searched + end);
                self.buffer.advance(1);
                self.searched = 0;
                if line.is_empty() {
                    continue;
                }
                return parse(&self.what, &line).map(Some);
            }
            self.searched = self.buffer.len();
            if self.searched > EVENT_BYTES {
                return Err(self.broken(io::Error::other("an event of more than 16 MiB")));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.buffer.extend_from_slice(data);
                    }
                }
                Some(Err(cause)) => return Err(self.broken(cause)),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(self.broken(io::ErrorKind::UnexpectedEof.into())),
            }
        }
    }

    pub(crate) fn broken(&self, cause: io::Error) -> Error {
        Error::Unreachable {
            what: self.what.clone(),
            cause,
        }
    }
}

fn parse<K: DeserializeOwned>(what: &str, line: &[u8]) -> Result<Event<K>, Error> {
    match serde_json::from_slice(line) {
        Ok(Told::Happened(event)) => Ok(event),
        Ok(Told::Refused(status)) => Err(Error::Refused {
            what: what.to_owned(),
            status,
        }),
        Err(cause) => Err(Error::Decode {
            what: what.to_owned(),
            cause,
        }),
    }
}

// === impl Type ===

impl Type {
    /// What came with it: `object` reads the object as whatever it then is.
    fn told<K, E>(self, object: impl ReadObject<E>) -> Result<Told<K>, E>
    where
        K: DeserializeOwned,
    {
        Ok(Told::Happened(match self {
            Type::Added => Event::Added(object.read()?),
            Type::Modified => Event::Modified(object.read()?),
            Type::Deleted => Event::Deleted(object.read()?),
            Type::Bookmark => {
                let Marked { metadata } = object.read()?;
                let annotations = metadata.annotations.unwrap_or_default();
                Event::Bookmark {
                    resource_version: metadata.resource_version.unwrap_or_default(),
                    initial_events_end: annotations.get(INITIAL_EVENTS_END).is_some_and(|value| value == "true"),
                }
            }
            Type::Error => return object.read().map(Told::Refused),
        }))
    }
}

/// Where the object of an event is read from.
trait ReadObject<E> {
    fn read<T: DeserializeOwned>(self) -> Result<T, E>;
}

/// Right where it stands, in one go; every server that is known says the type first.
struct InPlace<'a, A>(&'a mut A);

/// Out of the text that came before its type.
struct Before<'a>(&'a RawValue);

impl<'de, A: MapAccess<'de>> ReadObject<A::Error> for InPlace<'_, A> {
    fn read<T: DeserializeOwned>(self) -> Result<T, A::Error> {
        self.0.next_value()
    }
}

impl<E: de::Error> ReadObject<E> for Before<'_> {
    fn read<T: DeserializeOwned>(self) -> Result<T, E> {
        serde_json::from_str(self.0.get()).map_err(E::custom)
    }
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Told<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ToldVisitor(PhantomData))
    }
}

struct ToldVisitor<K>(PhantomData<fn() -> K>);

impl<'de, K: DeserializeOwned> Visitor<'de> for ToldVisitor<K> {
    type Value = Told<K>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an event with type and object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Told<K>, A::Error> {
        let (mut kind, mut told, mut before) = (None::<Type>, None, None);
        while let Some(member) = members.next_key()? {
            match (member, kind) {
                (Member::Type, _) => kind = Some(members.next_value()?),
                (Member::Object, Some(kind)) => told = Some(kind.told(InPlace(&mut members))?),
                (Member::Object, None) => before = Some(members.next_value::<&RawValue>()?),
                (Member::Other, _) => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        match (told, kind, before) {
            (Some(told), _, _) => Ok(told),
            (None, Some(kind), Some(text)) => kind.told(Before(text)),
            (None, None, _) => Err(de::Error::missing_field("type")),
            (None, Some(_), None) => Err(de::Error::missing_field("object")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn lines_are_read_in_either_order() {
        let object = r#"{"metadata":{"name":"a","resourceVersion":"7"}}"#;
        let lines = [
            format!(r#"{{"type":"ADDED","object":{object}}}"#),
            format!(r#"{{"object":{object},"type":"ADDED"}}"#),
            format!(r#"{{"more":[{{}}],"object":{object},"type":"ADDED"}}"#),
        ];
        for line in lines {
            let Event::Added(read) = parse::<Value>("GET /", line.as_bytes()).unwrap() else {
                panic!("{line} tells of something that was added");
            };
            assert_eq!(read.to_string(), object);
        }
    }

    #[test]
    fn what_is_no_event_is_an_error() {
        for (line, why) in [
            (r#"{"object":{}}"#, "missing field `type`"),
            (r#"{"type":"ADDED"}"#, "missing field `object`"),
            (r#"{"type":"GONE","object":{}}"#, "unknown variant `GONE`"),
            (r#"{"type":"BOOKMARK","object":7}"#, "invalid type: integer `7`"),
            (r#"{"object":7,"type":"BOOKMARK"}"#, "invalid type: integer `7`"),
            ("[]", "expected an event with type and object"),
        ] {
            let Err(Error::Decode { cause, .. }) = parse::<Value>("GET /", line.as_bytes()) else {
                panic!("{line} was read");
            };
            assert!(cause.to_string().contains(why), "{line}: {cause}");
        }
        let line = r#"{"type":"ERROR","object":{"code":410,"reason":"Expired"}}"#;
        let refused = parse::<Value>("GET /", line.as_bytes()).unwrap_err();
        assert_eq!((refused.code(), refused.reason()), (410, "Expired"));
    }
}
