//! Container images sent to a machine as archives: honest ones run, hostile ones are refused in a sentence and leave nothing.

#[path = "../../agent/oci/tests/made/mod.rs"]
mod made;

use crate::{apply, eventually, kubectl, pintlectl, shared, text};
use made::{config, digest, entry, gzip, layer, saved};
use qemu::wait;
use std::path::Path;
use tar::EntryType::{Directory, Regular, Symlink};

/// An archive of an OCI image layout with one image; `swap` changes the layer after everything was made of it.
fn layout(name: &str, plain: &[u8], swap: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Vec<u8> {
    let config = config(&[plain.to_vec()]);
    let packed = gzip(plain);
    let describe = |bytes: &[u8]| format!(r#""digest":"{}","size":{}"#, digest(bytes), bytes.len());
    let manifest = format!(
        r#"{{"schemaVersion":2,"config":{{{}}},"layers":[{{{}}}]}}"#,
        describe(&config),
        describe(&packed)
    );
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{{},"annotations":{{"org.opencontainers.image.ref.name":"{name}"}}}}]}}"#,
        describe(manifest.as_bytes())
    );
    let blob = |bytes: &[u8]| digest(bytes).replace("sha256:", "blobs/sha256/");
    let layer_name = blob(&packed);
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in [
        ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
        ("index.json".to_owned(), index.into_bytes()),
        (blob(manifest.as_bytes()), manifest.into_bytes()),
        (blob(&config), config),
        (layer_name, swap(packed)),
    ] {
        entry(&mut archive, Regular, &name, "", &content);
    }
    archive.into_inner().unwrap()
}

fn import(file: &Path, archive: &[u8]) -> std::process::Output {
    std::fs::write(file, archive).unwrap();
    pintlectl(shared(), &["oci", "import", &file.display().to_string()])
}

fn listed() -> String {
    let output = pintlectl(shared(), &["oci", "list"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn an_archive_becomes_an_image_that_pods_run_and_that_is_removed_after_them() {
    let cluster = shared();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("image.tar");
    let busybox = std::fs::read(cluster.plan().artifacts.tools.join("usr/bin/busybox")).unwrap();
    let root = layer(&[(Directory, "bin/", "", b""), (Regular, "bin/busybox", "", &busybox)]);
    for (name, archive) in [
        (
            "archive.test/saved:1",
            saved("archive.test/saved:1", std::slice::from_ref(&root)),
        ),
        (
            "archive.test/layout:1",
            layout("archive.test/layout:1", &root, |packed| packed),
        ),
    ] {
        let taken = import(&file, &archive);
        assert!(taken.status.success(), "{name}: {}", text(&taken.stderr));
        assert!(listed().contains(name), "{}", listed());
    }
    apply(
        cluster,
        "apiVersion: v1\nkind: Pod\nmetadata: {name: imported}\nspec:\n  restartPolicy: Never\n  terminationGracePeriodSeconds: 1\n  containers:\n  - name: main\n    image: archive.test/layout:1\n    imagePullPolicy: Never\n    command: [/bin/busybox, sh, -c, 'echo out of an archive; exec /bin/busybox sleep 3600']\n",
    );
    eventually(cluster, &["logs", "imported"], |said| said == "out of an archive\n");
    let used = pintlectl(cluster, &["oci", "remove", "archive.test/layout:1"]);
    let why = text(&used.stderr);
    assert!(
        !used.status.success() && why.contains("used by pod default/imported"),
        "{why}"
    );
    kubectl(cluster, &["delete", "pod", "imported"]);
    for name in ["archive.test/layout:1", "archive.test/saved:1"] {
        // The node forgets a pod a moment after the API did.
        let removed = wait::until("the image's removal", crate::DEADLINE, || {
            let output = pintlectl(cluster, &["oci", "remove", name]);
            output
                .status
                .success()
                .then_some(())
                .ok_or_else(|| text(&output.stderr))
        });
        removed.unwrap_or_else(|why| panic!("{why:#}"));
    }
    assert!(!listed().contains("archive.test/"), "{}", listed());

    let pulled = pintlectl(cluster, &["oci", "pull", &qemu::oci_images::reference("httpd")]);
    assert!(pulled.status.success(), "{}", text(&pulled.stderr));
    let absent = pintlectl(cluster, &["oci", "pull", "registry.test:5000/absent:9"]);
    let why = text(&absent.stderr);
    assert!(
        !absent.status.success() && why.contains("has no manifest 9 of absent"),
        "{why}"
    );
}

#[test]
fn hostile_archives_are_refused_in_one_sentence_and_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.tar");
    let good = layer(&[(Regular, "file", "", &[7; 4000])]);
    let with = |bad: Vec<u8>| saved("hostile.test/bad:1", &[good.clone(), bad]);
    let escaping = [(Symlink, "link", "../..", &b""[..]), (Regular, "link/evil", "", b"x")];
    for (what, archive, words) in [
        (
            "`..`",
            with(layer(&[(Regular, "../evil", "", b"x")])),
            "entry \"../evil\" of the layer",
        ),
        (
            "an absolute name",
            with(layer(&[(Regular, "/evil", "", b"x")])),
            "entry \"/evil\" of the layer",
        ),
        (
            "a symlink that leads out",
            with(layer(&escaping)),
            "entry \"link/evil\" of the layer",
        ),
        (
            "another digest",
            layout("hostile.test/bad:1", &good, |_| gzip(b"something else")),
            "in the archive has the digest",
        ),
        (
            "half of it",
            with(good.clone())[..5000].to_vec(),
            "the archive cannot be read",
        ),
        ("no archive", b"not an archive at all".to_vec(), "import: the archive"),
    ] {
        let refused = import(&file, &archive);
        let why = text(&refused.stderr);
        // The line before it says that the archive is sent.
        let error = why.lines().last().unwrap_or_default();
        assert!(!refused.status.success() && error.contains(words), "{what}: {why}");
        assert!(error.starts_with("error: import: "), "{what}: {why}");
        assert!(!listed().contains("hostile.test"), "{what}: {}", listed());
    }
    assert_eq!(shared().problems().unwrap(), Vec::<String>::new());
}
