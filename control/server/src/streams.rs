//! Paths that end in a container, a pod's port or a node: the server finds where that is, proves who it is, and passes bytes on.

mod container;
mod dial;
mod log;
mod node;
mod proxy;

pub use node::Nodes;

use crate::body::Payload;
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

/// The streams of exec and attach: what the API calls them, and what the node does.
const STREAMS: [(&str, &str); 4] = [
    ("stdin", "input"),
    ("stdout", "output"),
    ("stderr", "error"),
    ("tty", "tty"),
];

/// Whether a path is one of these.
pub(crate) fn serves(rules: &Rules, subresource: &str) -> bool {
    match rules.key {
        "pods" => matches!(subresource, "log" | "exec" | "attach" | "portforward" | "proxy"),
        "services" | "nodes" => subresource == "proxy",
        _ => false,
    }
}

/// Serves one.
pub(crate) async fn serve(call: &Call, parts: Parts, payload: Payload) -> Result<Response<Body>, Status> {
    if call.subresource == "proxy" {
        return proxy::serve(call, parts, payload).await;
    }
    let pod = encode::object(&existing(call)?);
    let asked = call.query.get("container").unwrap_or_default();
    let path = match call.subresource.as_str() {
        "portforward" => forward_path(call, &parts.headers)?,
        "log" => log::path(call, &container::choose(&pod, asked)?)?,
        action => stream_path(call, action, &container::choose(&pod, asked)?, &parts.headers)?,
    };
    let node = read::text(&pod, "/spec/nodeName");
    match (node, call.subresource.as_str()) {
        ("", "log") => Ok(log::none()),
        ("", _) => Err(status::bad_request(format!(
            "pod {} does not have a host assigned",
            call.name
        ))),
        (node, "log") => log::serve(call, &node_object(call, node)?, &path, parts).await,
        (node, _) => {
            let node = node_object(call, node)?;
            call.server
                .nodes
                .forward(&node, &path, parts, Payload::Whole(bytes::Bytes::new()))
                .await
        }
    }
}

fn node_object(call: &Call, name: &str) -> Result<Value, Status> {
    let catalog = call.server.catalog();
    let nodes = catalog.find("", "v1", "nodes").ok_or_else(status::no_such_path)?;
    let entry = call
        .server
        .store
        .get(&nodes.key_of("", name))
        .ok_or_else(|| status::not_found(nodes, name))?;
    Ok(encode::object(&entry))
}

/// What is not asked to become a stream is refused in upstream's words.
fn upgrades(headers: &HeaderMap) -> Result<(), Status> {
    match headers.contains_key(header::UPGRADE) {
        true => Ok(()),
        false => Err(status::bad_request("Upgrade request required")),
    }
}

fn forward_path(call: &Call, headers: &HeaderMap) -> Result<String, Status> {
    upgrades(headers)?;
    let ports: Vec<&str> = call.query.all("ports").filter(|port| !port.is_empty()).collect();
    let query = match ports.is_empty() {
        true => String::new(),
        false => format!("?port={}", node::encode(&ports.join(","))),
    };
    Ok(format!("/portForward/{}/{}{query}", call.namespace, call.name))
}

fn stream_path(call: &Call, action: &str, container: &str, headers: &HeaderMap) -> Result<String, Status> {
    upgrades(headers)?;
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
    let wants = |asked: &str| call.query.flag(asked).unwrap_or(false);
    if !["stdin", "stdout", "stderr"].into_iter().any(wants) {
        return Err(status::bad_request(
            "you must specify at least 1 of stdin, stdout, stderr",
        ));
    }
    for (asked, word) in STREAMS {
        if wants(asked) {
            options.push(format!("{word}=1"));
        }
    }
    Ok(format!(
        "/{action}/{}/{}/{container}?{}",
        call.namespace,
        call.name,
        options.join("&")
    ))
}
