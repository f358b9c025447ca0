//! Archives of container images: tar, manifests, configs and layers, from whoever made them. What is there afterwards is whole.

use crate::Target;
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::io::Write;
use std::path::Path;

/// An archive.
pub const TARGET: Target = Target {
    name: "archives",
    seeds: || seeds().to_vec(),
    run,
};

/// An image store, and the folder that it is in.
pub(crate) struct Images {
    pub(crate) store: oci::Store,
    pub(crate) folder: tempfile::TempDir,
}

thread_local! {
    static IMAGES: RefCell<Option<Images>> = const { RefCell::new(None) };
}

/// With this thread's image store, which has no image yet.
pub(crate) fn with_images<R>(act: impl FnOnce(&Images) -> R) -> R {
    IMAGES.with_borrow_mut(|images| {
        let images = images.get_or_insert_with(|| {
            let memory = Path::new("/dev/shm");
            let folder = tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir()).unwrap();
            let store = oci::Store::open(&folder.path().join("oci")).unwrap();
            Images { store, folder }
        });
        let done = act(images);
        for image in images.store.list().expect("the images can be listed") {
            images.store.remove(&image.id).expect("an image can be removed");
        }
        done
    })
}

fn run(bytes: &[u8]) -> bool {
    with_images(|images| {
        let imported = images.store.import(bytes);
        let listed = images.store.list().expect("the images can be listed");
        if let Ok(imported) = &imported {
            for image in imported {
                assert!(
                    listed.iter().any(|other| other.id == image.id),
                    "{} was taken and is not there",
                    image.id
                );
            }
        }
        for image in &listed {
            assert!(
                image.layers.iter().all(|layer| layer.is_dir()),
                "{} lacks layers",
                image.id
            );
        }
        imported.is_ok_and(|images| !images.is_empty())
    })
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
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
