//! What a kill, a power cut or a bad disk leaves of layers is found, and made whole by the next pull or import.
#![allow(clippy::unwrap_used)] // a test says what it expects by failing

mod made;

use made::{layer, saved};
use oci::Store;
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use tar::EntryType::{Directory, Regular, Symlink};

const FOLDER: &str = "PINTLE_TEST_IMAGE_STORE";

fn archive() -> Vec<u8> {
    let low = layer(&[
        (Directory, "etc/", "", b""),
        (Regular, "etc/passwd", "", b"root:x:0:0::/:/bin/sh\n"),
        (Symlink, "etc/link", "passwd", b""),
        (Regular, "etc/empty", "", b""),
    ]);
    let content = vec![5; 3 << 20];
    let high: Vec<u8> = layer(&[(Regular, "a", "", &content), (Regular, "b", "", &content)]);
    saved("demo:1", &[low, high])
}

fn entries(folder: &Path) -> usize {
    fs::read_dir(folder).map_or(0, Iterator::count)
}

/// The only layer that has `etc`, and its unpacked files.
fn low_layer(dir: &Path) -> std::path::PathBuf {
    let mut layers = fs::read_dir(dir.join("layers"))
        .unwrap()
        .flatten()
        .map(|entry| entry.path());
    layers.find(|layer| layer.join("fs/etc").exists()).unwrap()
}

#[test]
fn an_import_that_was_killed_leaves_nothing() {
    // The child's part: imports what comes in, until it is killed.
    if let Some(folder) = std::env::var_os(FOLDER) {
        Store::open(Path::new(&folder))
            .unwrap()
            .import(std::io::stdin())
            .unwrap();
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let archive = archive();
    // In the second layer's first file, in its second, and just before its end.
    for cut in [2 << 20, 5 << 20, archive.len() - 4096] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "an_import_that_was_killed_leaves_nothing"])
            .env(FOLDER, dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(&archive[..cut]).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert!(store.list().unwrap().is_empty());
        assert_eq!(entries(&dir.path().join("unpacking")), 0);
    }
    let store = Store::open(dir.path()).unwrap();
    let image = store.import(&*archive).unwrap().remove(0);
    assert_eq!(fs::metadata(image.layers[0].join("b")).unwrap().len(), 3 << 20);
    assert!(store.put_damaged_aside().unwrap().is_empty());
}

#[test]
fn a_layer_that_the_disk_damaged_is_put_aside_and_comes_back_whole() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 7] = [
        ("cut file", |layer| {
            fs::write(layer.join("fs/etc/passwd"), "root").unwrap()
        }),
        ("lost file", |layer| {
            fs::remove_file(layer.join("fs/etc/empty")).unwrap()
        }),
        ("lost folder", |layer| fs::remove_dir_all(layer.join("fs/etc")).unwrap()),
        ("lost files", |layer| fs::remove_dir_all(layer.join("fs")).unwrap()),
        ("another kind", |layer| {
            fs::remove_file(layer.join("fs/etc/empty")).unwrap();
            symlink("passwd", layer.join("fs/etc/empty")).unwrap();
        }),
        ("one more", |layer| fs::write(layer.join("fs/etc/new"), "").unwrap()),
        ("torn record", |layer| fs::write(layer.join("size"), "").unwrap()),
    ];
    for (name, damage) in damages {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.import(&*archive()).unwrap();
        assert!(store.put_damaged_aside().unwrap().is_empty(), "{name}");
        let layer = low_layer(dir.path());
        damage(&layer);

        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.put_damaged_aside().unwrap().len(), 1, "{name}");
        assert!(
            store.get("demo:1").unwrap().is_none(),
            "{name}: the image is still offered"
        );

        let image = store.import(&*archive()).unwrap().remove(0);
        assert_eq!(fs::read(image.layers[1].join("etc/link")).unwrap().len(), 22, "{name}");
        assert!(store.put_damaged_aside().unwrap().is_empty(), "{name}");
        // Who runs with the old one keeps it until it may go.
        assert_eq!(entries(&dir.path().join("damaged")), 1, "{name}");
        store.forget_damaged().unwrap();
        assert_eq!(entries(&dir.path().join("damaged")), 0, "{name}");
    }
}

#[test]
fn a_folder_that_stands_where_a_layer_should_be_is_no_obstacle() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.import(&*archive()).unwrap();
    // Damaged while the store is open, before anybody looked.
    fs::write(low_layer(dir.path()).join("size"), "").unwrap();
    assert!(store.list().unwrap().is_empty());
    let image = store.import(&*archive()).unwrap().remove(0);
    assert!(image.layers[1].join("etc/passwd").exists());
    assert_eq!(store.list().unwrap().len(), 1);
}
