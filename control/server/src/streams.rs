//! Paths that end in a container: log, exec, attach. The server finds the node, proves who it is, and passes bytes on.

mod container;
mod node;

pub use node::Nodes;

use crate::call::Call;
use crate::encode;
use crate::verbs::existing;
use api::Rules;
use api::read;
use api::status::{self, Status};
use client::Body;
use http::request::Parts;
use http::{HeaderMap, Response, header};
use serde_json::Value;

/// A log's options that the node understands as they are.
const LOG_OPTIONS: [&str; 8] = [
    "follow",
    "previous",
    "sinceSeconds",
    "sinceTime",
    "timestamps",
    "tailLines",
    "limitBytes",
    "stream",
];

/// The streams of exec and attach: what the API calls them, and what the node does.
const STREAMS: [(&str, &str); 4] = [
    ("stdin", "input"),
    ("stdout", "output"),
    ("stderr", "error"),
    ("tty", "tty"),
];

/// Whether a path is one of these.
pub(crate) fn serves(rules: &Rules, subresource: &str) -> bool {
    rules.key == "pods" && matches!(subresource, "log" | "exec" | "attach")
}

/// Serves one.
pub(crate) async fn serve(call: &Call, parts: Parts) -> Result<Response<Body>, Status> {
    let pod = encode::object(&existing(call)?);
    let container = container::choose(&pod, call.query.get("container").unwrap_or_default())?;
    let node = read::text(&pod, "/spec/nodeName").to_owned();
    let path = match call.subresource.as_str() {
        "log" => log_path(call, &container)?,
        action => stream_path(call, action, &container, &parts.headers)?,
    };
    if node.is_empty() {
        return Err(status::bad_request(format!(
            "pod {} does not have a host assigned",
            call.name
        )));
    }
    let node = node_object(call, &node)?;
    call.server.nodes.forward(&node, &path, parts).await
}

fn node_object(call: &Call, name: &str) -> Result<Value, Status> {
    let nodes = api::find("", "v1", "nodes").ok_or_else(status::no_such_path)?;
    let entry = call
        .server
        .store
        .get(&nodes.key_of("", name))
        .ok_or_else(|| status::not_found(nodes, name))?;
    Ok(encode::object(&entry))
}

fn log_path(call: &Call, container: &str) -> Result<String, Status> {
    for option in ["tailLines", "sinceSeconds", "limitBytes"] {
        let text = call.query.get(option).unwrap_or("0");
        let number: i64 = text
            .parse()
            .map_err(|_| status::bad_request(format!("the query parameter {option}={text:?} is not a whole number")))?;
        let least = i64::from(option != "tailLines" && call.query.get(option).is_some());
        if number < least {
            let error = api::FieldError::invalid(option, number, format!("must be greater than or equal to {least}"));
            return Err(status::invalid(&call.rules, &call.name, &[error]));
        }
    }
    let options = LOG_OPTIONS
        .iter()
        .filter_map(|name| Some(format!("{name}={}", node::encode(call.query.get(name)?))));
    let options = options.collect::<Vec<_>>().join("&");
    Ok(format!(
        "/containerLogs/{}/{}/{container}?{options}",
        call.namespace, call.name
    ))
}

fn stream_path(call: &Call, action: &str, container: &str, headers: &HeaderMap) -> Result<String, Status> {
    if !headers.contains_key(header::UPGRADE) {
        return Err(status::bad_request(
            "unable to upgrade: missing upgrade headers in request",
        ));
    }
    let mut options: Vec<String> = call
        .query
        .all("command")
        .map(|argument| format!("command={}", node::encode(argument)))
        .collect();
    if action == "exec" && options.is_empty() {
        return Err(status::bad_request(
            "you must specify at least 1 command for the container",
        ));
    }
    let before = options.len();
    for (asked, word) in STREAMS {
        if call.query.flag(asked).unwrap_or(false) {
            options.push(format!("{word}=1"));
        }
    }
    if options.len() == before {
        return Err(status::bad_request(
            "you must specify at least one of stdin, stdout, stderr",
        ));
    }
    Ok(format!(
        "/{action}/{}/{}/{container}?{}",
        call.namespace,
        call.name,
        options.join("&")
    ))
}
