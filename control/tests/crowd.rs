//! Ten thousand clients that connect and ask for nothing: they cost little, and others are answered.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

mod child;

use child::{Control, DEADLINE, send};
use http::Method;
use identity::tls::{self, Trust};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// As many as the issue of idle connections asks for.
const CROWD: usize = 10_000;

/// Files of this process that are no connection.
const OTHER_FILES: usize = 200;

/// What one of them may cost, in bytes: 4 or 5 of the 16 KiB that TLS records and HTTP/2 frames are read into.
const COST: usize = 80 * 1024;

/// What a client of HTTP/2 says first: the preface, and settings without any.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Opens a connection and hears the server's settings on it.
async fn connect(tls: TlsConnector, address: String) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    let mut stream = tls.connect("localhost".try_into().unwrap(), stream).await?;
    stream.write_all(PREFACE).await?;
    stream.flush().await?;
    stream.read_exact(&mut [0; 9]).await?;
    Ok(stream)
}

/// Of a process, in bytes.
fn resident(process: u32) -> usize {
    let status = std::fs::read_to_string(Path::new("/proc").join(process.to_string()).join("status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// The crowd, or as much of it as the host's limit of open files allows.
fn crowd() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    )
    .unwrap();
    let files = maximum.map_or(usize::MAX, |files| usize::try_from(files).unwrap());
    // The server keeps some for itself, too.
    let crowd = CROWD.min(files.saturating_sub(OTHER_FILES + 600));
    if crowd < CROWD {
        eprintln!(
            "SKIPPED: the host allows {files} open files, so that only {crowd} of {CROWD} connections were tried"
        );
    }
    crowd
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_are_answered_while_a_crowd_asks_for_nothing() {
    let folder = TempDir::new().unwrap();
    let control = Control::start(folder.path()).await;
    let client = control.client();
    assert_eq!(send(&client, Method::GET, "/readyz", &Value::Null).await.code, 200);
    let before = resident(control.id());
    let ca = control.ca();
    let tls = TlsConnector::from(tls::client(Trust::Authority(&ca), None, &["h2"]).unwrap());
    let crowd = crowd();
    let mut held = Vec::with_capacity(crowd);
    let room = Arc::new(tokio::sync::Semaphore::new(64));
    let mut opening = tokio::task::JoinSet::new();
    for _ in 0..crowd {
        let (tls, address, room) = (tls.clone(), control.address.clone(), room.clone());
        opening.spawn(async move {
            let _one_of_few = room.acquire_owned().await;
            connect(tls, address).await
        });
    }
    while let Some(opened) = opening.join_next().await {
        held.push(opened.unwrap().unwrap());
    }
    let each = resident(control.id()).saturating_sub(before) / crowd;
    eprintln!("{crowd} idle connections cost the server {each} bytes each");
    assert!(each < COST, "an idle connection costs {each} bytes");

    // One that knows the server already, and one that comes only now.
    for client in [client, control.client()] {
        let map = json!({"metadata": {"generateName": "m"}});
        let making = send(&client, Method::POST, "/api/v1/namespaces/default/configmaps", &map);
        let made = tokio::time::timeout(DEADLINE, making)
            .await
            .expect("others are answered");
        assert_eq!(made.code, 201, "{}", made.body);
    }
    drop(held);
}
