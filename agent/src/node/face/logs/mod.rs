//! A container's log: which file, from where, and followed while it grows.

mod line;
mod tail;
mod websocket;

use super::query::Query;
use super::upgrade::{self, Transport};
use super::{Body, Refusal, streamed};
use crate::pods::directory::{Directory, Entry};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use jiff::{SignedDuration, Timestamp};
use std::path::PathBuf;
use std::sync::Arc;
use tail::Tail;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// What the caller wants of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// Go on while the container runs.
    pub follow: bool,
    /// Only so many last lines.
    pub tail: Option<usize>,
    /// Only lines from then on.
    pub since: Option<Timestamp>,
    /// Each line's time before it.
    pub timestamps: bool,
    /// Only so many bytes.
    pub limit: Option<usize>,
    /// Only lines of this stream: `stdout` or `stderr`.
    pub stream: Option<&'static str>,
}

/// Answers, as upstream's kubelet does; over a WebSocket if that is asked for.
pub fn answer(
    request: Request<Incoming>,
    directory: &Arc<Directory>,
    [namespace, pod, container]: [&str; 3],
    query: &Query,
) -> Result<Response<Body>, Refusal> {
    let wish = wish(query, Timestamp::now())?;
    let missing = || Refusal(StatusCode::NOT_FOUND, format!("pod {pod:?} does not exist"));
    let entry = directory.get(namespace, pod).ok_or_else(missing)?;
    let (attempt, file) = file(&entry, pod, container, query.is_set("previous"))?;
    let (sender, receiver) = mpsc::channel::<std::io::Result<Bytes>>(16);
    let is_running = {
        let (directory, container) = (directory.clone(), container.to_owned());
        let (namespace, pod, uid) = (namespace.to_owned(), pod.to_owned(), entry.pod.metadata.uid.clone());
        move || {
            directory.get(&namespace, &pod).is_some_and(|now| {
                now.pod.metadata.uid == uid
                    && now.attempts.get(&container) == Some(&attempt)
                    && now.running.contains(&container)
            })
        }
    };
    let tail = Tail::new(file, wish).send(sender, is_running);
    match upgrade::transport(request.headers()) {
        Some(Transport::WebSocket) => {
            let response = websocket::answer(request, receiver)?;
            tokio::spawn(tail);
            Ok(response)
        }
        Some(Transport::Spdy) | None => {
            tokio::spawn(tail);
            Ok(streamed(ReceiverStream::new(receiver)))
        }
    }
}

/// The attempt and its file; refusals are in the words of the kubelet's `validateContainerLogStatus`.
fn file(entry: &Entry, pod: &str, container: &str, previous: bool) -> Result<(u32, PathBuf), Refusal> {
    if crate::pods::container_of(&entry.pod, container).is_none() {
        let why = format!("container {container:?} not found in pod {pod:?}");
        return Err(Refusal(StatusCode::NOT_FOUND, why));
    }
    let refuse = |why: String| Err(Refusal(StatusCode::BAD_REQUEST, why));
    let waits_for = crate::pods::waiting_reason(&entry.pod, container);
    let last = entry.attempts.get(container).copied();
    let attempt = match (last, previous) {
        (Some(last), false) => last,
        // Of one that waits to be started again the last attempt is the one before.
        (Some(last), true) if waits_for.is_some() => last,
        (Some(last), true) if last > 0 => last - 1,
        (_, true) => {
            return refuse(format!(
                "previous terminated container {container:?} in pod {pod:?} not found"
            ));
        }
        (None, false) => {
            let whose = format!("container {container:?} in pod {pod:?}");
            return refuse(match waits_for.as_deref() {
                Some("ErrImagePull") => format!("{whose} is waiting to start: image can't be pulled"),
                Some("ImagePullBackOff") => format!("{whose} is waiting to start: trying and failing to pull image"),
                Some(reason) => format!("{whose} is waiting to start: {reason}"),
                None => format!("{whose} is not available"),
            });
        }
    };
    Ok((attempt, entry.logs.join(container).join(format!("{attempt}.log"))))
}

fn wish(query: &Query, now: Timestamp) -> Result<Wish, Refusal> {
    let number = |name: &str| match query.get(name).filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => match text.parse::<i64>() {
            Ok(number) if number >= 0 => Ok(Some(number)),
            Ok(_) | Err(_) => Err(Refusal(
                StatusCode::BAD_REQUEST,
                format!("{name} must be a number from 0, not {text:?}"),
            )),
        },
    };
    let size = |name: &str| Ok(number(name)?.map(|number| usize::try_from(number).unwrap_or(usize::MAX)));
    let since_time = match query.get("sinceTime").filter(|text| !text.is_empty()) {
        None => None,
        Some(text) => Some(text.parse::<Timestamp>().map_err(|_| {
            Refusal(
                StatusCode::BAD_REQUEST,
                format!("sinceTime must be a time as in RFC 3339, not {text:?}"),
            )
        })?),
    };
    let since_seconds = number("sinceSeconds")?.map(|seconds| now - SignedDuration::from_secs(seconds));
    Ok(Wish {
        follow: query.is_set("follow"),
        tail: size("tailLines")?,
        since: since_time.or(since_seconds),
        timestamps: query.is_set("timestamps"),
        limit: size("limitBytes")?,
        stream: match query.get("stream").unwrap_or_default() {
            "" | "All" => None,
            "Stdout" => Some("stdout"),
            "Stderr" => Some("stderr"),
            other => {
                return Err(Refusal(
                    StatusCode::BAD_REQUEST,
                    format!("invalid stream type {other:?}"),
                ));
            }
        },
    })
}
