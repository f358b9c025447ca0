//! Keeps what is served in step with the definitions of custom resources, and the definitions' status with what is served.
//!
//! A definition's names are accepted by one write; then its kinds are served; then another write says that it is established: so
//! whoever reads `Established` finds them. One that is deleted loses its objects first, then its finalizer.

use crate::call::timestamp;
use crate::encode;
use crate::in_process::InProcess;
use crate::server::Server;
use api::{RulesRef, custom, metadata, read};
use client::{Api, Dynamic, Resource, Transport};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::DeleteOptions;
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use store::{Entry, Expect, Write};
use tracing::{info, warn};

/// Where definitions are kept.
const PREFIX: &str = "customresourcedefinitions/";
/// Before the objects of an ending definition are counted again: they may have finalizers of their own.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Before the loop begins anew.
const RETRY: Duration = Duration::from_secs(1);

/// What a definition's kinds are compiled from; when it changes they are compiled again.
#[derive(PartialEq)]
struct Source {
    uid: String,
    generation: i64,
    names: Value,
    serves: bool,
    is_ending: bool,
}

/// The kinds of each definition, by its name.
#[derive(Default)]
struct Compiled(HashMap<String, (Source, Vec<RulesRef>)>);

/// Serves what the definitions in the store say, once: a server that starts does so before its first request.
pub(crate) fn serve_stored(server: &Server) {
    serve(server, &mut Compiled::default(), &stored(server));
}

/// Follows the definitions until the server stops.
pub(crate) async fn follow(server: Arc<Server>) {
    let transport: Arc<dyn Transport> = Arc::new(InProcess::new(server.clone(), "system:apiserver"));
    let resource = Resource {
        group: custom::GROUP.to_owned(),
        version: "v1".to_owned(),
        plural: "customresourcedefinitions".to_owned(),
    };
    let api = Api::<Dynamic>::dynamic(transport.clone(), &resource, None);
    let mut compiled = Compiled::default();
    while !server.stopping.is_cancelled() {
        let Ok(mut watch) = server.store.watch(PREFIX, server.store.revision()) else {
            tokio::time::sleep(RETRY).await;
            continue;
        };
        loop {
            let definitions = stored(&server);
            serve(&server, &mut compiled, &definitions);
            let again = reconcile(&server, &api, &transport, &definitions).await;
            let wait = async {
                match again {
                    Some(soon) => tokio::time::sleep(soon).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = server.stopping.cancelled() => return,
                () = wait => {}
                changes = watch.next_batch(64) => if changes.is_err() {
                    break;
                },
            }
        }
    }
}

fn stored(server: &Server) -> Vec<Value> {
    let snapshot = server.store.range(PREFIX, None, 0);
    snapshot.entries.iter().map(encode::object).collect()
}

fn serve(server: &Server, compiled: &mut Compiled, definitions: &[Value]) {
    if compiled.refresh(definitions) {
        server.serve_custom(compiled.0.values().flat_map(|(_, kinds)| kinds.clone()));
    }
}

// === impl Compiled ===

impl Compiled {
    /// Compiles what is new or has changed, forgets what is gone; whether there was anything.
    fn refresh(&mut self, definitions: &[Value]) -> bool {
        let names: BTreeSet<&str> = definitions.iter().map(metadata::name).collect();
        let before = self.0.len();
        self.0.retain(|name, _| names.contains(name.as_str()));
        let mut changed = self.0.len() != before;
        for definition in definitions {
            let (name, source) = (metadata::name(definition), Source::of(definition));
            if self.0.get(name).is_none_or(|(known, _)| *known != source) {
                self.0.insert(name.to_owned(), (source, custom::kinds(definition)));
                changed = true;
            }
        }
        changed
    }
}

// === impl Source ===

impl Source {
    fn of(definition: &Value) -> Self {
        Self {
            uid: metadata::uid(definition).to_owned(),
            generation: read::int(definition, "/metadata/generation"),
            names: definition["status"]["acceptedNames"].clone(),
            serves: custom::is_true(definition, "NamesAccepted") || custom::is_true(definition, "Established"),
            is_ending: metadata::is_deleting(definition),
        }
    }
}

/// Does what each definition needs next; when to look again although nothing may have changed.
async fn reconcile(
    server: &Server,
    api: &Api<Dynamic>,
    transport: &Arc<dyn Transport>,
    definitions: &[Value],
) -> Option<Duration> {
    let mut again = None;
    for (at, definition) in definitions.iter().enumerate() {
        if is_ours_to_end(definition) {
            if !end(server, api, transport, definition).await {
                again = Some(LOOK_AGAIN);
            }
            continue;
        }
        let others: Vec<Value> = definitions
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != at)
            .map(|(_, definition)| definition.clone())
            .collect();
        if let Some(status) = custom::next_status(definition, &others, &timestamp(Timestamp::now())) {
            // The names of the others are judged by what is written now, which the watch brings.
            return if write(api, definition, status, false).await {
                again
            } else {
                Some(LOOK_AGAIN)
            };
        }
    }
    again
}

fn is_ours_to_end(definition: &Value) -> bool {
    metadata::is_deleting(definition)
        && read::list(definition, "/metadata/finalizers")
            .iter()
            .any(|finalizer| finalizer == custom::FINALIZER)
}

/// Takes an ending definition a step further; false where only time can.
async fn end(server: &Server, api: &Api<Dynamic>, transport: &Arc<dyn Transport>, definition: &Value) -> bool {
    let now = timestamp(Timestamp::now());
    let terminating = |is_pending, reason, message| custom::terminating(definition, &now, is_pending, reason, message);
    let reason = custom::condition(definition, "Terminating").map(|c| read::text(c, "/reason"));
    if reason != Some("InstanceDeletionInProgress") {
        let status = terminating(
            true,
            "InstanceDeletionInProgress",
            "CustomResource deletion is in progress",
        );
        return write(api, definition, status, false).await;
    }
    delete_objects(server, transport, definition).await;
    if !objects(server, definition).is_empty() {
        return false;
    }
    let status = if custom::is_true(definition, "Established") {
        terminating(false, "InstanceDeletionCompleted", "removed all instances")
    } else {
        terminating(false, "NeverEstablished", "resource was never established")
    };
    info!(definition = metadata::name(definition), "custom resources removed");
    write(api, definition, status, true).await
}

fn objects(server: &Server, definition: &Value) -> Vec<Entry> {
    let (group, plural) = (
        read::text(definition, "/spec/group"),
        read::text(definition, "/spec/names/plural"),
    );
    server.store.range(&format!("{group}/{plural}/"), None, 0).entries
}

/// Wishes every object of a definition gone.
async fn delete_objects(server: &Server, transport: &Arc<dyn Transport>, definition: &Value) {
    let served = read::list(definition, "/spec/versions")
        .iter()
        .find(|version| read::flag(version, "/served"));
    let resource = served.map(|version| Resource {
        group: read::text(definition, "/spec/group").to_owned(),
        version: read::text(version, "/name").to_owned(),
        plural: read::text(definition, "/spec/names/plural").to_owned(),
    });
    for entry in objects(server, definition) {
        let object = encode::object(&entry);
        match &resource {
            Some(_) if metadata::is_deleting(&object) => {}
            Some(resource) => {
                let namespace = Some(metadata::namespace(&object)).filter(|namespace| !namespace.is_empty());
                let objects = Api::<Dynamic>::dynamic(transport.clone(), resource, namespace);
                match objects.delete(metadata::name(&object), &DeleteOptions::default()).await {
                    Ok(_) => {}
                    Err(error) if error.is_not_found() => {}
                    Err(error) => warn!(key = %entry.key, %error, "custom resource not deleted"),
                }
            }
            // No version is served, so nobody can wait for its finalizers either.
            None => remove(server, &entry).await,
        }
    }
}

async fn remove(server: &Server, entry: &Entry) {
    let write = Write {
        key: entry.key.to_string(),
        expect: Expect::At(entry.modified),
        value: None,
        durable: true,
    };
    if let Err(cause) = server.store.write(write).await {
        warn!(key = %entry.key, %cause, "custom resource not removed");
    }
}

/// Writes a definition's status; the finalizer goes with it where all is done. False where it must be tried again.
async fn write(api: &Api<Dynamic>, definition: &Value, status: Value, is_done: bool) -> bool {
    let mut body = definition.clone();
    body["status"] = status;
    if is_done && let Some(finalizers) = body["metadata"]["finalizers"].as_array_mut() {
        finalizers.retain(|finalizer| finalizer != custom::FINALIZER);
    }
    let name = metadata::name(definition);
    match api.put(name, "status", &body).await {
        Ok(_) => true,
        // Somebody was faster, and the watch has it already.
        Err(error) if error.is_not_found() || error.is_conflict() => true,
        Err(error) => {
            warn!(definition = name, %error, "status not written");
            false
        }
    }
}
