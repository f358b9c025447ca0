//! The transport of what lives in the same process: no socket, no TLS, the same chain, under a fixed name.

use crate::body::Payload;
use crate::server::Server;
use crate::user::User;
use bytes::Bytes;
use client::{Body, Transport};
use futures_util::future::BoxFuture;
use http::header::USER_AGENT;
use http::{HeaderValue, Request, Response};
use std::io;
use std::sync::Arc;

/// Requests of one component, such as `system:kube-scheduler`.
#[derive(Clone)]
pub struct InProcess {
    server: Arc<Server>,
    user: User,
}

// === impl InProcess ===

impl InProcess {
    /// Requests to `server` as the component `name`.
    pub fn new(server: Arc<Server>, name: &str) -> Self {
        Self {
            server,
            user: User::component(name),
        }
    }
}

impl Transport for InProcess {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'static, Result<Response<Body>, io::Error>> {
        let (server, user) = (self.server.clone(), self.user.clone());
        let mut request = request;
        // What a component writes is managed under its own name.
        if let Ok(agent) = HeaderValue::from_str(user.name.trim_start_matches("system:")) {
            request.headers_mut().entry(USER_AGENT).or_insert(agent);
        }
        Box::pin(async move { Ok(server.answer(user.into(), request.map(Payload::Whole)).await) })
    }
}
