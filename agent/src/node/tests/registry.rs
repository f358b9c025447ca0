//! A registry of container images with one image in it.

use sha2::Digest;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;

/// Who is let in.
#[derive(Clone, Copy, PartialEq)]
pub enum Callers {
    /// Whoever comes.
    Anybody,
    /// `me` with the password `secret`.
    Me,
}

/// A registry with one image, that of the archive in `folder` with a label more; its address.
pub fn serve(folder: &Path, callers: Callers) -> String {
    let digest = |bytes: &[u8]| {
        let hex: String = sha2::Sha256::digest(bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("sha256:{hex}")
    };
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let saved: serde_json::Value = serde_json::from_slice(&read("manifest.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_slice(&read(saved[0]["Config"].as_str().unwrap())).unwrap();
    config["config"]["Labels"] = serde_json::json!({"from": "a registry"});
    let blobs = [config.to_string().into_bytes(), read("layer.tar")];
    let [config, layer] = blobs
        .each_ref()
        .map(|blob| serde_json::json!({"digest": digest(blob), "size": blob.len()}));
    let manifest = serde_json::json!({"schemaVersion": 2, "config": config, "layers": [layer]}).to_string();
    let mut files = BTreeMap::from([("/v2/shell/manifests/1".to_owned(), manifest.into_bytes())]);
    files.extend(blobs.map(|blob| (format!("/v2/shell/blobs/{}", digest(&blob)), blob)));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A caller that goes away early has its reasons.
            let _ = answer(stream, &files, callers);
        }
    });
    address
}

fn answer(mut stream: TcpStream, files: &BTreeMap<String, Vec<u8>>, callers: Callers) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    let head: Vec<String> = lines
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .collect();
    // me:secret
    let is_me = |line: &String| line.eq_ignore_ascii_case("authorization: Basic bWU6c2VjcmV0");
    let knows = callers == Callers::Anybody || head.iter().any(is_me);
    let file = request.split(' ').nth(1).and_then(|path| files.get(path));
    let (status, body): (&str, &[u8]) = match (knows, file) {
        (false, _) => ("401 Unauthorized\r\nwww-authenticate: Basic realm=\"test\"", b""),
        (true, None) => ("404 Not Found", b""),
        (true, Some(body)) => ("200 OK", body),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )?;
    stream.write_all(body)
}
