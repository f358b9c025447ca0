//! A container image made of the host's own shell, as an archive that `docker save` could have written.

use sha2::Digest;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Its name.
pub const NAME: &str = "registry.test/shell:1";

/// Programs that the tests' containers use.
const PROGRAMS: [&str; 5] = ["sh", "cat", "sleep", "ls", "echo"];

/// Writes the archive into `folder` and gives its path.
pub fn archive(folder: &Path) -> PathBuf {
    root(folder);
    let config = serde_json::json!({"Env": ["PATH=/bin"], "Cmd": ["sh"]});
    save(folder, &[(NAME, config)])
}

/// Fills `root` in `folder` with what a shell needs.
pub fn root(folder: &Path) -> PathBuf {
    let root = folder.join("root");
    for place in ["bin", "tmp", "etc"] {
        std::fs::create_dir_all(root.join(place)).unwrap();
    }
    std::fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
    for program in PROGRAMS {
        add(&root, &Path::new("/bin").join(program), program);
    }
    if let Some(busybox) = found("busybox") {
        std::fs::copy(busybox, root.join("bin/busybox")).unwrap();
        std::os::unix::fs::symlink("busybox", root.join("bin/tar")).unwrap();
    }
    root
}

/// Copies a program of the host and the libraries that it needs.
pub fn add(root: &Path, source: &Path, name: &str) {
    std::fs::copy(source, root.join("bin").join(name)).unwrap();
    for library in libraries(source) {
        let target = root.join(library.trim_start_matches('/'));
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(&library, target).unwrap();
    }
}

/// Writes `root` in `folder` as the one layer of images with these names and configs.
pub fn save(folder: &Path, images: &[(&str, serde_json::Value)]) -> PathBuf {
    let layer = folder.join("layer.tar");
    tar(&folder.join("root"), &layer, &["."]);
    let digest = hex(&std::fs::read(&layer).unwrap());
    let mut files = vec!["manifest.json".to_owned(), "layer.tar".to_owned()];
    let mut manifest = Vec::new();
    for (name, config) in images {
        let config = serde_json::json!({"architecture": "amd64", "os": "linux", "config": config,
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]}});
        let config = config.to_string();
        let file = format!("{}.json", hex(config.as_bytes()));
        std::fs::write(folder.join(&file), config).unwrap();
        manifest.push(serde_json::json!({"Config": file, "RepoTags": [name], "Layers": ["layer.tar"]}));
        files.push(file);
    }
    std::fs::write(folder.join("manifest.json"), serde_json::json!(manifest).to_string()).unwrap();
    let archive = folder.join("image.tar");
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    tar(folder, &archive, &files);
    archive
}

/// A program in PATH, or in the tools tree.
pub fn found(program: &str) -> Option<PathBuf> {
    let tree = std::env::var_os("PINTLE_TOOLS_TREE").map(|tree| PathBuf::from(tree).join("usr/bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&path).chain(tree);
    folders.find_map(|folder| Some(folder.join(program)).filter(|file| file.is_file()))
}

fn libraries(program: &Path) -> Vec<String> {
    let output = Command::new("ldd").arg(program).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_ascii_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(str::to_owned)
        .collect()
}

fn tar(folder: &Path, archive: &Path, names: &[&str]) {
    let ended = Command::new("tar")
        .arg("-C")
        .arg(folder)
        .arg("-cf")
        .arg(archive)
        .args(names)
        .status()
        .unwrap();
    assert!(ended.success());
}

fn hex(bytes: &[u8]) -> String {
    sha2::Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
