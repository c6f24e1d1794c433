//! The place of the embedded store's file and of those beside it: under one name, side by side.

// Everything here is test code.
#![allow(clippy::unwrap_used)]

mod sqlite_fixture;

use std::fs;
use std::os::unix::fs::symlink;

use rusqlite::Connection;
use store::sqlite::{Missing, SqliteOptions, SqliteStore};
use store::{ReadSet, Store, StoreError};

use sqlite_fixture::{WITHIN, beside, count, create, go_on, open};

fn refused(result: Result<impl std::fmt::Debug, StoreError>, words: &[&str]) {
    let error = result.expect_err("it is refused");
    assert!(matches!(error, StoreError::Unusable(_)), "{error:?}");
    for word in words {
        assert!(error.to_string().contains(word), "{word:?} is missing in: {error}");
    }
}

#[tokio::test]
async fn a_second_name_is_refused_by_both_and_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (path, other) = (dir.path().join("store.db"), dir.path().join("other.db"));
    let store = open(&path).unwrap();
    create(&store, "a").await.unwrap();
    fs::hard_link(&path, &other).unwrap();
    let words = ["store.db", "2 names", "find ", "-samefile"];
    refused(create(&store, "b").await, &words);
    refused(store.read(&ReadSet::new(), WITHIN).await, &words);
    refused(open(&path), &words);
    refused(open(&other), &["other.db", "2 names"]);
    refused(
        SqliteStore::open(&other, SqliteOptions { missing: Missing::Create, ..SqliteOptions::default() }),
        &["2 names"],
    );
    fs::remove_file(&other).unwrap();
    create(&store, "b").await.unwrap();
    // A -wal file with two names belongs to at most one of two databases.
    fs::hard_link(beside(&path, "wal"), beside(&other, "wal")).unwrap();
    refused(create(&store, "c").await, &["store.db", "store.db-wal has 2 names"]);
    refused(open(&path), &["store.db-wal has 2 names"]);
    fs::remove_file(beside(&other, "wal")).unwrap();
    assert_eq!(count(&open(&path).unwrap()).await, 2);
}

#[tokio::test]
async fn a_symbolic_link_is_no_second_name() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("real")).unwrap();
    let path = dir.path().join("real/store.db");
    let (file, folder) = (dir.path().join("link.db"), dir.path().join("folder"));
    symlink(&path, &file).unwrap();
    symlink(dir.path().join("real"), &folder).unwrap();
    let stores: Vec<_> =
        [path.clone(), file, folder.join("store.db")].iter().map(|path| open(path).unwrap()).collect();
    for round in 0..9 {
        create(&stores[round % 3], &format!("h{round}")).await.unwrap();
        for store in &stores {
            assert_eq!(count(store).await, round + 1);
        }
    }
    assert!(beside(&path, "wal").exists());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3, "nothing lies beside the links");
}

/// The number of commits and the length of the -wal file vary. Without its -wal file, the store is taken
/// neither for complete nor for new, and no file is made or changed.
#[tokio::test]
async fn a_lost_wal_is_told() {
    for commits in [0, 1, 2, 5, 60, 200] {
        for also_shm in [false, true] {
            for is_copied in [false, true] {
                let dir = tempfile::tempdir().unwrap();
                let mut path = dir.path().join("store.db");
                let store = SqliteStore::open(
                    &path,
                    SqliteOptions { missing: Missing::Create, ..SqliteOptions::default() },
                )
                .unwrap();
                for index in 0..commits {
                    create(&store, &format!("h{index}")).await.unwrap();
                }
                drop(store);
                if is_copied {
                    let copy = dir.path().join("copy.db");
                    fs::copy(&path, &copy).unwrap();
                    path = copy;
                } else {
                    fs::remove_file(beside(&path, "wal")).unwrap();
                    if also_shm {
                        fs::remove_file(beside(&path, "shm")).unwrap();
                    }
                }
                let before = fs::read(&path).unwrap();
                for missing in [Missing::CreateOnCommit, Missing::Create, Missing::Refuse] {
                    let opened =
                        SqliteStore::open(&path, SqliteOptions { missing, ..SqliteOptions::default() });
                    refused(opened, &["its -wal is missing", "UPDATE checkpoint", "restore a backup"]);
                }
                let fresh = open(&dir.path().join("fresh.db")).unwrap();
                refused(fresh.restore(&path, WITHIN).await, &["its -wal is missing"]);
                assert_eq!(fs::read(&path).unwrap(), before);
                assert!(!beside(&path, "wal").exists());
                // Follows what the message says.
                go_on(&path);
                let store = open(&path).unwrap();
                assert!(count(&store).await <= commits);
                create(&store, "on").await.unwrap();
            }
        }
    }
}

/// A checkpoint moves everything into the database file. Only then can the store go on without the -wal file.
#[tokio::test]
async fn a_checkpoint_leaves_nothing_outside_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let store = open(&path).unwrap();
    store.checkpoint(WITHIN).await.unwrap();
    assert!(!path.exists(), "it makes no file");
    for index in 0..20 {
        create(&store, &format!("h{index}")).await.unwrap();
        store.checkpoint(WITHIN).await.unwrap();
        let copy = dir.path().join(format!("copy{index}.db"));
        fs::copy(&path, &copy).unwrap();
        go_on(&copy);
        assert_eq!(count(&open(&copy).unwrap()).await, index + 1);
    }
}

/// Another program closes the file as the last one, moves the -wal file into it, and removes the -wal file:
/// nothing is missing then.
#[tokio::test]
async fn a_wal_that_another_program_has_moved_is_not_missing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let options = || SqliteOptions { missing: Missing::Create, ..SqliteOptions::default() };
    drop(SqliteStore::open(&path, options()).unwrap());
    for index in 0..120_i64 {
        let other = Connection::open(&path).unwrap();
        let found: i64 = other.query_row("SELECT count(*) FROM kv", [], |row| row.get(0)).unwrap();
        assert_eq!(found, index);
        drop(other);
        assert!(!beside(&path, "wal").exists());
        let store = open(&path).unwrap();
        create(&store, &format!("h{index}")).await.unwrap();
        if index % 7 == 0 {
            store.checkpoint(WITHIN).await.unwrap();
        }
    }
    assert_eq!(count(&open(&path).unwrap()).await, 120);
}

/// The database file is gone or empty, and its -wal file is still there. A new store in its place would hand
/// out all addresses again.
#[tokio::test]
async fn a_wal_without_its_file_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    create(&open(&path).unwrap(), "a").await.unwrap();
    let (file, wal) = (fs::read(&path).unwrap(), fs::read(beside(&path, "wal")).unwrap());
    for how in ["missing", "empty"] {
        match how {
            "missing" => fs::remove_file(&path).unwrap(),
            _ => fs::write(&path, "").unwrap(),
        }
        for missing in [Missing::CreateOnCommit, Missing::Create, Missing::Refuse] {
            let opened = SqliteStore::open(&path, SqliteOptions { missing, ..SqliteOptions::default() });
            refused(opened, &["store.db", how, "store.db-wal", "holds commits"]);
        }
        assert_eq!(fs::read(beside(&path, "wal")).unwrap(), wal);
        fs::write(&path, &file).unwrap();
    }
    assert_eq!(count(&open(&path).unwrap()).await, 1);
}

#[tokio::test]
async fn a_wal_that_goes_under_way_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let store = open(&path).unwrap();
    create(&store, "a").await.unwrap();
    let moved = dir.path().join("moved");
    fs::rename(beside(&path, "wal"), &moved).unwrap();
    refused(create(&store, "lost").await, &["its -wal is missing"]);
    fs::rename(&moved, beside(&path, "wal")).unwrap();
    create(&store, "b").await.unwrap();
    assert_eq!(count(&open(&path).unwrap()).await, 2);
}

#[tokio::test]
async fn what_lies_in_the_place_of_a_wal_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    create(&open(&path).unwrap(), "a").await.unwrap();
    let (wal, moved) = (beside(&path, "wal"), dir.path().join("moved"));
    fs::rename(&wal, &moved).unwrap();
    fs::create_dir(&wal).unwrap();
    refused(open(&path), &["store.db-wal is a directory", "move it away"]);
    fs::remove_dir(&wal).unwrap();
    symlink(&moved, &wal).unwrap();
    refused(open(&path), &["store.db-wal is a symbolic link", "move it away"]);
    fs::remove_file(&wal).unwrap();
    fs::rename(&moved, &wal).unwrap();
    assert_eq!(count(&open(&path).unwrap()).await, 1);
}

#[tokio::test]
async fn an_shm_that_goes_under_way_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let store = open(&path).unwrap();
    create(&store, "a").await.unwrap();
    fs::remove_file(beside(&path, "shm")).unwrap();
    refused(create(&store, "lost").await, &["store.db-shm was removed", "start the process again"]);
    drop(store);
    let store = open(&path).unwrap();
    create(&store, "b").await.unwrap();
    assert_eq!(count(&store).await, 2);
}
