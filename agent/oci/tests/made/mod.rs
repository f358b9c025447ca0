//! Images made for tests: layers from lists of entries, as docker-save archive or as blobs of a registry.

#[allow(dead_code, reason = "not every test file has a registry")]
pub mod server;

use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::Write;

pub fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// One entry with a raw name, so that hostile ones can be made.
pub fn entry(layer: &mut tar::Builder<Vec<u8>>, kind: tar::EntryType, name: &str, link: &str, content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o755);
    header.set_uid(1234);
    header.set_gid(0);
    header.set_mtime(1_000_000_000);
    header.set_size(content.len() as u64);
    header.set_cksum();
    layer.append(&header, content).unwrap();
}

pub fn config(layers: &[Vec<u8>]) -> Vec<u8> {
    let ids: Vec<String> = layers.iter().map(|layer| format!("{:?}", digest(layer))).collect();
    format!(
        r#"{{"os":"linux","architecture":"amd64","config":{{"Cmd":["/bin/true"],"Env":["A=b"]}},"rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
        ids.join(",")
    )
    .into_bytes()
}

/// What `docker save` writes.
#[allow(dead_code, reason = "not every test file imports")]
pub fn saved(name: &str, layers: &[Vec<u8>]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let file = tar::EntryType::Regular;
    entry(&mut archive, file, "config.json", "", &config(layers));
    let mut names = Vec::new();
    for (nth, layer) in layers.iter().enumerate() {
        let name = format!("{nth}/layer.tar");
        entry(&mut archive, file, &name, "", layer);
        names.push(format!("{name:?}"));
    }
    let manifest = format!(
        r#"[{{"Config":"config.json","RepoTags":["{name}"],"Layers":[{}]}}]"#,
        names.join(",")
    );
    entry(&mut archive, file, "manifest.json", "", manifest.as_bytes());
    archive.into_inner().unwrap()
}

#[allow(dead_code, reason = "not every test file compresses")]
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn layer(entries: &[(tar::EntryType, &str, &str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (kind, name, link, content) in entries {
        entry(&mut builder, *kind, name, link, content);
    }
    builder.into_inner().unwrap()
}

/// An image `1` of two layers as a registry serves it, behind a list of platforms.
#[allow(dead_code, reason = "not every test file has a registry")]
pub fn files(repository: &str) -> BTreeMap<String, Vec<u8>> {
    let random: Vec<u8> = (0..200_000_u32)
        .flat_map(|n| (n.wrapping_mul(2_654_435_761)).to_le_bytes())
        .collect();
    let layers = [
        layer(&[(tar::EntryType::Regular, "low", "", b"low")]),
        layer(&[(tar::EntryType::Regular, "high", "", &random)]),
    ];
    let packed = [gzip(&layers[0]), gzip(&layers[1])];
    let config = config(&layers);
    let describe = |bytes: &[u8]| format!(r#"{{"digest":"{}","size":{}}}"#, digest(bytes), bytes.len());
    let manifest = format!(
        r#"{{"schemaVersion":2,"config":{},"layers":[{},{}]}}"#,
        describe(&config),
        describe(&packed[0]),
        describe(&packed[1])
    )
    .into_bytes();
    let list = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"digest":"{}","size":1,"platform":{{"os":"linux","architecture":"amd64"}}}}]}}"#,
        digest(&manifest)
    );
    let mut files = BTreeMap::from([(format!("/v2/{repository}/manifests/1"), list.into_bytes())]);
    files.insert(format!("/v2/{repository}/manifests/{}", digest(&manifest)), manifest);
    for blob in [config, packed[0].clone(), packed[1].clone()] {
        files.insert(format!("/v2/{repository}/blobs/{}", digest(&blob)), blob);
    }
    files
}
