//! A watch's stream of events: one JSON object a line, parsed as it comes.

use crate::error::Error;
use crate::transport::Body;
use bytes::{Buf, BytesMut};
use http_body_util::BodyExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Status};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use std::io;
use std::marker::PhantomData;

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

#[derive(Deserialize)]
struct Line<'a> {
    r#type: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
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
            if let Some(end) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
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
    let decode = |cause| Error::Decode {
        what: what.to_owned(),
        cause,
    };
    let line: Line<'_> = serde_json::from_slice(line).map_err(decode)?;
    let text = line.object.get();
    match line.r#type {
        "ADDED" => Ok(Event::Added(serde_json::from_str(text).map_err(decode)?)),
        "MODIFIED" => Ok(Event::Modified(serde_json::from_str(text).map_err(decode)?)),
        "DELETED" => Ok(Event::Deleted(serde_json::from_str(text).map_err(decode)?)),
        "BOOKMARK" => {
            let Marked { metadata } = serde_json::from_str(text).map_err(decode)?;
            let annotations = metadata.annotations.unwrap_or_default();
            Ok(Event::Bookmark {
                resource_version: metadata.resource_version.unwrap_or_default(),
                initial_events_end: annotations.get(INITIAL_EVENTS_END).is_some_and(|value| value == "true"),
            })
        }
        "ERROR" => {
            let status: Status = serde_json::from_str(text).map_err(decode)?;
            Err(Error::Refused {
                what: what.to_owned(),
                status: Box::new(status),
            })
        }
        other => Err(decode(serde::de::Error::unknown_variant(
            other,
            &["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"],
        ))),
    }
}
