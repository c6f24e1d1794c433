//! Copies between stores, some of which fail on purpose.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use api::{Kind, Value};
use resources::contents::Contents;
use resources::copy::{CopyError, Copying};
use serde_json::json;
use store::MemoryStore;
use store::testing::fault::{CommitFault, FaultPlan, Faulty, Hook, Step};

use crate::common::{Fixed, WITHIN, assign, client, pool, resource, run};

/// A store with pools, nodes, a block and the handles of its addresses.
fn source() -> (MemoryStore, Fixed) {
    let (store, effects) = (MemoryStore::new(), Fixed::default());
    run(client(&store, &effects).ensure_initialised()).unwrap();
    run(client(&store, &effects).create(&pool("a", "10.0.0.0/24"))).unwrap();
    for handle in ["h1", "h2", "h3"] {
        assign(&store, &effects, "n1", handle, 2);
    }
    (store, effects)
}

fn contents(store: &MemoryStore) -> Vec<(String, String)> {
    let contents = run(Contents::read(store, WITHIN)).unwrap();
    let text = |record: &Arc<api::Record>| (record.key.etcd_path(), record.value.to_stored_text());
    contents.records().map(text).collect()
}

#[test]
fn everything_is_copied_as_it_is() {
    let (source, _) = source();
    let target = MemoryStore::new();
    let mut told = Vec::new();
    let counts =
        run(Copying::new(&source, &target, WITHIN, None).run(|done, of| told.push((done, of)))).unwrap();
    assert_eq!(contents(&source), contents(&target));
    assert_eq!(told, [(contents(&source).len(), contents(&source).len())]);
    assert_eq!(
        counts.to_string(),
        "1 ClusterInformation, 1 IPPool, 1 Node, 3 Tier, 2 affinities, 2 blocks, 3 handles"
    );
}

#[test]
fn a_target_that_holds_something_is_left_alone() {
    let (source, effects) = source();
    let target = MemoryStore::new();
    run(client(&target, &effects).create(&resource(Kind::Node, "mine", json!({})))).unwrap();
    let before = contents(&target);
    let error = run(Copying::new(&source, &target, WITHIN, None).run(|_, _| {})).unwrap_err();
    assert!(matches!(&error, CopyError::NotEmpty(_)) && error.to_string().contains("1 Node"), "{error}");
    assert_eq!(contents(&target), before);
    let error = run(Copying::new(&MemoryStore::new(), &MemoryStore::new(), WITHIN, None).run(|_, _| {}));
    assert_eq!(error.unwrap_err(), CopyError::NothingThere);
}

#[test]
fn nobody_can_be_given_a_taken_address_while_it_is_copied() {
    let (source, _) = source();
    let writes = run(Contents::read(&source, WITHIN)).unwrap().changes_from(&Contents::default());
    let at = |wanted: &str| writes.iter().rposition(|write| write.key.etcd_path().contains(wanted)).unwrap();
    let first_pool = writes.iter().position(|write| write.key.etcd_path().contains("/ippools/")).unwrap();
    assert!(at("/handle/") < at("/assignment/") && at("/assignment/") < first_pool);
    assert_eq!(at("/clusterinformations/"), writes.len() - 1);
}

#[test]
fn what_changes_meanwhile_is_carried_over() {
    let (source, _) = source();
    let target = MemoryStore::new();
    let other = source.clone();
    let count = AtomicU32::new(0);
    let hook: Hook = Arc::new(move |step| {
        let n = count.fetch_add(u32::from(step == Step::BeforeWrite(0)), Ordering::Relaxed);
        if step == Step::BeforeWrite(0) && n < 3 {
            let named = format!("late-{n}");
            other.put(
                api::Key::global(Kind::Node, named.as_str()),
                Value::Resource(resource(Kind::Node, &named, json!({}))),
            );
        }
        Box::pin(std::future::ready(()))
    });
    let slow = Faulty::new(target.clone(), FaultPlan::default()).with_hook(hook);
    run(Copying::new(&source, &slow, WITHIN, None).run(|_, _| {})).unwrap();
    assert_eq!(contents(&source), contents(&target));
    assert!(contents(&target).iter().any(|(key, _)| key.ends_with("/nodes/late-2")));
}

#[test]
fn the_copy_says_of_the_lock_what_the_source_said_before() {
    let (source, effects) = source();
    let target = MemoryStore::new();
    run(client(&source, &effects).set_ready(false)).unwrap();
    run(Copying::new(&source, &target, WITHIN, Some(true)).run(|_, _| {})).unwrap();
    assert_eq!(run(client(&target, &effects).is_ready()).unwrap(), Some(true));
    assert_eq!(run(client(&source, &effects).is_ready()).unwrap(), Some(false));
}

/// After a fault, either everything was copied, or nothing is left of the copy once it is undone.
#[test]
fn a_copy_that_fails_leaves_nothing() {
    let (source, _) = source();
    let total = contents(&source).len();
    let lost = |answered, lost, landed| CommitFault::ReplyLost { answered, lost, landed };
    let faults =
        [lost(0, total, true), lost(0, total, false), lost(total / 2, 1, true), lost(total / 2, 1, false)];
    for fault in faults {
        let target = MemoryStore::new();
        let plan = FaultPlan::one_by_one().fault(0, fault);
        run(Copying::new(&source, &Faulty::new(target.clone(), plan.clone()), WITHIN, None).run(|_, _| {}))
            .unwrap();
        assert_eq!(contents(&source), contents(&target), "{fault:?}");

        if fault == faults[0] {
            // All writes had been applied before the fault, so the copy did not fail.
            continue;
        }
        let target = MemoryStore::new();
        let store = Faulty::new(target.clone(), plan.fault(1, CommitFault::Unsent));
        let mut copying = Copying::new(&source, &store, WITHIN, None);
        let error = run(copying.run(|_, _| {})).unwrap_err();
        assert!(matches!(error, CopyError::Write(_)), "{error:?}");
        let there = contents(&target).len();
        assert_eq!(run(copying.undo()).unwrap(), there);
        assert_eq!(contents(&target), [], "{fault:?}");
    }
}

#[test]
fn what_others_write_to_the_target_stays() {
    let (source, _) = source();
    let target = MemoryStore::new();
    let other = target.clone();
    let hook: Hook = Arc::new(move |step| {
        if step == Step::BeforeWrite(5) {
            let theirs = resource(Kind::Node, "n1", json!({"addresses": []}));
            other.put(theirs.key(), Value::Resource(theirs));
        }
        Box::pin(std::future::ready(()))
    });
    let store = Faulty::new(target.clone(), FaultPlan::one_by_one()).with_hook(hook);
    let mut copying = Copying::new(&source, &store, WITHIN, None);
    let error = run(copying.run(|_, _| {})).unwrap_err();
    assert!(matches!(&error, CopyError::Refused { key, .. } if key == "Node(n1)"), "{error:?}");
    run(copying.undo()).unwrap();
    let left: Vec<_> = contents(&target).into_iter().map(|(key, _)| key).collect();
    assert_eq!(left, ["/calico/resources/v3/projectcalico.org/nodes/n1"]);
}
