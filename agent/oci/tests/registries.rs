//! Pulling over HTTP from a small server that can misbehave.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

mod made;

use made::server::{self, Answer, Asked};
use made::{digest, files};
use oci::{Auth, PublicKey, PullError, Reference, Registries, Registry, SignaturePolicy, SignatureRule, Store};
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// What the server has and how it misbehaves.
#[derive(Default)]
struct Served {
    files: BTreeMap<String, Vec<u8>>,
    /// Answers with 401 and this challenge until this `Authorization` is shown.
    wants: Option<(String, String)>,
    /// Breaks off each answer after so many bytes.
    breaks_after: Option<usize>,
    requests: Mutex<Vec<String>>,
    broken: AtomicUsize,
}

fn serve(served: Served) -> (String, Arc<Served>) {
    let served = Arc::new(served);
    let shared = served.clone();
    (server::serve(move |asked| answer(asked, &shared)), served)
}

fn answer(asked: &Asked, served: &Served) -> Answer {
    served.requests.lock().unwrap().push(asked.path.clone());
    if let Some((challenge, expected)) = &served.wants
        && !asked.path.starts_with("/token")
        && asked.header("authorization") != Some(expected)
    {
        let challenge = Answer::new("401 Unauthorized").header("www-authenticate", challenge);
        return challenge.body(b"");
    }
    let path = asked.path.split('?').next().unwrap();
    let Some(body) = served.files.get(path) else {
        return Answer::new("404 Not Found").body(b"");
    };
    let answer = Answer::part(asked, body);
    match served.breaks_after {
        Some(most) if answer.body.len() > most => {
            served.broken.fetch_add(1, Ordering::Relaxed);
            answer.cut(most)
        }
        Some(_) | None => answer,
    }
}

async fn pull(
    store: &Store,
    name: &str,
    registries: &Registries,
    auth: Option<&Auth>,
) -> Result<oci::Image, PullError> {
    store
        .pull(&name.parse::<Reference>().unwrap(), registries, auth, &|_| {})
        .await
}

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    (dir, store)
}

#[tokio::test]
async fn an_image_is_pulled_through_a_mirror_and_only_once() {
    let (address, served) = serve(Served {
        files: files("library/demo"),
        ..Served::default()
    });
    let (_dir, store) = store();
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let docker = Registry {
        mirrors: vec![format!("http://{dead}"), format!("http://{address}/")],
        mirrors_only: true,
        authority: None,
    };
    let registries = Registries {
        by_name: BTreeMap::from([("docker.io".to_owned(), docker)]),
        ..Registries::default()
    };
    let seen = Mutex::new(0);
    let count = |progress: oci::Progress| *seen.lock().unwrap() += usize::from(progress.done == progress.total);
    let image = store
        .pull(&"demo:1".parse().unwrap(), &registries, None, &count)
        .await
        .unwrap();
    assert_eq!(*seen.lock().unwrap(), 2);
    assert_eq!(std::fs::read(image.layers[1].join("low")).unwrap(), b"low");
    let blobs = || {
        served
            .requests
            .lock()
            .unwrap()
            .iter()
            .filter(|path| path.contains("/blobs/"))
            .count()
    };
    let before = blobs();
    pull(&store, "demo:1", &registries, None).await.unwrap();
    assert_eq!(blobs(), before + 1, "only the config is asked for again");
    assert_eq!(store.get(&image.digest).unwrap(), Some(image));
}

#[tokio::test]
async fn a_broken_download_goes_on_where_it_stopped() {
    let (address, served) = serve(Served {
        files: files("demo"),
        breaks_after: Some(300_000),
        ..Served::default()
    });
    let (_dir, store) = store();
    pull(&store, &format!("{address}/demo:1"), &Registries::default(), None)
        .await
        .unwrap();
    assert!(served.broken.load(Ordering::Relaxed) >= 1);
}

#[tokio::test]
async fn tokens_are_fetched_and_wrong_credentials_are_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let token_address = listener.local_addr().unwrap();
    drop(listener);
    let mut files = files("demo");
    files.insert("/token".to_owned(), br#"{"token":"sesame"}"#.to_vec());
    // The token comes from a server of its own, as at Docker's.
    let (tokens, _) = serve(Served {
        files: BTreeMap::from([("/token".to_owned(), br#"{"token":"sesame"}"#.to_vec())]),
        ..Served::default()
    });
    let challenge = format!(r#"Bearer realm="http://{tokens}/token",service="test",scope="repository:demo:pull""#);
    let (address, _) = serve(Served {
        files: files.clone(),
        wants: Some((challenge, "Bearer sesame".to_owned())),
        ..Served::default()
    });
    let (_dir, store) = store();
    pull(&store, &format!("{address}/demo:1"), &Registries::default(), None)
        .await
        .unwrap();

    let (address, _) = serve(Served {
        files,
        wants: Some(("Basic realm=\"x\"".to_owned(), "Basic dXNlcjpyaWdodA==".to_owned())),
        ..Served::default()
    });
    let auth = |password: &str| Auth::Basic {
        user: "user".to_owned(),
        password: password.to_owned(),
    };
    let name = format!("{address}/demo:1");
    pull(&store, &name, &Registries::default(), Some(&auth("right")))
        .await
        .unwrap();
    for wrong in [Some(auth("wrong")), None] {
        let error = pull(&store, &name, &Registries::default(), wrong.as_ref())
            .await
            .unwrap_err();
        assert!(matches!(error, PullError::Unauthorized { .. }), "{error}");
    }
    let error = pull(&store, &format!("{token_address}/demo:1"), &Registries::default(), None)
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains(&format!("registry {token_address} cannot be reached")),
        "{error}"
    );
}

#[tokio::test]
async fn what_is_missing_or_false_is_named() {
    let good = files("demo");
    let (address, _) = serve(Served {
        files: good.clone(),
        ..Served::default()
    });
    let (_dir, empty) = store();
    let error = pull(&empty, &format!("{address}/demo:2"), &Registries::default(), None)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("pull {address}/demo:2: registry {address} has no manifest 2 of demo")
    );

    for (path, body) in good.iter().filter(|(path, _)| path.contains("sha256")) {
        // Of its own, or the layers of the round before would be taken as they are.
        let (dir, store) = store();
        let mut files = good.clone();
        let mut forged = body.clone();
        let last = forged.len() - 9;
        forged[last] ^= 1;
        files.insert(path.clone(), forged);
        let (address, _) = serve(Served {
            files,
            ..Served::default()
        });
        let error = pull(&store, &format!("{address}/demo:1"), &Registries::default(), None)
            .await
            .unwrap_err();
        assert!(matches!(error, PullError::Digest { .. }), "{error}");
        assert!(error.to_string().contains(path.rsplit('/').next().unwrap()), "{error}");
        assert!(store.list().unwrap().is_empty());
        let hex = path.rsplit("sha256:").next().unwrap();
        assert!(
            !dir.path().join(format!("blobs/{hex}.part")).exists(),
            "a forged blob is kept"
        );
    }
}

/// A pair of keys: what signs, and what the machine's config has of it.
fn keys() -> (ring::signature::EcdsaKeyPair, PublicKey) {
    use base64::Engine;
    use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
    let random = ring::rand::SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, document.as_ref(), &random).unwrap();
    let header = base64::prelude::BASE64_STANDARD
        .decode("MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgA=")
        .unwrap();
    let der = [header.as_slice(), pair.public_key().as_ref()].concat();
    let text = base64::prelude::BASE64_STANDARD.encode(der);
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n");
    (pair, PublicKey::from_pem(&pem).unwrap())
}

/// What cosign puts beside an image: a manifest whose layer is what was signed.
fn sign(files: &mut BTreeMap<String, Vec<u8>>, signed: &str, claimed: &str, pair: &ring::signature::EcdsaKeyPair) {
    use base64::Engine;
    let payload = format!(
        r#"{{"critical":{{"identity":{{"docker-reference":""}},"image":{{"docker-manifest-digest":"{claimed}"}},"type":"cosign container image signature"}},"optional":null}}"#
    );
    let signature = pair.sign(&ring::rand::SystemRandom::new(), payload.as_bytes()).unwrap();
    let signature = base64::prelude::BASE64_STANDARD.encode(signature.as_ref());
    let (blob, empty) = (digest(payload.as_bytes()), digest(b"{}"));
    let manifest = format!(
        r#"{{"schemaVersion":2,"config":{{"digest":"{empty}","size":2}},"layers":[{{"digest":"{blob}","size":{},"annotations":{{"dev.cosignproject.cosign/signature":"{signature}"}}}}]}}"#,
        payload.len()
    );
    let tag = signed.replace(':', "-");
    files.insert(format!("/v2/demo/manifests/{tag}.sig"), manifest.into_bytes());
    files.insert(format!("/v2/demo/blobs/{blob}"), payload.into_bytes());
}

#[tokio::test]
async fn an_image_that_must_be_signed_is_taken_only_with_a_signature_by_a_known_key() {
    let (pair, key) = keys();
    let (stranger, _) = keys();
    let unsigned = files("demo");
    let list = digest(&unsigned["/v2/demo/manifests/1"]);
    let other = digest(b"another image");
    let with = |signed: &str, claimed: &str, pair: &ring::signature::EcdsaKeyPair| {
        let mut files = unsigned.clone();
        sign(&mut files, signed, claimed, pair);
        files
    };
    let cases = [
        (unsigned.clone(), Some("it is not signed")),
        (
            with(&list, &list, &stranger),
            Some("none of its 1 signatures is by a key"),
        ),
        (with(&list, &other, &pair), Some("none of its 1 signatures is by a key")),
        (with(&list, &list, &pair), None),
    ];
    for (files, expected) in cases {
        let (address, _) = serve(Served {
            files,
            ..Served::default()
        });
        let name: Reference = format!("{address}/demo:1").parse().unwrap();
        let rule = SignatureRule {
            scope: address.clone(),
            keys: Some(vec![key.clone()]),
        };
        let signatures = SignaturePolicy { rules: vec![rule] };
        let registries = Registries {
            signatures: signatures.clone(),
            ..Registries::default()
        };
        let (_dir, store) = store();
        let pulled = store.pull(&name, &registries, None, &|_| {}).await;
        match expected {
            Some(words) => {
                let error = pulled.unwrap_err();
                assert!(matches!(error, PullError::Unsigned { .. }), "{error}");
                assert!(error.to_string().contains(words), "{error}");
                assert!(store.list().unwrap().is_empty());
            }
            None => assert!(store.is_trusted(&pulled.unwrap(), &name, &signatures).unwrap()),
        }
        // What was pulled before anybody wanted signatures is not trusted.
        let (_dir, old) = self::store();
        let image = old.pull(&name, &Registries::default(), None, &|_| {}).await.unwrap();
        assert!(!old.is_trusted(&image, &name, &signatures).unwrap());
        assert!(old.is_trusted(&image, &name, &SignaturePolicy::default()).unwrap());
    }
}
