//! Other writers at the same time, and lost replies.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use api::{IpamConfig, Key, Kind, Value};
use resources::Error;
use resources::config::ConfigChange;
use store::testing::fault::{CommitFault, FaultPlan, Faulty, Hook, Step};
use store::{Batch, Expect, MemoryStore, ReadSet, Store};

use crate::common::{Fixed, client, id, pool, run, stored};

/// A hook that lets another writer act before each of the first `times` commits.
fn before_commits(times: u32, what: impl Fn(u32) + Send + Sync + 'static) -> Hook {
    let (count, what) = (AtomicU32::new(0), Arc::new(what));
    Arc::new(move |step| {
        if step == Step::BeforeWrite(0) {
            let n = count.fetch_add(1, Ordering::Relaxed);
            if n < times {
                what(n);
            }
        }
        Box::pin(std::future::ready(()))
    })
}

fn relabelled(store: &MemoryStore, n: u32) {
    let key = id(Kind::IPPool, "a");
    let changed = stored(store, &key).unwrap().with(|metadata, _| {
        metadata.labels.insert("other".into(), n.to_string());
    });
    store.put(key.key(), Value::Resource(changed));
}

#[test]
fn an_update_that_is_overtaken_is_tried_five_times() {
    for (times, succeeds) in [(0, true), (1, true), (4, true), (5, false)] {
        let (memory, effects) = (MemoryStore::new(), Fixed::default());
        run(client(&memory, &effects).create(&pool("a", "10.0.0.0/24"))).unwrap();
        let other = memory.clone();
        let hook = before_commits(times, move |n| relabelled(&other, n));
        let store = Faulty::new(memory.clone(), FaultPlan::default()).with_hook(hook);
        let outcome =
            run(client(&store, &effects).patch(&id(Kind::IPPool, "a"), r#"{"spec": {"natOutgoing": true}}"#));
        assert_eq!(outcome.is_ok(), succeeds, "{times} {outcome:?}");
        let now = stored(&memory, &id(Kind::IPPool, "a")).unwrap();
        assert_eq!(now.field(&["spec", "natOutgoing"]).is_some(), succeeds);
        let last = times.checked_sub(1).map(|n| n.to_string());
        assert_eq!(now.metadata().labels.get("other"), last.as_ref(), "the other's change is there");
    }
}

/// The allocator's configuration is changed by another, too: Calico's write of it in etcd compares nothing,
/// and loses the other's change. Here both changes stay.
#[test]
fn configuring_loses_no_change_of_another() {
    let (memory, effects) = (MemoryStore::new(), Fixed::default());
    let other = memory.clone();
    let hook = before_commits(1, move |_| {
        let config = IpamConfig { cooldown_seconds: 30, ..IpamConfig::default() };
        other.put(Key::IpamConfig, Value::IpamConfig(config));
    });
    let store = Faulty::new(memory.clone(), FaultPlan::default()).with_hook(hook);
    let strict = ConfigChange { strict_affinity: Some(true), ..ConfigChange::default() };
    let config = run(client(&store, &effects).configure(&strict)).unwrap();
    assert_eq!((config.strict_affinity, config.cooldown_seconds), (true, 30));
    let stored = memory.records().into_iter().find_map(|record| record.ipam_config().cloned());
    assert_eq!(stored, Some(config));
}

#[test]
fn an_update_of_a_named_revision_is_tried_once() {
    let (memory, effects) = (MemoryStore::new(), Fixed::default());
    let created = run(client(&memory, &effects).create(&pool("a", "10.0.0.0/24"))).unwrap();
    let other = memory.clone();
    let store = Faulty::new(memory.clone(), FaultPlan::default())
        .with_hook(before_commits(1, move |n| relabelled(&other, n)));
    let outcome = run(client(&store, &effects).update(&created));
    assert_eq!(outcome.unwrap_err().to_string(), "update conflict: IPPool(a)");
}

fn put_pool(store: &MemoryStore, name: &str, cidr: &str) {
    let pool = api::defaults::on_write(&pool(name, cidr));
    store.put(pool.key(), Value::Resource(pool));
}

#[test]
fn of_two_pools_made_at_once_on_one_network_not_both_stay() {
    for guards in [true, false] {
        let (memory, effects) = (MemoryStore::new(), Fixed::default());
        let other = memory.clone();
        let hook = before_commits(1, move |_| put_pool(&other, "theirs", "10.0.0.0/16"));
        let store = Faulty::new(memory.clone(), FaultPlan { guards, ..FaultPlan::default() }).with_hook(hook);
        let error = run(client(&store, &effects).create(&pool("ours", "10.0.0.0/24"))).unwrap_err();
        assert!(error.to_string().contains("IPPool(ours) CIDR overlaps with IPPool(theirs)"), "{error}");
        assert_eq!(stored(&memory, &id(Kind::IPPool, "ours")), None);
        assert!(stored(&memory, &id(Kind::IPPool, "theirs")).is_some());
        let now = run(memory.read(&ReadSet::new(), crate::common::WITHIN)).unwrap();
        let is_untouched = now.revision().unwrap().as_str() == "1";
        assert_eq!(
            is_untouched, guards,
            "where guards are honoured it was never there, else it was taken back"
        );
    }
}

/// Every creation of a pool breaks the guard of the others. Still none fails because there are many.
#[test]
fn creators_of_other_pools_do_not_starve_one() {
    for times in [1, 4, 100] {
        let (memory, effects) = (MemoryStore::new(), Fixed::default());
        let other = memory.clone();
        let hook =
            before_commits(times, move |n| put_pool(&other, &format!("p{n}"), &format!("10.1.{n}.0/24")));
        let store = Faulty::new(memory.clone(), FaultPlan::default()).with_hook(hook);
        run(client(&store, &effects).create(&pool("ours", "10.0.0.0/24"))).unwrap();
        assert!(stored(&memory, &id(Kind::IPPool, "ours")).is_some(), "{times}");
    }
}

/// If another pool is deleted meanwhile, that only leaves more room.
#[test]
fn a_deletion_beside_a_creation_is_harmless() {
    for guards in [true, false] {
        let (memory, effects) = (MemoryStore::new(), Fixed::default());
        put_pool(&memory, "theirs", "10.1.0.0/24");
        let other = memory.clone();
        let hook = before_commits(1, move |_| {
            let theirs = id(Kind::IPPool, "theirs").key();
            let revision = other.records()[0].revision.clone();
            let mut batch = Batch::new();
            batch.delete(theirs, Expect::Revision(revision));
            assert!(run_inside(other.commit(&batch, crate::common::WITHIN)).unwrap().is_applied());
        });
        let store = Faulty::new(memory.clone(), FaultPlan { guards, ..FaultPlan::default() }).with_hook(hook);
        run(client(&store, &effects).create(&pool("ours", "10.0.0.0/24"))).unwrap();
        assert_eq!(memory.records().len(), 1);
        assert!(stored(&memory, &id(Kind::IPPool, "ours")).is_some());
    }
}

/// The output of a future that never waits, run inside of a runtime.
fn run_inside<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("it waits"),
    }
}

#[test]
fn a_lost_reply_is_looked_after() {
    for landed in [true, false] {
        let (memory, effects) = (MemoryStore::new(), Fixed::default());
        let plan = FaultPlan::default().fault(0, CommitFault::ReplyLost { answered: 0, lost: 1, landed });
        let store = Faulty::new(memory.clone(), plan);
        let outcome = run(client(&store, &effects).create(&pool("a", "10.0.0.0/24")));
        match (landed, outcome) {
            (true, Ok(created)) => {
                assert_eq!(run(client(&memory, &effects).get(&id(Kind::IPPool, "a"))).unwrap(), created);
            }
            (false, Err(Error::InDoubt { on, .. })) => assert_eq!(on, id(Kind::IPPool, "a")),
            (_, outcome) => panic!("{landed} {outcome:?}"),
        }
    }
}

/// If a deletion of a pool stops at any point, a second deletion completes it.
#[test]
fn a_broken_deletion_is_finished_by_the_next() {
    for commit in 0..6 {
        let (memory, effects) = (MemoryStore::new(), Fixed::default());
        run(client(&memory, &effects).create(&pool("a", "10.0.0.0/24"))).unwrap();
        crate::common::assign(&memory, &effects, "n1", "h1", 6);
        let plan = FaultPlan::one_by_one().fault(commit, CommitFault::Crash { writes: 1 });
        let store = Faulty::new(memory.clone(), plan);
        let first = run(client(&store, &effects).delete(&id(Kind::IPPool, "a"), None));
        store.revive();
        match run(client(&store, &effects).delete(&id(Kind::IPPool, "a"), None)) {
            Ok(_) => {}
            Err(error) => assert!(error.is_does_not_exist(), "{commit} {first:?} {error}"),
        }
        assert_eq!(stored(&memory, &id(Kind::IPPool, "a")), None);
        let left = crate::common::allocation_keys(&memory);
        assert!(left.iter().all(|key| !key.contains("/host/")), "{commit} {first:?} {left:?}");
    }
}
