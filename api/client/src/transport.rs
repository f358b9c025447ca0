//! How a request reaches the API server: over HTTP with TLS, or straight into the server of the same process.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;

/// A reply's body: frames as they come, so that a watch is a body that does not end.
pub type Body = BoxBody<Bytes, std::io::Error>;

/// Sends one request, relative to the server (`/api/v1/…`), and gives back the reply as soon as its head is there.
///
/// Whoever implements this adds identity and location; callers add neither.
pub trait Transport: Send + Sync + 'static {
    /// Sends `request`; an error means that no reply came, never that the reply was a refusal.
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'static, Result<Response<Body>, std::io::Error>>;
}
