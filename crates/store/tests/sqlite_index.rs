//! The embedded store while its -shm file is removed again and again. Processes see each other's commits
//! through that file. The test binary starts itself again as other processes.

// Everything here is test code. The processes learn what to do from environment variables.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use api::{Handle, HandleId, Key, Value};
use store::sqlite::{SqliteOptions, SqliteStore};
use store::{Batch, Depth, Expect, Outcome, ReadSet, Scope, Store, StoreError};

const WITHIN: Duration = Duration::from_secs(10);
const FILE: &str = "STORE_TEST_FILE";
const PROCESSES: usize = 6;
const EACH: usize = 25;

fn key(number: u32) -> Key {
    Key::Handle(HandleId::new(&format!("n{number:05}")).unwrap())
}

/// The owner of a number is stored in the record, as a count.
fn of(owner: u32) -> Value {
    Value::Handle(Handle {
        blocks: BTreeMap::from([("10.0.0.0/26".parse().unwrap(), owner)]),
        deleted: false,
    })
}

/// Takes the lowest free number, as an ADD takes an address. `None` if it is unknown whether the number was
/// taken.
async fn take(store: &SqliteStore, owner: u32) -> Result<Option<u32>, StoreError> {
    loop {
        let view = store.read(&ReadSet::new().scope(Scope::Handles, Depth::Full), WITHIN).await?;
        let free = (0..).find(|number| matches!(view.full(&key(*number)), None | Some(None))).unwrap();
        let mut batch = Batch::new();
        batch.put(key(free), Expect::Absent, of(owner));
        match store.commit(&batch, WITHIN).await?.outcomes.remove(0) {
            Outcome::Applied(_) => return Ok(Some(free)),
            Outcome::Unknown(_) => return Ok(None),
            _ => {}
        }
    }
}

/// Not a test, but the work of the other processes. Does nothing without a file in the environment.
#[tokio::test]
async fn another_process() {
    let Some(path) = std::env::var_os(FILE) else { return };
    let path = Path::new(&path);
    let mut done = 0;
    for tried in 0.. {
        assert!(tried < 20_000, "{done} only");
        if done >= EACH {
            break;
        }
        // Every second number is taken through a connection that is used for longer.
        let Ok(store) = SqliteStore::open(path, SqliteOptions::default()) else { continue };
        for _ in 0..=done % 2 * 5 {
            match take(&store, std::process::id()).await {
                Ok(Some(number)) => {
                    println!("took {number}");
                    std::io::stdout().flush().unwrap();
                    done += 1;
                }
                Ok(None) => println!("unknown"),
                // The message says to start the process again.
                Err(error) => {
                    println!("{error}");
                    break;
                }
            }
        }
    }
}

fn start(path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "another_process", "--nocapture", "--quiet"])
        .env(FILE, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Processes take numbers while the -shm file is removed again and again. No number is taken twice, and every
/// taken number is stored.
async fn race(pause: Duration) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    drop(SqliteStore::open(
        &path,
        SqliteOptions { missing: store::sqlite::Missing::Create, ..SqliteOptions::default() },
    ));
    let children: Vec<Child> = (0..PROCESSES).map(|_| start(&path)).collect();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let shm = dir.path().join("a.db-shm");
    let remover = std::thread::spawn(move || {
        let mut removed = 0;
        while stopped.recv_timeout(pause).is_err() {
            removed += usize::from(fs::remove_file(&shm).is_ok());
        }
        removed
    });
    let mut taken = BTreeMap::new();
    let mut log = String::new();
    for child in children {
        let owner = child.id();
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}");
        for number in text.lines().filter_map(|line| line.strip_prefix("took ")?.parse::<u32>().ok()) {
            let other = taken.insert(number, owner);
            assert_eq!(other, None, "{number} was given twice, also to {owner}");
        }
        log += &text;
    }
    stop.send(()).unwrap();
    let removed = remover.join().unwrap();
    assert!(removed > 3, "the -shm file was removed {removed} times only");
    assert!(taken.len() >= PROCESSES * EACH, "{log}");
    let store = SqliteStore::open(&path, SqliteOptions::default()).unwrap();
    let view = store.read(&ReadSet::new().scope(Scope::Handles, Depth::Full), WITHIN).await.unwrap();
    for (number, owner) in taken {
        let record = view.full(&key(number)).unwrap().unwrap_or_else(|| panic!("{number} is lost"));
        assert_eq!(record.value, of(owner), "{number}");
    }
    let file = rusqlite::Connection::open(&path).unwrap();
    let verdict: String = file.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
}

#[tokio::test]
async fn an_index_that_is_removed_now_and_then_costs_nobody_a_number() {
    race(Duration::from_millis(50)).await;
}

#[tokio::test]
async fn an_index_that_is_removed_all_the_time_costs_nobody_a_number() {
    race(Duration::from_millis(2)).await;
}
