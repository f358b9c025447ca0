//! Over the network: many requests share one connection, a new one is made after a loss, strangers are not trusted,
//! and a kubeconfig says it all.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

use bytes::Bytes;
use client::{ConnectError, Http, Identity, Transport};
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rcgen::{CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

struct Pki {
    ca: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    fn new() -> Pki {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Pki {
            ca: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap(),
        }
    }

    fn issue(&self, purpose: ExtendedKeyUsagePurpose) -> Identity {
        let mut params = CertificateParams::new(vec!["127.0.0.1".into()]).unwrap();
        params.extended_key_usages = vec![purpose];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.ca).unwrap();
        Identity {
            certificate: certificate.pem().into_bytes(),
            key: key.serialize_pem().into_bytes(),
        }
    }

    fn ca_pem(&self) -> Vec<u8> {
        self.ca.pem().into_bytes()
    }
}

/// Answers with the number of the connection and the request's path; counts connections; hangs up when told.
struct Server {
    address: String,
    connections: Arc<AtomicUsize>,
    hang_up: tokio::sync::watch::Sender<usize>,
}

impl Server {
    async fn start(pki: &Pki, protocols: &[&[u8]]) -> Server {
        let identity = pki.issue(ExtendedKeyUsagePurpose::ServerAuth);
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(&pki.ca_pem()).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(&identity.certificate).unwrap()],
                PrivateKeyDer::from_pem_slice(&identity.key).unwrap(),
            )
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("https://{}", listener.local_addr().unwrap());
        let (connections, (hang_up, told)) = (Arc::new(AtomicUsize::new(0)), tokio::sync::watch::channel(0));
        tokio::spawn(accept(
            listener,
            TlsAcceptor::from(Arc::new(config)),
            connections.clone(),
            told,
        ));
        Server {
            address,
            connections,
            hang_up,
        }
    }
}

async fn accept(
    listener: TcpListener,
    tls: TlsAcceptor,
    connections: Arc<AtomicUsize>,
    told: tokio::sync::watch::Receiver<usize>,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, connections, mut told) = (tls.clone(), connections.clone(), told.clone());
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let number = connections.fetch_add(1, Ordering::SeqCst) + 1;
            let answer = service_fn(move |request: Request<hyper::body::Incoming>| async move {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                let text = format!("{number} {}", request.uri().path());
                Ok::<_, Infallible>(http::Response::new(Full::new(Bytes::from(text))))
            });
            told.mark_unchanged();
            let builder = auto::Builder::new(TokioExecutor::new());
            tokio::select! {
                _ = builder.serve_connection(TokioIo::new(stream), answer) => {}
                _ = told.changed() => {}
            }
        });
    }
}

async fn get(http: &Http, path: &str) -> std::io::Result<String> {
    let reply = http.send(Request::get(path).body(Bytes::new()).unwrap()).await?;
    Ok(String::from_utf8(reply.into_body().collect().await?.to_bytes().to_vec()).unwrap())
}

#[tokio::test]
async fn requests_share_one_connection_and_a_lost_one_is_replaced() {
    let pki = Pki::new();
    let server = Server::start(&pki, &[b"h2", b"http/1.1"]).await;
    let http = Http::new(
        &server.address,
        &pki.ca_pem(),
        Some(&pki.issue(ExtendedKeyUsagePurpose::ClientAuth)),
    )
    .unwrap();
    assert_eq!(get(&http, "/first").await.unwrap(), "1 /first");
    let paths: Vec<String> = (0..50).map(|number| format!("/{number}")).collect();
    let replies = futures_util::future::join_all(paths.iter().map(|path| get(&http, path))).await;
    assert!(
        replies
            .into_iter()
            .zip(&paths)
            .all(|(reply, path)| reply.unwrap() == format!("1 {path}"))
    );
    server.hang_up.send(1).unwrap();
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while get(&http, "/again").await.ok().as_deref() != Some("2 /again") {
        assert!(std::time::Instant::now() < end);
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_server_that_knows_only_http_1_is_understood() {
    let pki = Pki::new();
    let server = Server::start(&pki, &[b"http/1.1"]).await;
    let http = Http::new(
        &server.address,
        &pki.ca_pem(),
        Some(&pki.issue(ExtendedKeyUsagePurpose::ClientAuth)),
    )
    .unwrap();
    assert_eq!(get(&http, "/path").await.unwrap(), "1 /path");
}

#[tokio::test]
async fn strangers_are_refused_on_both_sides() {
    let (pki, other) = (Pki::new(), Pki::new());
    let server = Server::start(&pki, &[b"h2"]).await;
    let mistrusting = Http::new(&server.address, &other.ca_pem(), None).unwrap();
    let error = get(&mistrusting, "/").await.unwrap_err().to_string();
    assert!(error.contains("certificate"), "{error}");
    let unknown = Http::new(
        &server.address,
        &pki.ca_pem(),
        Some(&other.issue(ExtendedKeyUsagePurpose::ClientAuth)),
    )
    .unwrap();
    assert!(get(&unknown, "/").await.is_err());
    assert_eq!(server.connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn nobody_there_is_said_so() {
    let pki = Pki::new();
    let http = Http::new("https://127.0.0.1:1", &pki.ca_pem(), None).unwrap();
    assert_eq!(
        get(&http, "/").await.unwrap_err().kind(),
        std::io::ErrorKind::ConnectionRefused
    );
}

#[test]
fn bad_addresses_and_certificates_are_refused_before_anything_is_sent() {
    let ca = Pki::new().ca_pem();
    for endpoint in [
        "",
        "127.0.0.1:6443",
        "http://127.0.0.1:6443",
        "https://",
        "https://host/path",
    ] {
        assert!(
            matches!(Http::new(endpoint, &ca, None), Err(ConnectError::Endpoint { .. })),
            "{endpoint:?}"
        );
    }
    let error = Http::new("https://[::1]:6443", b"nothing", None).err().unwrap();
    assert!(
        error.to_string().starts_with("the CA certificate is not PEM"),
        "{error}"
    );
}

#[tokio::test]
async fn a_kubeconfig_with_embedded_data_is_enough() {
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    let pki = Pki::new();
    let server = Server::start(&pki, &[b"h2"]).await;
    let identity = pki.issue(ExtendedKeyUsagePurpose::ClientAuth);
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: here\npreferences: {{}}\n\
         clusters:\n- name: c\n  cluster:\n    server: {}\n    certificate-authority-data: {}\n\
         contexts:\n- name: here\n  context: {{cluster: c, user: admin}}\n\
         users:\n- name: admin\n  user:\n    client-certificate-data: {}\n    client-key-data: {}\n",
        server.address,
        BASE64_STANDARD.encode(pki.ca_pem()),
        BASE64_STANDARD.encode(&identity.certificate),
        BASE64_STANDARD.encode(&identity.key),
    );
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kubeconfig");
    std::fs::write(&path, &text).unwrap();
    assert_eq!(get(&Http::from_kubeconfig(&path).unwrap(), "/").await.unwrap(), "1 /");
    let table = [
        (
            text.replace("current-context: here", "current-context: gone"),
            "has no context \"gone\"",
        ),
        (text.replace("client-key-data", "other"), "has no client-key-data"),
        (
            text.replace("server: https", "server: ftp"),
            "not of the form https://host:port",
        ),
        ("- no\n- map\n".into(), "is not a kubeconfig"),
    ];
    for (text, expected) in table {
        std::fs::write(&path, text).unwrap();
        let error = Http::from_kubeconfig(&path).err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
