//! Container images for the registry, made of Debian's static busybox by umoci; each recipe is built once.

use crate::plan::REGISTRY_HOST;
use crate::{caches, tools};
use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What an image does when it runs, on top of busybox with all its programs in /bin.
struct Recipe {
    name: &'static str,
    entry: &'static str,
}

/// Change a recipe's text and it is built anew.
const RECIPES: [Recipe; 2] = [
    Recipe {
        name: "demo",
        entry: "#!/bin/sh
trap 'echo \"asked to stop after $n lines\"; exit 0' TERM
n=0
while true; do
  n=$((n + 1))
  echo \"hello from $(hostname), line $n\"
  sleep 1 & wait $!
done
",
    },
    Recipe {
        name: "httpd",
        entry: "#!/bin/sh
mkdir -p /tmp/www
echo \"hello from $(hostname)\" > /tmp/www/index.html
exec httpd -f -v -p 8080 -h /tmp/www
",
    },
];

/// How a pod names the image of this recipe, e.g. `demo`.
pub fn reference(name: &str) -> String {
    format!("{REGISTRY_HOST}/{name}:1")
}

/// Build what is missing and push it to the registry on `port`.
pub fn provide(tools_tree: &Path, port: u16) -> Result<()> {
    let layout = ensure_layout(tools_tree)?;
    let digest = layout.file_name().unwrap_or_default().to_string_lossy();
    // All registries of this user share one storage, so one push serves them all.
    let mark = caches()?.join("registry").join(format!("pushed-{digest}"));
    if mark.exists() {
        return Ok(());
    }
    for recipe in &RECIPES {
        push(tools_tree, &layout, recipe.name, port)?;
    }
    std::fs::write(&mark, "").with_context(|| format!("write {}", mark.display()))
}

/// Push image `name` of an OCI layout to the registry on `port`, as `name:1`.
pub fn push(tools_tree: &Path, layout: &Path, name: &str, port: u16) -> Result<()> {
    let mut command = tools::command(tools_tree, "skopeo");
    command
        .args(["--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"])
        .arg(format!("oci:{}:{name}", layout.display()))
        .arg(format!("docker://127.0.0.1:{port}/{name}:1"));
    run(&mut command, &format!("push the container image {name}"))
}

/// An OCI layout with all recipes, from the cache or made aside and moved there whole.
fn ensure_layout(tools_tree: &Path) -> Result<PathBuf> {
    let busybox = tools_tree.join("usr/bin/busybox");
    let mut hash = Sha256::new();
    hash.update(std::fs::read(&busybox).with_context(|| format!("read {}", busybox.display()))?);
    for recipe in &RECIPES {
        hash.update(recipe.name);
        hash.update(recipe.entry);
    }
    let digest: String = hash
        .finalize()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let parent = caches()?.join("oci");
    let done = parent.join(digest);
    if done.exists() {
        return Ok(done);
    }
    std::fs::create_dir_all(&parent).with_context(|| format!("make {}", parent.display()))?;
    let aside = tempfile::tempdir_in(&parent)?;
    let layout = new_layout(tools_tree, aside.path())?;
    for recipe in &RECIPES {
        let root = aside.path().join(recipe.name);
        fill(&root, &busybox, recipe)?;
        add(tools_tree, &layout, &root, recipe.name)?;
    }
    match std::fs::rename(&layout, &done) {
        Err(_) if done.exists() => Ok(done),
        moved => moved.map(|()| done).context("keep the OCI layout"),
    }
}

/// Make an image of the folder `root`, whose `/entry` runs, and push it to the registry on `port` as `name:1`.
pub fn publish(tools_tree: &Path, root: &Path, name: &str, port: u16) -> Result<()> {
    let aside = tempfile::tempdir()?;
    let layout = new_layout(tools_tree, aside.path())?;
    add(tools_tree, &layout, root, name)?;
    push(tools_tree, &layout, name, port)
}

/// An OCI layout without images, in a folder.
fn new_layout(tools_tree: &Path, folder: &Path) -> Result<PathBuf> {
    let layout = folder.join("layout");
    run(
        tools::command(tools_tree, "umoci")
            .arg("init")
            .arg("--layout")
            .arg(&layout),
        "make an OCI layout",
    )?;
    Ok(layout)
}

/// The image's root: busybox, a link for each of its programs, the entry.
fn fill(root: &Path, busybox: &Path, recipe: &Recipe) -> Result<()> {
    let bin = root.join("bin");
    std::fs::create_dir_all(&bin)?;
    std::fs::create_dir_all(root.join("tmp"))?;
    std::fs::copy(busybox, bin.join("busybox"))?;
    let list = Command::new(busybox)
        .arg("--list")
        .output()
        .context("ask busybox for its programs")?;
    for program in String::from_utf8_lossy(&list.stdout)
        .lines()
        .filter(|program| *program != "busybox")
    {
        std::os::unix::fs::symlink("busybox", bin.join(program))?;
    }
    let entry = root.join("entry");
    std::fs::write(&entry, recipe.entry)?;
    std::fs::set_permissions(&entry, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    Ok(())
}

/// Add an image of the folder `root` to a layout; its `/entry` is what runs.
fn add(tools_tree: &Path, layout: &Path, root: &Path, name: &str) -> Result<()> {
    let image = format!("{}:{name}", layout.display());
    let umoci = |arguments: &[&str]| {
        let mut command = tools::command(tools_tree, "umoci");
        command.args(arguments);
        run(
            &mut command,
            &format!("umoci {} for the container image {name}", arguments[0]),
        )
    };
    umoci(&["new", "--image", &image])?;
    // One layer for each entry: inserted at `/`, the layer would name that, and absolute names are refused where it is unpacked.
    for entry in std::fs::read_dir(root).with_context(|| format!("read {}", root.display()))? {
        let entry = entry?;
        let (from, to) = (entry.path(), Path::new("/").join(entry.file_name()));
        let (from, to) = (from.display().to_string(), to.display().to_string());
        // `--rootless` makes root own the files, whoever builds.
        umoci(&["insert", "--rootless", "--image", &image, &from, &to])?;
    }
    umoci(&[
        "config",
        "--image",
        &image,
        "--config.entrypoint",
        "/entry",
        "--config.env",
        "PATH=/bin",
    ])
}

fn run(command: &mut Command, what: &str) -> Result<()> {
    let output = command.output().with_context(|| what.to_owned())?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{what}: {}: {}", output.status, said.trim());
    Ok(())
}
