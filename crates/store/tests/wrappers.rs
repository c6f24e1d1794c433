//! The wrappers that make calls fail, and those that count calls, do what they promise.

// Everything here is test code.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use api::{BlockCidr, Handle, HandleId, Key, Value};
use store::testing::{Chances, CommitFault, Counting, FaultPlan, Faulty, RecordType, Stale, Step};
use store::{
    Batch, Depth, Event, Expect, MemoryStore, Outcome, ReadSet, Report, Scope, Slot, Store, StoreError, View,
    Watch, WatchError,
};

const WITHIN: Duration = Duration::from_secs(1);

fn handle(name: &str) -> Key {
    Key::Handle(HandleId::new(name).unwrap())
}

fn counted(count: u32) -> Value {
    let block: BlockCidr = "10.0.0.0/26".parse().unwrap();
    Value::Handle(Handle { blocks: [(block, count)].into(), deleted: false })
}

/// A batch that creates a, b and c, and then changes a.
fn batch() -> Batch {
    let mut batch = Batch::new();
    let first = batch.put(handle("a"), Expect::Absent, counted(1));
    batch.put(handle("b"), Expect::Absent, counted(1));
    batch.put(handle("c"), Expect::Absent, counted(1));
    batch.put(handle("a"), Expect::AsLeftBy(first), counted(2));
    batch
}

/// The outcome of every write as a letter: applied, unknown, not tried, refused.
fn letters(report: &Report) -> String {
    let letter = |outcome: &Outcome| match outcome {
        Outcome::Applied(_) => 'A',
        Outcome::Unknown(_) => 'U',
        Outcome::NotTried => '-',
        Outcome::Refused(_) => 'R',
    };
    report.outcomes.iter().map(letter).collect()
}

/// The stored records, as text.
fn stored(store: &MemoryStore) -> String {
    let text = |record: &Arc<api::Record>| {
        let count: u32 = record.handle().unwrap().blocks.values().sum();
        format!("{}{count}", record.key.etcd_path().rsplit('/').next().unwrap())
    };
    store.records().iter().map(text).collect()
}

#[tokio::test]
async fn faults_strike_between_writes() {
    use CommitFault::{Crash, ReplyLost};
    let lost = |answered, lost, landed| ReplyLost { answered, lost, landed };
    let rows = [
        (lost(0, 1, true), "U---", "a1"),
        (lost(0, 1, false), "U---", ""),
        (lost(1, 1, true), "AU--", "a1b1"),
        (lost(2, 1, false), "AAU-", "a1b1"),
        (lost(0, 4, true), "UUUU", "a2b1c1"),
        (lost(0, 4, false), "UUUU", ""),
        (lost(3, 9, true), "AAAU", "a2b1c1"),
        (lost(4, 1, true), "AAAA", "a2b1c1"),
        (Crash { writes: 0 }, "UUUU", ""),
        (Crash { writes: 2 }, "UUUU", "a1b1"),
        (Crash { writes: 4 }, "UUUU", "a2b1c1"),
    ];
    for (fault, told, left) in rows {
        let store = Faulty::new(MemoryStore::new(), FaultPlan::one_by_one().fault(0, fault));
        let report = store.commit(&batch(), WITHIN).await.unwrap();
        assert_eq!((letters(&report).as_str(), stored(store.inner()).as_str()), (told, left), "{fault:?}");
        assert_eq!(store.is_crashed(), matches!(fault, Crash { .. }));
        assert_eq!(store.read(&ReadSet::new(), WITHIN).await.is_err(), store.is_crashed());
        store.revive();
        assert!(store.read(&ReadSet::new(), WITHIN).await.is_ok());
    }
}

#[tokio::test]
async fn an_unsent_batch_is_an_error_and_the_next_one_passes() {
    let store = Faulty::new(MemoryStore::new(), FaultPlan::default().fault(0, CommitFault::Unsent));
    assert!(store.commit(&batch(), WITHIN).await.unwrap_err().is_transient());
    assert_eq!(stored(store.inner()), "");
    assert!(store.commit(&batch(), WITHIN).await.unwrap().is_applied());
}

#[tokio::test]
async fn a_refusal_comes_before_the_loss_of_the_reply() {
    let plan =
        FaultPlan::one_by_one().fault(0, CommitFault::ReplyLost { answered: 3, lost: 1, landed: true });
    let store = Faulty::new(MemoryStore::new(), plan);
    store.inner().put(handle("b"), counted(9));
    let report = store.commit(&batch(), WITHIN).await.unwrap();
    assert_eq!((letters(&report).as_str(), stored(store.inner()).as_str()), ("AR--", "a1b9"));
}

#[tokio::test]
async fn guards_are_honoured_or_not() {
    for (plan, told) in [(FaultPlan::one_by_one(), "----"), (FaultPlan::like_kubernetes(), "AAAA")] {
        let store = Faulty::new(MemoryStore::new(), plan);
        let mut batch = batch();
        batch.guard(handle("guard"), Some(1.into()));
        let report = store.commit(&batch, WITHIN).await.unwrap();
        assert_eq!(letters(&report), told);
        assert_eq!(report.broken_guard, (told == "----").then_some(0));
    }
}

#[tokio::test]
async fn others_write_between_the_steps() {
    let memory = MemoryStore::new();
    let other = memory.clone();
    let store = Faulty::new(memory, FaultPlan::one_by_one()).with_hook(Arc::new(move |step| {
        let other = other.clone();
        Box::pin(async move {
            if step == Step::AfterWrite(1) {
                other.put(handle("c"), counted(7));
            }
        })
    }));
    let report = store.commit(&batch(), WITHIN).await.unwrap();
    assert_eq!((letters(&report).as_str(), stored(store.inner()).as_str()), ("AAR-", "a1b1c7"));
}

#[tokio::test]
async fn the_parts_of_a_read_are_of_different_moments() {
    let memory = MemoryStore::new();
    let other = memory.clone();
    let plan = FaultPlan { split_reads: true, ..FaultPlan::default() };
    let store = Faulty::new(memory, plan).with_hook(Arc::new(move |step| {
        let other = other.clone();
        Box::pin(async move {
            if step == Step::BetweenReads {
                other.put(handle("a"), counted(1));
                other.put(handle("b"), counted(1));
            }
        })
    }));
    let view = store.read(&ReadSet::new().keys([handle("a"), handle("b")]), WITHIN).await.unwrap();
    assert_eq!(view.get(&handle("a")), Some(Slot::Absent));
    assert!(view.full(&handle("b")).unwrap().is_some());
}

#[tokio::test]
async fn stale_reads_are_past_states_within_the_window() {
    let plan =
        |seed| FaultPlan { seed, stale: Some(Stale { window: 2, chance: 500 }), ..FaultPlan::default() };
    let store = Faulty::new(MemoryStore::new(), plan(1));
    let mut expect = Expect::Absent;
    for count in 1..=6 {
        let mut batch = Batch::new();
        batch.put(handle("a"), expect, counted(count));
        let report = store.commit(&batch, WITHIN).await.unwrap();
        let Outcome::Applied(revision) = &report.outcomes[0] else { panic!("{report:?}") };
        expect = Expect::Revision(revision.clone());
    }
    let set = ReadSet::new().scope(Scope::Handles, Depth::Full);
    let mut seen = [0; 7];
    for seed in 0..100 {
        let (one, same) = (store.another(plan(seed)), store.another(plan(seed)));
        let view = one.read(&set, WITHIN).await.unwrap();
        let record = view.full(&handle("a")).unwrap().unwrap().clone();
        let again = same.read(&set, WITHIN).await.unwrap();
        assert_eq!(again.full(&handle("a")).unwrap(), Some(&record), "a seed gives the same");
        seen[record.handle().unwrap().blocks.values().sum::<u32>() as usize] += 1;
    }
    assert_eq!(seen[..4], [0; 4]);
    assert!(seen[4..].iter().all(|times| *times > 5), "{seen:?}");
}

#[tokio::test]
async fn chances_are_drawn_from_the_seed() {
    let chances = Chances { unsent: 200, reply_lost: 300, crash: 100, read_fails: 200, ..Chances::default() };
    let run = async |seed| {
        let store = Faulty::new(MemoryStore::new(), FaultPlan { seed, chances, ..FaultPlan::one_by_one() });
        let mut told = String::new();
        for round in 0..40 {
            let mut batch = Batch::new();
            batch.put(handle(&format!("a{round}")), Expect::Absent, counted(1));
            batch.put(handle(&format!("b{round}")), Expect::Absent, counted(1));
            match store.commit(&batch, WITHIN).await {
                Ok(report) => told += &letters(&report),
                Err(StoreError::Unavailable(_)) => told += "E",
                Err(other) => panic!("{other}"),
            }
            told += if store.read(&ReadSet::new(), WITHIN).await.is_ok() { " " } else { "! " };
            store.revive();
        }
        (told, stored(store.inner()))
    };
    let (told, left) = run(7).await;
    assert_eq!(run(7).await, (told.clone(), left));
    assert_ne!(run(8).await.0, told);
    for what in ["AA", "E", "U-", "!"] {
        assert!(told.contains(what), "{what} in {told}");
    }
}

#[tokio::test]
async fn a_dropped_watch_starts_anew() {
    let chances = Chances { watch_dropped: 1000, ..Chances::default() };
    let store = Faulty::new(MemoryStore::new(), FaultPlan { chances, ..FaultPlan::default() });
    let mut watch = store.watch(Scope::Handles).await.unwrap();
    for _ in 0..3 {
        assert!(matches!(watch.next().await, Err(WatchError::Interrupted(_))));
    }
    let calm = store.another(FaultPlan::default());
    assert_eq!(calm.watch(Scope::Handles).await.unwrap().next().await, Ok(Event::Init));
}

/// A view that is kept by a watch stays right when the watch is interrupted.
#[tokio::test]
async fn a_view_is_kept_through_interruptions() {
    for seed in 0..20 {
        let chances = Chances { watch_dropped: 300, ..Chances::default() };
        let store = Faulty::new(MemoryStore::new(), FaultPlan { seed, chances, ..FaultPlan::default() });
        let mut watch = store.watch(Scope::Handles).await.unwrap();
        let (mut view, mut interruptions) = (View::new(), 0);
        for round in 0..20u32 {
            let key = handle(["a", "b", "c"][round as usize % 3]);
            let held = store.inner().read(&ReadSet::new().key(key.clone()), WITHIN).await.unwrap();
            let mut batch = Batch::new();
            match held.handle(&HandleId::new(["a", "b", "c"][round as usize % 3]).unwrap()).unwrap() {
                Some((_, revision)) if (u64::from(round) + seed) % 4 == 0 => {
                    batch.delete(key, Expect::Revision(revision.clone()));
                }
                Some((_, revision)) => {
                    batch.put(key, Expect::Revision(revision.clone()), counted(round));
                }
                None => {
                    batch.put(key, Expect::Absent, counted(round));
                }
            }
            let report = store.inner().commit(&batch, WITHIN).await.unwrap();
            assert!(report.is_applied());
            if round % 2 == 0 {
                view = view.after(&batch, &report);
            }
            let fresh =
                store.inner().read(&ReadSet::new().scope(Scope::Handles, Depth::Full), WITHIN).await.unwrap();
            let all = |view: &View| {
                let slots = view.slots(&Scope::Handles).filter(|(_, slot)| **slot != Slot::Absent);
                slots.map(|(key, slot)| (key.clone(), slot.clone())).collect::<Vec<_>>()
            };
            while !view.is_complete(&Scope::Handles, Depth::Full) || all(&view) != all(&fresh) {
                match tokio::time::timeout(WITHIN, watch.next()).await.expect("there is something to tell") {
                    Ok(event) => view.fold(&Scope::Handles, &event),
                    Err(_) => interruptions += 1,
                }
            }
        }
        assert!(interruptions > 0, "seed {seed}");
    }
}

#[tokio::test]
async fn counting_counts() {
    let store = Counting::new(MemoryStore::new());
    store.commit(&batch(), WITHIN).await.unwrap();
    let set = ReadSet::new().key(handle("a")).key(handle("none")).key(Key::IpamConfig);
    store.read(&set.scope(Scope::Handles, Depth::Key), WITHIN).await.unwrap();
    store.inner().read(&ReadSet::new().key(handle("a")), WITHIN).await.unwrap();
    let counts = store.reset();
    assert_eq!((counts.reads, counts.commits, counts.watches), (1, 1, 0));
    assert_eq!((counts.keys, counts.scopes), (3, 1));
    assert_eq!(counts.records, [(RecordType::Handle, 3)].into());
    assert_eq!((counts.writes_sent(), counts.records_read()), (4, 3));
    assert_eq!(store.counts(), Default::default());
}

/// Not a test by itself: fails where the test below asks it to.
#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "how the process is told")]
async fn fails_when_asked() {
    if std::env::var_os("STORE_TEST_FAILS").is_none() {
        return;
    }
    let plan = FaultPlan { seed: 77, ..FaultPlan::one_by_one() };
    let store = Faulty::new(MemoryStore::new(), plan.fault(1, CommitFault::Unsent));
    store.read(&ReadSet::new().key(handle("a")), WITHIN).await.unwrap();
    store.commit(&batch(), WITHIN).await.unwrap();
    store.commit(&batch(), WITHIN).await.unwrap();
}

#[test]
fn a_test_that_fails_tells_its_seed_and_what_was_done_last() {
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    let again = again.args(["--exact", "fails_when_asked"]).env("STORE_TEST_FAILS", "1");
    let out = again.output().unwrap();
    let told = String::from_utf8(out.stdout).unwrap();
    assert!(!out.status.success(), "{told}");
    for words in [
        "seed: 77",
        "read IPAMHandleKey(id=a)\n",
        "commit put IPAMHandleKey(id=a) (applied), put IPAMHandleKey(id=b) (applied),",
        "put IPAMHandleKey(id=a): the request was not sent (planned)",
    ] {
        assert!(told.contains(words), "{words:?} is missing in:\n{told}");
    }
}
