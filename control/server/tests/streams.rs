//! Log and exec reach the node that runs the pod: options translated, bytes passed both ways, absence explained.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

mod cluster;

use bytes::Bytes;
use cluster::{Cluster, DEADLINE, PODS, get, issue, merge, pod, post, text};
use config::Bundle;
use http::{Request, Response, StatusCode, header};
use http_body_util::{Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use identity::Purpose;
use identity::tls::{self, Callers, Trust};
use serde_json::json;
use server::Nodes;
use std::convert::Infallible;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

fn nodes(bundle: &Bundle) -> Nodes {
    let own = issue(
        bundle,
        "system:kube-apiserver",
        &["system:masters"],
        Vec::new(),
        Purpose::Client,
    );
    Nodes::new(
        tls::client(
            Trust::Authority(&bundle.cluster_ca.certificate),
            Some(&own),
            &["http/1.1"],
        )
        .unwrap(),
    )
}

/// A node's server that says what it was asked, and echoes what it is sent after an upgrade. Returns its port.
async fn echoing_node(bundle: &Bundle) -> u16 {
    let own = issue(
        bundle,
        "system:node:n1",
        &["system:nodes"],
        vec!["n1".to_owned()],
        Purpose::ServerAndClient,
    );
    let tls = tls::server(&own, Callers::Of(&bundle.cluster_ca.certificate), &["http/1.1"]).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = TlsAcceptor::from(tls.clone());
            tokio::spawn(async move {
                let stream = acceptor.accept(stream).await.unwrap();
                let http = hyper::server::conn::http1::Builder::new();
                let _ = http
                    .serve_connection(TokioIo::new(stream), service_fn(echo))
                    .with_upgrades()
                    .await;
            });
        }
    });
    port
}

async fn echo(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let asked = request.uri().to_string();
    if asked.contains("previous=true") {
        let mut refusal = Response::new(Full::new(
            "previous terminated container \"c\" in pod \"p\" not found".into(),
        ));
        *refusal.status_mut() = StatusCode::BAD_REQUEST;
        return Ok(refusal);
    }
    if !request.headers().contains_key(header::UPGRADE) {
        return Ok(Response::new(Full::new(asked.into())));
    }
    tokio::spawn(async move {
        let mut stream = TokioIo::new(hyper::upgrade::on(request).await.unwrap());
        stream.write_all(format!("{asked}\n").as_bytes()).await.unwrap();
        let mut buffer = [0; 1024];
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            stream.write_all(&buffer[..count]).await.unwrap();
        }
    });
    let upgraded = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_PROTOCOL, "v5.channel.k8s.io");
    Ok(upgraded.body(Full::default()).unwrap())
}

/// A pod bound to `n1`, whose server is on `port`.
async fn running_pod(cluster: &Cluster, port: u16) {
    let admin = cluster.admin();
    post(&admin, "/api/v1/nodes", &json!({"metadata": {"name": "n1"}})).await;
    let status = json!({"status": {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
    }});
    let patched = merge(&admin, "/api/v1/nodes/n1/status", &status).await;
    assert_eq!(patched.code, 200, "{}", patched.text);
    assert_eq!(post(&admin, PODS, &pod("p")).await.code, 201);
    assert_eq!(
        post(&admin, &format!("{PODS}/p/binding"), &json!({"target": {"name": "n1"}}))
            .await
            .code,
        201
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_asked_of_the_pods_node() {
    let cluster = Cluster::with_nodes(nodes).await;
    running_pod(&cluster, echoing_node(&cluster.bundle).await).await;
    let admin = cluster.admin();
    let log = get(&admin, &format!("{PODS}/p/log?follow=true&tailLines=5&pretty=1")).await;
    assert_eq!(
        (log.code, log.text.as_str()),
        (200, "/containerLogs/default/p/c?follow=true&tailLines=5")
    );
    assert_eq!(get(&admin, &format!("{PODS}/p/log?container=none")).await.code, 400);
    let previous = get(&admin, &format!("{PODS}/p/log?previous=true")).await;
    assert_eq!(
        (previous.code, text(&previous.body, "/reason")),
        (400, "BadRequest".to_owned())
    );
    let sentence = "previous terminated container \"c\" in pod \"p\" not found";
    assert_eq!(text(&previous.body, "/message"), sentence);
    let negative = get(&admin, &format!("{PODS}/p/log?tailLines=-1")).await;
    let sentence = "PodLogOptions \"p\" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0";
    assert_eq!(text(&negative.body, "/message"), sentence);
    post(&admin, PODS, &pod("unbound")).await;
    assert_eq!(get(&admin, &format!("{PODS}/unbound/log")).await.code, 204);
    let trusting = format!("{PODS}/p/log?insecureSkipTLSVerifyBackend=true");
    assert_eq!(get(&admin, &trusting).await.code, 200);
    assert_eq!(get(&admin, &format!("{PODS}/p/log?tailLines=-1")).await.code, 422);
    assert_eq!(get(&admin, &format!("{PODS}/p/log?tailLines=x")).await.code, 400);
    assert_eq!(
        get(&admin, &format!("{PODS}/p/exec?command=ls&stdout=1")).await.code,
        400
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_not_there_is_an_error_with_its_address() {
    let cluster = Cluster::with_nodes(nodes).await;
    // A port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    running_pod(&cluster, port).await;
    let log = get(&cluster.admin(), &format!("{PODS}/p/log")).await;
    assert_eq!(log.code, 500);
    let sentence = format!("error dialing backend: dial tcp 127.0.0.1:{port}:");
    assert!(text(&log.body, "/message").contains(&sentence), "{}", log.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exec_passes_bytes_both_ways_after_the_upgrade() {
    let cluster = Cluster::with_nodes(nodes).await;
    running_pod(&cluster, echoing_node(&cluster.bundle).await).await;
    let own = issue(
        &cluster.bundle,
        "kubernetes-admin",
        &["system:masters"],
        Vec::new(),
        Purpose::Client,
    );
    let trust = Trust::Authority(&cluster.bundle.cluster_ca.certificate);
    let connector = TlsConnector::from(tls::client(trust, Some(&own), &["http/1.1"]).unwrap());
    let stream = TcpStream::connect(&cluster.address).await.unwrap();
    let stream = connector
        .connect("127.0.0.1".try_into().unwrap(), stream)
        .await
        .unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection.with_upgrades());
    let request = Request::builder()
        .uri(format!(
            "{PODS}/p/exec?command=sh&command=-c&command=echo%20%24A&stdin=true&stdout=true&stderr=0"
        ))
        .header(header::HOST, &cluster.address)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_PROTOCOL, "v5.channel.k8s.io");
    let response = sender
        .send_request(request.body(Empty::<Bytes>::new()).unwrap())
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(response.headers()[header::SEC_WEBSOCKET_PROTOCOL], "v5.channel.k8s.io");

    let mut stream = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    let expected = "/exec/default/p/c?command=sh&command=-c&command=echo%20%24A&input=1&output=1\nhello";
    stream.write_all(b"hello").await.unwrap();
    let mut got = vec![0; expected.len()];
    tokio::time::timeout(DEADLINE, stream.read_exact(&mut got))
        .await
        .expect("an echo in time")
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&got), expected);
}
