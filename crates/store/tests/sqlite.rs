//! The embedded store passes the suite.

// All of it is test code.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use store::sqlite::{Options, SqliteStore};
use store::testing::Backend;
use tempfile::TempDir;

struct Sqlite(TempDir);

impl Backend for Sqlite {
    type Store = SqliteStore;

    async fn fresh(&self) -> SqliteStore {
        let options = Options { poll: Duration::from_millis(5), ..Options::default() };
        SqliteStore::open(self.0.path().join("store.db"), options).unwrap()
    }

    async fn put_text(&self, store: &SqliteStore, path: &str, text: &str) -> bool {
        let file = rusqlite::Connection::open(store.path()).unwrap();
        let put = "INSERT INTO kv (key, value, revision) VALUES (?1, ?2, 1000000)";
        file.execute(put, [path, text]).unwrap() == 1
    }
}

store::conformance!(Sqlite(tempfile::tempdir().unwrap()));
