//! `/metrics`: the few numbers that there are, in Prometheus' text format.

use crate::reply;
use crate::server::Server;
use client::Body;
use http::Response;
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub(super) fn serve(server: &Arc<Server>) -> Response<Body> {
    let (requests, revision) = (server.requests.load(Ordering::Relaxed), server.store.revision());
    let text = format!(
        "# HELP apiserver_request_total Requests since the start.\n# TYPE apiserver_request_total counter\n\
         apiserver_request_total {requests}\n\
         # HELP pintle_store_revision The store's last revision.\n# TYPE pintle_store_revision gauge\n\
         pintle_store_revision {revision}\n"
    );
    reply::of(200, "text/plain; version=0.0.4; charset=utf-8", reply::whole(text))
}
