//! A -wal file that exists but is damaged: every loss of a commit is reported.

// Everything here is test code.
#![allow(clippy::unwrap_used)]

mod sqlite_fixture;

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use store::StoreError;
use store::sqlite::{Missing, SqliteOptions, SqliteStore};

use sqlite_fixture::{beside, count, create, go_on, open};

/// Creates a store with that many commits.
async fn store_with(path: &Path, commits: usize) -> SqliteStore {
    let store =
        SqliteStore::open(path, SqliteOptions { missing: Missing::Create, ..SqliteOptions::default() })
            .unwrap();
    for index in 0..commits {
        create(&store, &format!("h{index}")).await.unwrap();
    }
    store
}

/// Checks that every way to open the store refuses it, that the message's remedy works, and that at most
/// `most` handles are found then.
async fn is_refused(path: &Path, what: &str, most: usize) {
    for missing in [Missing::CreateOnCommit, Missing::Create, Missing::Refuse, Missing::CreateOnCommit] {
        let opened = SqliteStore::open(path, SqliteOptions { missing, ..SqliteOptions::default() });
        let error = opened.map(drop).expect_err(what);
        assert!(matches!(error, StoreError::Unusable(_)), "{what}: {error:?}");
        for word in ["is not complete", "-wal", "restore a backup", "UPDATE checkpoint"] {
            assert!(error.to_string().contains(word), "{what}: {word:?} is missing in: {error}");
        }
    }
    go_on(path);
    let store = open(path).unwrap();
    assert!(count(&store).await < most, "{what}");
    create(&store, "on").await.unwrap();
}

type Damage = fn(&mut Vec<u8>);

/// The -wal file lost its beginning when a machine stopped. (The -shm file may be gone with the memory, or
/// not.)
#[tokio::test]
async fn a_wal_without_its_beginning_is_told() {
    let damages: [(&str, Damage); 6] = [
        ("emptied", Vec::clear),
        ("cut", |wal| wal.truncate(20)),
        ("its header zeroed", |wal| wal[..32].fill(0)),
        ("garbage", |wal| wal.iter_mut().enumerate().for_each(|(at, byte)| *byte = (at * 7 + 1) as u8)),
        ("a bit of its salt flipped", |wal| wal[20] ^= 4),
        ("a bit of its first frame flipped", |wal| wal[100] ^= 4),
    ];
    for (what, damage) in damages {
        for commits in [2, 40] {
            for shm_stays in [false, true] {
                let dir = tempfile::tempdir().unwrap();
                let path = dir.path().join("store.db");
                drop(store_with(&path, commits).await);
                let mut wal = fs::read(beside(&path, "wal")).unwrap();
                damage(&mut wal);
                fs::write(beside(&path, "wal"), wal).unwrap();
                if !shm_stays {
                    fs::remove_file(beside(&path, "shm")).unwrap();
                }
                is_refused(&path, what, commits).await;
            }
        }
    }
}

#[tokio::test]
async fn another_stores_wal_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (path, other) = (dir.path().join("store.db"), dir.path().join("other.db"));
    for path in [&path, &other] {
        drop(store_with(path, 5).await);
    }
    fs::copy(beside(&other, "wal"), beside(&path, "wal")).unwrap();
    fs::remove_file(beside(&path, "shm")).unwrap();
    for _ in 0..2 {
        let error = open(&path).expect_err("it is refused");
        assert!(error.to_string().contains("does not belong to it"), "{error}");
    }
    drop(open(&other).unwrap());
}

/// A bit is damaged outside of the last transaction, so later transactions depend on what it hides.
#[tokio::test]
async fn a_wal_with_a_damaged_middle_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let store = store_with(&path, 0).await;
    let mut ends = Vec::new();
    for index in 0..30 {
        create(&store, &format!("h{index}")).await.unwrap();
        ends.push(fs::metadata(beside(&path, "wal")).unwrap().len() as usize);
    }
    drop(store);
    let (file, wal) = (fs::read(&path).unwrap(), fs::read(beside(&path, "wal")).unwrap());
    let mut rng = fastrand::Rng::with_seed(7);
    for round in 0..40 {
        let copy = dir.path().join(format!("copy{round}.db"));
        let mut damaged = wal.clone();
        // The bit is in the middle, in the last transaction but one, or in the last one.
        let at = match round % 4 {
            0..3 => rng.usize(32..ends[27]),
            _ => rng.usize(ends[28]..ends[29]),
        };
        damaged[at] ^= 1 << rng.u8(..8);
        fs::write(&copy, &file).unwrap();
        fs::write(beside(&copy, "wal"), damaged).unwrap();
        let what = format!("byte {at}");
        if round % 4 < 3 {
            is_refused(&copy, &what, 30).await;
        } else {
            // This damage looks the same as a loss of power during the last transaction.
            assert_eq!(count(&open(&copy).unwrap()).await, 29, "{what}");
        }
    }
}

/// The last commit did not reach the disk completely. That is no loss, whichever of its frames are there.
#[tokio::test]
async fn a_torn_last_transaction_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let store = store_with(&path, 6).await;
    let before = fs::metadata(beside(&path, "wal")).unwrap().len() as usize;
    create(&store, "last").await.unwrap();
    drop(store);
    let (file, wal) = (fs::read(&path).unwrap(), fs::read(beside(&path, "wal")).unwrap());
    for (round, at) in (before..wal.len()).step_by(512).enumerate() {
        for is_hole in [false, true] {
            let copy = dir.path().join(format!("copy{round}{is_hole}.db"));
            let mut torn = wal.clone();
            if is_hole {
                let end = torn.len().min(at + 512);
                torn[at..end].fill(0);
            } else {
                torn.truncate(at);
            }
            fs::write(&copy, &file).unwrap();
            fs::write(beside(&copy, "wal"), torn).unwrap();
            let found = count(&open(&copy).unwrap()).await;
            assert!((6..=7).contains(&found), "{at} {is_hole}: {found}");
            create(&open(&copy).unwrap(), "on").await.unwrap();
            assert_eq!(count(&open(&copy).unwrap()).await, found + 1);
        }
    }
}

/// A crash happens while the -wal file is moved into the database: the mark that a -wal file belongs to the
/// database is set, and the -wal file has not taken it back yet.
#[tokio::test]
async fn a_move_that_was_cut_short_is_no_loss() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let store = store_with(&path, 5).await;
    let conn = Connection::open(&path).unwrap();
    let moved = |how: &str| {
        let busy: i64 =
            conn.query_row(&format!("PRAGMA wal_checkpoint({how})"), [], |row| row.get(0)).unwrap();
        assert_eq!(busy, 0);
    };
    let cut = async |round: &str, found: usize| {
        let copy = dir.path().join(format!("{round}.db"));
        fs::copy(&path, &copy).unwrap();
        fs::copy(beside(&path, "wal"), beside(&copy, "wal")).unwrap();
        let store = open(&copy).unwrap();
        assert_eq!(count(&store).await, found, "{round}");
        create(&store, "on").await.unwrap();
        drop(store);
        assert_eq!(count(&open(&copy).unwrap()).await, found + 1, "{round}");
    };
    moved("TRUNCATE");
    cut("moved", 5).await;
    conn.execute_batch("UPDATE checkpoint SET needs_wal = 77").unwrap();
    cut("noted", 5).await;
    moved("RESTART");
    cut("moved again", 5).await;
    create(&store, "of another").await.unwrap();
    cut("committed between", 6).await;
    conn.execute_batch("UPDATE checkpoint SET needs_wal = -77").unwrap();
    cut("noted again", 6).await;
}
