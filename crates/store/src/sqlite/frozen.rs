//! Holding a file still, while its contents are taken somewhere else.

use std::time::Duration;

use rusqlite::Connection;

use super::connection::connect;
use super::reading::keys;
use super::{Fault, SqliteStore};
use crate::error::StoreError;

/// As long as this lives nobody commits to the file: others wait, as for a commit that takes long. Reads go on. It ends with the process in any case.
#[derive(Debug)]
pub struct Frozen {
    /// In the middle of a transaction that writes nothing; closed, it is rolled back.
    _conn: Option<Connection>,
}

impl SqliteStore {
    /// Keeps everybody from committing, this store's clones included. A file that does not exist has nothing to be kept still.
    ///
    /// # Errors
    /// When somebody else is at work for that long; when the file cannot be used.
    pub async fn freeze(&self, within: Duration) -> Result<Frozen, StoreError> {
        let conn = self.shared.patiently(within, false, |conn| match conn {
            None => Ok(None),
            Some(_) => {
                let conn = connect(self.path())?;
                conn.execute_batch("BEGIN IMMEDIATE")?;
                Ok::<_, Fault>(Some(conn))
            }
        });
        Ok(Frozen { _conn: conn.await? })
    }

    /// The keys of records that this program does not know.
    ///
    /// # Errors
    /// The file's.
    pub async fn unknown_keys(&self, within: Duration) -> Result<Vec<String>, StoreError> {
        let all = self.shared.patiently(within, false, |conn| match conn {
            None => Ok(Vec::new()),
            Some(conn) => keys(conn),
        });
        let is_unknown = |key: &String| api::Key::from_etcd_path(key).is_none();
        Ok(all.await?.into_iter().filter(is_unknown).collect())
    }
}
