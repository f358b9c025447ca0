//! One client: writes and reads at random, and tells the history what it asked and what it heard.

use super::history::{History, Kind};
use super::random::Random;
use super::{MAPS, NAMES, brief};
use crate::child::{Reply, attempt};
use client::Http;
use http::Method;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub struct Worker {
    client: Http,
    history: Arc<History>,
    random: Random,
    /// The newest revision of each object that this client has seen.
    seen: HashMap<&'static str, u64>,
    newest_list: u64,
}

impl Worker {
    pub fn new(client: Http, history: Arc<History>, seed: u64) -> Self {
        Self {
            client,
            history,
            random: Random::new(seed),
            seen: HashMap::new(),
            newest_list: 0,
        }
    }

    /// Until told to stop, or until the server is gone.
    pub async fn run(mut self, stop: Arc<AtomicBool>) {
        while !stop.load(Ordering::Relaxed) {
            let name = NAMES[self.random.below(NAMES.len() as u64) as usize];
            let went_on = match self.random.below(10) {
                0..=1 => self.write(name, Kind::Create).await,
                2 => self.write(name, Kind::Put).await,
                3..=4 => self.pinned(name).await,
                5..=6 => self.write(name, Kind::Patch).await,
                7 => self.write(name, Kind::Delete).await,
                8 => self.get(name).await,
                _ => self.list().await,
            };
            if !went_on {
                return;
            }
        }
    }

    async fn pinned(&mut self, name: &'static str) -> bool {
        match self.seen.get(name) {
            Some(revision) => self.write(name, Kind::Pinned(*revision)).await,
            None => self.get(name).await,
        }
    }

    async fn write(&mut self, name: &'static str, kind: Kind) -> bool {
        let asked = self.history.ask(name, kind);
        let data = json!({ "stamp": asked.stamp });
        let mut object = json!({"metadata": {"name": name}, "data": data});
        let path = format!("{MAPS}/{name}");
        let (method, path, body) = match kind {
            Kind::Create => (Method::POST, MAPS.to_owned(), object),
            Kind::Put => (Method::PUT, path, object),
            Kind::Pinned(revision) => {
                object["metadata"]["resourceVersion"] = revision.to_string().into();
                (Method::PUT, path, object)
            }
            Kind::Patch => (Method::PATCH, path, json!({ "data": data })),
            Kind::Delete => (Method::DELETE, path, Value::Null),
        };
        let Some(reply) = attempt(&self.client, method, &path, &body).await else {
            return false;
        };
        match (kind, reply.code) {
            (Kind::Delete, 200) => self.history.deleted(&asked),
            (_, 200 | 201) => {
                let (_, revision, stamp) = brief(&reply.body);
                assert_eq!(stamp, asked.stamp, "an answer shows another write");
                self.see(name, revision);
                self.history.written(&asked, revision);
            }
            (Kind::Create, 409) | (Kind::Pinned(_), 409 | 404) | (Kind::Put | Kind::Patch | Kind::Delete, 404) => {
                self.history.refused(&asked);
            }
            // The server says that it is going away, or that it met too many writers at once: it did not write.
            (_, 503 | 409) => self.history.refused(&asked),
            (kind, code) => panic!("{kind:?} of {name}: {code} {}", reply.body),
        }
        true
    }

    async fn get(&mut self, name: &'static str) -> bool {
        let floor = self.history.floor(name);
        let path = format!("{MAPS}/{name}");
        let Some(reply) = attempt(&self.client, Method::GET, &path, &Value::Null).await else {
            return false;
        };
        match reply.code {
            200 => {
                let (_, revision, stamp) = brief(&reply.body);
                self.history.check_read(name, &floor, revision, &stamp);
                self.see(name, revision);
            }
            404 => self.history.check_absent(name, &floor),
            code => panic!("get {name}: {code} {}", reply.body),
        }
        true
    }

    async fn list(&mut self) -> bool {
        let floors = NAMES.map(|name| self.history.floor(name));
        let Some(reply) = attempt(&self.client, Method::GET, MAPS, &Value::Null).await else {
            return false;
        };
        assert_eq!(reply.code, 200, "{}", reply.body);
        let (_, revision, _) = brief(&reply.body);
        assert!(
            revision >= self.newest_list,
            "a list went back from {} to {revision}",
            self.newest_list
        );
        self.newest_list = revision;
        self.check_items(&reply, &floors);
        true
    }

    fn check_items(&mut self, reply: &Reply, floors: &[super::history::Floor]) {
        let items = reply.body["items"].as_array().unwrap();
        for (name, floor) in NAMES.into_iter().zip(floors) {
            match items.iter().map(brief).find(|(found, _, _)| found == name) {
                Some((_, revision, stamp)) => {
                    self.history.check_read(name, floor, revision, &stamp);
                    self.see(name, revision);
                }
                None => self.history.check_absent(name, floor),
            }
        }
    }

    fn see(&mut self, name: &'static str, revision: u64) {
        let before = self.seen.insert(name, revision).unwrap_or_default();
        assert!(revision >= before, "{name} went back from {before} to {revision}");
    }
}
