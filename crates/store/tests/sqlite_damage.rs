//! Damages a store's file at many places. Every backup from it, and every restore, is then either complete or
//! refused.

// Everything here is test code.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use api::{Handle, HandleId, Key, Kind, Resource, Value};
use rusqlite::{Connection, OpenFlags};
use serde_json::json;
use store::sqlite::{SqliteOptions, SqliteStore};
use store::{Batch, Depth, Event, Expect, ReadSet, Scope, Store, Watch};

const WITHIN: Duration = Duration::from_secs(10);
const SEEDS: u64 = 300;

fn open(path: &Path) -> Result<SqliteStore, store::StoreError> {
    SqliteStore::open(path, SqliteOptions::default())
}

/// Fills a store like that of a small cluster, with some records changed and deleted again. Everything is in
/// the one file.
async fn filled(path: &Path) {
    commits(path).await.checkpoint(WITHIN).await.unwrap();
}

/// Fills a store in the same way, but leaves the latest commits in the -wal file.
async fn commits(path: &Path) -> SqliteStore {
    let store = open(path).unwrap();
    let mut records: Vec<(Key, Value)> = Vec::new();
    for n in 0..60_u32 {
        let block: api::BlockCidr = format!("10.0.{n}.0/26").parse().unwrap();
        let handle = Handle { blocks: BTreeMap::from([(block, n + 1)]), deleted: false };
        let id = format!("k8s-pod-network.{:064x}", u128::from(n) << 90);
        records.push((Key::Handle(HandleId::new(&id).unwrap()), Value::Handle(handle)));
        let node = Resource::from_input(json!({"kind": "Node", "apiVersion": "projectcalico.org/v3",
            "metadata": {"name": format!("node-{n}"), "labels": {"rack": n.to_string()}},
            "spec": {"bgp": {"ipv4Address": format!("10.1.0.{n}/24")}}}))
        .unwrap();
        records.push((node.key(), Value::Resource(node)));
    }
    let pool = Resource::from_input(json!({"kind": "IPPool", "apiVersion": "projectcalico.org/v3",
        "metadata": {"name": "p"}, "spec": {"cidr": "10.0.0.0/16", "nodeSelector": "rack == \"1\""}}))
    .unwrap();
    assert_eq!(pool.kind(), Kind::IPPool);
    records.push((pool.key(), Value::Resource(pool)));
    for (index, (key, value)) in records.into_iter().enumerate() {
        let mut batch = Batch::new();
        let put = batch.put(key.clone(), Expect::Absent, value.clone());
        match index % 5 {
            3 => drop(batch.put(key, Expect::AsLeftBy(put), value)),
            4 => drop(batch.delete(key, Expect::AsLeftBy(put))),
            _ => {}
        }
        assert!(store.commit(&batch, WITHIN).await.unwrap().is_applied());
    }
    store
}

/// The contents that a backup must have.
fn contents(path: &Path) -> Option<Vec<(String, String)>> {
    let conn = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
    let mut all = conn.prepare("SELECT key, value FROM kv ORDER BY key").ok()?;
    let rows = all.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).ok()?;
    rows.collect::<Result<_, _>>().ok()
}

/// Damages the bytes of a file in one of the usual ways. Gives which.
fn damage(bytes: &mut Vec<u8>, seed: u64) -> String {
    let mut rng = fastrand::Rng::with_seed(seed);
    let at = rng.usize(..bytes.len());
    match rng.usize(..6) {
        0 => {
            bytes[at] ^= 1 << rng.u8(..8);
            format!("a bit at {at}")
        }
        1 => {
            bytes[at] = bytes[at].wrapping_add(rng.u8(1..));
            format!("a byte at {at}")
        }
        2 => {
            let end = (at + rng.usize(2..64)).min(bytes.len());
            bytes[at..end].iter_mut().for_each(|byte| *byte = rng.u8(..));
            format!("noise at {at}..{end}")
        }
        3 => {
            let start = at / 512 * 512;
            bytes[start..start + 512].fill(0);
            format!("a sector of zeros at {start}")
        }
        4 => {
            let (one, other) = (at / 4096 * 4096, rng.usize(..bytes.len()) / 4096 * 4096);
            let page = bytes[one..one + 4096].to_vec();
            bytes[other..other + 4096].copy_from_slice(&page);
            format!("page {one} also at {other}")
        }
        _ => {
            bytes.truncate(at);
            format!("cut at {at}")
        }
    }
}

#[tokio::test]
async fn a_damaged_file_is_no_backup_and_gives_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    filled(&path("store.db")).await;
    open(&path("store.db")).unwrap().backup(&path("good.db"), WITHIN).await.unwrap();
    let good = contents(&path("good.db")).unwrap();
    assert_eq!(good.len(), 97);
    let (mut backed_up, mut restored) = (0, 0);
    let target = path("target.db");
    for seed in 0..SEEDS {
        // First the store itself, with its last commits in the file.
        let mut bytes = fs::read(path("store.db")).unwrap();
        let what = damage(&mut bytes, seed);
        let source = path(&format!("source{seed}.db"));
        fs::write(&source, &bytes).unwrap();
        fs::copy(path("store.db-wal"), path(&format!("source{seed}.db-wal"))).unwrap();
        let copy = path(&format!("copy{seed}.db"));
        if let Ok(store) = open(&source)
            && store.backup(&copy, WITHIN).await.is_ok()
        {
            backed_up += 1;
            assert_eq!(contents(&copy).as_ref(), Some(&good), "seed {seed}: {what} in the source");
        } else {
            assert!(!copy.exists(), "seed {seed}: {what}: no half backup is left");
        }
        // Then a backup.
        let mut bytes = fs::read(path("good.db")).unwrap();
        let what = damage(&mut bytes, seed);
        let backup = path(&format!("backup{seed}.db"));
        fs::write(&backup, &bytes).unwrap();
        if open(&target).unwrap().restore(&backup, WITHIN).await.is_ok() {
            restored += 1;
            let found = contents(&target);
            assert_eq!(found.as_ref(), Some(&good), "seed {seed}: {what} in the backup");
        }
    }
    // Some damage hits unused parts of the file, so some backups succeed.
    assert!(backed_up < SEEDS / 2 && restored < SEEDS / 2, "{backed_up} {restored}");
}

/// A store with three handles, after someone has changed its file by hand with that SQL.
async fn mangled(path: &Path, sql: &str) -> Result<SqliteStore, store::StoreError> {
    let store = open(path).unwrap();
    for name in ["a", "b", "c"] {
        let mut batch = Batch::new();
        let key = Key::Handle(HandleId::new(name).unwrap());
        batch.put(key, Expect::Absent, Value::Handle(Handle::default()));
        assert!(store.commit(&batch, WITHIN).await.unwrap().is_applied());
    }
    drop(store);
    Connection::open(path).unwrap().execute_batch(sql).unwrap();
    open(path)
}

#[tokio::test]
async fn a_revision_that_is_none_stops_no_other_record() {
    let key = Key::Handle(HandleId::new("b").unwrap());
    let path_of = key.etcd_path();
    for value in ["'abc'", "1.5", "x'00ff'"] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.db");
        let sql = format!("UPDATE kv SET revision = {value} WHERE key = '{path_of}'");
        let store = mangled(&path, &sql).await.unwrap();
        for depth in [Depth::Key, Depth::Header, Depth::Full] {
            let set = ReadSet::new().scope(Scope::Handles, depth).key(key.clone());
            let view = store.read(&set, WITHIN).await.unwrap();
            assert_eq!(view.slots(&Scope::Handles).count(), 3, "{value}");
            let faults: Vec<String> = view.faults().iter().map(ToString::to_string).collect();
            assert!(
                matches!(&faults[..], [one] if one.contains(&key.to_string()) && one.contains("revision"))
            );
        }
        let view = store.read(&ReadSet::new().key(key.clone()), WITHIN).await.unwrap();
        let revision = view.unreadable(&key).unwrap().revision.clone();
        let error = store.backup(&dir.path().join("copy.db"), WITHIN).await.unwrap_err().to_string();
        assert!(error.contains(&path_of), "{error}");
        // The damaged record does not keep others from being written, not even with a guard on its scope; and
        // it can be deleted.
        let mut batch = Batch::new();
        let since = view.revision().unwrap().clone();
        batch.guards.push(store::Guard::Scope { scope: Scope::Handles, since });
        let other = Key::Handle(HandleId::new("d").unwrap());
        batch.put(other, Expect::Absent, Value::Handle(Handle::default()));
        batch.delete(key.clone(), Expect::Revision(revision));
        assert!(store.commit(&batch, WITHIN).await.unwrap().is_applied(), "{value}");
        store.backup(&dir.path().join("copy.db"), WITHIN).await.unwrap();
    }
}

#[tokio::test]
async fn a_key_that_is_no_text_is_named_and_not_absent() {
    let key = Key::Handle(HandleId::new("b").unwrap());
    let path_of = key.etcd_path();
    for (value, named) in [("5", "5"), ("x'00ff'", "\\0"), ("CAST(key AS BLOB)", path_of.as_str())] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.db");
        let sql = format!("UPDATE kv SET key = {value} WHERE key = '{path_of}'");
        let store = mangled(&path, &sql).await.unwrap();
        let set = ReadSet::new().scope(Scope::Handles, Depth::Full);
        let view = store.read(&set, WITHIN).await.unwrap();
        let faults: Vec<String> = view.faults().iter().map(ToString::to_string).collect();
        let named = if value.starts_with("CAST") { key.to_string() } else { named.to_string() };
        assert!(matches!(&faults[..], [one] if one.starts_with(&named)), "{value}: {faults:?}");
        let is_there = store.read(&ReadSet::new().key(key.clone()), WITHIN).await.unwrap();
        assert_eq!(is_there.unreadable(&key).is_some(), value.starts_with("CAST"), "{value}");
        let mut batch = Batch::new();
        batch.put(key.clone(), Expect::Absent, Value::Handle(Handle::default()));
        let report = store.commit(&batch, WITHIN).await.unwrap();
        assert_eq!(report.is_applied(), !value.starts_with("CAST"), "{value}");
        assert!(store.backup(&dir.path().join("copy.db"), WITHIN).await.is_err(), "{value}");
    }
}

#[tokio::test]
async fn a_counter_that_says_nothing_is_told_with_the_remedy() {
    for sql in [
        "DELETE FROM counter",
        "UPDATE counter SET revision = 'abc'",
        "UPDATE counter SET revision = 1.5",
        "UPDATE counter SET trimmed = x'00'",
        "UPDATE counter SET revision = -5",
        "UPDATE counter SET revision = 9223372036854775807",
        "UPDATE counter SET revision = 9223372036854775806",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.db");
        let store = mangled(&path, sql).await.unwrap();
        let sound = dir.path().join("sound.db");
        let sound_store = mangled(&sound, "").await.unwrap();
        let backup = dir.path().join("backup.db");
        sound_store.backup(&backup, WITHIN).await.unwrap();
        let mut batch = Batch::new();
        let key = Key::Handle(HandleId::new("d").unwrap());
        batch.put(key, Expect::Absent, Value::Handle(Handle::default()));
        let errors = [
            store.read(&ReadSet::new(), WITHIN).await.unwrap_err(),
            store.commit(&batch, WITHIN).await.unwrap_err(),
            store.restore(&backup, WITHIN).await.unwrap_err(),
        ];
        for error in errors.map(|error| error.to_string()) {
            let has = |word: &str| error.contains(word);
            assert!(has("store.db") && has("counter") && has("datastore restore"), "{sql}: {error}");
        }
        // Follows what the message says.
        drop(store);
        fs::rename(&path, dir.path().join("aside.db")).unwrap();
        let _ = fs::remove_file(dir.path().join("store.db-wal"));
        open(&path).unwrap().restore(&backup, WITHIN).await.unwrap();
        assert_eq!(contents(&path).unwrap().len(), 3);
    }
}

const MORE: &str = "after what can be read of it there are more commits";
const OTHER: &str = "a commit in it is not what was written";
const TORN: &str = "does not end as it should";
const SHORT: &str = "ends before the commits do";
const NO_START: &str = "does not begin as a -wal file does";

/// The messages that are true for a -wal file with that damage. A process that had the file open knows which
/// commits were in it.
fn reasons(wal: &[u8], damaged: &[u8], in_use: bool) -> Vec<&'static str> {
    let number = |at: usize| u32::from_be_bytes(wal[at..at + 4].try_into().unwrap());
    let frame = 24 + number(8) as usize;
    let starts: Vec<usize> = (32..wal.len()).step_by(frame).collect();
    let is_used = |at: usize| wal[at + 8..at + 16] == wal[16..24];
    let commits: Vec<usize> =
        starts.into_iter().take_while(|at| is_used(*at)).filter(|at| number(at + 4) != 0).collect();
    let last = commits[commits.len() - 2] + frame;
    if damaged.len() < wal.len() {
        // The part that is left is valid, or ends with a part of a transaction, which may never have been
        // answered.
        return if in_use { vec![SHORT, OTHER] } else { vec![TORN] };
    }
    let differing = |at: &usize| wal[*at] != damaged[*at];
    let first = (0..wal.len()).find(differing).expect("what is as it was is no damage");
    let end = (0..wal.len()).rfind(differing).unwrap();
    match () {
        () if first < 32 => vec![NO_START],
        // The damage is in the last transaction. A process that did not know the transaction cannot tell
        // whether it was answered.
        () if first >= last => vec![if in_use { OTHER } else { TORN }],
        () if end < commits[commits.len() - 3] => vec![MORE],
        () => vec![MORE, OTHER, TORN],
    }
}

/// Damages a -wal file that holds most of the store, before any process opens it and while one uses it.
#[tokio::test]
async fn a_damaged_wal_gives_no_backup() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let store = commits(&path("store.db")).await;
    store.backup(&path("good.db"), WITHIN).await.unwrap();
    drop(store);
    let good = contents(&path("good.db")).unwrap();
    let wal = fs::read(path("store.db-wal")).unwrap();
    assert!(wal.len() > 100_000);
    let mut backed_up = 0;
    for seed in 0..SEEDS / 3 {
        let (source, copy) = (path(&format!("source{seed}.db")), path(&format!("copy{seed}.db")));
        fs::copy(path("store.db"), &source).unwrap();
        let beside = path(&format!("source{seed}.db-wal"));
        fs::write(&beside, &wal).unwrap();
        let in_use = (seed % 3 == 0).then(|| open(&source).unwrap());
        let mut damaged = wal.clone();
        let what = damage(&mut damaged, seed);
        fs::write(&beside, &damaged).unwrap();
        let result = match in_use.map_or_else(|| open(&source), Ok) {
            Ok(store) => store.backup(&copy, Duration::from_millis(100)).await,
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            let error = error.to_string();
            let right = reasons(&wal, &damaged, seed % 3 == 0);
            let named = format!("{} is not complete: {} ", source.display(), beside.display());
            assert!(
                error.starts_with(&named) && right.iter().any(|reason| error.contains(reason)),
                "seed {seed}: {what}: {error}, not {right:?}"
            );
            assert!(!copy.exists(), "seed {seed}: {what}: no half backup is left");
        } else {
            backed_up += 1;
            assert_eq!(contents(&copy).as_ref(), Some(&good), "seed {seed}: {what}");
        }
    }
    assert!(backed_up < SEEDS / 30, "{backed_up}");
}

#[tokio::test]
async fn what_computes_without_end_is_refused_and_not_begun() {
    let endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)";
    let view = |name: &str, columns: &str| {
        format!("DROP TABLE {name}; CREATE VIEW {name} AS {endless} SELECT {columns} FROM n WHERE x < 0")
    };
    let column = |name: &str| {
        format!("ALTER TABLE {name} ADD COLUMN slow AS (printf('%.*c', 100000000, 'x') GLOB '*x*x*x*x*x*y')")
    };
    for (what, sql) in [
        (r#"view "kv""#, view("kv", "x AS key, x AS revision, x AS value, x AS sum")),
        (r#"view "log""#, view("log", "x AS revision, x AS key")),
        (r#"view "counter""#, view("counter", "x AS revision, x AS trimmed")),
        (r#"view "checkpoint""#, view("checkpoint", "x AS needs_wal")),
        (r#"view "KV""#, view("KV", "x AS key, x AS revision, x AS value, x AS sum")),
        (r#"table "kv""#, column("kv")),
        (r#"table "counter""#, column("counter")),
        (
            r#"trigger "slow""#,
            format!("CREATE TRIGGER slow BEFORE DELETE ON kv BEGIN {endless} SELECT count(*) FROM n; END"),
        ),
        (
            r#"trigger "slow""#,
            format!(
                "CREATE TRIGGER slow AFTER UPDATE ON counter BEGIN {endless} SELECT count(*) FROM n; END"
            ),
        ),
        (
            r#"index "slow""#,
            "CREATE INDEX slow ON kv (printf('%.*c', length(key), 'x') GLOB '*x*x*y')".to_string(),
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let refused = |error: store::StoreError| {
            let error = error.to_string();
            assert!(error.contains(&format!("the {what} in it is not what this program makes")), "{error}");
        };
        refused(mangled(&path("store.db"), &sql).await.unwrap_err());
        // The file is used as a backup, and as a store that is in use.
        let store = mangled(&path("other.db"), "").await.unwrap();
        store.backup(&path("backup.db"), WITHIN).await.unwrap();
        Connection::open(path("backup.db")).unwrap().execute_batch(&sql).unwrap();
        refused(store.restore(&path("backup.db"), WITHIN).await.unwrap_err());
        assert_eq!(contents(&path("other.db")).unwrap().len(), 3);
    }
}

#[tokio::test]
async fn what_stands_beside_the_tables_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let sql = "CREATE VIEW handles AS SELECT key FROM kv; CREATE TABLE notes (text); ANALYZE";
    let store = mangled(&dir.path().join("store.db"), sql).await.unwrap();
    let set = ReadSet::new().scope(Scope::Handles, Depth::Full);
    assert_eq!(store.read(&set, WITHIN).await.unwrap().slots(&Scope::Handles).count(), 3);
    store.backup(&dir.path().join("copy.db"), WITHIN).await.unwrap();
}

/// The watch reports that the record cannot be read, and then all later changes.
#[tokio::test]
async fn a_revision_that_is_none_stops_no_watch() {
    let handle = |name: &str| Key::Handle(HandleId::new(name).unwrap());
    for value in ["'abc'", "1.5", "x'00ff'"] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.db");
        let store = mangled(&path, "").await.unwrap();
        let mut watch = store.watch(Scope::Handles).await.unwrap();
        while !matches!(watch.next().await.unwrap(), Event::InitDone(_)) {}
        let path_of = handle("b").etcd_path();
        let by_hand = Connection::open(&path).unwrap();
        let sql = format!(
            "BEGIN; UPDATE counter SET revision = 1000; INSERT INTO log VALUES (1000, '{path_of}');
             UPDATE kv SET revision = {value} WHERE key = '{path_of}'; COMMIT"
        );
        by_hand.execute_batch(&sql).unwrap();
        let told = watch.next().await.unwrap();
        assert!(matches!(&told, Event::Unreadable(key, _) if *key == handle("b")), "{value}: {told:?}");
        for name in ["d", "e"] {
            let mut batch = Batch::new();
            batch.put(handle(name), Expect::Absent, Value::Handle(Handle::default()));
            assert!(store.commit(&batch, WITHIN).await.unwrap().is_applied());
            let told = watch.next().await.unwrap();
            assert!(matches!(&told, Event::Apply(record) if record.key == handle(name)), "{value}: {told:?}");
        }
    }
}
