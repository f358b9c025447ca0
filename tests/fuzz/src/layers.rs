//! A layer in an image that is right in all else: whatever its archive says, nothing is made outside of its folder.

use crate::Target;
use crate::archives::{hex, tar, with_images};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// The layer's archive.
pub const TARGET: Target = Target {
    name: "layers",
    seeds,
    run,
};

/// Layers as hostile people make them go on from these.
fn seeds() -> Vec<Vec<u8>> {
    let plain = tar(&[("etc/hello", b"hello"), ("bin/.wh.sh", b""), ("opt/.wh..wh..opq", b"")]);
    let mut kinds = tar::Builder::new(Vec::new());
    for (kind, name, link) in [
        (tar::EntryType::Directory, "d/", ""),
        (tar::EntryType::Regular, "d/f", ""),
        (tar::EntryType::Symlink, "d/s", "../../outside"),
        (tar::EntryType::Link, "d/h", "d/f"),
        (tar::EntryType::Fifo, "d/p", ""),
        (tar::EntryType::Regular, "d/s/x", ""),
    ] {
        let mut header = header(tar::Header::new_gnu(), 0);
        header.set_entry_type(kind);
        if link.is_empty() {
            kinds
                .append_data(&mut header, name, &b""[..])
                .expect("memory can be written");
        } else {
            kinds
                .append_link(&mut header, name, link)
                .expect("memory can be written");
        }
    }
    let extended = [
        ("path", &b"a/long/name"[..]),
        ("SCHILY.xattr.trusted.x", b"y"),
        ("size", b"5"),
    ];
    let mut pax = tar::Builder::new(Vec::new());
    pax.append_pax_extensions(extended).expect("memory can be written");
    let mut header = header(tar::Header::new_ustar(), 5);
    pax.append_data(&mut header, "short", &b"hello"[..])
        .expect("memory can be written");
    let ends = [kinds.into_inner(), pax.into_inner()].map(|archive| archive.expect("memory can be written"));
    // The one that climbs out is refused as a whole, so also without its last entry.
    let [kinds, pax] = ends;
    let honest = kinds[..kinds.len() - 3 * 512].to_vec();
    vec![plain, honest, kinds, pax]
}

fn header(mut header: tar::Header, size: u64) -> tar::Header {
    header.set_size(size);
    header.set_mode(0o755);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

fn run(layer: &[u8]) -> bool {
    // So that a layer is unpacked again that was unpacked before.
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let nth = NEXT.fetch_add(1, Ordering::Relaxed);
    let config = serde_json::json!({"architecture": "amd64", "os": "linux", "nth": nth,
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", hex(layer))]}});
    let manifest = serde_json::json!([{"Config": "config.json", "RepoTags": ["a.test/a:1"], "Layers": ["layer.tar"]}]);
    let archive = tar(&[
        ("manifest.json", manifest.to_string().as_bytes()),
        ("config.json", config.to_string().as_bytes()),
        ("layer.tar", layer),
    ]);
    with_images(|images| {
        let imported = images.store.import(&*archive);
        let mut found: Vec<String> = std::fs::read_dir(images.folder.path())
            .expect("the folder can be read")
            .map(|entry| {
                entry
                    .expect("the folder can be read")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        found.retain(|name| name != "oci");
        assert!(found.is_empty(), "made outside: {found:?}");
        assert!(!Path::new("/outside").exists(), "made at the root");
        imported.is_ok()
    })
}
