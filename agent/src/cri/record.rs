//! Records of sandboxes and containers: a folder each on disk with one file in it, all of them in memory too.

use proto::cri::pintle::cri::v1::{Container, Sandbox};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The file in a record's folder.
const FILE: &str = "record";

/// What a shelf holds.
pub trait Record: prost::Message + Default + Clone {
    /// Its name, and that of its folder.
    fn id(&self) -> &str;
}

/// All records of one kind.
pub struct Shelf<R> {
    folder: PathBuf,
    known: Mutex<BTreeMap<String, R>>,
}

/// What an ID, whole or its beginning, leads to.
#[derive(Debug, PartialEq)]
pub enum Found<R> {
    /// This one.
    One(R),
    /// Nothing.
    None,
    /// More than one begins so.
    Many,
}

impl Record for Sandbox {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Record for Container {
    fn id(&self) -> &str {
        &self.id
    }
}

/// All records in a folder; what a power cut has torn is no record any more and goes.
pub fn read<R: Record>(folder: &Path) -> BTreeMap<String, R> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let records = entries.filter_map(|entry| {
        let text = fs::read(entry.path().join(FILE)).ok()?;
        let record = R::decode(text.as_slice()).ok()?;
        (entry.file_name().to_str() == Some(record.id())).then(|| (record.id().to_owned(), record))
    });
    records.collect()
}

// === impl Shelf ===

impl<R: Record> Shelf<R> {
    /// Takes in what is in the folder, which is made if it is missing.
    pub fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let known: BTreeMap<String, R> = read(folder);
        for entry in fs::read_dir(folder)?.flatten() {
            let is_known = entry.file_name().to_str().is_some_and(|name| known.contains_key(name));
            if !is_known {
                tracing::warn!(path = %entry.path().display(), "a folder of CRI without a record is removed");
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        Ok(Self {
            folder: folder.to_owned(),
            known: Mutex::new(known),
        })
    }

    /// The folder of a record, which goes with it.
    pub fn dir(&self, id: &str) -> PathBuf {
        self.folder.join(id)
    }

    /// By its ID or a beginning that no other has.
    pub fn find(&self, id: &str) -> Found<R> {
        let known = self.lock();
        if let Some(record) = known.get(id) {
            return Found::One(record.clone());
        }
        let mut begun = known
            .range(id.to_owned()..)
            .take_while(|(known, _)| known.starts_with(id));
        match (begun.next().filter(|_| !id.is_empty()), begun.next()) {
            (None, _) => Found::None,
            (Some((_, record)), None) => Found::One(record.clone()),
            (Some(_), Some(_)) => Found::Many,
        }
    }

    /// All of them.
    pub fn all(&self) -> Vec<R> {
        self.lock().values().cloned().collect()
    }

    /// Adds one, unless `clashes` with one that is there: whether it did.
    pub fn add(&self, record: &R, clashes: impl Fn(&R) -> bool) -> io::Result<bool> {
        let mut known = self.lock();
        if known.values().any(clashes) {
            return Ok(false);
        }
        fs::create_dir(self.dir(record.id()))?;
        self.write(record)?;
        known.insert(record.id().to_owned(), record.clone());
        Ok(true)
    }

    /// Changes one that is there, in memory even if the disk refuses; as it is now if `change` says that it has changed.
    pub fn change(&self, id: &str, change: impl FnOnce(&mut R) -> bool) -> Option<R> {
        let mut known = self.lock();
        let record = known.get_mut(id)?;
        if !change(record) {
            return None;
        }
        if let Err(error) = self.write(record) {
            tracing::error!(id, %error, "a record of CRI cannot be written; it is lost with this agent");
        }
        Some(record.clone())
    }

    /// Forgets one, its folder first; none is fine.
    pub fn remove(&self, id: &str) -> io::Result<()> {
        let mut known = self.lock();
        match fs::remove_dir_all(self.dir(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        known.remove(id);
        Ok(())
    }

    fn write(&self, record: &R) -> io::Result<()> {
        let file = self.dir(record.id()).join(FILE);
        let new = file.with_extension("new");
        fs::write(&new, record.encode_to_vec())?;
        fs::rename(&new, &file)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, R>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sandbox(id: &str) -> Sandbox {
        Sandbox {
            id: id.to_owned(),
            created_at: 5,
            ..Sandbox::default()
        }
    }

    #[test]
    fn records_are_found_by_their_beginning_and_again_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(dir.path()).unwrap();
        for id in ["abc1", "abd2"] {
            assert!(shelf.add(&sandbox(id), |_| false).unwrap());
        }
        assert_eq!(shelf.find("abc"), Found::One(sandbox("abc1")));
        assert_eq!((shelf.find("ab"), shelf.find("")), (Found::Many, Found::None));
        assert_eq!(shelf.find("abc12"), Found::None);
        let changed = shelf.change("abd2", |record| {
            record.stopped = true;
            true
        });
        assert!(changed.unwrap().stopped);
        fs::create_dir(dir.path().join("torn")).unwrap();
        fs::write(dir.path().join("torn").join(FILE), [0xff; 9]).unwrap();
        let again: Shelf<Sandbox> = Shelf::open(dir.path()).unwrap();
        assert_eq!(again.all().len(), 2);
        assert!(!dir.path().join("torn").exists());
        assert!(matches!(again.find("abd2"), Found::One(record) if record.stopped));
        again.remove("abd2").unwrap();
        again.remove("abd2").unwrap();
        assert!(!dir.path().join("abd2").exists());
    }

    #[test]
    fn what_clashes_is_not_added() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(dir.path()).unwrap();
        assert!(shelf.add(&sandbox("a"), |_| false).unwrap());
        assert!(!shelf.add(&sandbox("b"), |known| known.created_at == 5).unwrap());
        assert_eq!(shelf.all().len(), 1);
    }
}
