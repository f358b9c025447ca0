//! Once a boot: whether the layers of the images are still what was unpacked. What is not is put aside, so that no pod starts
//! from it, and the next one that needs it has it pulled again.

use super::images::Images;
use oci::StoreError;
use std::path::Path;
use tracing::{error, info, warn};

/// In a folder that every boot begins empty.
const MARK: &str = "images-checked";

/// Begins to look, in a thread of its own.
pub fn start(images: Images, boot: &Path) {
    let mark = boot.join(MARK);
    if mark.exists() {
        return;
    }
    let check = move || match check(&images) {
        Ok(()) => drop(std::fs::write(mark, "")),
        Err(error) => error!(%error, "the images' layers could not be checked"),
    };
    let thread = std::thread::Builder::new().name("image check".to_owned());
    if let Err(error) = thread.spawn(check) {
        error!(%error, "the images' layers are not checked");
    }
}

fn check(images: &Images) -> Result<(), StoreError> {
    let store = images.store()?;
    // Whoever ran with these has ended with the last boot.
    store.forget_damaged()?;
    let damaged = store.put_damaged_aside()?;
    for layer in &damaged {
        warn!(%layer, "a layer is damaged; its images are pulled again when they are needed");
    }
    info!(damaged = damaged.len(), "the images' layers were checked");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    fn checked(folder: &Path, run: &Path) {
        let images = Images::new(folder, oci::Registries::default(), Arc::default());
        start(images, run);
        let end = Instant::now() + Duration::from_secs(60);
        while !run.join(MARK).exists() {
            assert!(Instant::now() < end, "the layers were never checked");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_torn_layer_is_put_aside_until_the_next_boot() {
        let (folder, run) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        // Its files, and no word of how many there should be.
        std::fs::create_dir_all(folder.path().join("layers/abc/fs")).unwrap();
        let aside = folder.path().join("damaged/abc.0");
        checked(folder.path(), run.path());
        assert!(aside.exists() && !folder.path().join("layers/abc").exists());
        // The agent begins again in the same boot, and containers of before run on.
        checked(folder.path(), run.path());
        assert!(aside.exists());
        std::fs::remove_file(run.path().join(MARK)).unwrap();
        checked(folder.path(), run.path());
        assert!(!aside.exists());
    }
}
