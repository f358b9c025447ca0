//! The embedded engine's file: live entries and the counters in one redb database; history is not kept on disk.

use crate::engine::{Entry, Revision};
use bytes::Bytes;
use redb::{Builder, Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Key → revision of creation, revision of last write (8 bytes each, little endian), value.
const ENTRIES: TableDefinition<&str, &[u8]> = TableDefinition::new("entries");
const COUNTERS: TableDefinition<&str, u64> = TableDefinition::new("counters");
/// Of [`COUNTERS`]: the layout of these tables.
const FORMAT: &str = "format";
/// Of [`COUNTERS`]: no revision above this one was ever handed out.
const CEILING: &str = "ceiling";

/// The only layout so far.
const FORMAT_NOW: u64 = 1;
/// Bytes before the value in an entry's record.
const HEADER: usize = 16;
/// redb's page cache. Everything is read once, at the start; what is left are the upper pages of the tree.
const CACHE_BYTES: usize = 8 << 20;

/// The store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder or the file cannot be made or reached.
    #[error("open the store {path}")]
    Reach {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// Another process has it.
    #[error("open the store {path}: another process has it open; stop that one first")]
    InUse {
        /// Which.
        path: PathBuf,
    },
    /// It is damaged, or not a store at all.
    #[error("open the store {path}: it cannot be read; restore it from a backup or move it away to begin an empty one")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        cause: Box<redb::Error>,
    },
    /// A newer Pintle wrote it.
    #[error(
        "open the store {path}: its format is {found}, this version knows {FORMAT_NOW}; start the version that wrote it"
    )]
    Format {
        /// Which.
        path: PathBuf,
        /// Its format.
        found: u64,
    },
}

/// A commit did not reach the disk.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// No space.
    #[error(
        "write {changes} changes to {path}: no space left; free some, nothing was lost and writing goes on by itself ({cause})"
    )]
    Full {
        /// How many keys.
        changes: usize,
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: Box<redb::Error>,
    },
    /// Anything else.
    #[error("write {changes} changes to {path}: {cause}")]
    Failed {
        /// How many keys.
        changes: usize,
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: Box<redb::Error>,
    },
}

/// What the file held when it was opened.
pub(crate) struct Loaded {
    pub(crate) ceiling: Revision,
    pub(crate) entries: Vec<Entry>,
}

/// The database file. After a failed commit it is closed, and opened anew by the next one.
pub(crate) struct Disk {
    path: PathBuf,
    database: Option<Database>,
}

impl Disk {
    /// Opens or makes `dir`/store.redb and reads all of it.
    pub(crate) fn open(dir: &Path) -> Result<(Disk, Loaded), OpenError> {
        let path = dir.join("store.redb");
        let reach = |cause| OpenError::Reach {
            path: path.clone(),
            cause,
        };
        std::fs::create_dir_all(dir).map_err(reach)?;
        if !path.try_exists().map_err(reach)? {
            make(dir, &path)?;
        }
        let database = open_file(&path).map_err(|cause| cannot_open(&path, cause))?;
        let loaded = load(&database, &path)?;
        Ok((
            Disk {
                path,
                database: Some(database),
            },
            loaded,
        ))
    }

    /// Makes `states` (none: deleted) and the ceiling durable, all or nothing.
    pub(crate) fn commit<'a>(
        &mut self,
        states: impl ExactSizeIterator<Item = (&'a Arc<str>, &'a Option<Entry>)>,
        ceiling: Revision,
    ) -> Result<(), DiskError> {
        let changes = states.len();
        self.try_commit(states, ceiling).map_err(|cause| {
            // redb refuses everything after an I/O error until it is opened anew.
            self.database = None;
            disk_error(changes, &self.path, cause)
        })
    }

    fn try_commit<'a>(
        &mut self,
        states: impl Iterator<Item = (&'a Arc<str>, &'a Option<Entry>)>,
        ceiling: Revision,
    ) -> Result<(), redb::Error> {
        let database = match &mut self.database {
            Some(database) => database,
            closed @ None => closed.insert(open_file(&self.path)?),
        };
        let transaction = database.begin_write()?;
        {
            let mut entries = transaction.open_table(ENTRIES)?;
            for (key, state) in states {
                match state {
                    Some(entry) => write_entry(&mut entries, entry)?,
                    None => drop(entries.remove(&**key)?),
                }
            }
            transaction.open_table(COUNTERS)?.insert(CEILING, ceiling)?;
        }
        Ok(transaction.commit()?)
    }
}

fn write_entry(entries: &mut redb::Table<'_, &'static str, &'static [u8]>, entry: &Entry) -> Result<(), redb::Error> {
    let mut record = entries.insert_reserve(&*entry.key, HEADER + entry.value.len())?;
    let (header, value) = record.as_mut().split_at_mut(HEADER);
    header[..8].copy_from_slice(&entry.created.to_le_bytes());
    header[8..].copy_from_slice(&entry.modified.to_le_bytes());
    value.copy_from_slice(&entry.value);
    Ok(())
}

/// Makes an empty store beside `path` and moves it there, so that a half-made one is never found.
fn make(dir: &Path, path: &Path) -> Result<(), OpenError> {
    let draft = dir.join("store.redb.new");
    let reach = |cause| OpenError::Reach {
        path: draft.clone(),
        cause,
    };
    // The store holds Secrets: nobody else may read it.
    let options = || {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .to_owned()
    };
    let file = options().open(&draft).map_err(reach)?;
    let made = Builder::new()
        .create_file(file)
        .map_err(redb::Error::from)
        .and_then(|database| {
            let transaction = database.begin_write()?;
            transaction.open_table(ENTRIES)?;
            let mut counters = transaction.open_table(COUNTERS)?;
            counters.insert(FORMAT, FORMAT_NOW)?;
            counters.insert(CEILING, 0)?;
            drop(counters);
            Ok(transaction.commit()?)
        });
    made.map_err(|cause| cannot_open(&draft, cause))?;
    std::fs::rename(&draft, path)
        .and_then(|()| File::open(dir)?.sync_all())
        .map_err(reach)
}

fn open_file(path: &Path) -> Result<Database, redb::Error> {
    Ok(Builder::new().set_cache_size(CACHE_BYTES).open(path)?)
}

fn load(database: &Database, path: &Path) -> Result<Loaded, OpenError> {
    let (format, loaded) = read(database).map_err(|cause| cannot_open(path, cause))?;
    if format != FORMAT_NOW {
        return Err(OpenError::Format {
            path: path.to_owned(),
            found: format,
        });
    }
    Ok(loaded)
}

fn read(database: &Database) -> Result<(u64, Loaded), redb::Error> {
    let transaction = database.begin_read()?;
    let counters = transaction.open_table(COUNTERS)?;
    let counter = |name| Ok::<_, redb::Error>(counters.get(name)?.map_or(0, |count| count.value()));
    let format = counter(FORMAT)?;
    let ceiling = counter(CEILING)?;
    let table = transaction.open_table(ENTRIES)?;
    let mut entries = Vec::with_capacity(table.len()? as usize);
    for record in table.iter()? {
        let (key, value) = record?;
        let entry = decode(key.value(), value.value())
            .ok_or_else(|| redb::Error::Corrupted(format!("the record of {} is too short", key.value())))?;
        entries.push(entry);
    }
    Ok((format, Loaded { ceiling, entries }))
}

fn decode(key: &str, record: &[u8]) -> Option<Entry> {
    let (created, rest) = record.split_first_chunk::<8>()?;
    let (modified, value) = rest.split_first_chunk::<8>()?;
    Some(Entry {
        key: Arc::from(key),
        value: Bytes::copy_from_slice(value),
        created: u64::from_le_bytes(*created),
        modified: u64::from_le_bytes(*modified),
    })
}

fn cannot_open(path: &Path, cause: redb::Error) -> OpenError {
    let path = path.to_owned();
    match cause {
        redb::Error::DatabaseAlreadyOpen => OpenError::InUse { path },
        redb::Error::Io(cause) if cause.kind() != io::ErrorKind::InvalidData => OpenError::Reach { path, cause },
        cause => OpenError::Unreadable {
            path,
            cause: Box::new(cause),
        },
    }
}

fn disk_error(changes: usize, path: &Path, cause: redb::Error) -> DiskError {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    let full = matches!(&cause, redb::Error::Io(io) if matches!(io.kind(), StorageFull | QuotaExceeded | FileTooLarge));
    let (path, cause) = (path.to_owned(), Box::new(cause));
    if full {
        DiskError::Full { changes, path, cause }
    } else {
        DiskError::Failed { changes, path, cause }
    }
}
