//! The embedded store: one SQLite file that many processes of one machine share.
//!
//! # The file, for whoever looks into it
//!
//! ```text
//! $ sqlite3 -readonly /var/lib/rackpool/rackpool.db
//! sqlite> SELECT key, value FROM kv ORDER BY key;
//! /calico/ipam/v2/assignment/ipv4/block/10.0.0.0-26|{"cidr":"10.0.0.0/26","affinity":"host:node1", ...
//! ```
//!
//! | where | what |
//! |---|---|
//! | `kv(key, revision, value, sum)` | what etcd would hold, under the same keys and with the same bytes: `SELECT key, value FROM kv` is a complete export. `revision` is what Calico's `resourceVersion` is; `sum`, where it is not null, tells that the rest is what was written |
//! | `log(revision, key)` | which key was changed or deleted with a revision; the last few thousand, for watches |
//! | `counter(one, revision, trimmed)` | one row: the last revision given (it only grows, so a revision never means two states), and the highest that is no longer in `log` |
//! | `checkpoint(one, needs_wal)` | one row: above 0 in a file whose `-wal` is missing or cannot be read; the `-wal` that belongs to it takes that back with its first commit |
//! | `PRAGMA application_id` | 1382764652 ("RkPl") |
//! | `PRAGMA user_version` | the version of this schema: 1 |
//!
//! Beside the file lie `-wal`, which holds the latest commits, and `-shm`, which the processes share. **Both
//! belong to the file:** copy with `backup` or `sqlite3 FILE ".backup COPY"`, never with `cp`, and remove
//! none of them. A value that is changed by hand keeps its revision and has no line in `log`: neither
//! compare-and-swap nor watches notice. To put contents back use `restore`, which gives every record a new
//! revision.
//!
//! # How it works
//!
//! * A read is one snapshot. A batch is one `BEGIN IMMEDIATE` transaction and one sync (`synchronous=FULL`);
//!   what was answered as applied survives a crash of the process and of the machine.
//! * A locked file is tried again until `within` runs out, without holding up the thread meanwhile; the disk
//!   itself does hold it up. Who has waited longer asks more often.
//! * A process that ends does not move `-wal` into the file; the commit that makes it longer than 256 pages
//!   (1 MiB) does, and whoever begins a store.
//! * A file with two names is refused (`place.rs`), and so is one whose `-wal` is missing, damaged or
//!   another's (`checkpoint.rs`).
//! * The file must be on a local filesystem; network filesystems are refused.

mod backup;
mod checkpoint;
mod connection;
mod contents;
#[cfg(feature = "testing")]
#[doc(hidden)]
pub mod door;
mod fault;
mod filesystem;
mod frozen;
mod place;
mod reading;
mod schema;
mod turn;
mod wal;
mod watching;
mod writing;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch as signal;
use tokio::time::Instant;

use crate::batch::{Batch, Report};
use crate::error::StoreError;
use crate::port::Store;
use crate::read::{ReadSet, Scope};
use crate::view::View;
use api::Revision;
use connection::Live;
use fault::{StepError, file_error};
pub use frozen::Frozen;
pub use watching::SqliteWatch;

/// What to do where there is no file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Missing {
    /// Do nothing until the first commit, which creates the file. Until then reads find nothing.
    #[default]
    CreateOnCommit,
    /// Create the file when the store is opened.
    Create,
    /// Refuse to open the store.
    Refuse,
}

/// How to open the database file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqliteOptions {
    /// What to do where there is no database file.
    pub missing: Missing,
    /// Whether to create the missing directories above the file, too, readable for the owner alone.
    pub directories: bool,
    /// How often a watch looks for commits of other processes.
    pub poll: Duration,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        SqliteOptions { missing: Missing::default(), directories: false, poll: Duration::from_millis(50) }
    }
}

/// The embedded store: one SQLite file. Clones share the connection.
///
/// Its calls need a tokio runtime with time enabled.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    shared: Arc<Shared>,
}

/// What a store, its clones and its watches share.
struct Shared {
    path: PathBuf,
    options: SqliteOptions,
    /// The open file. `None` until the file exists and could be checked.
    live: Mutex<Option<Live>>,
    /// The number of commits through `live`; watches wait for it to grow.
    committed: signal::Sender<u64>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("path", &self.path).field("options", &self.options).finish()
    }
}

impl SqliteStore {
    /// Opens a file.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] when the file is no database of this program, was written by a newer version,
    /// is damaged, or lies on a network filesystem. [`StoreError::Denied`] when this user may not open it.
    /// The text names the file and the remedy. The file is left as it was.
    pub fn open(path: impl AsRef<Path>, options: SqliteOptions) -> Result<SqliteStore, StoreError> {
        let path = std::path::absolute(path.as_ref())
            .map_err(|error| file_error(path.as_ref(), "opened", &error))?;
        let create = options.missing == Missing::Create;
        let refuse = options.missing == Missing::Refuse;
        let shared = Shared { path, options, live: Mutex::new(None), committed: signal::Sender::new(0) };
        let opened = shared.with(create, |conn| Ok(conn.is_some()));
        match opened {
            Ok(false) if refuse && !shared.path.exists() => {
                let error = io::Error::from(io::ErrorKind::NotFound);
                return Err(StoreError::Unusable(format!(
                    "{path} cannot be opened: {error}. Name the right file, or begin a store there: RACKPOOL_DB={path} calicoctl datastore init",
                    path = shared.path.display()
                )));
            }
            // Another process is at work. The store's first call waits for it, since a call knows how long it
            // may wait.
            Err(fault) if fault.is_busy() => {}
            Err(fault) => return Err(fault.explain(&shared.path)),
            Ok(_) => {}
        }
        Ok(SqliteStore { shared: Arc::new(shared) })
    }

    /// Moves the -wal file's contents into the database file, so that the latter holds everything that was
    /// committed until now. Does nothing where nothing was committed through this store.
    ///
    /// # Errors
    /// When other processes are at work during all of `within`; when the file cannot be used. All that was
    /// committed stands in any case.
    pub async fn checkpoint(&self, within: Duration) -> Result<(), StoreError> {
        if *self.shared.committed.borrow() == 0 {
            return Ok(());
        }
        self.shared
            .patiently(within, false, |live| {
                let moved = live.map(|live| live.write_safely(self.path(), checkpoint::run)).transpose()?;
                if moved == Some(false) { Err(StepError::busy()) } else { Ok(()) }
            })
            .await
    }

    /// The path of the database file.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }
}

impl Shared {
    /// Calls `act` with the file, which is opened first where it is not open. With `create` a missing file is
    /// created; otherwise `act` gets `None` where the file is missing or empty.
    fn with<T>(
        &self,
        create: bool,
        act: impl FnOnce(Option<&Live>) -> Result<T, StepError>,
    ) -> Result<T, StepError> {
        // A poisoned lock can be used: a panic under it leaves no transaction open.
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        match &*live {
            Some(live) => live.check_place(&self.path)?,
            None if create => *live = Some(Live::create(&self.path, &self.options)?),
            None => *live = Live::open(&self.path)?,
        }
        if let (Some(live), true) = (&*live, create) {
            live.ready_to_write(&self.path)?;
        }
        act(live.as_ref())
    }

    /// As [`Shared::with`], and tries again until `within` is over while other processes are at work.
    async fn patiently<T>(
        &self,
        within: Duration,
        create: bool,
        mut act: impl FnMut(Option<&Live>) -> Result<T, StepError>,
    ) -> Result<T, StoreError> {
        let start = Instant::now();
        loop {
            let fault = match self.with(create, &mut act) {
                Ok(done) => return Ok(done),
                Err(fault) => fault,
            };
            let waited = start.elapsed();
            let pause = pause_after(waited);
            if !fault.is_busy() || waited + pause > within {
                return Err(fault.explain(&self.path));
            }
            tokio::time::sleep(pause).await;
        }
    }
}

/// How long to wait before a locked file is tried again: at first about as long as a commit takes. Later the
/// pauses get shorter, so that newcomers cannot pass over those who have waited longest.
fn pause_after(waited: Duration) -> Duration {
    Duration::from_millis(match waited.as_millis() {
        0..4 => 1,
        4..100 => 8,
        100..400 => 4,
        400..1000 => 2,
        _ => 1,
    })
}

impl Store for SqliteStore {
    type Watch = SqliteWatch;

    async fn read(&self, set: &ReadSet, within: Duration) -> Result<View, StoreError> {
        self.shared
            .patiently(within, false, |live| match live {
                Some(live) => reading::read(&live.conn, set),
                None => Ok(nothing(set)),
            })
            .await
    }

    async fn commit(&self, batch: &Batch, within: Duration) -> Result<Report, StoreError> {
        let report = self
            .shared
            .patiently(within, true, |live| {
                let live = live.expect("a file that does not exist is created");
                let (mut report, end) = live.write(self.path(), |conn| {
                    let report = writing::commit(conn, batch);
                    checkpoint::after_commit(conn);
                    report
                })?;
                if let Err(why) = end {
                    writing::doubt(&mut report, &why);
                }
                Ok(report)
            })
            .await?;
        self.shared.committed.send_modify(|count| *count += 1);
        Ok(report)
    }

    async fn watch(&self, scope: Scope) -> Result<SqliteWatch, StoreError> {
        Ok(SqliteWatch::new(self.shared.clone(), scope))
    }
}

/// The view of a read where there is no file: everything that was asked for is absent.
fn nothing(set: &ReadSet) -> View {
    let mut view = View::new();
    for read in &set.scopes {
        view.page_read(read, None);
    }
    for (key, _) in &set.keys {
        view.insert(key.clone(), crate::view::Slot::Absent);
    }
    view.set_revision(Revision::from(0));
    view
}
