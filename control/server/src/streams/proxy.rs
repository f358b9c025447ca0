//! `proxy`: a request to a pod, a service or a node, as if it were asked directly (apimachinery pkg/util/proxy).

mod location;
mod rewrite;

use super::dial;
use super::node_object;
use crate::body::Payload;
use crate::call::Call;
use crate::reply;
use api::status::{self, Status};
use client::Body;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use identity::tls::{self, Trust};
use location::{Backend, Location};
use rewrite::Rewrite;
use rustls::pki_types::ServerName;
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A backend that does not take a connection within this is not there: upstream's dialer.
const PATIENCE: Duration = Duration::from_secs(30);

/// What an answer from behind the proxy may not say in the API server's name.
const CORS: [HeaderName; 4] = [
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
];

/// Serves it.
pub(super) async fn serve(call: &Call, parts: Parts, payload: Payload) -> Result<Response<Body>, Status> {
    let upgrades = parts.headers.contains_key(header::UPGRADE);
    let (before, below) = location::split(parts.uri.path());
    let location = location::find(call)?;
    let reads = matches!(parts.method, Method::GET | Method::HEAD);
    if below.is_empty() && reads && !upgrades {
        return Ok(moved(&parts.uri));
    }
    let path = location::clean(below);
    let prepend = before.to_owned();
    let mut request = Request::new(dial::body(payload));
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = target(&path, parts.uri.query())?;
    *request.headers_mut() = headers(&parts, &prepend, &path, upgrades);
    let backend = connect_and_send(call, &location, request).await?;
    match backend.status() {
        StatusCode::SWITCHING_PROTOCOLS => {
            let headers = backend.headers().clone();
            Ok(dial::splice(dial::upgrade_of(parts), backend, headers))
        }
        code if upgrades && code.as_u16() < 400 => Err(status::internal(format!(
            "invalid upgrade response: status code {}",
            code.as_u16()
        ))),
        _ => {
            let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
            let own = parts.uri.authority().map(http::uri::Authority::as_str).or(host);
            let rewrite = Rewrite {
                prepend: &prepend,
                backend: location.host(),
                own: own.unwrap_or_default(),
            };
            pass_back(backend, &rewrite).await
        }
    }
}

/// Relative links need a path that ends in a slash.
fn moved(uri: &Uri) -> Response<Body> {
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut response = Response::new(reply::whole(""));
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    if let Ok(place) = HeaderValue::from_str(&format!("{}/{query}", uri.path())) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    response
}

fn target(path: &str, query: Option<&str>) -> Result<Uri, Status> {
    let path = if path.is_empty() { "/" } else { path };
    let text = query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    text.parse()
        .map_err(|cause| status::bad_request(format!("the path {text:?} cannot be asked for: {cause}")))
}

/// The client's headers, without what it said to this server alone, and with what its server would else not know.
fn headers(parts: &Parts, prepend: &str, path: &str, upgrades: bool) -> HeaderMap {
    let mut headers = dial::passed_on(&parts.headers);
    if upgrades {
        for name in [header::CONNECTION, header::UPGRADE] {
            for value in parts.headers.get_all(&name) {
                headers.append(&name, value.clone());
            }
        }
    }
    headers.remove(header::AUTHORIZATION);
    let impersonates = |name: &&HeaderName| name.as_str().starts_with("impersonate-");
    let impersonating: Vec<HeaderName> = headers.keys().filter(impersonates).cloned().collect();
    impersonating.iter().for_each(|name| drop(headers.remove(name)));
    if let Some(authority) = parts.uri.authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        // HTTP/2 has no header of it.
        headers.insert(header::HOST, host);
    }
    if let Ok(uri) = HeaderValue::from_str(&format!("{prepend}{path}")) {
        headers.insert("x-forwarded-uri", uri);
    }
    if let Some(peer) = parts.extensions.get::<std::net::SocketAddr>() {
        let before = headers
            .get_all("x-forwarded-for")
            .iter()
            .filter_map(|value| value.to_str().ok());
        let all: Vec<String> = before.map(str::to_owned).chain([peer.ip().to_string()]).collect();
        if let Ok(all) = HeaderValue::from_str(&all.join(", ")) {
            headers.insert("x-forwarded-for", all);
        }
    }
    headers
}

async fn connect_and_send(
    call: &Call,
    location: &Location,
    request: Request<Body>,
) -> Result<Response<Incoming>, Status> {
    let unreachable = |cause: &str| status::unavailable(format!("error trying to reach service: {cause}"));
    let sent = match &location.backend {
        Backend::Face(node) => {
            let stream = call
                .server
                .nodes
                .dial(&node_object(call, node)?, &location.address)
                .await?;
            dial::send(stream, request).await
        }
        Backend::Http | Backend::Https => {
            let address = &location.address;
            let stream = match tokio::time::timeout(PATIENCE, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(cause)) => return Err(unreachable(&format!("dial tcp {address}: {}", dial::words(&cause)))),
                Err(_) => return Err(unreachable(&format!("dial tcp {address}: i/o timeout"))),
            };
            // Without it small answers are late, nothing else.
            let _ = stream.set_nodelay(true);
            match location.backend {
                Backend::Https => {
                    let name = ServerName::try_from(location.ip().to_owned())
                        .map_err(|cause| unreachable(&cause.to_string()))?;
                    let tls = tls::client(Trust::Nobody, None, &[]).map_err(|cause| unreachable(&cause.to_string()))?;
                    let connecting = TlsConnector::from(tls).connect(name, stream);
                    let stream = match tokio::time::timeout(PATIENCE, connecting).await {
                        Ok(Ok(stream)) => stream,
                        Ok(Err(cause)) => return Err(unreachable(&cause.to_string())),
                        Err(_) => return Err(unreachable("TLS handshake timeout")),
                    };
                    dial::send(stream, request).await
                }
                Backend::Http | Backend::Face(_) => dial::send(stream, request).await,
            }
        }
    };
    sent.map_err(|cause| unreachable(&cause.to_string()))
}

async fn pass_back(backend: Response<Incoming>, rewrite: &Rewrite<'_>) -> Result<Response<Body>, Status> {
    let (parts, body) = backend.into_parts();
    let mut response = Response::new(body.map_err(io::Error::other).boxed());
    *response.status_mut() = parts.status;
    let mut headers = dial::passed_on(&parts.headers);
    CORS.iter().for_each(|name| drop(headers.remove(name)));
    let redirect = headers.get(header::LOCATION).and_then(|place| place.to_str().ok());
    if let Some(place) = redirect.map(|place| rewrite.url(place))
        && let Ok(place) = HeaderValue::from_str(&place)
    {
        headers.insert(header::LOCATION, place);
    }
    *response.headers_mut() = headers;
    Ok(response)
}
