//! Files and folders of the machine, checked or made as the pod wants (upstream: pkg/volume/hostpath).

use k8s_openapi::api::core::v1::HostPathVolumeSource;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Why it cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum NotShown {
    /// It is something else.
    #[error("hostPath type check failed: {path} is not {article_and_kind}")]
    Kind {
        /// Where.
        path: PathBuf,
        /// What it should be, in upstream's words.
        article_and_kind: &'static str,
    },
    /// It could not be made.
    #[error("make {path}: {cause}")]
    Made {
        /// Where.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
}

/// Has it there.
pub fn have(source: &HostPathVolumeSource) -> Result<PathBuf, NotShown> {
    let path = PathBuf::from(&source.path);
    let not_made = |cause| NotShown::Made {
        path: path.clone(),
        cause,
    };
    let kind = source.type_.as_deref().unwrap_or_default();
    match kind {
        // Where nothing is said, runtimes make a folder of what is missing.
        "DirectoryOrCreate" | "" if !exists(&path) => make_folder(&path).map_err(not_made)?,
        "FileOrCreate" if !exists(&path) => make_file(&path).map_err(not_made)?,
        _ => {}
    }
    let found = fs::metadata(&path).ok().map(|found| found.file_type());
    let is = |fits: fn(&fs::FileType) -> bool| found.as_ref().is_some_and(fits);
    let (fits, article_and_kind) = match kind {
        "Directory" | "DirectoryOrCreate" => (is(fs::FileType::is_dir), "a directory"),
        "File" | "FileOrCreate" => (is(fs::FileType::is_file), "a file"),
        "Socket" => (is(FileTypeExt::is_socket), "a socket file"),
        "CharDevice" => (is(FileTypeExt::is_char_device), "a character device"),
        "BlockDevice" => (is(FileTypeExt::is_block_device), "a block device"),
        _ => (true, ""),
    };
    match fits {
        true => Ok(path),
        false => Err(NotShown::Kind { path, article_and_kind }),
    }
}

/// A link to nothing is something, and not for us to follow.
fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

fn make_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(path)
}

fn make_file(path: &Path) -> io::Result<()> {
    let mut open = fs::OpenOptions::new();
    open.append(true).create(true).mode(0o644).open(path).map(drop)
}
