//! Keeps a cache up to date: present objects first, then changes; goes on after every kind of end of a watch.

use crate::api::Api;
use crate::backoff::Backoff;
use crate::cache::Shared;
use crate::error::Error;
use crate::object::{Key, Object};
use crate::options::{ListOptions, WatchOptions};
use crate::watch::{Event, Watch};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Pauses after failures, as client-go's reflector has them.
const FIRST_PAUSE: Duration = Duration::from_millis(800);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// When a watch is to end by itself, in seconds. Servers send a bookmark about every minute until then.
const WATCH_SECONDS: u32 = 540;
/// A watch that says nothing for so long is taken for dead, on transports that do not notice themselves.
const SILENCE: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 60);
/// Objects a page of a list.
const PAGE: u32 = 500;

/// Where the cache stands.
enum Position {
    /// Nothing is known, or too old: all present objects are needed.
    Unknown,
    /// Everything up to this version is in the cache.
    At(String),
}

/// Runs for ever.
pub(crate) async fn reflect<K: Object>(
    api: &Api<K>,
    options: &ListOptions,
    cache: &Shared<K>,
    ready: &watch::Sender<bool>,
) {
    let mut position = Position::Unknown;
    let mut streams_initial = true;
    let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
    loop {
        let began = Instant::now();
        let known = matches!(position, Position::At(_));
        let result = round(api, options, cache, ready, &mut position, streams_initial).await;
        if began.elapsed() > LONGEST_PAUSE {
            backoff.succeed();
        }
        // What ends at once would end at once again: without a pause it could go round for ever.
        let lasted = began.elapsed() > FIRST_PAUSE;
        match result {
            Ok(()) if lasted => continue,
            Ok(()) => {}
            Err(error) if error.is_expired() => {
                tracing::debug!(%error, "the watch is too old; listing again");
                position = Position::Unknown;
                if lasted {
                    continue;
                }
            }
            Err(error) if streams_initial && !known && matches!(error.code(), 400 | 422) => {
                tracing::debug!(%error, "the server cannot stream a list; asking for pages");
                streams_initial = false;
                continue;
            }
            Err(error) => tracing::warn!(error = %chain(&error), "the watch broke off; will try again"),
        }
        tokio::time::sleep(backoff.fail()).await;
    }
}

/// Brings the cache up to the present if it is not, then follows one watch to its orderly end.
async fn round<K: Object>(
    api: &Api<K>,
    options: &ListOptions,
    cache: &Shared<K>,
    ready: &watch::Sender<bool>,
    position: &mut Position,
    streams_initial: bool,
) -> Result<(), Error> {
    let mut wanted = WatchOptions {
        label_selector: options.label_selector.clone(),
        field_selector: options.field_selector.clone(),
        timeout_seconds: WATCH_SECONDS,
        ..WatchOptions::default()
    };
    let mut watch = match position {
        Position::At(version) => {
            wanted.resource_version.clone_from(version);
            api.watch(&wanted).await?
        }
        Position::Unknown if streams_initial => {
            wanted.send_initial_events = true;
            let mut watch = api.watch(&wanted).await?;
            let (objects, version) = initial(&mut watch).await?;
            cache.replace(objects);
            *position = Position::At(version);
            watch
        }
        Position::Unknown => {
            let list = api
                .list_all(&ListOptions {
                    limit: PAGE,
                    ..options.clone()
                })
                .await?;
            cache.replace(list.items.into_iter().map(|object| (object.key(), object)).collect());
            let version = list.metadata.resource_version.unwrap_or_default();
            wanted.resource_version.clone_from(&version);
            *position = Position::At(version);
            api.watch(&wanted).await?
        }
    };
    ready.send_replace(true);
    while let Some(event) = next(&mut watch).await? {
        *position = Position::At(apply(cache, event));
    }
    Ok(())
}

/// The objects that were there when the watch began, and the version they were there at.
async fn initial<K: Object>(watch: &mut Watch<K>) -> Result<(BTreeMap<Key, K>, String), Error> {
    let mut objects = BTreeMap::new();
    loop {
        match next(watch).await? {
            Some(Event::Added(object) | Event::Modified(object)) => drop(objects.insert(object.key(), object)),
            Some(Event::Deleted(object)) => drop(objects.remove(&object.key())),
            Some(Event::Bookmark {
                resource_version,
                initial_events_end: true,
            }) => {
                return Ok((objects, resource_version));
            }
            Some(Event::Bookmark { .. }) => {}
            None => return Err(watch.broken(std::io::ErrorKind::UnexpectedEof.into())),
        }
    }
}

async fn next<K: Object>(watch: &mut Watch<K>) -> Result<Option<Event<K>>, Error> {
    match tokio::time::timeout(SILENCE, watch.next()).await {
        Ok(event) => event,
        Err(elapsed) => Err(watch.broken(elapsed.into())),
    }
}

/// Puts an event into the cache and gives the version it stands for.
fn apply<K: Object>(cache: &Shared<K>, event: Event<K>) -> String {
    match event {
        Event::Added(object) | Event::Modified(object) => {
            let version = object.resource_version().to_owned();
            cache.put(object);
            version
        }
        Event::Deleted(object) => {
            let version = object.resource_version().to_owned();
            cache.remove(&object);
            version
        }
        Event::Bookmark { resource_version, .. } => resource_version,
    }
}

fn chain(error: &Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}
