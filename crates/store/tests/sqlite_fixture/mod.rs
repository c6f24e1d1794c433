//! An embedded store's file and those beside it, as several tests make and count them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use api::{Handle, HandleId, Key, Value};
use store::sqlite::{SqliteOptions, SqliteStore};
use store::{Batch, Depth, Expect, ReadSet, Scope, Store, StoreError};

pub const WITHIN: Duration = Duration::from_secs(10);

pub fn open(path: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(path, SqliteOptions::default())
}

/// Creates a handle of that name.
pub async fn create(store: &SqliteStore, name: &str) -> Result<(), StoreError> {
    let mut batch = Batch::new();
    batch.put(Key::Handle(HandleId::new(name).unwrap()), Expect::Absent, Value::Handle(Handle::default()));
    let report = store.commit(&batch, WITHIN).await?;
    assert!(report.is_applied(), "{report:?}");
    Ok(())
}

/// How many handles there are.
pub async fn count(store: &SqliteStore) -> usize {
    store.read(&ReadSet::new().scope(Scope::Handles, Depth::Key), WITHIN).await.unwrap().len()
}

/// The file beside it: `wal`, `shm`.
pub fn beside(path: &Path, what: &str) -> PathBuf {
    PathBuf::from(format!("{}-{what}", path.display()))
}

/// As the message about a -wal file that is not whole offers.
pub fn go_on(path: &Path) {
    let sql = "UPDATE checkpoint SET needs_wal = 0";
    rusqlite::Connection::open(path).unwrap().execute_batch(sql).unwrap();
}
