//! Reviews: questions that are posted, answered and never stored (authentication.k8s.io and authorization.k8s.io).

use crate::authorize::{Asked, Attributes, Decision, Resource};
use crate::call::Call;
use crate::decode::{self, Draft};
use crate::negotiate::{Form, OFFERED};
use crate::options::WriteOptions;
use crate::reply;
use crate::user::{Extra, User};
use api::FieldError;
use api::read::{self, list, text};
use api::status::{self, Status};
use bytes::Bytes;
use client::Body;
use http::{Response, header};
use serde_json::{Value, json};

/// Whether a kind is one of them.
pub(crate) fn is_review(key: &str) -> bool {
    matches!(
        key,
        "tokenreviews"
            | "selfsubjectreviews"
            | "subjectaccessreviews"
            | "localsubjectaccessreviews"
            | "selfsubjectaccessreviews"
            | "selfsubjectrulesreviews"
    )
}

/// Answers one.
pub(crate) fn answer(call: &Call, bytes: &Bytes) -> Result<Response<Body>, Status> {
    is_readable(call)?;
    let options = WriteOptions::of(&call.query, "CreateOptions")?;
    let Draft { mut object, warnings } = decode::draft(call, &options, bytes)?;
    object["status"] = match call.rules.key {
        "tokenreviews" => token(call, &object)?,
        "selfsubjectreviews" => json!({ "userInfo": call.user.info() }),
        "selfsubjectrulesreviews" => rules(call, &object)?,
        _ => access(call, &object)?,
    };
    let mut response = reply::object(201, call.accepted.encoding, &object);
    reply::warn(&mut response, &warnings);
    Ok(response)
}

/// What has no metadata has no table: whoever reads nothing else hears 406.
fn is_readable(call: &Call) -> Result<(), Status> {
    let mut accepted = call
        .headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let mut reads_objects = || accepted.any(|value| value.split(',').any(|clause| !clause.contains("as=")));
    if call.accepted.form == Form::Whole || reads_objects() {
        Ok(())
    } else {
        Err(status::not_acceptable(OFFERED))
    }
}

fn token(call: &Call, review: &Value) -> Result<Value, Status> {
    let token = text(review, "/spec/token");
    if token.is_empty() {
        return Err(status::bad_request(
            "token is required for TokenReview in authentication",
        ));
    }
    let authenticator = &call.server.authenticator;
    let mut audiences = texts(review, "/spec/audiences");
    if audiences.is_empty() {
        audiences.push(authenticator.tokens.issuer().to_owned());
    }
    Ok(match authenticator.token(token, &audiences) {
        Ok(shown) => json!({ "authenticated": true, "user": shown.user.info(), "audiences": shown.audiences }),
        Err(cause) => json!({ "user": {}, "error": cause.to_string() }),
    })
}

/// SubjectAccessReview, LocalSubjectAccessReview and SelfSubjectAccessReview.
fn access(call: &Call, review: &Value) -> Result<Value, Status> {
    let is_self = call.rules.key == "selfsubjectaccessreviews";
    let mut errors = Vec::new();
    judge(review, is_self, &mut errors);
    if call.rules.key == "localsubjectaccessreviews" {
        judge_place(call, review, &mut errors);
    }
    if !errors.is_empty() {
        return Err(status::invalid(&call.rules, "", &errors));
    }
    let user = if is_self { call.user.clone() } else { subject(review) };
    let decision = decide(call, &user, review);
    let mut status = json!({ "allowed": decision.allowed });
    if !decision.reason.is_empty() {
        status["reason"] = decision.reason.into();
    }
    Ok(status)
}

fn judge(review: &Value, is_self: bool, errors: &mut Vec<FieldError>) {
    let (resource, path) = ("/spec/resourceAttributes", "/spec/nonResourceAttributes");
    match (read::some(review, resource), read::some(review, path)) {
        (Some(_), Some(path)) => errors.push(FieldError::invalid(
            "spec.nonResourceAttributes",
            path.clone(),
            "cannot be specified in combination with resourceAttributes",
        )),
        (None, None) => errors.push(FieldError::invalid(
            "spec.resourceAttributes",
            Value::Null,
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        )),
        (Some(_), None) | (None, Some(_)) => {}
    }
    if !is_self && text(review, "/spec/user").is_empty() && list(review, "/spec/groups").is_empty() {
        errors.push(FieldError::invalid(
            "spec.user",
            "",
            "at least one of user or group must be specified",
        ));
    }
}

fn judge_place(call: &Call, review: &Value, errors: &mut Vec<FieldError>) {
    if let Some(path) = read::some(review, "/spec/nonResourceAttributes") {
        errors.push(FieldError::invalid(
            "spec.nonResourceAttributes",
            path.clone(),
            "disallowed on this kind of request",
        ));
    }
    let namespace = text(review, "/spec/resourceAttributes/namespace");
    if read::some(review, "/spec/resourceAttributes").is_some() && namespace != call.namespace {
        errors.push(FieldError::invalid(
            "spec.resourceAttributes.namespace",
            namespace,
            "must match metadata.namespace",
        ));
    }
}

/// The user that a review is about.
fn subject(review: &Value) -> User {
    let extra: Extra = read::entries(review, "/spec/extra")
        .map(|(key, values)| {
            let values = values.as_array().into_iter().flatten().filter_map(Value::as_str);
            (key.to_owned(), values.map(str::to_owned).collect())
        })
        .collect();
    User::new(
        text(review, "/spec/user"),
        text(review, "/spec/uid"),
        texts(review, "/spec/groups"),
        extra,
    )
}

fn decide(call: &Call, user: &User, review: &Value) -> Decision {
    let authorizer = &call.server.authorizer;
    if let Some(path) = read::some(review, "/spec/nonResourceAttributes") {
        let asked = Asked::Path(text(path, "/path"));
        return authorizer.allows(
            user,
            &Attributes {
                verb: text(path, "/verb"),
                asked,
            },
        );
    }
    let of = |member: &str| text(review, &format!("/spec/resourceAttributes/{member}"));
    let fields = fields(review);
    let resource = Resource {
        group: of("group"),
        resource: of("resource"),
        subresource: of("subresource"),
        namespace: of("namespace"),
        name: of("name"),
        fields: &fields,
    };
    authorizer.allows(user, &Attributes::resource(of("verb"), resource))
}

/// The field selector of a question, as a request would have it; only equality is of use to an authorizer.
fn fields(review: &Value) -> String {
    let selector = "/spec/resourceAttributes/fieldSelector";
    let raw = text(review, &format!("{selector}/rawSelector"));
    if !raw.is_empty() {
        return raw.to_owned();
    }
    let requirements = list(review, &format!("{selector}/requirements")).iter();
    let equal = requirements.filter(|r| text(r, "/operator") == "In" && list(r, "/values").len() == 1);
    let terms: Vec<String> = equal
        .map(|r| format!("{}={}", text(r, "/key"), text(r, "/values/0")))
        .collect();
    terms.join(",")
}

fn rules(call: &Call, review: &Value) -> Result<Value, Status> {
    let namespace = text(review, "/spec/namespace");
    if namespace.is_empty() {
        return Err(status::bad_request("no namespace on request"));
    }
    let (rules, lost) = call.server.authorizer.rules_of(&call.user, namespace);
    let (paths, resources): (Vec<_>, Vec<_>) = rules.iter().partition(|rule| !rule.urls.is_empty());
    let values =
        |rules: Vec<&crate::authorize::rule::Rule>| rules.into_iter().map(|rule| rule.to_value()).collect::<Vec<_>>();
    let is_node = call.user.node().is_some();
    let mut status = json!({
        "resourceRules": values(resources), "nonResourceRules": values(paths), "incomplete": is_node || !lost.is_empty(),
    });
    let mut errors = lost;
    if is_node {
        errors.insert(0, "node authorizer does not support user rule resolution".to_owned());
    }
    if !errors.is_empty() {
        status["evaluationError"] = errors.join(", ").into();
    }
    Ok(status)
}

fn texts(object: &Value, pointer: &str) -> Vec<String> {
    let list = list(object, pointer).iter();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}
