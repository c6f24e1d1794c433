//! The embedded store's file: which files are refused and how, what is created, backup and restore.

// Everything here is test code.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use api::{Handle, HandleId, Key, Value};
use rusqlite::Connection;
use store::sqlite::{Missing, SqliteOptions, SqliteStore};
use store::{Batch, Depth, Event, Expect, Outcome, ReadSet, Report, Scope, Store, StoreError, Watch};

const WITHIN: Duration = Duration::from_secs(10);

fn handle(name: &str) -> Key {
    Key::Handle(HandleId::new(name).unwrap())
}

fn open(path: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(path, SqliteOptions { poll: Duration::from_millis(5), ..SqliteOptions::default() })
}

async fn create(store: &SqliteStore, name: &str) -> Result<Report, StoreError> {
    let mut batch = Batch::new();
    batch.put(handle(name), Expect::Absent, Value::Handle(Handle::default()));
    store.commit(&batch, WITHIN).await
}

async fn names(store: &SqliteStore) -> Vec<String> {
    let view = store.read(&ReadSet::new().scope(Scope::Handles, Depth::Key), WITHIN).await.unwrap();
    view.slots(&Scope::Handles)
        .map(|(key, _)| key.etcd_path().rsplit('/').next().unwrap().to_string())
        .collect()
}

async fn revision(store: &SqliteStore) -> i64 {
    let view = store.read(&ReadSet::new(), WITHIN).await.unwrap();
    view.revision().unwrap().as_str().parse().unwrap()
}

/// The error of opening a file. Checks that its text names the file and a remedy, and that the file is
/// unchanged.
fn refusal(path: &Path, words: &[&str]) -> StoreError {
    let before = fs::read(path).ok();
    let error = open(path).expect_err("it is refused");
    let text = error.to_string();
    assert!(text.contains(path.file_name().unwrap().to_str().unwrap()), "{text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is missing in: {text}");
    }
    assert_eq!(fs::read(path).ok(), before);
    error
}

#[tokio::test]
async fn the_first_commit_creates_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let store = open(&path).unwrap();
    assert_eq!(names(&store).await, [""; 0]);
    let mut watch = store.watch(Scope::Handles).await.unwrap();
    assert_eq!(watch.next().await, Ok(Event::Init));
    assert!(matches!(watch.next().await, Ok(Event::InitDone(_))));
    assert!(!path.exists(), "reads and watches create nothing");
    assert!(create(&store, "a").await.unwrap().is_applied());
    assert!(matches!(watch.next().await, Ok(Event::Apply(record)) if record.key == handle("a")));
    for name in ["store.db", "store.db-wal", "store.db-shm"] {
        let mode = fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn a_reader_sees_the_file_that_another_creates() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let (reader, writer) = (open(&path).unwrap(), open(&path).unwrap());
    assert_eq!(names(&reader).await, [""; 0]);
    create(&writer, "a").await.unwrap();
    assert_eq!(names(&reader).await, ["a"]);
    // A file whose creation was cut short.
    let path = dir.path().join("empty.db");
    fs::write(&path, "").unwrap();
    let store = open(&path).unwrap();
    assert_eq!(names(&store).await, [""; 0]);
    create(&store, "a").await.unwrap();
    assert_eq!(names(&store).await, ["a"]);
}

#[tokio::test]
async fn options_say_what_is_created() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/b/store.db");
    let error =
        SqliteStore::open(&path, SqliteOptions { missing: Missing::Create, ..SqliteOptions::default() });
    assert!(error.unwrap_err().to_string().contains("directory does not exist"));
    let error =
        SqliteStore::open(&path, SqliteOptions { missing: Missing::Refuse, ..SqliteOptions::default() });
    assert!(matches!(error, Err(StoreError::Unusable(_))));
    let lazy = open(&path).unwrap();
    assert!(create(&lazy, "a").await.unwrap_err().to_string().contains("directory does not exist"));
    let options = SqliteOptions { missing: Missing::Create, directories: true, ..SqliteOptions::default() };
    SqliteStore::open(&path, options).unwrap();
    assert!(path.exists());
    create(&lazy, "a").await.unwrap();
}

#[test]
fn what_is_no_store_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::create_dir(path("directory")).unwrap();
    assert!(matches!(
        refusal(&path("directory"), &["is a directory", "Name a file"]),
        StoreError::Unusable(_)
    ));
    fs::write(path("text"), "not a database, but a text that is longer than its header".repeat(20)).unwrap();
    refusal(&path("text"), &["is not a database", "name another file"]);
    refusal(&path("text").join("below"), &["is a file, not a directory"]);
    fs::write(path("short"), "x").unwrap();
    refusal(&path("short"), &["is not a database"]);
    let foreign = Connection::open(path("foreign")).unwrap();
    foreign.execute_batch("CREATE TABLE t (a)").unwrap();
    refusal(&path("foreign"), &["another program", "name another file"]);
    foreign.pragma_update(None, "application_id", 7).unwrap();
    refusal(&path("foreign"), &["another program", "7"]);
    #[cfg(target_os = "linux")]
    assert!(open(Path::new("/dev/null")).unwrap_err().to_string().contains("a device"));
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    create(&open(&path).unwrap(), "a").await.unwrap();
    let file = Connection::open(&path).unwrap();
    file.pragma_update(None, "user_version", 99).unwrap();
    drop(file);
    let error = refusal(&path, &["version 99", "up to 1", "newer"]);
    assert!(matches!(error, StoreError::Unusable(_)));
}

#[tokio::test]
async fn a_damaged_file_is_told_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let store = open(&path).unwrap();
    for index in 0..200 {
        create(&store, &format!("h{index}")).await.unwrap();
    }
    drop(store);
    // Without the -wal file, the pages are read from the database file itself.
    Connection::open(&path).unwrap().pragma_update(None, "wal_checkpoint", "TRUNCATE").unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let end = bytes.len();
    bytes[4096..end].fill(0xA5);
    fs::write(&path, &bytes).unwrap();
    let store = open(&path).unwrap();
    let set = ReadSet::new().scope(Scope::Handles, Depth::Full);
    let error = store.read(&set, WITHIN).await.unwrap_err();
    assert!(matches!(error, StoreError::Unusable(_)), "{error:?}");
    assert!(error.to_string().contains("is damaged") && error.to_string().contains(".recover"), "{error}");
    assert!(create(&store, "new").await.is_err());
    assert_eq!(fs::read(&path).unwrap(), bytes);
}

#[tokio::test]
async fn a_file_that_is_replaced_under_way_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let store = open(&path).unwrap();
    create(&store, "a").await.unwrap();
    fs::rename(&path, dir.path().join("elsewhere.db")).unwrap();
    let error = create(&store, "lost").await.unwrap_err();
    assert!(error.to_string().contains("removed or replaced"), "{error}");
}

#[tokio::test]
async fn a_locked_file_is_waited_for_and_no_longer_than_said() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let store = open(&path).unwrap();
    create(&store, "a").await.unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(names(&store).await, ["a"], "reads go on");
    let mut batch = Batch::new();
    batch.put(handle("b"), Expect::Absent, Value::Handle(Handle::default()));
    let error = store.commit(&batch, Duration::from_millis(60)).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    assert!(error.to_string().contains("locked"), "{error}");
    let release = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        other.execute_batch("COMMIT").unwrap();
    };
    let (report, ()) = tokio::join!(store.commit(&batch, WITHIN), release);
    assert!(report.unwrap().is_applied());
}

#[tokio::test]
async fn the_file_is_what_etcd_would_hold() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let store = open(&path).unwrap();
    create(&store, "b").await.unwrap();
    create(&store, "a").await.unwrap();
    let file = Connection::open(&path).unwrap();
    let mut rows = file.prepare("SELECT key, value FROM kv ORDER BY key").unwrap();
    let rows: Vec<(String, String)> =
        rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect();
    let text = r#"{"block":{},"deleted":false}"#;
    let row = |name: &str| (format!("/calico/ipam/v2/handle/{name}"), text.to_string());
    assert_eq!(rows, [row("a"), row("b")]);
}

#[tokio::test]
async fn a_long_log_is_trimmed_and_slow_watches_start_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let store = open(&path).unwrap();
    create(&store, "gone").await.unwrap();
    let mut watch = store.watch(Scope::Handles).await.unwrap();
    for _ in 0..3 {
        watch.next().await.unwrap();
    }
    for round in 0..10 {
        let mut batch = Batch::new();
        for index in 0..500 {
            let value = Value::Handle(Handle::default());
            batch.put(handle(&format!("h{round}-{index}")), Expect::Absent, value);
        }
        assert!(store.commit(&batch, WITHIN).await.unwrap().is_applied());
    }
    let mut batch = Batch::new();
    batch.delete(handle("gone"), Expect::Revision(api::Revision::from(1)));
    assert!(store.commit(&batch, WITHIN).await.unwrap().is_applied());
    let kept: i64 =
        Connection::open(&path).unwrap().query_row("SELECT count(*) FROM log", [], |row| row.get(0)).unwrap();
    assert!((4096..=4608).contains(&kept), "{kept}");
    assert_eq!(watch.next().await, Ok(Event::Init));
    let mut told = 0;
    while let Event::InitApply(record) = watch.next().await.unwrap() {
        assert_ne!(record.key, handle("gone"));
        told += 1;
    }
    assert_eq!(told, 5000);
}

#[tokio::test]
async fn backup_and_restore() {
    let dir = tempfile::tempdir().unwrap();
    let (path, backup) = (dir.path().join("store.db"), dir.path().join("backup.db"));
    let store = open(&path).unwrap();
    create(&store, "a").await.unwrap();
    create(&store, "b").await.unwrap();
    store.backup(&backup, WITHIN).await.unwrap();
    assert_eq!(fs::metadata(&backup).unwrap().permissions().mode() & 0o777, 0o600);
    let error = store.backup(&backup, WITHIN).await.unwrap_err();
    assert!(error.to_string().contains("exists"), "nothing is overwritten: {error}");
    create(&store, "c").await.unwrap();
    let mut watch = store.watch(Scope::Handles).await.unwrap();
    for _ in 0..5 {
        watch.next().await.unwrap();
    }
    let before = revision(&store).await;

    // The restore is done through another connection, as by another process.
    open(&path).unwrap().restore(&backup, WITHIN).await.unwrap();
    assert_eq!(names(&store).await, ["a", "b"]);
    assert!(revision(&store).await > before, "revisions only grow");
    assert_eq!(watch.next().await, Ok(Event::Init));
    for name in ["a", "b"] {
        assert!(matches!(watch.next().await, Ok(Event::InitApply(record)) if record.key == handle(name)));
    }
    assert!(matches!(watch.next().await, Ok(Event::InitDone(_))));
    // A revision from before the restore no longer matches.
    let mut batch = Batch::new();
    batch.delete(handle("a"), Expect::Revision(api::Revision::from(1)));
    let report = store.commit(&batch, WITHIN).await.unwrap();
    assert!(matches!(report.outcomes[..], [Outcome::Refused(_)]), "{report:?}");

    // A backup needs no other file beside it, and can be used as a store.
    assert!(!dir.path().join("backup.db-wal").exists());
    let moved = dir.path().join("moved.db");
    fs::rename(&backup, &moved).unwrap();
    let store = open(&moved).unwrap();
    assert_eq!(names(&store).await, ["a", "b"]);
    create(&store, "d").await.unwrap();
    assert!(dir.path().join("moved.db-wal").exists());
    // A backup can be restored where no store exists.
    let fresh = open(&dir.path().join("fresh.db")).unwrap();
    fresh.restore(&moved, WITHIN).await.unwrap();
    assert_eq!(names(&fresh).await, ["a", "b", "d"]);
}

#[tokio::test]
async fn a_bad_backup_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("store.db")).unwrap();
    for index in 0..100 {
        create(&store, &format!("h{index}")).await.unwrap();
    }
    let good = dir.path().join("good.db");
    store.backup(&good, WITHIN).await.unwrap();
    let before = revision(&store).await;
    let mut damaged = fs::read(&good).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle..middle + 3000].fill(0xFF);
    let text = b"no database at all, whatever it may be called".repeat(30);
    for (name, bytes) in [("damaged.db", damaged), ("text.db", text), ("empty.db", Vec::new())] {
        let path = dir.path().join(name);
        fs::write(&path, &bytes).unwrap();
        let error = store.restore(&path, WITHIN).await.unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }
    let error = store.restore(&dir.path().join("none.db"), WITHIN).await.unwrap_err();
    assert!(error.to_string().contains("does not exist"), "{error}");
    assert_eq!((revision(&store).await, names(&store).await.len()), (before, 100));
}

#[tokio::test]
async fn the_write_ahead_log_stays_short_among_processes_that_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let mut longest = 0;
    for index in 0..300 {
        // Each store opens the file alone, commits once, and is closed.
        create(&open(&path).unwrap(), &format!("h{index}")).await.unwrap();
        longest = fs::metadata(dir.path().join("store.db-wal")).unwrap().len().max(longest);
    }
    assert!(longest < 300 * 4200, "{longest}");
    assert!(fs::metadata(&path).unwrap().len() > 8 * 4096, "its pages were moved");
    assert_eq!(names(&open(&path).unwrap()).await.len(), 300);
}
