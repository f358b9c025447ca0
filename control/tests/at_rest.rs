//! Secrets lie encrypted in the data folder and in snapshots, and are plain to whoever may read them; keys can be changed.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

mod child;

use bytes::Bytes;
use child::{Control, DEADLINE, begin, send};
use client::Http;
use config::{Bundle, EncryptionKey};
use http::{Method, Request};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, Instant};
use store::snapshot;
use tempfile::TempDir;

const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const SNAPSHOT: &str = "/pintle/v1/store/snapshot";
const RESTORE: &str = "/pintle/v1/store/restore";
/// What must be nowhere: the text, and what it is in base64.
const HIDDEN: [&str; 2] = ["correct-horse-battery", "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5"];

fn secret(name: &str) -> Value {
    json!({"metadata": {"name": name}, "stringData": {"password": HIDDEN[0]}})
}

/// Whether any of `words` is in any file of the store.
fn lies_in_files(data: &Path, words: &[&str]) -> bool {
    let files = std::fs::read_dir(data.join("store")).unwrap();
    // A checkpoint removes what is older while we look.
    let contents = files.filter_map(|file| std::fs::read(file.unwrap().path()).ok());
    contents
        .into_iter()
        .any(|bytes| words.iter().any(|word| contains(&bytes, word)))
}

fn contains(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|window| window == word.as_bytes())
}

async fn lies_in_no_file(data: &Path, words: &[&str]) {
    let began = Instant::now();
    while lies_in_files(data, words) {
        assert!(began.elapsed() < DEADLINE, "{words:?} is still in the store's files");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn password(client: &Http, name: &str) -> String {
    let reply = send(client, Method::GET, &format!("{SECRETS}/{name}"), &Value::Null).await;
    assert_eq!(reply.code, 200, "{}", reply.body);
    reply.body["data"]["password"].as_str().unwrap().to_owned()
}

/// Changes the encryption keys of the cluster in `data`.
fn with_keys(data: &Path, change: impl FnOnce(&mut Vec<EncryptionKey>)) {
    let path = data.join("bundle.toml");
    let mut bundle: Bundle = config::parse_bundle(&std::fs::read_to_string(&path).unwrap())
        .ok()
        .unwrap();
    change(&mut bundle.encryption_keys);
    std::fs::write(&path, toml::to_string(&bundle).unwrap()).unwrap();
}

async fn restore(client: &Http, bytes: Bytes) -> (u16, String) {
    let request = Request::builder()
        .method(Method::POST)
        .uri(RESTORE)
        .body(bytes)
        .unwrap();
    let response = begin(client, request).await.unwrap();
    let code = response.status().as_u16();
    let text = response.into_body().collect().await.unwrap().to_bytes();
    (code, String::from_utf8_lossy(&text).into_owned())
}

#[tokio::test]
async fn a_secret_is_plain_to_readers_and_nowhere_else() {
    let folder = TempDir::new().unwrap();
    let control = Control::start(folder.path()).await;
    let client = control.client();
    let made = send(&client, Method::POST, SECRETS, &secret("a")).await;
    assert_eq!(made.code, 201, "{}", made.body);
    let patch = json!({"metadata": {"labels": {"again": "yes"}}});
    let patched = send(&client, Method::PATCH, &format!("{SECRETS}/a"), &patch).await;
    assert_eq!(patched.code, 200, "{}", patched.body);

    assert_eq!(password(&client, "a").await, HIDDEN[1]);
    let list = send(&client, Method::GET, SECRETS, &Value::Null).await;
    assert!(contains(&list.bytes, HIDDEN[1]));
    let watch = format!("{SECRETS}?watch=true&timeoutSeconds=1");
    let events = send(&client, Method::GET, &watch, &Value::Null).await;
    assert!(contains(&events.bytes, HIDDEN[1]));

    assert!(!lies_in_files(folder.path(), &HIDDEN));
    assert!(lies_in_files(
        folder.path(),
        &["k8s:enc:aesgcm:v1:key1:", "default/kubernetes"]
    ));
    let taken = send(&client, Method::GET, SNAPSHOT, &Value::Null).await.bytes;
    assert!(HIDDEN.iter().all(|word| !contains(&taken, word)));

    control.kill();
    let control = Control::start(folder.path()).await;
    let client = control.client();
    assert_eq!(password(&client, "a").await, HIDDEN[1]);
    send(&client, Method::DELETE, &format!("{SECRETS}/a"), &Value::Null).await;
    let (code, said) = restore(&client, taken).await;
    assert_eq!(code, 200, "{said}");
    assert_eq!(password(&client, "a").await, HIDDEN[1]);
    assert!(!lies_in_files(folder.path(), &HIDDEN));
}

#[tokio::test]
async fn keys_come_change_and_go() {
    let folder = TempDir::new().unwrap();
    let data = folder.path();
    Control::start(data).await.kill();
    // A bundle from before there were keys.
    with_keys(data, Vec::clear);
    let control = Control::start(data).await;
    let made = send(&control.client(), Method::POST, SECRETS, &secret("a")).await;
    assert_eq!(made.code, 201, "{}", made.body);
    assert!(lies_in_files(data, &HIDDEN));
    control.kill();

    let (old, new) = (EncryptionKey::new("old", &[1; 32]), EncryptionKey::new("new", &[2; 32]));
    with_keys(data, |keys| keys.push(old.clone()));
    let control = Control::start(data).await;
    lies_in_no_file(data, &HIDDEN).await;
    assert!(lies_in_files(data, &["aesgcm:v1:old:"]));
    control.kill();

    with_keys(data, |keys| keys.insert(0, new));
    let control = Control::start(data).await;
    lies_in_no_file(data, &["aesgcm:v1:old:"]).await;
    control.kill();

    with_keys(data, |keys| drop(keys.pop()));
    let control = Control::start(data).await;
    assert_eq!(password(&control.client(), "a").await, HIDDEN[1]);
}

#[tokio::test]
async fn a_wrong_key_is_said_at_the_object_and_stops_nothing_else() {
    let folder = TempDir::new().unwrap();
    let data = folder.path();
    let control = Control::start(data).await;
    let made = send(&control.client(), Method::POST, SECRETS, &secret("a")).await;
    assert_eq!(made.code, 201, "{}", made.body);
    control.kill();

    let mut right = Vec::new();
    with_keys(data, |keys| {
        right = keys.clone();
        *keys = vec![EncryptionKey::new(&keys[0].name, &[7; 32])];
    });
    let control = Control::start(data).await;
    let client = control.client();
    for path in [SECRETS.to_owned(), format!("{SECRETS}/a")] {
        let refused = send(&client, Method::GET, &path, &Value::Null).await;
        assert_eq!(refused.code, 500, "{}", refused.body);
        let said = refused.body["message"].as_str().unwrap();
        assert!(said.contains("secrets/default/a") && said.contains("key1"), "{said}");
    }
    let others = send(&client, Method::GET, "/api/v1/configmaps", &Value::Null).await;
    assert_eq!(others.code, 200, "{}", others.body);
    let made = send(&client, Method::POST, SECRETS, &secret("b")).await;
    assert_eq!(made.code, 201, "{}", made.body);
    assert_eq!(password(&client, "b").await, HIDDEN[1]);
    send(&client, Method::DELETE, &format!("{SECRETS}/b"), &Value::Null).await;
    control.kill();

    with_keys(data, |keys| *keys = right);
    let control = Control::start(data).await;
    assert_eq!(password(&control.client(), "a").await, HIDDEN[1]);
}

#[tokio::test]
async fn values_moved_between_secrets_are_refused() {
    let folder = TempDir::new().unwrap();
    let control = Control::start(folder.path()).await;
    let client = control.client();
    for name in ["a", "b"] {
        let made = send(&client, Method::POST, SECRETS, &secret(name)).await;
        assert_eq!(made.code, 201, "{}", made.body);
    }
    let taken = send(&client, Method::GET, SNAPSHOT, &Value::Null).await.bytes;
    let mut reader = snapshot::Reader::default();
    reader.push(&taken).unwrap();
    let mut entries = reader.finish().unwrap();
    let at = |key: &str| entries.iter().position(|(found, _)| found == key).unwrap();
    let (a, b) = (at("secrets/default/a"), at("secrets/default/b"));
    entries[a].1 = entries[b].1.clone();
    let entries = entries
        .into_iter()
        .map(|(key, value)| store::Entry::new(key, value, 1, 1));
    let moved = store::Snapshot {
        revision: 1,
        entries: entries.collect(),
        remaining: 0,
    };
    let moved: Vec<Bytes> = snapshot::encode(moved).collect();
    let (code, said) = restore(&client, moved.concat().into()).await;
    assert_eq!(code, 400, "{said}");
    assert!(said.contains("secrets/default/a: it does not fit its seal"), "{said}");
    assert_eq!(password(&client, "a").await, HIDDEN[1]);
}
