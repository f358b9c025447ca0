//! Archives of container images: tar, manifests, configs and layers, from whoever made them.

use crate::damage::Damage;
use sha2::{Digest, Sha256};
use std::io::Write;

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        archive.append_data(&mut header, name, *bytes).unwrap();
    }
    archive.into_inner().unwrap()
}

/// As `docker save` and as `skopeo copy … oci-archive:` write them.
fn seeds() -> [Vec<u8>; 2] {
    let layer = tar(&[("etc/hello", b"hello"), ("bin/.wh.sh", b"")]);
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", hex(&layer))]},
    });
    let config = config.to_string();
    let manifest = serde_json::json!([{"Config": "config.json", "RepoTags": ["a.test/a:1"], "Layers": ["layer.tar"]}]);
    let docker = tar(&[
        ("manifest.json", manifest.to_string().as_bytes()),
        ("config.json", config.as_bytes()),
        ("layer.tar", &layer),
    ]);

    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&layer).unwrap();
    let packed = gzip.finish().unwrap();
    let place = |bytes: &[u8]| format!("blobs/sha256/{}", hex(bytes));
    let named = |media_type: &str, bytes: &[u8]| serde_json::json!({"mediaType": media_type, "digest": format!("sha256:{}", hex(bytes)), "size": bytes.len()});
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": named("application/vnd.oci.image.config.v1+json", config.as_bytes()),
        "layers": [named("application/vnd.oci.image.layer.v1.tar+gzip", &packed)],
    });
    let manifest = manifest.to_string();
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [named("application/vnd.oci.image.manifest.v1+json", manifest.as_bytes())]});
    let oci = tar(&[
        ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#),
        ("index.json", index.to_string().as_bytes()),
        (&place(manifest.as_bytes()), manifest.as_bytes()),
        (&place(config.as_bytes()), config.as_bytes()),
        (&place(&packed), &packed),
    ]);
    [docker, oci]
}

#[test]
fn damaged_archives_leave_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let (mut damage, seeds) = (Damage::new(), seeds());
    let store = oci::Store::open(&folder.path().join("oci")).unwrap();
    for seed in &seeds {
        let images = store.import(&**seed).unwrap();
        assert_eq!(images.len(), 1);
    }
    while damage.goes_on() {
        let bytes = damage.of(&seeds);
        drop(store.import(&*bytes));
        // Whatever came of it, what is there can be named.
        store
            .list()
            .unwrap_or_else(|cause| panic!("{cause}: {}", damage.again(&bytes)));
    }
}
