//! Holding a file still, while its contents are taken somewhere else.

use std::time::Duration;

use rusqlite::Connection;

use super::connection::connect;
use super::reading::keys;
use super::turn::{Lock, Turn};
use super::{SqliteStore, StepError};
use crate::error::StoreError;

/// As long as this lives nobody commits to the file: others wait, as for a commit that takes long. Reads go
/// on. It ends with the process in any case.
#[derive(Debug)]
pub struct Frozen {
    /// In the middle of a transaction that writes nothing; closed, it is rolled back.
    _conn: Option<Connection>,
    /// Keeps those from committing, too, who do not have the same -shm file open.
    _lock: Option<Lock>,
}

impl SqliteStore {
    /// Keeps everybody from committing, this store's clones included. A file that does not exist has nothing
    /// to be kept still.
    ///
    /// # Errors
    /// When somebody else is at work for that long; when the file cannot be used.
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

    /// The keys of records that this program does not know.
    ///
    /// # Errors
    /// The file's.
    pub async fn unknown_keys(&self, within: Duration) -> Result<Vec<String>, StoreError> {
        let all = self.shared.patiently(within, false, |live| match live {
            None => Ok(Vec::new()),
            Some(live) => keys(&live.conn),
        });
        let is_unknown = |key: &String| api::Key::from_etcd_path(key).is_none();
        Ok(all.await?.into_iter().filter(is_unknown).collect())
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
