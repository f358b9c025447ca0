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
    let root = folder.join("root");
    for place in ["bin", "tmp", "etc"] {
        std::fs::create_dir_all(root.join(place)).unwrap();
    }
    std::fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
    for program in PROGRAMS {
        let source = Path::new("/bin").join(program);
        std::fs::copy(&source, root.join("bin").join(program)).unwrap();
        for library in libraries(&source) {
            let target = root.join(library.trim_start_matches('/'));
            std::fs::create_dir_all(target.parent().unwrap()).unwrap();
            std::fs::copy(&library, target).unwrap();
        }
    }
    if let Some(busybox) = found("busybox") {
        std::fs::copy(busybox, root.join("bin/busybox")).unwrap();
        std::os::unix::fs::symlink("busybox", root.join("bin/tar")).unwrap();
    }
    let layer = folder.join("layer.tar");
    tar(&root, &layer, &["."]);
    let digest = hex(&std::fs::read(&layer).unwrap());
    let config = serde_json::json!({"architecture": "amd64", "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"]}, "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]}});
    let config = config.to_string();
    let config_name = format!("{}.json", hex(config.as_bytes()));
    std::fs::write(folder.join(&config_name), config).unwrap();
    let manifest = serde_json::json!([{"Config": config_name, "RepoTags": [NAME], "Layers": ["layer.tar"]}]);
    std::fs::write(folder.join("manifest.json"), manifest.to_string()).unwrap();
    let archive = folder.join("image.tar");
    tar(folder, &archive, &["manifest.json", &config_name, "layer.tar"]);
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
