//! The embedded store passes the conformance suite.

// Everything here is test code.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use store::sqlite::{SqliteOptions, SqliteStore};
use store::testing::Backend;
use tempfile::TempDir;

struct Sqlite(TempDir);

impl Backend for Sqlite {
    type Store = SqliteStore;

    async fn fresh(&self) -> SqliteStore {
        let options = SqliteOptions { poll: Duration::from_millis(5), ..SqliteOptions::default() };
        SqliteStore::open(self.0.path().join("store.db"), options).unwrap()
    }

    async fn put_text(&self, store: &SqliteStore, path: &str, text: &str) -> bool {
        let file = rusqlite::Connection::open(store.path()).unwrap();
        file.execute_batch("BEGIN IMMEDIATE; UPDATE counter SET revision = revision + 1").unwrap();
        file.execute("INSERT INTO log (revision, key) SELECT revision, ?1 FROM counter", [path]).unwrap();
        let put = "INSERT INTO kv (key, value, revision) SELECT ?1, ?2, revision FROM counter";
        file.execute(put, [path, text]).unwrap();
        file.execute_batch("COMMIT").is_ok()
    }
}

store::conformance!(Sqlite(tempfile::tempdir().unwrap()));
