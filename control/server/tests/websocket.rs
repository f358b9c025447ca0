//! Watches as WebSockets, which is what browsers can read: an event is a message, and a token may be a protocol's name.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

mod cluster;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use cluster::{Cluster, DEADLINE, MAPS, PROTOBUF, config_map, issue, post, text};
use config::KeyPair;
use futures_util::{SinkExt, StreamExt};
use http::header;
use identity::Purpose;
use identity::tls::{self, Trust};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// Opens one; the protocol that was agreed on comes with it.
async fn open(
    cluster: &Cluster,
    own: Option<&KeyPair>,
    path: &str,
    headers: &[(header::HeaderName, &str)],
) -> Result<(Socket, String), Error> {
    let tls = tls::client(
        Trust::Authority(&cluster.bundle.cluster_ca.certificate),
        own,
        &["http/1.1"],
    )
    .unwrap();
    let stream = TcpStream::connect(&cluster.address).await.unwrap();
    let name = "localhost".try_into().unwrap();
    let stream = TlsConnector::from(tls).connect(name, stream).await.unwrap();
    let mut request = format!("wss://{}{path}", cluster.address)
        .into_client_request()
        .unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let opening = tokio_tungstenite::client_async(request, stream);
    let (socket, response) = tokio::time::timeout(DEADLINE, opening)
        .await
        .expect("an answer in time")?;
    let protocol = response.headers().get(header::SEC_WEBSOCKET_PROTOCOL);
    Ok((
        socket,
        protocol
            .map(|value| value.to_str().unwrap().to_owned())
            .unwrap_or_default(),
    ))
}

async fn next(socket: &mut Socket) -> Option<Message> {
    let message = tokio::time::timeout(DEADLINE, socket.next())
        .await
        .expect("a message in time");
    message.map(Result::unwrap)
}

fn admin(cluster: &Cluster) -> KeyPair {
    issue(&cluster.bundle, "a", &["system:masters"], Vec::new(), Purpose::Client)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_messages() {
    let cluster = Cluster::start().await;
    let own = admin(&cluster);
    let path = "/api/v1/watch/namespaces/default/configmaps?timeoutSeconds=3";
    let (mut lines, protocol) = open(&cluster, Some(&own), path, &[]).await.unwrap();
    assert_eq!(protocol, "");
    let path = format!("{MAPS}?watch=true");
    let (mut messages, _) = open(&cluster, Some(&own), &path, &[(header::ACCEPT, PROTOBUF)])
        .await
        .unwrap();
    messages
        .send(Message::Ping(Bytes::from_static(b"there?")))
        .await
        .unwrap();
    assert_eq!(
        next(&mut messages).await,
        Some(Message::Pong(Bytes::from_static(b"there?")))
    );

    for name in ["a", "b"] {
        post(&cluster.admin(), MAPS, &config_map(name, &json!({}), &json!({}))).await;
    }
    for name in ["a", "b"] {
        let Some(Message::Text(line)) = next(&mut lines).await else {
            panic!("JSON is text")
        };
        let event: Value = serde_json::from_str(&line).unwrap();
        let seen = [
            text(&event, "/type"),
            text(&event, "/object/metadata/name"),
            text(&event, "/object/kind"),
        ];
        assert_eq!(seen, ["ADDED", name, "ConfigMap"]);
        let Some(Message::Binary(message)) = next(&mut messages).await else {
            panic!("protobuf is not text")
        };
        assert!(message.windows(9).any(|part| part == b"ConfigMap"), "{message:?}");
        assert_eq!(message.first(), Some(&0x0a), "no length stands before a WatchEvent");
    }
    let Some(Message::Close(Some(end))) = next(&mut lines).await else {
        panic!("a watch ends in time")
    };
    assert_eq!(end.code, CloseCode::Normal);
    drop(messages);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_may_be_a_protocol() {
    let cluster = Cluster::start().await;
    let path = format!("{MAPS}?watch=true");
    let asked = json!({"spec": {"expirationSeconds": 3600}});
    let tokens = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let made = post(&cluster.admin(), tokens, &asked).await;
    let refused =
        async |protocols: &str| match open(&cluster, None, &path, &[(header::SEC_WEBSOCKET_PROTOCOL, protocols)]).await
        {
            Err(Error::Http(response)) => response.status().as_u16(),
            Ok(_) => panic!("{protocols} lets nobody in"),
            Err(other) => panic!("{other}"),
        };
    let named = |token: &str| {
        format!(
            "base64url.bearer.authorization.k8s.io.{}, x",
            URL_SAFE_NO_PAD.encode(token)
        )
    };
    assert_eq!(refused("x").await, 401);
    assert_eq!(refused(&named("forged")).await, 401);
    // Known, and without permission.
    assert_eq!(refused(&named(&text(&made.body, "/status/token"))).await, 403);

    let account = "system:serviceaccount:default:default";
    let role = json!({"metadata": {"name": "r"}, "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["watch"]}]});
    let binding = json!({"metadata": {"name": "r"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "r"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": account}]});
    for (kind, object) in [("clusterroles", role), ("clusterrolebindings", binding)] {
        let made = post(
            &cluster.admin(),
            &format!("/apis/rbac.authorization.k8s.io/v1/{kind}"),
            &object,
        )
        .await;
        assert_eq!(made.code, 201, "{}", made.text);
    }
    let protocols = named(&text(&made.body, "/status/token"));
    let headers = [(header::SEC_WEBSOCKET_PROTOCOL, &*protocols)];
    let (_, protocol) = open(&cluster, None, &path, &headers).await.unwrap();
    assert_eq!(protocol, "x");
    let several = [(header::SEC_WEBSOCKET_PROTOCOL, "x, y")];
    match open(&cluster, Some(&admin(&cluster)), &path, &several).await {
        Err(Error::Http(response)) => assert_eq!(response.status().as_u16(), 400),
        other => panic!("{:?}", other.map(|(_, protocol)| protocol)),
    }
}
