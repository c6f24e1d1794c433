//! The file of an embedded store and those beside it, for several tests.

use std::path::{Path, PathBuf};
use std::time::Duration;

use api::{Handle, HandleId, Key, Value};
use store::sqlite::{SqliteOptions, SqliteStore};
use store::{Batch, Depth, Expect, ReadSet, Scope, Store, StoreError};

pub const WITHIN: Duration = Duration::from_secs(10);

pub fn open(path: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(path, SqliteOptions::default())
}

/// Creates a handle with that name.
pub async fn create(store: &SqliteStore, name: &str) -> Result<(), StoreError> {
    let mut batch = Batch::new();
    batch.put(Key::Handle(HandleId::new(name).unwrap()), Expect::Absent, Value::Handle(Handle::default()));
    let report = store.commit(&batch, WITHIN).await?;
    assert!(report.is_applied(), "{report:?}");
    Ok(())
}

/// How many handles the store has.
pub async fn count(store: &SqliteStore) -> usize {
    store.read(&ReadSet::new().scope(Scope::Handles, Depth::Key), WITHIN).await.unwrap().len()
}

/// The path of the file beside the database: its `wal` or its `shm`.
pub fn beside(path: &Path, what: &str) -> PathBuf {
    PathBuf::from(format!("{}-{what}", path.display()))
}

/// Removes the mark that a -wal file belongs to the database, as the message about a missing one suggests.
pub fn go_on(path: &Path) {
    let sql = "UPDATE checkpoint SET needs_wal = 0";
    rusqlite::Connection::open(path).unwrap().execute_batch(sql).unwrap();
}
