//! The embedded store, used by several processes. The test binary starts itself again as other processes,
//! with a role in the environment.

// Everything here is test code. The processes learn their roles from the environment.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use api::{Handle, HandleId, Key, Value};
use store::sqlite::{SqliteOptions, SqliteStore};
use store::{Batch, Event, Expect, Outcome, ReadSet, Store, StoreError, Watch};

const WITHIN: Duration = Duration::from_secs(60);
const ROLE: &str = "STORE_TEST_ROLE";
const FILE: &str = "STORE_TEST_FILE";

fn key(name: &str) -> Key {
    Key::Handle(HandleId::new(name).unwrap())
}

fn count_of(value: &Value) -> u32 {
    let Value::Handle(handle) = value else { panic!("no handle") };
    handle.blocks.values().sum()
}

fn counted(count: u32) -> Value {
    Value::Handle(Handle {
        blocks: BTreeMap::from([("10.0.0.0/26".parse().unwrap(), count)]),
        deleted: false,
    })
}

async fn count<S: Store>(store: &S, name: &str) -> u32 {
    let view = store.read(&ReadSet::new().key(key(name)), WITHIN).await.unwrap();
    view.full(&key(name)).unwrap().map_or(0, |record| count_of(&record.value))
}

/// Tries one compare-and-swap. Gives whether it was applied.
async fn try_increment<S: Store>(store: &S, name: &str) -> Result<bool, StoreError> {
    let view = store.read(&ReadSet::new().key(key(name)), WITHIN).await?;
    let (expect, count) = match view.full(&key(name)).unwrap() {
        Some(record) => (Expect::Revision(record.revision.clone()), count_of(&record.value)),
        None => (Expect::Absent, 0),
    };
    let mut batch = Batch::new();
    batch.put(key(name), expect, counted(count + 1));
    match store.commit(&batch, WITHIN).await?.outcomes.remove(0) {
        Outcome::Applied(_) => Ok(true),
        Outcome::Refused(_) => Ok(false),
        other => panic!("{other:?}"),
    }
}

fn open(path: &Path) -> SqliteStore {
    open_or_error(path).unwrap()
}

fn open_or_error(path: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(path, SqliteOptions { poll: Duration::from_millis(5), ..SqliteOptions::default() })
}

/// Starts another process with that role. If `through` is not empty, it is a command that starts the process.
fn start(role: &str, path: &Path, through: &[&str]) -> Child {
    let own = std::env::current_exe().unwrap();
    let own = own.to_str().unwrap();
    let mut words = through.to_vec();
    words.extend([own, "--exact", "another_process", "--nocapture", "--quiet"]);
    Command::new(words[0])
        .args(&words[1..])
        .env(ROLE, role)
        .env(FILE, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn finish(child: Child) {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// Not a test, but the work of the other processes. Does nothing without a role.
#[tokio::test]
async fn another_process() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let path = std::path::PathBuf::from(std::env::var_os(FILE).unwrap());
    match role.as_str() {
        "increment" => {
            let store = open(&path);
            let mut done = 0;
            while done < 20 {
                done += u32::from(try_increment(&store, "count").await.unwrap());
            }
        }
        "own record" => {
            let own = std::process::id().to_string();
            for _ in 0..20 {
                // This does the same as a process of its own would: open, read, commit, close.
                assert!(try_increment(&open(&path), &own).await.unwrap());
            }
        }
        "until killed" => {
            let store = open(&path);
            loop {
                assert!(try_increment(&store, "count").await.unwrap());
                println!("answered {}", count(&store, "count").await);
                std::io::stdout().flush().unwrap();
            }
        }
        "full disk" => fill(&path).await,
        "failing writes" => {
            let store = open(&path);
            for index in 0.. {
                let mut batch = Batch::new();
                batch.put(key(&format!("h{index}")), Expect::Absent, counted(1));
                let report = store.commit(&batch, WITHIN).await.unwrap();
                if report.has_unknown() {
                    break;
                }
                assert!(report.is_applied(), "{report:?}");
                println!("answered {index}");
                assert!(index < 10_000, "no write fails");
            }
            println!("unknown");
        }
        "read-only" => {
            let store = open(&path);
            assert_eq!(count(&store, "count").await, 1, "what is there can be read");
            let error = try_increment(&store, "count").await.unwrap_err();
            assert!(matches!(error, StoreError::Denied(_)), "{error:?}");
            assert!(error.to_string().contains("read-only"), "{error}");
            let error = try_increment(&open(&path.with_file_name("new.db")), "count").await.unwrap_err();
            assert!(matches!(error, StoreError::Denied(_)), "{error:?}");
        }
        "mounted alone" => {
            let error = open_or_error(&path).unwrap_err();
            assert!(matches!(error, StoreError::Unusable(_)), "{error:?}");
            let text = error.to_string();
            assert!(
                text.contains("is mounted there by itself") && text.contains("Mount the folder"),
                "{text}"
            );
        }
        "mounted folder" => {
            let original = open(Path::new(&std::env::var("STORE_TEST_ORIGINAL").unwrap()));
            let mounted = open(&path);
            for round in 1..20 {
                assert!(
                    try_increment(if round % 2 == 0 { &original } else { &mounted }, "both").await.unwrap()
                );
                assert_eq!((count(&original, "both").await, count(&mounted, "both").await), (round, round));
            }
        }
        other => panic!("no such role: {other}"),
    }
}

/// Writes until the filesystem is full, makes room, and goes on.
async fn fill(path: &Path) {
    let ballast = path.with_file_name("ballast");
    std::fs::write(&ballast, vec![1; 64 << 10]).unwrap();
    let store = open(path);
    let mut answered = 0;
    let error = loop {
        match try_increment(&store, &format!("h{answered:09}")).await {
            Ok(is_applied) => answered += usize::from(is_applied),
            Err(error) => break error,
        }
        assert!(answered < 100_000, "it never gets full");
    };
    assert!(matches!(error, StoreError::Unusable(_)), "{error:?}");
    assert!(error.to_string().contains("no space is left"), "{error}");
    assert!(answered > 0);
    std::fs::remove_file(ballast).unwrap();
    assert!(try_increment(&store, "after").await.unwrap(), "with room again it goes on");
    let again = open(path);
    for index in 0..answered {
        assert_eq!(count(&again, &format!("h{index:09}")).await, 1, "{index} of {answered}");
    }
}

#[tokio::test]
async fn processes_that_count_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    // The file does not exist, so the processes also create it at the same time.
    let children: Vec<_> = (0..16).map(|_| start("increment", &path, &[])).collect();
    children.into_iter().for_each(finish);
    assert_eq!(count(&open(&path), "count").await, 16 * 20);
}

#[tokio::test]
async fn of_many_processes_none_is_starved() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let children: Vec<_> = (0..64).map(|_| start("own record", &path, &[])).collect();
    let names: Vec<_> = children.iter().map(|child| child.id().to_string()).collect();
    children.into_iter().for_each(finish);
    let store = open(&path);
    for name in names {
        assert_eq!(count(&store, &name).await, 20);
    }
}

#[tokio::test]
async fn what_was_answered_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let mut answered = 0;
    for round in 0..15_u64 {
        let mut child = start("until killed", &path, &[]);
        let lines = BufReader::new(child.stdout.take().unwrap());
        let mut lines = lines.lines().map_while(Result::ok);
        // The first answer shows that the process works. It is killed at another moment each time.
        let first = lines.by_ref().find_map(|line| line.strip_prefix("answered ").map(String::from));
        answered = first.expect("it answers").parse().unwrap();
        std::thread::sleep(Duration::from_micros(round * 1700));
        child.kill().unwrap();
        child.wait().unwrap();
        for line in lines {
            if let Some(number) = line.strip_prefix("answered ").and_then(|number| number.parse().ok()) {
                answered = number;
            }
        }
        let found = count(&open(&path), "count").await;
        // One more commit may have been stored without an answer.
        assert!((answered..=answered + 1).contains(&found), "round {round}: {found} for {answered}");
        assert!(try_increment(&open(&path), "count").await.unwrap());
    }
    assert!(answered > 15);
    let file = rusqlite::Connection::open(&path).unwrap();
    let verdict: String = file.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
}

#[tokio::test]
async fn a_watch_sees_what_another_process_does() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    let store = open(&path);
    let mut watch = store.watch(store::Scope::Handles).await.unwrap();
    assert_eq!(watch.next().await, Ok(Event::Init));
    assert!(matches!(watch.next().await, Ok(Event::InitDone(_))));
    let child = start("increment", &path, &[]);
    let mut last = 0;
    while last < 20 {
        let event = tokio::time::timeout(WITHIN, watch.next()).await.unwrap().unwrap();
        let Event::Apply(record) = event else { panic!("{event:?}") };
        let now = count_of(&record.value);
        assert!(now > last);
        last = now;
    }
    finish(child);
}

/// Runs a role in a mount namespace of its own, after the command `mount`. Where that is not possible, prints
/// so and leaves the test out.
fn run_in_namespace(role: &str, path: &Path, mount: &str) {
    let may = Command::new("unshare").args(["-m", "true"]).stderr(Stdio::null()).status();
    if !may.is_ok_and(|status| status.success()) {
        println!("skipped: {role}: needs the right to make mount namespaces");
        return;
    }
    let script = format!("{mount} && exec \"$0\" \"$@\"");
    finish(start(role, path, &["unshare", "-m", "sh", "-c", &script]));
}

#[test]
fn a_full_disk_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mount = format!("mount -t tmpfs -o size=512k tmpfs {}", dir.path().display());
    run_in_namespace("full disk", &dir.path().join("store.db"), &mount);
}

#[tokio::test]
async fn a_commit_that_fails_under_way_is_unknown() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    // Writes beyond the limit fail, like those of a failing disk.
    let limit = "trap '' XFSZ && ulimit -f 200 && exec \"$0\" \"$@\"";
    let child = start("failing writes", &path, &["sh", "-c", limit]);
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("unknown"), "{text}");
    let answered = text.matches("answered").count();
    assert!(answered > 3, "{text}");
    let store = open(&path);
    for index in 0..answered {
        assert_eq!(count(&store, &format!("h{index}")).await, 1, "{index} of {answered}");
    }
    assert!(try_increment(&store, "after").await.unwrap());
}

#[tokio::test]
async fn a_read_only_filesystem_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store.db");
    assert!(try_increment(&open(&path), "count").await.unwrap());
    let place = dir.path().display();
    let mount = format!("mount --bind {place} {place} && mount -o remount,ro,bind {place}");
    run_in_namespace("read-only", &path, &mount);
}

/// A container may get the file mounted alone, which is refused, or the folder, which is the right way.
#[tokio::test]
async fn a_file_that_is_mounted_alone_is_refused_and_a_folder_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str| dir.path().join(name);
    for folder in ["original", "other"] {
        std::fs::create_dir(place(folder)).unwrap();
    }
    let (original, other) = (place("original/store.db"), place("other/store.db"));
    assert!(try_increment(&open(&original), "count").await.unwrap());
    std::fs::write(&other, "").unwrap();
    let mount = |from: &Path, to: &Path| format!("mount --bind {} {}", from.display(), to.display());
    run_in_namespace("mounted alone", &other, &mount(&original, &other));
    // A file that is mounted on itself is refused as well: from other namespaces the mount may be invisible.
    run_in_namespace("mounted alone", &original, &mount(&original, &original));
    let both = format!(
        "export STORE_TEST_ORIGINAL={} && {}",
        original.display(),
        mount(&place("original"), &place("other"))
    );
    run_in_namespace("mounted folder", &other, &both);
}
