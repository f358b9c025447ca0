//! Removes images that nobody uses when the disk that they are on fills up: those that were not used for longest first, until
//! enough is free (upstream pkg/kubelet/images/image_gc_manager.go). Which, is decided here purely.

use super::directory::Directory;
use super::images::Images;
use oci::Image;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// Upstream's imageGCHighThresholdPercent, imageGCLowThresholdPercent, imageMinimumGCAge and period.
const HIGH_PERCENT: u64 = 85;
const LOW_PERCENT: u64 = 80;
const MINIMUM_AGE: Duration = Duration::from_secs(120);
const PERIOD: Duration = Duration::from_secs(300);

/// When an image was first seen and last used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    first: Instant,
    /// Of one that nobody used yet, when it was first seen.
    used: Instant,
}

/// What the garbage collector knows of images, by their IDs.
#[derive(Debug, Default)]
struct Known(BTreeMap<String, Seen>);

/// A disk's size and what of it is free, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Disk {
    capacity: u64,
    available: u64,
}

/// Looks every five minutes, for ever.
pub async fn run(images: Images, directory: std::sync::Arc<Directory>, folder: std::path::PathBuf) -> ! {
    let mut known = Known::default();
    loop {
        let (images, directory, folder) = (images.clone(), directory.clone(), folder.clone());
        let looked = tokio::task::spawn_blocking(move || {
            look(&images, &directory, &folder, &mut known);
            known
        });
        known = looked.await.unwrap_or_default();
        tokio::time::sleep(PERIOD).await;
    }
}

/// Once; blocks.
fn look(images: &Images, directory: &Directory, folder: &Path, known: &mut Known) {
    let Ok(all) = images.store().and_then(|store| store.list()) else {
        return;
    };
    let is_used = |image: &Image| directory.user_of(image).is_some();
    known.update(&all, is_used, Instant::now());
    let Some(disk) = Disk::of(folder).filter(Disk::is_full) else {
        return;
    };
    let candidates = known.candidates(&all, is_used, Instant::now());
    for id in &candidates {
        if Disk::of(folder).is_none_or(|disk| disk.is_roomy()) {
            return;
        }
        match images.remove(id) {
            Ok(()) => tracing::info!(image = %id, "image removed to make room: nobody used it for longest"),
            Err(error) => tracing::debug!(image = %id, %error, "image not removed"),
        }
    }
    if Disk::of(folder).is_some_and(|disk| !disk.is_roomy()) {
        let percent = disk.used_percent();
        tracing::warn!(
            percent,
            removed = candidates.len(),
            "the images' disk is full and no more images can go"
        );
    }
}

/// Removes every image that no pod uses, however new; how many. Blocks.
pub fn remove_unused(images: &Images, directory: &Directory) -> usize {
    let all = images.store().and_then(|store| store.list()).unwrap_or_default();
    let unused = all.iter().filter(|image| directory.user_of(image).is_none());
    let removed = unused.filter(|image| images.remove(&image.id).is_ok()).count();
    if removed > 0 {
        tracing::info!(
            removed,
            "images that nobody uses are removed: the node is short of disk"
        );
    }
    removed
}

// === impl Known ===

impl Known {
    fn update(&mut self, all: &[Image], is_used: impl Fn(&Image) -> bool, now: Instant) {
        self.0.retain(|id, _| all.iter().any(|image| image.id == *id));
        for image in all {
            let seen = self.0.entry(image.id.clone()).or_insert(Seen { first: now, used: now });
            if is_used(image) {
                seen.used = now;
            }
        }
    }

    /// Images that may go, the one to go first at the beginning.
    fn candidates(&self, all: &[Image], is_used: impl Fn(&Image) -> bool, now: Instant) -> Vec<String> {
        let idle = all.iter().filter(|image| !is_used(image));
        let mut idle: Vec<(&Seen, &Image)> = idle
            .filter_map(|image| Some((self.0.get(&image.id)?, image)))
            .filter(|(seen, _)| now.duration_since(seen.first) >= MINIMUM_AGE)
            .collect();
        idle.sort_by_key(|(seen, _)| (seen.used, seen.first));
        idle.into_iter().map(|(_, image)| image.id.clone()).collect()
    }
}

// === impl Disk ===

impl Disk {
    fn of(folder: &Path) -> Option<Self> {
        let stat = nix::sys::statvfs::statvfs(folder).ok()?;
        Some(Self {
            capacity: stat.blocks() * stat.fragment_size(),
            available: stat.blocks_available() * stat.fragment_size(),
        })
    }

    fn used_percent(&self) -> u64 {
        let used = self.capacity.saturating_sub(self.available);
        (used * 100).checked_div(self.capacity).unwrap_or(0)
    }

    fn is_full(&self) -> bool {
        self.used_percent() >= HIGH_PERCENT
    }

    fn is_roomy(&self) -> bool {
        self.used_percent() <= LOW_PERCENT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(id: &str) -> Image {
        Image {
            id: id.to_owned(),
            digest: id.to_owned(),
            names: Vec::new(),
            layers: Vec::new(),
            size: 1,
            config: oci::Config::default(),
        }
    }

    #[test]
    fn the_longest_unused_goes_first_and_neither_the_used_nor_the_new() {
        let begin = Instant::now();
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        let (a, b, c, new) = (image("a"), image("b"), image("c"), image("new"));
        let old = [a.clone(), b.clone(), c.clone()];
        let mut known = Known::default();
        known.update(&old, |image| image.id == "c", at(0));
        known.update(&old, |image| image.id == "a", at(300));
        let all = [a, b, c, new];
        known.update(&all, |image| image.id == "c", at(600));
        let candidates = known.candidates(&all, |image| image.id == "c", at(601));
        assert_eq!(candidates, ["b", "a"]);
        // What is gone is forgotten.
        known.update(&all[..1], |_| false, at(900));
        assert_eq!(known.0.len(), 1);
    }

    #[test]
    fn thresholds_are_upstreams() {
        let disk = |available| Disk {
            capacity: 100,
            available,
        };
        assert!(disk(15).is_full() && !disk(16).is_full());
        assert!(disk(20).is_roomy() && !disk(19).is_roomy());
        assert!(!disk(0).is_roomy());
        assert!(
            !Disk {
                capacity: 0,
                available: 0
            }
            .is_full()
        );
    }
}
