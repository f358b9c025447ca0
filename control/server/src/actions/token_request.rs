//! POST serviceaccounts/NAME/token: a token for an account, bound to it and to a pod, a secret or a node if so asked
//! (upstream registry/core/serviceaccount/storage/token.go).

use crate::call::{Call, after, timestamp};
use crate::options::WriteOptions;
use crate::verbs::existing;
use crate::{admission, body, encode, reply};
use api::read::{self, list, text};
use api::status::{self, Status};
use api::{FieldError, metadata};
use bytes::Bytes;
use client::Body;
use http::Response;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// How long a token holds unless its request says.
const USUAL: i64 = 3600;
/// The shortest time.
const LEAST: i64 = 600;
/// The longest time.
const MOST: i64 = 1 << 32;
/// Asked for by what upstream mounts into pods: such a token holds a year, so that clients which never read it anew go on, and
/// says when it should have been renewed (KEP-1205 "extended tokens").
const MOUNTED: i64 = 3607;
const EXTENDED: i64 = 365 * 24 * 3600;

/// Issues a token.
pub(crate) async fn issue(call: &Call, bytes: &Bytes) -> Result<Response<Body>, Status> {
    let options = WriteOptions::of(&call.query, "CreateOptions")?;
    let account = call.object(&existing(call)?);
    let mut request = body::decode(body::media_type(&call.headers), bytes)?.value;
    complete(call, &mut request)?;
    admission::validate(call, Some(&request), None)?;
    let now = Timestamp::now();
    let bound = bound(call, &account, &request)?;
    let claims = claims(call, &account, &request, bound, now);
    let token = if options.dry_run {
        String::new()
    } else {
        let signed = call.server.authenticator.tokens.sign(&claims);
        signed.ok_or_else(|| status::internal("sign the token: the machine gives no randomness"))?
    };
    let seconds = read::int(&request, "/spec/expirationSeconds");
    request["status"] = json!({ "token": token, "expirationTimestamp": timestamp(after(now, seconds)) });
    Ok(reply::object(201, call.accepted.encoding, &request))
}

/// Defaults and checks of the request.
fn complete(call: &Call, request: &mut Value) -> Result<(), Status> {
    let unreadable = || status::bad_request("the object provided is unrecognized (must be of type TokenRequest)");
    for (member, of) in [("/metadata/name", &call.name), ("/metadata/namespace", &call.namespace)] {
        let named = text(request, member);
        if !named.is_empty() && named != of {
            return Err(status::bad_request(format!(
                "the {} of the provided object does not match the {} sent on the request",
                member.rsplit('/').next().unwrap_or_default(),
                member.rsplit('/').next().unwrap_or_default()
            )));
        }
    }
    let kind = text(request, "/kind");
    if !request.is_object() || !matches!(kind, "" | "TokenRequest") {
        return Err(unreadable());
    }
    request["kind"] = "TokenRequest".into();
    request["apiVersion"] = "authentication.k8s.io/v1".into();
    let now = timestamp(Timestamp::now());
    let metadata = read::map_mut(request, "metadata").ok_or_else(unreadable)?;
    metadata.insert("name".to_owned(), call.name.as_str().into());
    metadata.insert("namespace".to_owned(), call.namespace.as_str().into());
    metadata.insert("creationTimestamp".to_owned(), now.into());
    read::map_mut(request, "spec").ok_or_else(unreadable)?;
    let spec = &mut request["spec"];
    read::set_default(spec, "expirationSeconds", USUAL);
    if list(spec, "/audiences").is_empty() {
        spec["audiences"] = json!([call.server.authenticator.tokens.issuer()]);
    }
    let seconds = read::int(spec, "/expirationSeconds");
    let why = match seconds {
        ..LEAST => "may not specify a duration less than 10 minutes",
        LEAST..=MOST => return Ok(()),
        _ => "may not specify a duration larger than 2^32 seconds",
    };
    let error = FieldError::invalid("spec.expirationSeconds", seconds, why);
    let mut refusal = status::unprocessable(format!("TokenRequest.authentication.k8s.io \"\" is invalid: {error}"))
        .cause(error.reason.code(), &error.body(), &error.field);
    refusal
        .details
        .insert("group".to_owned(), "authentication.k8s.io".into());
    refusal.details.insert("kind".to_owned(), "TokenRequest".into());
    Err(refusal)
}

/// What the token says about the object that it is bound to, by kind.
fn bound(call: &Call, account: &Value, request: &Value) -> Result<Map<String, Value>, Status> {
    let mut bound = Map::new();
    let Some(reference) = read::some(request, "/spec/boundObjectRef") else {
        return Ok(bound);
    };
    let (kind, name) = (text(reference, "/kind"), text(reference, "/name"));
    let (plural, namespace) = match (text(reference, "/apiVersion"), kind) {
        ("v1" | "", "Pod") => ("pods", call.namespace.as_str()),
        ("v1" | "", "Secret") => ("secrets", call.namespace.as_str()),
        ("v1" | "", "Node") => ("nodes", ""),
        (version, kind) => {
            let version = version.replace('/', ", Version=");
            return Err(status::bad_request(format!(
                "cannot bind token for serviceaccount {:?} to object of type {version}, Kind={kind}",
                call.name
            )));
        }
    };
    let object = object(call, plural, namespace, name)?;
    let asked = text(reference, "/uid");
    let uid = metadata::uid(&object);
    if !asked.is_empty() && asked != uid {
        let rules = api::find("", "v1", plural).ok_or_else(status::no_such_path)?;
        let why = format!(
            "the UID in the bound object reference ({asked}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(status::conflict(rules, name, &why));
    }
    bound.insert(kind.to_ascii_lowercase(), json!({ "name": name, "uid": uid }));
    if kind == "Pod" {
        if text(&object, "/spec/serviceAccountName") != metadata::name(account) {
            return Err(status::bad_request(format!(
                "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
                call.name
            )));
        }
        let node = text(&object, "/spec/nodeName");
        if !node.is_empty() {
            // A node that is gone has no uid to tell.
            let found = self::object(call, "nodes", "", node).ok();
            let uid = found.as_ref().map_or("", metadata::uid);
            let mut about = json!({ "name": node });
            if !uid.is_empty() {
                about["uid"] = uid.into();
            }
            bound.insert("node".to_owned(), about);
        }
    }
    Ok(bound)
}

fn object(call: &Call, plural: &str, namespace: &str, name: &str) -> Result<Value, Status> {
    let rules = api::find("", "v1", plural).ok_or_else(status::no_such_path)?;
    let entry = call.server.store.get(&rules.key_of(namespace, name));
    Ok(encode::object(&entry.ok_or_else(|| status::not_found(rules, name))?))
}

/// Upstream's `serviceaccount.Claims`.
fn claims(call: &Call, account: &Value, request: &Value, bound: Map<String, Value>, now: Timestamp) -> Value {
    let issuer = call.server.authenticator.tokens.issuer();
    let audiences = list(request, "/spec/audiences");
    let asked = read::int(request, "/spec/expirationSeconds");
    let is_mounted = asked == MOUNTED && bound.contains_key("pod") && audiences == [json!(issuer)];
    let seconds = if is_mounted { EXTENDED } else { asked };
    let start = now.as_second();
    let mut own = json!({
        "namespace": call.namespace,
        "serviceaccount": { "name": metadata::name(account), "uid": metadata::uid(account) },
    });
    for (kind, about) in bound {
        own[kind] = about;
    }
    if is_mounted {
        own["warnafter"] = (start + asked).into();
    }
    json!({
        "aud": audiences, "exp": start + seconds, "iat": start, "iss": issuer, "jti": uuid::Uuid::new_v4().to_string(),
        "kubernetes.io": own, "nbf": start, "sub": crate::user::account_user(&call.namespace, metadata::name(account)),
    })
}
