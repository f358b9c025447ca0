//! Reads the files of volumes that name variables. Who wrote them may wish us harm: links that lead out of the volume, files that
//! are none or never end, and pipes that nobody writes to.

use crate::pods::plan::env_file::EnvFiles;
use crate::pods::plan::{Volumes, What};
use k8s_openapi::api::core::v1::{Container, PodSpec};
use linux::beneath::Folder;
use std::io::Read;
use std::path::Path;

/// Most bytes of a file: as much as an object of the API may hold.
const MOST: u64 = 1 << 20;

/// All that the container's variables refer to. Only what is an `emptyDir` is looked into, as the API has it: no server is waited for.
pub fn read(spec: &PodSpec, container: &Container, volumes: &Volumes) -> EnvFiles {
    let is_own = |name: &str| {
        let mut all = spec.volumes.iter().flatten();
        all.any(|volume| volume.name == name && volume.empty_dir.is_some())
    };
    let sources = container
        .env
        .iter()
        .flatten()
        .filter_map(|variable| variable.value_from.as_ref());
    let mut files = EnvFiles::new();
    let wanted = sources.filter_map(|source| source.file_key_ref.as_ref());
    for from in wanted.filter(|from| is_own(&from.volume_name)) {
        let Some(What::Path(folder)) = volumes.get(&from.volume_name).map(|volume| &volume.what) else {
            continue;
        };
        let file = (from.volume_name.clone(), from.path.clone());
        files.entry(file).or_insert_with(|| text(folder, Path::new(&from.path)));
    }
    files
}

fn text(folder: &Path, path: &Path) -> Result<Option<String>, String> {
    let opened = Folder::open(folder).and_then(|folder| folder.open_file_beneath(path));
    let file = match opened {
        Ok(Some(file)) => file,
        Ok(None) => return Err("is no file".to_owned()),
        Err(error) if error.is(nix::libc::ENOENT) => return Ok(None),
        Err(error) if error.is(nix::libc::EXDEV) => return Err("leads out of its volume".to_owned()),
        Err(error) => return Err(format!("cannot be opened: {error}")),
    };
    let mut bytes = Vec::new();
    let read = file.take(MOST + 1).read_to_end(&mut bytes);
    read.map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > MOST {
        return Err(format!("is larger than {MOST} bytes"));
    }
    String::from_utf8(bytes)
        .map(Some)
        .map_err(|_| "is no UTF-8 text".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_files_within_the_volume_are_read() {
        let root = std::env::temp_dir().join(format!("env-file-{}", std::process::id()));
        let volume = root.join("volume");
        fs::create_dir_all(volume.join("folder")).unwrap();
        fs::write(root.join("secret"), "K='secret'").unwrap();
        fs::write(volume.join("good"), "K='v'").unwrap();
        fs::write(volume.join("bytes"), [0xff, 0xfe]).unwrap();
        fs::File::create(volume.join("large"))
            .unwrap()
            .set_len(1 << 40)
            .unwrap();
        let links = [
            ("good", "link"),
            ("../good", "folder/up"),
            ("../secret", "out"),
            ("/etc/shadow", "shadow"),
            ("/proc/self/environ", "environ"),
            ("nowhere", "dangling"),
            ("loop", "loop"),
        ];
        links
            .iter()
            .for_each(|(to, name)| symlink(to, volume.join(name)).unwrap());
        let (here, kind) = (rustix::fs::CWD, rustix::fs::FileType::Fifo);
        rustix::fs::mknodat(here, volume.join("pipe"), kind, rustix::fs::Mode::RUSR, 0).unwrap();
        let table = [
            ("good", Ok(Some("K='v'"))),
            ("link", Ok(Some("K='v'"))),
            ("folder/up", Ok(Some("K='v'"))),
            ("gone", Ok(None)),
            ("gone/gone", Ok(None)),
            ("dangling", Ok(None)),
            ("out", Err("leads out of its volume")),
            ("shadow", Err("leads out of its volume")),
            ("environ", Err("leads out of its volume")),
            ("../secret", Err("leads out of its volume")),
            ("loop", Err("cannot be opened")),
            ("good/below", Err("cannot be opened")),
            ("folder", Err("is no file")),
            ("pipe", Err("is no file")),
            ("large", Err("is larger than")),
            ("bytes", Err("is no UTF-8 text")),
        ];
        for (path, expected) in table {
            match (text(&volume, Path::new(path)), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found.as_deref(), expected, "{path}"),
                (Err(why), Err(expected)) => assert!(why.starts_with(expected), "{path}: {why}"),
                (found, expected) => panic!("{path}: {found:?} and not {expected:?}"),
            }
        }
        fs::remove_dir_all(root).unwrap();
    }
}
