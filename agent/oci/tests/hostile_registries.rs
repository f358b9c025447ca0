//! Registries that stall, cut, lie or lack what they should have: what is good comes through, what is not is named in one
//! sentence, and nothing of it stays.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

mod made;

use made::server::{Answer, Asked, serve};
use made::{digest, files};
use oci::{Image, PullError, Registries, Registry, Store};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The high layer of [`files`] is ten times that, packed.
const PIECE: usize = 60_000;

/// What a registry is asked for in one of these tests.
fn registries() -> Registries {
    Registries {
        patience: Duration::from_secs(1),
        ..Registries::default()
    }
}

/// `host` is asked at these places first, and not at all itself if `mirrors_only`.
fn mirrored(host: &str, mirrors: &[&str], mirrors_only: bool) -> Registries {
    let registry = Registry {
        mirrors: mirrors.iter().map(|mirror| format!("http://{mirror}")).collect(),
        mirrors_only,
        authority: None,
    };
    Registries {
        by_name: BTreeMap::from([(host.to_owned(), registry)]),
        ..registries()
    }
}

/// A server of `demo:1` that answers honestly but where `lie` has something else to say of a path and its body.
fn lying(lie: impl Fn(&Asked, &[u8]) -> Option<Answer> + Send + Sync + 'static) -> String {
    let files = files("demo");
    serve(move |asked| match files.get(&asked.path) {
        None => Answer::new("404 Not Found").body(b""),
        Some(body) => lie(asked, body).unwrap_or_else(|| Answer::part(asked, body)),
    })
}

fn honest() -> String {
    lying(|_, _| None)
}

fn empty() -> String {
    serve(|_| Answer::new("404 Not Found").body(b""))
}

/// A layer that is worth cutting in pieces.
fn is_large(asked: &Asked, body: &[u8]) -> bool {
    asked.path.contains("/blobs/") && body.len() > 5 * PIECE
}

async fn pull(store: &Store, name: &str, registries: &Registries) -> Result<Image, PullError> {
    store.pull(&name.parse().unwrap(), registries, None, &|_| {}).await
}

/// Pulls from a registry that lies, which must fail and leave nothing.
async fn refused(host: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let error = pull(&store, &format!("{host}/demo:1"), &registries())
        .await
        .unwrap_err();
    assert!(store.list().unwrap().is_empty());
    // The other layer may be good, and is unpacked to its end.
    let unpacking = dir.path().join("unpacking");
    let end = Instant::now() + Duration::from_secs(30);
    while std::fs::read_dir(&unpacking).unwrap().count() > 0 {
        assert!(Instant::now() < end, "something half unpacked is left");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    error.to_string()
}

async fn pulled(host: &str) -> Image {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let image = pull(&store, &format!("{host}/demo:1"), &registries()).await.unwrap();
    assert_eq!(std::fs::read(image.layers[1].join("low")).unwrap(), b"low");
    assert_eq!(std::fs::metadata(image.layers[0].join("high")).unwrap().len(), 800_000);
    image
}

#[tokio::test]
async fn a_stalled_layer_goes_on_where_it_stopped() {
    let asked_from = Arc::new(Mutex::new(Vec::new()));
    let seen = asked_from.clone();
    let host = lying(move |asked, body| {
        is_large(asked, body).then(|| {
            let mut seen = seen.lock().unwrap();
            seen.push(asked.from());
            match seen.len() {
                1 | 2 => Answer::part(asked, body).stalls(PIECE),
                _ => Answer::part(asked, body),
            }
        })
    });
    pulled(&host).await;
    assert_eq!(*asked_from.lock().unwrap(), [0, PIECE, 2 * PIECE]);
}

#[tokio::test]
async fn a_registry_that_stalls_for_good_is_given_up_with_one_sentence() {
    let host = lying(|asked, body| is_large(asked, body).then(|| Answer::part(asked, body).stalls(0)));
    let told = refused(&host).await;
    assert_eq!(
        told,
        format!("pull {host}/demo:1: registry {host} cannot be reached: it sent nothing for 1 s")
    );
    let silent = serve(|_| Answer {
        stalls: true,
        ..Answer::new("200 OK")
    });
    let told = refused(&silent).await;
    assert!(told.ends_with("cannot be reached: it sent nothing for 1 s"), "{told}");
}

#[tokio::test]
async fn a_layer_that_is_cut_in_any_way_comes_through() {
    type Cut = fn(&Asked, &[u8], usize) -> Answer;
    let cuts: [(&str, Cut); 3] = [
        ("hangs up again and again", |asked, body, _| {
            Answer::part(asked, body).cut(PIECE)
        }),
        ("hangs up before the first byte", |asked, body, nth| match nth {
            0 | 1 => Answer::part(asked, body).cut(0),
            _ => Answer::part(asked, body),
        }),
        ("begins anew whatever is asked for", |_, body, nth| match nth {
            0 => Answer::new("200 OK").body(body).cut(PIECE),
            _ => Answer::new("200 OK").body(body),
        }),
    ];
    for (name, cut) in cuts {
        let asked_for = AtomicUsize::new(0);
        let host = lying(move |asked, body| {
            is_large(asked, body).then(|| cut(asked, body, asked_for.fetch_add(1, Ordering::Relaxed)))
        });
        println!("{name}");
        pulled(&host).await;
    }
}

#[tokio::test]
async fn lies_are_named_and_leave_nothing() {
    type Lie = fn(&Asked, &[u8]) -> Option<Answer>;
    let lies: [(&str, Lie); 8] = [
        ("more than the", |asked, body| {
            is_large(asked, body).then(|| Answer::new("200 OK").body(&[body, b"more"].concat()))
        }),
        ("more than the", |asked, body| {
            is_large(asked, body).then(|| Answer::new("200 OK").body(&body.repeat(50)))
        }),
        ("bytes of blob", |asked, body| {
            is_large(asked, body).then(|| Answer::new("200 OK").body(&body[..PIECE]))
        }),
        ("sent something else than", |asked, body| {
            is_large(asked, body).then(|| Answer::new("200 OK").body(&vec![7; body.len()]))
        }),
        ("another part of blob", |asked, body| {
            is_large(asked, body).then(|| match asked.from() {
                0 => Answer::part(asked, body).cut(PIECE),
                _ => Answer::new("206 Partial Content")
                    .header("content-range", format!("bytes 7-{}/{}", body.len() - 1, body.len()))
                    .body(&body[7..]),
            })
        }),
        ("its manifest cannot be read", |asked, _| {
            let page = b"<html>Please log in to this hotel's network</html>";
            let answer = Answer::new("200 OK").header("content-type", "text/html");
            asked.path.ends_with("manifests/1").then(|| answer.body(page))
        }),
        ("a document of more than", |asked, _| {
            let is_manifest = asked.path.ends_with("manifests/1");
            is_manifest.then(|| Answer::new("200 OK").body(&vec![b' '; 5 << 20]))
        }),
        ("more than 6 redirects", |asked, body| {
            let again = Answer::new("307 Temporary Redirect").header("location", &asked.path);
            is_large(asked, body).then(|| again.body(b""))
        }),
    ];
    for (words, lie) in lies {
        let told = refused(&lying(lie)).await;
        assert!(told.contains(words), "{words:?} expected: {told}");
    }
}

#[tokio::test]
async fn a_document_that_is_a_list_and_an_image_at_once_is_refused() {
    let host = lying(|asked, _| {
        asked.path.ends_with("manifests/1").then(|| {
            let described = format!(r#"{{"digest":"{}","size":1}}"#, digest(b"x"));
            let both = format!(
                r#"{{"schemaVersion":2,"manifests":[{described}],"config":{described},"layers":[{described}]}}"#
            );
            Answer::new("200 OK").body(both.as_bytes())
        })
    });
    let told = refused(&host).await;
    assert!(told.contains("is a list of manifests and an image at once"), "{told}");
}

#[tokio::test]
async fn a_torn_beginning_of_a_download_is_not_the_registrys_fault() {
    let host = honest();
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    // As a power cut leaves a file: as long as it was, with other bytes in it.
    for path in files("demo").keys().filter(|path| path.contains("/blobs/")) {
        let hex = path.rsplit("sha256:").next().unwrap();
        std::fs::write(dir.path().join(format!("blobs/{hex}.part")), vec![0; 40]).unwrap();
    }
    let image = pull(&store, &format!("{host}/demo:1"), &registries()).await.unwrap();
    assert_eq!(std::fs::read(image.layers[1].join("low")).unwrap(), b"low");
    assert_eq!(std::fs::metadata(image.layers[0].join("high")).unwrap().len(), 800_000);
}

#[tokio::test]
async fn what_no_mirror_has_comes_from_the_registry_itself_unless_that_is_forbidden() {
    let (own, lacking) = (honest(), empty());
    let broken = lying(|asked, body| is_large(asked, body).then(|| Answer::part(asked, body).cut(0)));
    let name = format!("{own}/demo:1");
    for mirrors in [vec![lacking.as_str()], vec![lacking.as_str(), broken.as_str()], vec![]] {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        pull(&store, &name, &mirrored(&own, &mirrors, false)).await.unwrap();
    }
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let error = pull(&store, &name, &mirrored(&own, &[&lacking], true))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("pull {name}: registry {lacking} has no manifest 1 of demo")
    );
}

#[tokio::test]
async fn of_several_answers_the_one_that_says_most_is_told() {
    let liar = lying(|asked, body| is_large(asked, body).then(|| Answer::new("500 Oops").body(b"")));
    let dead = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let own = empty();
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let name = format!("{own}/demo:1");
    for (mirrors, words) in [
        ([dead.as_str(), liar.as_str()], "answered 500"),
        ([dead.as_str(), dead.as_str()], "has no manifest 1 of demo"),
    ] {
        let error = pull(&store, &name, &mirrored(&own, &mirrors, false)).await.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
}
