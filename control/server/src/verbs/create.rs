//! POST to a collection: a new object, under its own name or a generated one.

use crate::actions::allocation;
use crate::call::{Call, Draw};
use crate::decode::{self, Draft};
use crate::options::WriteOptions;
use crate::{admission, manage, render, reply};
use api::metadata;
use api::read;
use api::status::{self, Status};
use bytes::Bytes;
use client::Body;
use http::Response;
use serde_json::Value;
use store::{Entry, Expect, Write, WriteError};

/// A generated name that is taken is drawn again so often (apiserver `maxNameGenerationCreateAttempts`).
const GENERATED_NAMES: usize = 8;

/// Makes an object out of a body.
pub(crate) async fn create(call: &Call, body: Bytes) -> Result<Response<Body>, Status> {
    let options = WriteOptions::of(&call.query, "CreateOptions")?;
    let Draft { mut object, warnings } = decode::draft(call, &options, &body)?;
    manage::track(call, &options, None, &mut object);
    let entry = insert(call, object, &options).await?;
    let mut response = render::one(call, 201, &entry)?;
    reply::warn(&mut response, &warnings);
    Ok(response)
}

/// Puts a decoded and defaulted object into the store, or only says what would be there.
pub(crate) async fn insert(call: &Call, object: Value, options: &WriteOptions) -> Result<Entry, Status> {
    if !matches!(metadata::resource_version(&object), "" | "0") {
        let message = "resourceVersion should not be set on objects to be created".to_owned();
        return Err(Status {
            message,
            ..status::internal("")
        });
    }
    let generates = metadata::name(&object).is_empty() && !read::text(&object, "/metadata/generateName").is_empty();
    let mut tries = GENERATED_NAMES;
    while generates && tries > 1 {
        tries -= 1;
        match insert_once(call, object.clone(), options).await {
            Err(refused) if refused.reason == "AlreadyExists" => {}
            outcome => return outcome,
        }
    }
    insert_once(call, object, options).await
}

async fn insert_once(call: &Call, mut object: Value, options: &WriteOptions) -> Result<Entry, Status> {
    let rules = &call.rules;
    admission::mutate(call, &mut object, None).await?;
    call.warnings.extend(rules.warnings(&object));
    let draw = Draw::new();
    rules.before_create(&mut object, &draw.context(call));
    let claim = allocation::allocate(call, &mut object, None, options.dry_run)?;
    let name = metadata::name(&object).to_owned();
    let errors = rules.validate(&object);
    if !errors.is_empty() {
        return Err(status::invalid(rules, &name, &errors));
    }
    admission::validate(call, Some(&object), None)?;
    let key = rules.key_of(metadata::namespace(&object), &name);
    let value = call.stored(&object);
    let taken = || status::already_exists(rules, &name);
    // A name that is taken costs nothing.
    if call.server.store.get(&key).is_none() {
        admission::charge(call, &object, None, options.dry_run).await?;
    }
    if options.dry_run {
        return match call.server.store.get(&key) {
            Some(_) => Err(taken()),
            None => Ok(Entry::new(key, value, 0, 0)),
        };
    }
    let write = Write {
        key,
        expect: Expect::Absent,
        value: Some(value),
        durable: rules.durable,
    };
    let written = call.server.store.write(write).await;
    drop(claim);
    match written {
        Ok(change) => {
            allocation::settle(call, None, Some(&object)).await;
            Ok(change.entry)
        }
        Err(WriteError::Conflict { .. }) => Err(taken()),
        Err(cause) => Err(refused_by_disk(&cause)),
    }
}

/// What a client hears when the store cannot write.
pub(crate) fn refused_by_disk(cause: &WriteError) -> Status {
    match cause {
        WriteError::Closed => status::unavailable("the API server is shutting down"),
        WriteError::Conflict { .. }
        | WriteError::Full(_)
        | WriteError::Disk(_)
        | WriteError::Etcd(_)
        | WriteError::EtcdFull(_)
        | WriteError::Sealed(_) => status::internal(cause),
    }
}
