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
    checks.retain(|(name, _)| !query.all("exclude").any(|excluded| excluded == *name));
    let healthy = checks.iter().all(|(_, passed)| *passed);
    if healthy && query.flag("verbose").is_none() {
        return Ok(reply::text(200, "ok"));
    }
    let mut text = String::new();
    for (name, passed) in &checks {
        let line = if *passed {
            format!("[+]{name} ok")
        } else {
            format!("[-]{name} failed: reason withheld")
        };
        let _ = writeln!(text, "{line}");
    }
    let _ = writeln!(text, "{probe} check {}", if healthy { "passed" } else { "failed" });
    Ok(reply::text(if healthy { 200 } else { 500 }, text))
}
