//! Port-forward: connections of a caller to ports of a pod, as if they came from inside of it.

mod connect;
mod spdy;
mod websocket;

use super::query::Query;
use super::upgrade::{self, Transport};
use super::{Body, Refusal, find};
use crate::pods::directory::Directory;
pub use connect::Target;
use http::{HeaderMap, Request, Response, StatusCode, header};
use hyper::body::Incoming;

/// Answers; what the ports are is said on the connection, or, for the older WebSocket protocol, in the query.
pub fn answer(
    request: Request<Incoming>,
    directory: &Directory,
    [namespace, pod]: [&str; 2],
    query: &Query,
) -> Result<Response<Body>, Refusal> {
    upgrade::required(request.headers())?;
    let entry = find(directory, namespace, pod)?;
    let Some(sandbox) = entry.sandbox.filter(|_| !entry.running.is_empty()) else {
        let why = format!("unable to do port forwarding: pod {pod}_{namespace} is not running");
        return Err(Refusal(StatusCode::INTERNAL_SERVER_ERROR, why));
    };
    let target = Target {
        sandbox,
        name: format!("{pod}_{namespace}"),
        uid: entry.pod.metadata.uid.clone().unwrap_or_default(),
    };
    connect(request, target, query)
}

/// Connects a caller whose request asks for streams with a pod.
pub fn connect(request: Request<Incoming>, target: Target, query: &Query) -> Result<Response<Body>, Refusal> {
    match upgrade::required(request.headers())? {
        Transport::Spdy => spdy::answer(request, target),
        Transport::WebSocket if is_tunnel(request.headers()) => spdy::answer_tunnel(request, target),
        Transport::WebSocket => websocket::answer(request, target, ports(query)?),
    }
}

/// Whether SPDY is to go through the WebSocket, as kubectl does since 1.31.
fn is_tunnel(headers: &HeaderMap) -> bool {
    let protocols = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let mut words = protocols
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    words.any(|word| word.trim().starts_with("SPDY/3.1+"))
}

/// `port=80,443&port=22`, in upstream's words (kubelet/pkg/cri/streaming/portforward `BuildV4Options`).
fn ports(query: &Query) -> Result<Vec<u16>, Refusal> {
    let bad = |why: String| Refusal(StatusCode::BAD_REQUEST, why);
    let mut ports = Vec::new();
    for list in query.all("port") {
        if list.is_empty() {
            return Err(bad("query parameter \"port\" cannot be empty".to_owned()));
        }
        for text in list.split(',') {
            ports.push(port(text).map_err(bad)?);
        }
    }
    match ports.is_empty() {
        true => Err(bad("query parameter \"port\" is required".to_owned())),
        false => Ok(ports),
    }
}

fn port(text: &str) -> Result<u16, String> {
    match text.parse::<u16>() {
        Ok(0) => Err(format!("port {text:?} must be > 0")),
        Ok(port) => Ok(port),
        Err(error) => Err(format!("unable to parse {text:?} as a port: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_listed_or_refused() {
        let ports = |query: &str| ports(&Query::parse(query)).map_err(|refusal| refusal.1);
        assert_eq!(ports("port=80,443&port=22"), Ok(vec![80, 443, 22]));
        assert_eq!(ports(""), Err("query parameter \"port\" is required".to_owned()));
        assert_eq!(
            ports("port="),
            Err("query parameter \"port\" cannot be empty".to_owned())
        );
        assert_eq!(ports("port=0"), Err("port \"0\" must be > 0".to_owned()));
        assert!(
            ports("port=70000")
                .unwrap_err()
                .starts_with("unable to parse \"70000\" as a port")
        );
    }
}
