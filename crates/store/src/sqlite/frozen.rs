//! Keeping a file unchanged while its contents are copied to another store.

use std::time::Duration;

use rusqlite::Connection;

use super::connection::connect;
use super::reading::{keys, texts_below};
use super::turn::{Lock, Turn};
use super::{SqliteStore, StepError};
use crate::error::StoreError;

/// While this value lives, no process commits to the file: others wait, as they do for a long commit. Reads
/// go on. When the process ends, the file is free again.
#[derive(Debug)]
pub struct Frozen {
    /// A connection inside a write transaction that writes nothing. Dropping it rolls that back.
    _conn: Option<Connection>,
    /// The lock on the -wal file: it also stops processes that have another -shm file open.
    _lock: Option<Lock>,
}

impl SqliteStore {
    /// Keeps every process from committing, clones of this store included. Does nothing where the file does
    /// not exist.
    ///
    /// # Errors
    /// When another process is at work during all of `within`; when the file cannot be used.
    pub async fn freeze(&self, within: Duration) -> Result<Frozen, StoreError> {
        let frozen = self.shared.patiently(within, false, |live| match live {
            None => Ok(Frozen { _conn: None, _lock: None }),
            Some(live) => {
                let lock = live.turn(self.path())?.map(Turn::into_lock);
                let conn = connect(self.path())?;
                conn.execute_batch("BEGIN IMMEDIATE")?;
                Ok::<_, StepError>(Frozen { _conn: Some(conn), _lock: lock })
            }
        });
        frozen.await
    }

    /// The keys of records that this version of the program does not know.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn unknown_keys(&self, within: Duration) -> Result<Vec<String>, StoreError> {
        let all = self.shared.patiently(within, false, |live| match live {
            None => Ok(Vec::new()),
            Some(live) => keys(&live.conn),
        });
        Ok(all.await?.into_iter().filter(|key| crate::read::is_unknown(key)).collect())
    }

    /// The keys below a prefix, which ends in `/`, with their values as text.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn texts_below(
        &self,
        prefix: &str,
        within: Duration,
    ) -> Result<Vec<(String, String)>, StoreError> {
        let found = self.shared.patiently(within, false, |live| match live {
            None => Ok(Vec::new()),
            Some(live) => texts_below(&live.conn, prefix),
        });
        found.await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use api::{Handle, HandleId, Key, Value};

    use super::super::SqliteOptions;
    use super::*;
    use crate::{Batch, Depth, Expect, ReadSet, Scope, Store};

    const SOON: Duration = Duration::from_millis(50);

    fn one(name: &str) -> Batch {
        let mut batch = Batch::new();
        batch.put(
            Key::Handle(HandleId::new(name).unwrap()),
            Expect::Absent,
            Value::Handle(Handle::default()),
        );
        batch
    }

    #[tokio::test]
    async fn writers_wait_and_readers_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        let [store, other] = [(); 2].map(|()| SqliteStore::open(&path, SqliteOptions::default()).unwrap());
        assert!(store.freeze(SOON).await.unwrap()._conn.is_none(), "there is no file yet");
        store.commit(&one("a"), SOON).await.unwrap();
        let frozen = store.freeze(SOON).await.unwrap();
        for store in [&store, &other] {
            let refused = store.commit(&one("b"), SOON).await.unwrap_err();
            assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
            let set = ReadSet::new().scope(Scope::Handles, Depth::Full);
            assert_eq!(store.read(&set, SOON).await.unwrap().len(), 1);
        }
        assert!(other.freeze(SOON).await.is_err(), "one at a time");
        let late = one("b");
        let (waiting, ()) = tokio::join!(other.commit(&late, Duration::from_secs(60)), async {
            tokio::time::sleep(SOON).await;
            drop(frozen);
        });
        assert!(waiting.unwrap().is_applied());
    }

    #[tokio::test]
    async fn what_is_not_known_has_a_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        let store = SqliteStore::open(&path, SqliteOptions::default()).unwrap();
        assert_eq!(store.unknown_keys(SOON).await.unwrap(), [""; 0]);
        store.commit(&one("a"), SOON).await.unwrap();
        let key = "/calico/resources/v3/projectcalico.org/futurekinds/x";
        let conn = connect(&path).unwrap();
        conn.execute("INSERT INTO kv (key, revision, value) VALUES (?1, 1, '{}')", [key]).unwrap();
        assert_eq!(store.unknown_keys(SOON).await.unwrap(), [key]);
    }
}
