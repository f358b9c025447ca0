//! Images that say more than a shell: an entrypoint, a user, groups, a program that runs as root whoever starts it.

use crate::node::tests::image;
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A shell as root.
pub const SHELL: &str = "registry.test/walk/shell:1";
/// Says `entrypoint default arguments`.
pub const ENTRY: &str = "registry.test/walk/entry:1";
/// A shell as 1234.
pub const NON_ROOT: &str = "registry.test/walk/nonroot:1";

/// All of them in one archive. User 1000 is in group 50000 by the image's own word; `escalate` is `id` for root's user.
pub fn archives(folder: &Path) -> Vec<PathBuf> {
    let folder = folder.join("walk");
    let root = image::root(&folder);
    let users = "root:x:0:0:root:/root:/bin/sh\nuser-defined-in-image:x:1000:1000::/:/bin/sh\n";
    std::fs::write(root.join("etc/passwd"), users).unwrap();
    let groups = "root:x:0:\nuser-defined-in-image:x:1000:\ngroup-defined-in-image:x:50000:user-defined-in-image\n";
    std::fs::write(root.join("etc/group"), groups).unwrap();
    let id = image::found("id").expect("id is part of every host");
    for name in ["id", "escalate"] {
        image::add(&root, &id, name);
    }
    let mode = std::fs::Permissions::from_mode(0o4755);
    std::fs::set_permissions(root.join("bin/escalate"), mode).unwrap();
    let path = json!(["PATH=/bin"]);
    let entry = json!({"Env": path, "Entrypoint": ["echo", "entrypoint"], "Cmd": ["default", "arguments"]});
    let images = [
        (SHELL, json!({"Env": path, "Cmd": ["sh"]})),
        (ENTRY, entry),
        (NON_ROOT, json!({"Env": path, "Cmd": ["sh"], "User": "1234"})),
    ];
    vec![image::save(&folder, &images)]
}
