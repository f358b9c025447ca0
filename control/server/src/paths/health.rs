//! `/healthz`, `/livez`, `/readyz`: `ok`, or what is not; with `?verbose` each check on a line, as upstream prints it.

use crate::query::Query;
use crate::reply;
use crate::server::Server;
use api::status::{self, Status};
use client::Body;
use http::Response;
use std::fmt::Write;
use std::sync::Arc;

pub(super) fn serve(server: &Arc<Server>, probe: &str, rest: &[&str], query: &Query) -> Result<Response<Body>, Status> {
    let mut checks = vec![("ping", true), ("etcd", true)];
    if probe == "readyz" {
        checks.push(("shutdown", !server.stopping.is_cancelled()));
    }
    match rest {
        [] => {}
        [one] => checks.retain(|(name, _)| name == one),
        _ => return Err(status::no_such_path()),
    }
    if checks.is_empty() {
        return Err(status::no_such_path());
    }
    let mut excluded: Vec<&str> = query.all("exclude").collect();
    let healthy = checks.iter().all(|(name, passed)| *passed || excluded.contains(name));
    if healthy && query.flag("verbose").is_none() {
        return Ok(reply::text(200, "ok"));
    }
    let mut text = String::new();
    for (name, passed) in &checks {
        let line = match (excluded.contains(name), passed) {
            (true, _) => format!("[+]{name} excluded: ok"),
            (false, true) => format!("[+]{name} ok"),
            (false, false) => format!("[-]{name} failed: reason withheld"),
        };
        let _ = writeln!(text, "{line}");
    }
    excluded.retain(|name| checks.iter().all(|(known, _)| known != name));
    if !excluded.is_empty() {
        let names: Vec<String> = excluded.iter().map(|name| format!("{name:?}")).collect();
        let why = "some health checks cannot be excluded: no matches for";
        let _ = writeln!(text, "warn: {why} {}", names.join(","));
    }
    let _ = writeln!(text, "{probe} check {}", if healthy { "passed" } else { "failed" });
    Ok(reply::text(if healthy { 200 } else { 500 }, text))
}
