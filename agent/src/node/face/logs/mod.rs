//! A container's log: which file, from where, and followed while it grows.

mod line;
mod tail;

use super::query::Query;
use super::{Body, Refusal, find, streamed};
use crate::pods::directory::{Directory, Entry};
use bytes::Bytes;
use http::{Response, StatusCode};
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
}

/// Answers, as upstream's kubelet does.
pub fn answer(
    directory: &Arc<Directory>,
    namespace: &str,
    pod: &str,
    container: &str,
    query: &Query,
) -> Result<Response<Body>, Refusal> {
    let wish = wish(query, Timestamp::now())?;
    let entry = find(directory, namespace, pod)?;
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
    tokio::spawn(Tail::new(file, wish).send(sender, is_running));
    Ok(streamed(ReceiverStream::new(receiver)))
}

/// The attempt and its file.
fn file(entry: &Entry, pod: &str, container: &str, previous: bool) -> Result<(u32, PathBuf), Refusal> {
    let refuse = |message| Refusal(StatusCode::BAD_REQUEST, message);
    if crate::pods::container_of(&entry.pod, container).is_none() {
        return Err(refuse(format!("container {container} is not valid for pod {pod}")));
    }
    let attempt = entry.attempts.get(container).copied();
    let attempt = match (attempt, previous) {
        (Some(attempt), false) => attempt,
        (Some(attempt), true) if attempt > 0 => attempt - 1,
        (_, true) => {
            return Err(refuse(format!(
                "previous terminated container {container:?} in pod {pod:?} not found"
            )));
        }
        (None, false) => {
            let reason =
                crate::pods::waiting_reason(&entry.pod, container).unwrap_or_else(|| "ContainerCreating".to_owned());
            return Err(refuse(format!(
                "container {container:?} in pod {pod:?} is waiting to start: {reason}"
            )));
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
    })
}
