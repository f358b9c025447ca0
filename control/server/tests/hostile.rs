//! What no honest client sends: too much, too deep, too slow, not what it says it is, of somebody else, or of long ago.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

mod cluster;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use client::{Http, Transport};
use cluster::{
    Cluster, DEADLINE, ISSUER, MAPS, PODS, PROTOBUF, Reply, config_map, get, issue, post, put, raw, text, watch,
};
use http::Method;
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use identity::Purpose;
use identity::tls::{self, Trust};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const JSON: &str = "application/json";
const YAML: &str = "application/yaml";

async fn sent(client: &Http, media_type: &str, body: impl Into<Bytes>) -> Reply {
    raw(client, Method::POST, MAPS, &[("content-type", media_type)], body.into()).await
}

fn refused(reply: &Reply) -> (u16, String) {
    (reply.code, text(&reply.body, "/reason"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_are_none_are_refused() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let deep = |open: &str, close: &str| {
        let nested = format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
        format!(r#"{{"metadata":{{"name":"a"}},"data":{nested}}}"#)
    };
    let mut broken = br#"{"metadata":{"name":"a"},"data":{"k":""#.to_vec();
    broken.extend_from_slice(&[0xff, 0xfe, 0x80]);
    broken.extend_from_slice(br#""}}"#);
    let flow = format!(
        "metadata: {{name: a}}\ndata: {}1{}\n",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    // Each alias is ten of the one before: a few lines that mean ten thousand million words.
    let mut laughs = String::from("metadata: {name: a}\ndata:\n  a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for n in 1..10 {
        let before = format!("*a{},", n - 1).repeat(10);
        laughs.push_str(&format!("  a{n}: &a{n} [{}]\n", before.trim_end_matches(',')));
    }
    for (what, media_type, body) in [
        ("nothing", JSON, Bytes::new()),
        ("half of it", JSON, Bytes::from_static(b"{\"metadata\":{")),
        ("two of them", JSON, Bytes::from_static(b"{} {}")),
        ("a text", JSON, Bytes::from_static(b"\"a\"")),
        ("deep maps", JSON, deep("{\"a\":", "}").into()),
        ("deep lists", JSON, deep("[", "]").into()),
        ("no UTF-8", JSON, broken.clone().into()),
        ("no UTF-8", YAML, broken.into()),
        ("deep lists", YAML, flow.into()),
        ("aliases", YAML, laughs.into()),
        ("not the magic", PROTOBUF, Bytes::from_static(b"k8x\0\x0a\x02v1")),
        (
            "a length beyond the end",
            PROTOBUF,
            Bytes::from_static(b"k8s\0\x0a\xff\xff\xff\xff\x0f"),
        ),
        (
            "an endless number",
            PROTOBUF,
            Bytes::from_static(b"k8s\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
        ),
    ] {
        let begun = Instant::now();
        let reply = sent(&admin, media_type, body).await;
        assert_eq!(
            refused(&reply),
            (400, "BadRequest".to_owned()),
            "{what} in {media_type}: {}",
            reply.text
        );
        assert!(
            !reply.message().is_empty() && reply.text.len() < 8 * 1024,
            "{what}: {}",
            reply.text.len()
        );
        assert!(
            begun.elapsed() < DEADLINE,
            "{what} in {media_type} takes {:?}",
            begun.elapsed()
        );
    }
    let twice = r#"{"metadata":{"name":"twice"},"data":{"k":"1","k":"2"}}"#;
    let warned = sent(&admin, JSON, twice).await;
    assert_eq!(
        (warned.code, warned.warnings()),
        (201, vec![r#"299 - "duplicate field \"data.k\"""#.to_owned()])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn enormous_bodies_are_cut_off() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let too_large = (413, "RequestEntityTooLarge".to_owned());
    let body = format!(
        r#"{{"metadata":{{"name":"a"}},"data":{{"k":"{}"}}}}"#,
        "x".repeat(4 << 20)
    );
    for media_type in [JSON, YAML, PROTOBUF] {
        let reply = sent(&admin, media_type, body.clone()).await;
        assert_eq!(refused(&reply), too_large, "{media_type}");
        assert_eq!(reply.message(), "Request entity too large: limit is 3145728");
    }
    let headers = [("content-type", "application/merge-patch+json")];
    let reply = raw(&admin, Method::PATCH, &format!("{MAPS}/a"), &headers, body.into()).await;
    assert_eq!(refused(&reply), too_large);
    // What is named and not what is sent counts against names, selectors and options.
    let long = "x".repeat(40_000);
    for path in [
        format!("{MAPS}/{long}"),
        format!("{MAPS}?labelSelector={long}"),
        format!("{MAPS}?continue={long}"),
    ] {
        let reply = get(&admin, &path).await;
        assert!((400..500).contains(&reply.code), "{}: {}", &path[..60], reply.code);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_spoken_here_is_named() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let map = config_map("a", &json!({}), &json!({})).to_string();
    for media_type in [
        "text/plain",
        "application/xml",
        "application/cbor",
        "application/json-patch+json",
    ] {
        let reply = sent(&admin, media_type, map.clone()).await;
        assert_eq!(
            refused(&reply),
            (415, "UnsupportedMediaType".to_owned()),
            "{media_type}"
        );
        let accepted = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
        let why =
            format!("the body of the request was in an unknown format - accepted media types include: {accepted}");
        assert_eq!(reply.message(), why, "{media_type}");
    }
    let patched = raw(
        &admin,
        Method::PATCH,
        &format!("{MAPS}/a"),
        &[("content-type", JSON)],
        map.into(),
    )
    .await;
    assert_eq!(patched.code, 415, "{}", patched.text);
    let reply = raw(&admin, Method::GET, MAPS, &[("accept", "text/html")], Bytes::new()).await;
    assert_eq!(refused(&reply), (406, "NotAcceptable".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn impossible_options_are_refused() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    post(&admin, MAPS, &config_map("a", &json!({}), &json!({}))).await;
    for query in [
        "labelSelector=a%3D%3D%3Db",
        "labelSelector=a+in+(",
        "labelSelector=%00",
        "labelSelector=!",
        "fieldSelector=spec.nothing%3D1",
        "fieldSelector=metadata.name%3E1",
        "resourceVersion=new",
        "resourceVersion=-1",
        "resourceVersionMatch=Exact",
        "resourceVersionMatch=Roughly&resourceVersion=1",
        "limit=some",
        "continue=%25%25",
        "continue=e30",
        "watch=true&sendInitialEvents=true",
        "watch=true&resourceVersion=1e3",
    ] {
        let reply = get(&admin, &format!("{MAPS}?{query}")).await;
        assert!(
            matches!(reply.code, 400 | 422),
            "{query}: {} {}",
            reply.code,
            reply.text
        );
        assert!(!reply.message().is_empty(), "{query}");
    }
    let future = get(&admin, &format!("{MAPS}/a?resourceVersion=99999999")).await;
    assert_eq!(refused(&future), (504, "Timeout".to_owned()));
    assert!(
        future
            .message()
            .starts_with("Timeout: Too large resource version: 99999999, current: "),
        "{}",
        future.text
    );
    let mut stale = get(&admin, &format!("{MAPS}/a")).await.body;
    stale["data"] = json!({"x": "1"});
    assert_eq!(put(&admin, &format!("{MAPS}/a"), &stale).await.code, 200);
    let reply = put(&admin, &format!("{MAPS}/a"), &stale).await;
    let why = "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the \
               latest version and try again";
    assert_eq!((reply.code, reply.message()), (409, why.to_owned()));
}

/// A token as the cluster's key signs it.
fn signed(cluster: &Cluster, claims: &Value) -> String {
    let key = tls::key(&cluster.bundle.service_account_key).unwrap();
    let random = SystemRandom::new();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.secret_der(), &random).unwrap();
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&json!({"alg": "ES256"})), part(claims));
    let signature = key.sign(&random, signed.as_bytes()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_and_certificates_of_others_and_of_long_ago_let_nobody_in() {
    let cluster = Cluster::start().await;
    let account = "/api/v1/namespaces/default/serviceaccounts/default";
    let uid = text(&get(&cluster.admin(), account).await.body, "/metadata/uid");
    let claims = |begins: i64, ends: i64, audience: &str| {
        let own = json!({"namespace": "default", "serviceaccount": {"name": "default", "uid": uid}});
        json!({"iss": ISSUER, "sub": "system:serviceaccount:default:default", "aud": [audience], "nbf": begins, "exp": ends,
               "kubernetes.io": own})
    };
    let now = jiff::Timestamp::now().as_second();
    let good = signed(&cluster, &claims(now - 60, now + 600, ISSUER));
    let unsigned = {
        let mut parts: Vec<&str> = good.split('.').collect();
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
        parts[0] = &none;
        parts[2] = "";
        parts.join(".")
    };
    let anonymous = cluster.anonymous();
    for (what, token, code) in [
        // Known, and may nothing.
        ("good", good.clone(), 403),
        ("expired", signed(&cluster, &claims(now - 600, now - 1, ISSUER)), 401),
        (
            "not begun",
            signed(&cluster, &claims(now + 300, now + 600, ISSUER)),
            401,
        ),
        (
            "for others",
            signed(&cluster, &claims(now - 60, now + 600, "https://elsewhere")),
            401,
        ),
        ("without a signature", unsigned, 401),
        ("cut", good[..good.len() - 8].to_owned(), 401),
        ("without an end", format!("{good}{}", "A".repeat(20_000)), 401),
        (
            "lasting, and in no secret",
            signed(
                &cluster,
                &json!({
                    "iss": "kubernetes/serviceaccount", "sub": "system:serviceaccount:default:default",
                    "kubernetes.io/serviceaccount/namespace": "default", "kubernetes.io/serviceaccount/secret.name": "none",
                    "kubernetes.io/serviceaccount/service-account.name": "default",
                    "kubernetes.io/serviceaccount/service-account.uid": uid,
                }),
            ),
            401,
        ),
    ] {
        let headers = [("authorization", &*format!("Bearer {token}"))];
        let reply = raw(&anonymous, Method::GET, PODS, &headers, Bytes::new()).await;
        assert_eq!(reply.code, code, "{what}: {}", reply.text);
    }
    // Of the cluster's CA, and made for servers.
    let server = issue(
        &cluster.bundle,
        "admin",
        &["system:masters"],
        vec!["a".to_owned()],
        Purpose::Server,
    );
    let request = http::Request::builder().uri(PODS).body(Bytes::new()).unwrap();
    assert!(cluster.connect(Some(&server)).send(request).await.is_err());
}

async fn connection(cluster: &Cluster) -> TlsStream<TcpStream> {
    let own = issue(&cluster.bundle, "a", &["system:masters"], Vec::new(), Purpose::Client);
    let tls = tls::client(
        Trust::Authority(&cluster.bundle.cluster_ca.certificate),
        Some(&own),
        &["http/1.1"],
    )
    .unwrap();
    let stream = TcpStream::connect(&cluster.address).await.unwrap();
    TlsConnector::from(tls)
        .connect("localhost".try_into().unwrap(), stream)
        .await
        .unwrap()
}

/// Everything until the server ends the connection.
async fn rest(stream: &mut TlsStream<TcpStream>) -> String {
    let mut said = Vec::new();
    let ended = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut said)).await;
    // However it ends, it ends.
    drop(ended.expect("the server ends it in time"));
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_clients_are_not_waited_for() {
    let cluster = Cluster::start().await;
    // A head that never ends, by a client that goes on sending.
    let mut slow = connection(&cluster).await;
    slow.write_all(b"GET /version HTTP/1.1\r\n").await.unwrap();
    let (mut said, mut sender) = tokio::io::split(slow);
    let trickle = tokio::spawn(async move {
        while sender.write_all(b"x-more: 1\r\n").await.is_ok() && sender.flush().await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let mut bytes = Vec::new();
    let ended = tokio::time::timeout(DEADLINE, said.read_to_end(&mut bytes)).await;
    drop(ended.expect("a slow head is not waited for"));
    trickle.abort();

    // A body that never ends, of a request that says how long it may take.
    let mut slow = connection(&cluster).await;
    let head =
        format!("POST {MAPS}?timeout=2s HTTP/1.1\r\nhost: a\r\ncontent-type: {JSON}\r\ncontent-length: 1000\r\n\r\n{{");
    slow.write_all(head.as_bytes()).await.unwrap();
    let said = rest(&mut slow).await;
    assert!(
        said.starts_with("HTTP/1.1 504 ") && said.contains("request did not complete within requested timeout"),
        "{said}"
    );

    // A handshake that never ends.
    let mut silent = TcpStream::connect(&cluster.address).await.unwrap();
    let ended = tokio::time::timeout(DEADLINE, silent.read(&mut [0; 16])).await;
    drop(ended.expect("a handshake is not waited for"));
    assert_eq!(get(&cluster.admin(), "/readyz").await.code, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_that_does_not_read_is_cut_off() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let mut lines = watch(&cluster.admin(), &format!("{MAPS}?watch=true"), "").await;
    // More than waits for anybody: 90 MiB, of which a connection takes a few.
    let (many, large) = (90, "x".repeat(1 << 20));
    for n in 0..many {
        let made = post(
            &admin,
            MAPS,
            &config_map(&format!("m{n}"), &json!({}), &json!({ "k": large })),
        )
        .await;
        assert_eq!(made.code, 201, "{}", made.text);
        let gone = cluster::delete(&admin, &format!("{MAPS}/m{n}")).await;
        assert_eq!(gone.code, 200, "{}", gone.text);
    }
    let mut seen = 0;
    let end = loop {
        let event = lines.next().await.expect("a watch that was cut off says so");
        match text(&event, "/type").as_str() {
            "ERROR" => break event,
            _ => seen += 1,
        }
    };
    assert_eq!(
        (&end["object"]["code"], text(&end, "/object/reason")),
        (&json!(410), "Expired".to_owned())
    );
    assert!(seen < many, "{seen} events waited");
    assert!(lines.next().await.is_none());
}

/// Requests over one connection of HTTP/2, whose bodies need not end.
async fn sender(cluster: &Cluster, user: &str) -> http2::SendRequest<BoxBody<Bytes, Infallible>> {
    let own = issue(&cluster.bundle, user, &[], Vec::new(), Purpose::Client);
    let trust = Trust::Authority(&cluster.bundle.cluster_ca.certificate);
    let tls = tls::client(trust, Some(&own), &["h2"]).unwrap();
    let stream = TcpStream::connect(&cluster.address).await.unwrap();
    let name = "localhost".try_into().unwrap();
    let stream = TlsConnector::from(tls).connect(name, stream).await.unwrap();
    let opening = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, connection) = opening.await.unwrap();
    tokio::spawn(connection);
    sender
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_too_much_at_once_comes_again() {
    let cluster = Cluster::start().await;
    let admin = cluster.admin();
    let rule = json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]});
    let role = json!({"metadata": {"name": "all"}, "rules": [rule]});
    let role_ref = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "all"});
    let subject = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "many"});
    let binding = json!({"metadata": {"name": "all"}, "roleRef": role_ref, "subjects": [subject]});
    for (kind, object) in [("clusterroles", role), ("clusterrolebindings", binding)] {
        let made = post(&admin, &format!("/apis/rbac.authorization.k8s.io/v1/{kind}"), &object).await;
        assert_eq!(made.code, 201, "{}", made.text);
    }
    let request = |body| {
        let request = http::Request::post(format!("https://{}{MAPS}", cluster.address));
        request.header("content-type", JSON).body(body).unwrap()
    };
    let unended = || StreamBody::new(futures_util::stream::pending::<Result<Frame<Bytes>, Infallible>>()).boxed();
    let mut sender = sender(&cluster, "many").await;
    // Upstream's `--max-mutating-requests-inflight`.
    let held: Vec<_> = (0..200)
        .map(|_| tokio::spawn(sender.send_request(request(unended()))))
        .collect();
    let in_flight = r#"apiserver_current_inflight_requests{request_kind="mutating"} 200"#;
    cluster::eventually("all of them are in flight", async || {
        get(&admin, "/metrics").await.text.lines().any(|line| line == in_flight)
    })
    .await;
    let user = cluster.user("many", &[]);
    let refused = post(&user, MAPS, &config_map("a", &json!({}), &json!({}))).await;
    assert_eq!(
        (refused.code, text(&refused.body, "/reason")),
        (429, "TooManyRequests".to_owned())
    );
    assert_eq!(refused.message(), "Too many requests, please try again later.");
    assert_eq!(refused.headers["retry-after"], "1");
    // Whoever reads, and whoever may do everything, is not kept out.
    assert_eq!(get(&user, MAPS).await.code, 200);
    assert_eq!(
        post(&admin, MAPS, &config_map("b", &json!({}), &json!({}))).await.code,
        201
    );
    held.iter().for_each(tokio::task::JoinHandle::abort);
    drop(sender);
    cluster::eventually("there is room again", async || {
        post(&user, MAPS, &config_map("a", &json!({}), &json!({}))).await.code == 201
    })
    .await;
}
