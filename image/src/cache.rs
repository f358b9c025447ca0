//! Products by the hash of their inputs: a folder each, made aside and renamed when it is whole.

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

/// `$XDG_CACHE_HOME/pintle`, else `~/.cache/pintle`.
pub fn cache_dir() -> PathBuf {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let base = base.unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap_or("/root".into())).join(".cache"));
    base.join("pintle")
}

/// Collects what a product is made of.
pub struct Inputs(Sha256);

impl Inputs {
    /// Begins with the name of the recipe; change it when the recipe changes.
    pub fn new(recipe: &str) -> Self {
        Inputs(Sha256::new()).text(recipe)
    }

    /// Adds a text.
    pub fn text(mut self, text: &str) -> Self {
        self.0.update((text.len() as u64).to_le_bytes());
        self.0.update(text.as_bytes());
        self
    }

    /// Adds a file's bytes and name, or a folder's, recursively and in order.
    pub fn path(mut self, path: &Path) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            let mut entries: Vec<_> = fs::read_dir(path)
                .with_context(|| format!("read folder {}", path.display()))?
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<Result<_, _>>()?;
            entries.sort();
            self = self.text(&format!("folder {name} {}", entries.len()));
            for entry in entries {
                self = self.path(&entry)?;
            }
            return Ok(self);
        }
        let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(&bytes);
        Ok(self.text(&name))
    }

    /// The folder name of the product `name` made of these inputs.
    fn folder(self, name: &str) -> String {
        let digest: String = self
            .0
            .finalize()
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("{name}-{digest}")
    }
}

/// The product `name` made of `inputs`: from the cache, else by `make`, which fills the folder that it is given.
pub fn product(name: &str, inputs: Inputs, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let cache = cache_dir();
    let done = cache.join(inputs.folder(name));
    if done.is_dir() {
        return Ok(done);
    }
    fs::create_dir_all(&cache).with_context(|| format!("make the cache folder {}", cache.display()))?;
    let _only_one = lock(&cache, name)?;
    if done.is_dir() {
        return Ok(done);
    }
    let aside = tempfile::Builder::new()
        .prefix(&format!("{name}.partial-"))
        .tempdir_in(&cache)?;
    make(aside.path())?;
    fs::set_permissions(aside.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    fs::rename(aside.keep(), &done).with_context(|| format!("move the finished {name} to {}", done.display()))?;
    Ok(done)
}

/// Waits until no other process makes a product of this name; two would cost twice the time and write one log.
fn lock(cache: &Path, name: &str) -> Result<fs::File> {
    let path = cache.join(format!("{name}.lock"));
    let file = fs::File::create(&path).with_context(|| format!("make the lock {}", path.display()))?;
    if file.try_lock().is_err() {
        eprintln!("waiting for another build of {name} (lock {})", path.display());
        file.lock()
            .with_context(|| format!("wait for the lock {}", path.display()))?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_inputs_give_the_same_folder_and_others_another() {
        let folder = |text: &str| Inputs::new("recipe 1").text(text).folder("kernel");
        assert_eq!(folder("a"), folder("a"));
        assert_ne!(folder("a"), folder("b"));
        assert_ne!(
            Inputs::new("r").text("ab").text("c").folder("k"),
            Inputs::new("r").text("a").text("bc").folder("k")
        );
    }
}
