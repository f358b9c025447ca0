//! Archives taken and refused: honest ones, hostile ones, and what is left of them.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

mod made;

use made::{gzip, layer, saved};
use oci::Store;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use tar::EntryType::{Char, Directory, Fifo, Link, Regular, Symlink};

fn is_root() -> bool {
    let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    if !is_root {
        eprintln!("SKIPPED: owners and devices need root");
    }
    is_root
}

#[test]
fn an_archive_becomes_folders_for_overlayfs() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let lower = layer(&[
        (Directory, "./", "", b""),
        (Directory, "bin/", "", b""),
        (Regular, "bin/tool", "", b"tool"),
        (Link, "bin/same", "bin/tool", b""),
        (Symlink, "sh", "/bin/tool", b""),
        (Fifo, "deep/in/fifo", "", b""),
        (Regular, "gone", "", b"gone"),
        (Regular, "twice", "", b"first"),
        (Regular, "twice", "", b"second"),
    ]);
    let upper = layer(&[
        (Regular, ".wh.gone", "", b""),
        (Regular, "bin/.wh..wh..opq", "", b""),
        (Regular, "bin/new", "", b"new"),
    ]);
    let image = store
        .import(&gzip(&saved("demo:1", &[lower.clone(), upper]))[..])
        .unwrap()
        .remove(0);

    assert_eq!(image.names, ["docker.io/library/demo:1"]);
    assert_eq!((image.config.cmd.len(), image.config.env.len()), (1, 1));
    let [top, bottom] = &image.layers[..] else {
        panic!("{image:?}")
    };
    assert_eq!(std::fs::read(bottom.join("bin/same")).unwrap(), b"tool");
    assert_eq!(std::fs::read(bottom.join("twice")).unwrap(), b"second");
    let tool = std::fs::metadata(bottom.join("bin/tool")).unwrap();
    assert_eq!(
        (tool.uid(), tool.mode() & 0o7777, tool.nlink(), tool.mtime()),
        (1234, 0o755, 2, 1_000_000_000)
    );
    assert_eq!(
        std::fs::read_link(bottom.join("sh")).unwrap().to_str(),
        Some("/bin/tool")
    );
    assert!(
        std::fs::metadata(bottom.join("deep/in/fifo"))
            .unwrap()
            .file_type()
            .is_fifo()
    );
    let hidden = std::fs::symlink_metadata(top.join("gone")).unwrap();
    assert!(hidden.file_type().is_char_device() && hidden.rdev() == 0);
    let mut opaque = [0; 1];
    rustix::fs::getxattr(top.join("bin"), "trusted.overlay.opaque", &mut opaque).unwrap();
    assert_eq!(&opaque, b"y");

    // The same store, opened again, with a second image that shares a layer.
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.get("demo:1").unwrap(), Some(image.clone()));
    let other = store.import(&saved("other:1", &[lower])[..]).unwrap().remove(0);
    assert_eq!(other.layers[0], image.layers[1]);
    assert_eq!(store.list().unwrap().len(), 2);
    assert!(store.remove("demo:1").unwrap());
    assert!(!store.remove("demo:1").unwrap());
    assert!(!image.layers[0].exists() && image.layers[1].exists());
    assert!(store.remove(&other.id).unwrap());
    assert_eq!(std::fs::read_dir(dir.path().join("layers")).unwrap().count(), 0);
}

#[test]
fn hostile_layers_are_refused_by_the_name_of_their_entry() {
    let table: &[(&str, Vec<u8>)] = &[
        ("../evil", layer(&[(Regular, "../evil", "", b"x")])),
        ("a/../../evil", layer(&[(Regular, "a/../../evil", "", b"x")])),
        ("/evil", layer(&[(Regular, "/evil", "", b"x")])),
        (
            "link/evil",
            layer(&[(Symlink, "link", "../..", b""), (Regular, "link/evil", "", b"x")]),
        ),
        (
            "link/evil",
            layer(&[(Symlink, "link", "/", b""), (Regular, "link/evil", "", b"x")]),
        ),
        ("evil", layer(&[(Link, "evil", "../../../etc/passwd", b"")])),
        ("evil", layer(&[(Link, "evil", "/etc/passwd", b"")])),
        (
            "evil",
            layer(&[(Symlink, "etc", "/etc", b""), (Link, "evil", "etc/passwd", b"")]),
        ),
        (
            "evil/file",
            layer(&[(Regular, "evil", "", b"x"), (Regular, "evil/file", "", b"x")]),
        ),
        (
            "dir",
            layer(&[(Regular, "dir/file", "", b"x"), (Regular, "dir", "", b"x")]),
        ),
        (".wh...", layer(&[(Regular, ".wh...", "", b"")])),
        (
            "link/.wh.passwd",
            layer(&[(Symlink, "link", "/etc", b""), (Regular, "link/.wh.passwd", "", b"")]),
        ),
    ];
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("oci")).unwrap();
    for (name, bad) in table {
        let error = store
            .import(&saved("bad:1", std::slice::from_ref(bad))[..])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(&format!("entry {name:?} of the layer")),
            "{name}: {error}"
        );
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "something escaped");
    assert!(store.list().unwrap().is_empty());
    assert_eq!(std::fs::read_dir(dir.path().join("oci/layers")).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(dir.path().join("oci/unpacking")).unwrap().count(), 0);
}

#[test]
fn devices_are_harmless_links_are_not_followed_when_replaced() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let outside = dir.path().join("outside");
    std::fs::write(&outside, "untouched").unwrap();
    let store = Store::open(&dir.path().join("oci")).unwrap();
    let replaced = layer(&[
        (Symlink, "file", outside.to_str().unwrap(), b""),
        (Regular, "file", "", b"inside"),
        (Char, "null", "", b""),
    ]);
    let image = store.import(&saved("replaced:1", &[replaced])[..]).unwrap().remove(0);
    assert_eq!(std::fs::read(image.layers[0].join("file")).unwrap(), b"inside");
    assert_eq!(std::fs::read(&outside).unwrap(), b"untouched");
}

#[test]
fn what_is_torn_or_false_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let good = layer(&[(Regular, "file", "", &[7; 4000])]);
    let whole = saved("torn:1", std::slice::from_ref(&good));
    for cut in [10, 1500, whole.len() / 2] {
        assert!(store.import(&whole[..cut]).is_err(), "cut at {cut}");
    }
    assert!(store.import(&b"no archive at all"[..]).is_err());
    let text = String::from_utf8_lossy(&whole).into_owned();
    let lie = text.replace(&made::digest(&good), &made::digest(b"something else"));
    let error = store.import(lie.as_bytes()).unwrap_err().to_string();
    assert!(
        error.contains("not what the image's config promises") || error.contains("read"),
        "{error}"
    );
    assert!(store.list().unwrap().is_empty());
}
