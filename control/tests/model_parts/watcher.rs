//! One watch: a list, then everything that it is told until the server is gone.

use super::{MAPS, brief};
use crate::child::{Control, DEADLINE, begin, send};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::BodyExt;
use serde_json::Value;
use std::collections::HashMap;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub kind: String,
    pub name: String,
    pub revision: u64,
    pub stamp: String,
}

/// What a watch told.
pub struct Told {
    /// Whether nobody had written yet when it began.
    pub from_the_start: bool,
    /// The revision that it began after, and what there was.
    pub from: u64,
    pub present: HashMap<String, (u64, String)>,
    pub events: Vec<Event>,
}

pub struct Watcher {
    task: JoinHandle<Told>,
    names: watch::Receiver<String>,
}

impl Watcher {
    /// Lists, and begins to watch from there.
    pub async fn begin(control: &Control, from_the_start: bool) -> Self {
        let client = control.client();
        let list = send(&client, Method::GET, MAPS, &Value::Null).await;
        let (_, from, _) = brief(&list.body);
        let items = list.body["items"].as_array().unwrap().iter().map(brief);
        let present = items.map(|(name, revision, stamp)| (name, (revision, stamp))).collect();
        let uri = format!("{MAPS}?watch=true&resourceVersion={from}");
        let request = Request::builder().uri(uri).body(Bytes::new()).unwrap();
        let response = begin(&client, request).await.expect("the head of a watch");
        assert_eq!(response.status().as_u16(), 200);
        let (tell, names) = watch::channel(String::new());
        let mut told = Told {
            from_the_start,
            from,
            present,
            events: Vec::new(),
        };
        let task = tokio::spawn(async move {
            let (mut body, mut rest) = (response.into_body(), Vec::new());
            while let Some(Ok(frame)) = body.frame().await {
                rest.extend_from_slice(&frame.into_data().unwrap_or_default());
                while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = rest.drain(..=end).collect();
                    let event: Value = serde_json::from_slice(&line).unwrap();
                    let (name, revision, stamp) = brief(&event["object"]);
                    let kind = event["type"].as_str().unwrap().to_owned();
                    assert!(["ADDED", "MODIFIED", "DELETED"].contains(&kind.as_str()), "{event}");
                    tell.send_replace(name.clone());
                    told.events.push(Event {
                        kind,
                        name,
                        revision,
                        stamp,
                    });
                }
            }
            told
        });
        Self { task, names }
    }

    /// Waits until it has told of `name`.
    pub async fn until(&mut self, name: &str) {
        let told = self.names.wait_for(|told| told == name);
        tokio::time::timeout(DEADLINE, told)
            .await
            .expect("the watch tells of the last write")
            .unwrap();
    }

    /// Everything, once the server is gone.
    pub async fn end(self) -> Told {
        tokio::time::timeout(DEADLINE, self.task)
            .await
            .expect("a watch ends with its server")
            .unwrap()
    }
}
