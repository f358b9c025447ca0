//! A cache goes on after whatever a server does: no streaming lists, expired versions, broken and ended watches.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

use bytes::Bytes;
use client::{Api, Body, Cache, Key, ListOptions, Transport};
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody};
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// What the server does with one request.
enum Answer {
    Whole(u16, Value),
    /// Lines, and then this: the end, an error, or nothing for ever.
    Lines(Vec<Value>, Then),
}

enum Then {
    End,
    Break,
    Stay,
}

/// A server that does what it is told, one answer a request, and keeps what it was asked.
#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Transport for Script {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'static, Result<Response<Body>, io::Error>> {
        self.asked.lock().unwrap().push(request.uri().to_string());
        let answer = self.answers.lock().unwrap().pop_front();
        Box::pin(async move {
            match answer {
                None => Err(io::ErrorKind::ConnectionRefused.into()),
                Some(Answer::Whole(code, body)) => {
                    let body = Full::from(body.to_string()).map_err(|never| match never {}).boxed();
                    Ok(Response::builder().status(code).body(body).unwrap())
                }
                Some(Answer::Lines(lines, then)) => Ok(Response::new(stream(lines, then))),
            }
        })
    }
}

fn stream(lines: Vec<Value>, then: Then) -> Body {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel::<io::Result<http_body::Frame<Bytes>>>();
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    // Cut in odd places: frames are not lines.
    for piece in text.as_bytes().chunks(17) {
        sender
            .send(Ok(http_body::Frame::data(Bytes::copy_from_slice(piece))))
            .unwrap();
    }
    match then {
        Then::End => drop(sender),
        Then::Break => sender.send(Err(io::ErrorKind::ConnectionReset.into())).unwrap(),
        Then::Stay => std::mem::forget(sender),
    }
    let receiver =
        futures_util::stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver)));
    BodyExt::boxed(StreamBody::new(sync(receiver)))
}

/// `BoxBody` wants `Sync`; a mutex that only one ever locks gives it.
fn sync<S: futures_util::Stream + Send + 'static>(
    stream: S,
) -> impl futures_util::Stream<Item = S::Item> + Send + Sync {
    let stream = Mutex::new(Box::pin(stream));
    futures_util::stream::poll_fn(move |cx| stream.lock().unwrap().as_mut().poll_next(cx))
}

fn object(name: &str, version: u32) -> Value {
    let managers = json!([{"manager": "somebody", "operation": "Update", "fieldsV1": {"f:data": {}}}]);
    json!({"metadata": {
        "name": name, "namespace": "n", "uid": name, "resourceVersion": version.to_string(), "managedFields": managers,
    }})
}

fn event(kind: &str, name: &str, version: u32) -> Value {
    json!({"type": kind, "object": object(name, version)})
}

fn bookmark(version: u32, end: bool) -> Value {
    let annotations = if end {
        json!({"k8s.io/initial-events-end": "true"})
    } else {
        json!({})
    };
    json!({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": version.to_string(), "annotations": annotations}}})
}

fn status(code: u16, reason: &str) -> Value {
    json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": reason})
}

/// Runs a cache against `answers` until it has `expected`, and gives what was asked.
async fn run(answers: Vec<Answer>, expected: &[(&str, &str)]) -> Vec<String> {
    let script = Script::default();
    script.answers.lock().unwrap().extend(answers);
    let stop = CancellationToken::new();
    let api = Api::<ConfigMap>::all(Arc::new(script.clone()));
    let cache = Cache::start(api, ListOptions::default(), stop.clone());
    let wanted: Vec<(String, String)> = expected
        .iter()
        .map(|(name, version)| (name.to_string(), version.to_string()))
        .collect();
    let found = || {
        let all = cache.list();
        let pair = |object: &Arc<ConfigMap>| {
            let metadata = object.metadata.clone();
            (metadata.name.unwrap(), metadata.resource_version.unwrap())
        };
        all.iter().map(pair).collect::<Vec<_>>()
    };
    let all_there = async {
        while found() != wanted || !script.answers.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), all_there)
        .await
        .unwrap_or_else(|_| panic!("only {:?}", found()));
    assert!(cache.ready().await);
    let managed = cache
        .list()
        .iter()
        .filter(|object| object.metadata.managed_fields.is_some())
        .count();
    assert_eq!(managed, 0);
    assert!(cache.get(&Key::new("n", "no such")).is_none());
    stop.cancel();
    let asked = script.asked.lock().unwrap();
    asked
        .iter()
        .map(|uri| uri.split_once("/api/v1/configmaps").unwrap().1.to_owned())
        .collect()
}

const STREAM: &str =
    "?watch=true&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=540";

fn watch_from(version: u32) -> String {
    format!("?watch=true&allowWatchBookmarks=true&resourceVersion={version}&timeoutSeconds=540")
}

#[tokio::test]
async fn initial_events_are_taken_whole_and_then_changes() {
    let lines = vec![
        event("ADDED", "a", 1),
        event("ADDED", "b", 2),
        bookmark(2, true),
        event("MODIFIED", "a", 3),
        event("DELETED", "b", 4),
        event("ADDED", "c", 5),
    ];
    let asked = run(vec![Answer::Lines(lines, Then::Stay)], &[("a", "3"), ("c", "5")]).await;
    assert_eq!(asked, [STREAM]);
}

#[tokio::test]
async fn a_server_without_streaming_lists_is_asked_for_pages() {
    let page =
        |items: Value, token: &str| json!({"metadata": {"resourceVersion": "9", "continue": token}, "items": items});
    let answers = vec![
        Answer::Whole(422, status(422, "Invalid")),
        Answer::Whole(200, page(json!([object("a", 1)]), "more")),
        Answer::Whole(200, page(json!([object("b", 2)]), "")),
        Answer::Lines(vec![event("ADDED", "c", 10)], Then::Stay),
    ];
    let asked = run(answers, &[("a", "1"), ("b", "2"), ("c", "10")]).await;
    assert_eq!(
        asked,
        [
            STREAM.to_owned(),
            "?limit=500".into(),
            "?limit=500&continue=more".into(),
            watch_from(9)
        ]
    );
}

#[tokio::test]
async fn a_broken_watch_goes_on_where_it_was_also_after_bookmarks() {
    let answers = vec![
        Answer::Lines(
            vec![event("ADDED", "a", 1), bookmark(1, true), bookmark(7, false)],
            Then::Break,
        ),
        Answer::Lines(vec![event("ADDED", "b", 8)], Then::End),
        Answer::Lines(vec![event("ADDED", "c", 9)], Then::Stay),
    ];
    let asked = run(answers, &[("a", "1"), ("b", "8"), ("c", "9")]).await;
    assert_eq!(asked, [STREAM.to_owned(), watch_from(7), watch_from(8)]);
}

#[tokio::test]
async fn an_expired_version_leads_to_a_new_list_and_what_vanished_meanwhile_is_gone() {
    let expired = json!({"type": "ERROR", "object": status(410, "Expired")});
    let answers = vec![
        Answer::Lines(
            vec![
                event("ADDED", "a", 1),
                event("ADDED", "b", 2),
                bookmark(2, true),
                expired,
            ],
            Then::End,
        ),
        Answer::Lines(
            vec![event("ADDED", "b", 2), event("ADDED", "c", 30), bookmark(30, true)],
            Then::Stay,
        ),
    ];
    let asked = run(answers, &[("b", "2"), ("c", "30")]).await;
    assert_eq!(asked, [STREAM, STREAM]);
}

#[tokio::test]
async fn a_watch_that_breaks_before_all_initial_events_is_begun_anew() {
    let answers = vec![
        Answer::Lines(vec![event("ADDED", "gone", 1)], Then::Break),
        Answer::Lines(vec![event("ADDED", "a", 2), bookmark(2, true)], Then::Stay),
    ];
    let asked = run(answers, &[("a", "2")]).await;
    assert_eq!(asked, [STREAM, STREAM]);
}
