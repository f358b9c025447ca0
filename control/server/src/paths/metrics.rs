//! `/metrics`: what was counted, in Prometheus' text format.

use crate::reply;
use crate::server::Server;
use client::Body;
use http::Response;
use std::fmt::Write;
use std::sync::Arc;

pub(super) fn serve(server: &Arc<Server>) -> Response<Body> {
    let mut text = server.traffic.text();
    let (mutating, read_only) = server.in_flight.count();
    let _ = write!(
        text,
        "# HELP apiserver_current_inflight_requests Requests that are being answered.\n\
         # TYPE apiserver_current_inflight_requests gauge\n\
         apiserver_current_inflight_requests{{request_kind=\"mutating\"}} {mutating}\n\
         apiserver_current_inflight_requests{{request_kind=\"readOnly\"}} {read_only}\n\
         # HELP pintle_store_revision The store's last revision.\n# TYPE pintle_store_revision gauge\n\
         pintle_store_revision {}\n",
        server.store.revision()
    );
    reply::of(200, "text/plain; version=0.0.4; charset=utf-8", reply::whole(text))
}
