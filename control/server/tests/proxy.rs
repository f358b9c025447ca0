//! `proxy`: what is asked below a pod, a service or a node is asked of it, and what it answers is found through the server.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

mod cluster;

use bytes::Bytes;
use client::Transport;
use cluster::{Cluster, get, issue, merge, pod, post};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use identity::Purpose;
use identity::tls::{self, Callers, Trust};
use serde_json::{Value, json};
use server::Nodes;
use std::convert::Infallible;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const SERVICE: &str = "/api/v1/namespaces/default/services";

/// Says what it was asked; some paths redirect or fail.
async fn backend(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let header = |name: &str| {
        parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let response = Response::builder()
        .header("content-type", "application/json")
        .header("access-control-allow-origin", "*");
    let response = match parts.uri.path() {
        "/login" => response.status(StatusCode::FOUND).header("location", "/welcome/?a=b"),
        "/away" => response
            .status(StatusCode::FOUND)
            .header("location", "https://example.org/"),
        "/teapot" => response.status(StatusCode::IM_A_TEAPOT),
        _ => response,
    };
    let said = json!({
        "method": parts.method.as_str(), "uri": parts.uri.to_string(), "body": String::from_utf8_lossy(&body),
        "authorization": header("authorization"), "forwarded": header("x-forwarded-uri"),
        "for": header("x-forwarded-for"), "mine": header("x-mine"), "private": header("x-private"),
    });
    Ok(response.body(Full::new(said.to_string().into())).unwrap())
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin) {
    let http = hyper::server::conn::http1::Builder::new();
    let _ = http.serve_connection(TokioIo::new(stream), service_fn(backend)).await;
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Its port.
async fn listen(acceptor: Option<TlsAcceptor>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                match acceptor {
                    Some(acceptor) => converse(acceptor.accept(stream).await.unwrap()).await,
                    None => converse(stream).await,
                }
            });
        }
    });
    port
}

/// A service `web` with the ports `http` and `https`, and the pod behind both.
async fn serve(cluster: &Cluster) {
    let admin = cluster.admin();
    let own = issue(
        &cluster.bundle,
        "anybody",
        &[],
        vec!["elsewhere".to_owned()],
        Purpose::Server,
    );
    let tls = tls::server(&own, Callers::Anybody, &["http/1.1"]).unwrap();
    let (plain, secure) = (listen(None).await, listen(Some(TlsAcceptor::from(tls))).await);
    assert_eq!(
        post(&admin, "/api/v1/namespaces/default/pods", &pod("p")).await.code,
        201
    );
    let status = json!({"status": {"podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}});
    let patched = merge(&admin, "/api/v1/namespaces/default/pods/p/status", &status).await;
    assert_eq!(patched.code, 200, "{}", patched.text);
    let service = json!({"metadata": {"name": "web"}, "spec": {"ports": [
        {"name": "http", "port": 80}, {"name": "https", "port": 443}, {"name": "none", "port": 9}]}});
    let made = post(&admin, SERVICE, &service).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let address =
        |pod: &str| json!({"ip": "127.0.0.1", "targetRef": {"kind": "Pod", "namespace": "default", "name": pod}});
    let endpoints = json!({"metadata": {"name": "web"}, "subsets": [
        {"addresses": [address("p")], "ports": [{"name": "http", "port": plain}, {"name": "https", "port": secure}]},
        {"addresses": [address("gone")], "ports": [{"name": "none", "port": plain}]}]});
    let made = post(&admin, "/api/v1/namespaces/default/endpoints", &endpoints).await;
    assert_eq!(made.code, 201, "{}", made.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_is_asked_through_the_server() {
    let cluster = Cluster::start().await;
    serve(&cluster).await;
    let admin = cluster.admin();
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        let request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(format!("{SERVICE}/web:http/proxy/a/b%20c/?x=1&y=%2F"))
            .header("x-mine", "kept")
            .header("x-forwarded-for", "192.0.2.1");
        let request = request.body(Bytes::from_static(b"words")).unwrap();
        let reply = admin.send(request).await.unwrap();
        assert_eq!(reply.status(), StatusCode::OK, "{method}");
        assert!(!reply.headers().contains_key("access-control-allow-origin"));
        let body = reply.into_body().collect().await.unwrap().to_bytes();
        let said: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((text(&said, "/method"), text(&said, "/body")), (method, "words"));
        assert_eq!(text(&said, "/uri"), "/a/b%20c/?x=1&y=%2F");
        assert_eq!(
            (text(&said, "/mine"), text(&said, "/for")),
            ("kept", "192.0.2.1, 127.0.0.1")
        );
        assert_eq!(text(&said, "/forwarded"), format!("{SERVICE}/web:http/proxy/a/b%20c/"));
    }
    for path in ["web:80/proxy/x", "https:web:443/proxy/x", "https:web:https/proxy/x"] {
        assert_eq!(
            text(&get(&admin, &format!("{SERVICE}/{path}")).await.body, "/uri"),
            "/x",
            "{path}"
        );
    }
    assert_eq!(get(&admin, &format!("{SERVICE}/web:http/proxy/teapot")).await.code, 418);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn places_and_slashes_are_those_of_the_proxy() {
    let cluster = Cluster::start().await;
    serve(&cluster).await;
    let admin = cluster.admin();
    let web = format!("{SERVICE}/web:http/proxy");
    let location = |reply: &cluster::Reply| reply.headers["location"].to_str().unwrap().to_owned();
    let moved = get(&admin, &format!("{web}?a=1")).await;
    assert_eq!((moved.code, location(&moved)), (301, format!("{web}/?a=1")));
    let login = get(&admin, &format!("{web}/login")).await;
    assert_eq!((login.code, location(&login)), (302, format!("{web}/welcome/?a=b")));
    assert_eq!(
        location(&get(&admin, &format!("{web}/away")).await),
        "https://example.org/"
    );
    // What changes something is not sent elsewhere.
    let posted = post(&admin, &web, &json!({})).await;
    assert_eq!((posted.code, text(&posted.body, "/uri")), (200, "/"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_reached_is_said() {
    let cluster = Cluster::start().await;
    serve(&cluster).await;
    let admin = cluster.admin();
    let pods = "/api/v1/namespaces/default/pods";
    for (path, code, sentence) in [
        (
            format!("{SERVICE}/web:81/proxy/"),
            503,
            "no service port 81 found for service \"web\"",
        ),
        (
            format!("{SERVICE}/web:none/proxy/"),
            503,
            "no endpoints available for service \"web:none\"",
        ),
        (
            format!("{SERVICE}/web/proxy/"),
            503,
            "no endpoints available for service \"web\"",
        ),
        (format!("{SERVICE}/nobody/proxy/"), 404, "services \"nobody\" not found"),
        (
            format!("{SERVICE}/ftp:web:21/proxy/"),
            400,
            "invalid service request \"ftp:web:21\"",
        ),
        (format!("{pods}/p/proxy/"), 400, "address not allowed"),
        (format!("{pods}/nobody:80/proxy/"), 404, "pods \"nobody\" not found"),
    ] {
        let reply = get(&admin, &path).await;
        assert_eq!((reply.code, text(&reply.body, "/message")), (code, sentence), "{path}");
    }
    // A port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let subsets = json!({"subsets": [{"ports": [{"name": "http", "port": port}], "addresses": [
        {"ip": "127.0.0.1", "targetRef": {"kind": "Pod", "namespace": "default", "name": "p"}}]}]});
    let changed = merge(&admin, "/api/v1/namespaces/default/endpoints/web", &subsets).await;
    assert_eq!(changed.code, 200, "{}", changed.text);
    let reply = get(&admin, &format!("{SERVICE}/web:http/proxy/")).await;
    let sentence = format!("error trying to reach service: dial tcp 127.0.0.1:{port}: connect: connection refused");
    assert_eq!((reply.code, text(&reply.body, "/message")), (503, sentence.as_str()));
    let refused = get(&cluster.anonymous(), &format!("{SERVICE}/web:http/proxy/")).await;
    assert!(matches!(refused.code, 401 | 403), "{}", refused.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nodes_face_is_asked_by_the_servers_own_right() {
    let nodes = |bundle: &config::Bundle| {
        let own = issue(
            bundle,
            "system:kube-apiserver",
            &["system:masters"],
            Vec::new(),
            Purpose::Client,
        );
        let trust = Trust::Authority(&bundle.cluster_ca.certificate);
        Nodes::new(tls::client(trust, Some(&own), &["http/1.1"]).unwrap())
    };
    let cluster = Cluster::with_nodes(nodes).await;
    let names = vec!["n1".to_owned()];
    let own = issue(
        &cluster.bundle,
        "system:node:n1",
        &["system:nodes"],
        names,
        Purpose::ServerAndClient,
    );
    let tls = tls::server(&own, Callers::Of(&cluster.bundle.cluster_ca.certificate), &["http/1.1"]).unwrap();
    let port = listen(Some(TlsAcceptor::from(tls))).await;
    let admin = cluster.admin();
    post(&admin, "/api/v1/nodes", &json!({"metadata": {"name": "n1"}})).await;
    let status = json!({"status": {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
    }});
    assert_eq!(merge(&admin, "/api/v1/nodes/n1/status", &status).await.code, 200);
    for name in ["n1".to_owned(), format!("n1:{port}"), format!("https:n1:{port}")] {
        let reply = get(&admin, &format!("/api/v1/nodes/{name}/proxy/pods?a=b")).await;
        assert_eq!(text(&reply.body, "/uri"), "/pods?a=b", "{}", reply.text);
    }
    let other = get(&admin, "/api/v1/nodes/n1:9/proxy/").await;
    assert_eq!(
        (other.code, text(&other.body, "/message")),
        (400, "address not allowed")
    );
}
