//! Batches: chains of writes, prefixes, guards, and many writes.

use api::{AffinityState, Revision};

use super::Backend;
use super::fixture::*;
use crate::batch::{Batch, Expect, Outcome};
use crate::port::Store;
use crate::read::Scope;

/// An empty batch is applied.
pub async fn an_empty_batch_is_applied<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    let report = commit(&store, &Batch::new()).await;
    assert!(report.is_applied());
    assert_eq!(report.outcomes, []);
}

/// Several puts of one key, each expecting the state after the one before: the last value is stored, at the
/// revision that the report gives for it.
pub async fn a_chain_of_puts_leaves_the_last<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    let mut batch = Batch::new();
    let mut left = batch.put(handle("a"), Expect::Absent, counted(1));
    batch.put(handle("b"), Expect::Absent, counted(1));
    for count in 2..=4 {
        left = batch.put(handle("a"), Expect::AsLeftBy(left), counted(count));
    }
    let report = commit(&store, &batch).await;
    assert!(report.is_applied(), "{report:?}");
    let record = find(&store, &handle("a")).await.unwrap();
    assert_eq!((&record.value, &record.revision), (&counted(4), &applied(&report.outcomes[left])));
    let next = put(&store, &handle("a"), Expect::Revision(applied(&report.outcomes[left])), counted(5)).await;
    applied(&next);
}

/// A chain that begins with an update is refused when that update is.
pub async fn a_chain_begins_at_a_revision<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    let first = create(&store, &handle("a"), counted(1)).await;
    let mut batch = Batch::new();
    let left = batch.put(handle("a"), Expect::Revision(first), counted(2));
    batch.put(handle("a"), Expect::AsLeftBy(left), counted(3));
    assert!(commit(&store, &batch).await.is_applied());
    let report = commit(&store, &batch).await;
    assert!(matches!(report.outcomes[..], [Outcome::Refused(_), Outcome::NotTried]), "{report:?}");
    assert_eq!(find(&store, &handle("a")).await.unwrap().value, counted(3));
}

/// A delete and a create of one key are not folded: the record is a new one.
pub async fn a_deleted_record_is_created_again_in_one_batch<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    let first = create(&store, &handle("a"), counted(1)).await;
    let mut batch = Batch::new();
    let deleted = batch.delete(handle("a"), Expect::Revision(first.clone()));
    let created = batch.put(handle("a"), Expect::AsLeftBy(deleted), counted(2));
    batch.put(handle("a"), Expect::AsLeftBy(created), counted(3));
    let report = commit(&store, &batch).await;
    assert!(report.is_applied(), "{report:?}");
    let record = find(&store, &handle("a")).await.unwrap();
    assert_eq!(record.value, counted(3));
    assert_ne!(record.revision, first);
    assert_eq!(record.revision, applied(&report.outcomes[2]));
}

/// A create and a delete of one key in one batch leave no record.
pub async fn a_created_record_is_deleted_in_one_batch<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    let mut batch = Batch::new();
    let created = batch.put(handle("a"), Expect::Absent, counted(1));
    let changed = batch.put(handle("a"), Expect::AsLeftBy(created), counted(2));
    batch.put(handle("b"), Expect::Absent, counted(1));
    batch.delete(handle("a"), Expect::AsLeftBy(changed));
    let report = commit(&store, &batch).await;
    assert!(report.is_applied(), "{report:?}");
    assert_eq!(find(&store, &handle("a")).await, None);
    assert!(find(&store, &handle("b")).await.is_some());
}

/// A write that expects the state after a refused write is not tried.
pub async fn a_broken_chain_is_refused<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    create(&store, &handle("a"), counted(1)).await;
    let mut batch = Batch::new();
    let left = batch.put(handle("a"), Expect::Absent, counted(2));
    let left = batch.put(handle("a"), Expect::AsLeftBy(left), counted(3));
    batch.delete(handle("a"), Expect::AsLeftBy(left));
    let report = commit(&store, &batch).await;
    assert!(matches!(report.outcomes[0], Outcome::Refused(_)), "{report:?}");
    assert_eq!(report.outcomes[1..], [Outcome::NotTried, Outcome::NotTried]);
    assert_eq!(find(&store, &handle("a")).await.unwrap().value, counted(1));
}

fn creates(names: impl IntoIterator<Item = String>) -> Batch {
    let mut batch = Batch::new();
    for name in names {
        batch.put(handle(&name), Expect::Absent, counted(2));
    }
    batch
}

/// The writes that a batch with a refused write applies are a prefix that ends before the refused write;
/// within a transaction, none.
pub async fn a_refused_write_stops_the_batch<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    create(&store, &handle("c"), counted(1)).await;
    let batch = creates(["a", "b", "c", "d"].map(String::from));
    let report = commit(&store, &batch).await;
    check_prefix(&store, &batch, &report, 2).await;
    if backend.promises().transactions {
        assert_eq!(report.outcomes[..2], [Outcome::NotTried, Outcome::NotTried]);
    }
}

/// A prefix is applied, too, when the refused write comes after a delete and a create of one key, where
/// transactions are cut.
pub async fn a_refusal_behind_a_cut_leaves_a_prefix<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    let first = create(&store, &handle("a"), counted(1)).await;
    create(&store, &handle("taken"), counted(1)).await;
    let mut batch = Batch::new();
    let deleted = batch.delete(handle("a"), Expect::Revision(first));
    batch.put(handle("b"), Expect::Absent, counted(2));
    batch.put(handle("a"), Expect::AsLeftBy(deleted), counted(2));
    batch.put(handle("taken"), Expect::Absent, counted(2));
    batch.put(handle("c"), Expect::Absent, counted(2));
    let report = commit(&store, &batch).await;
    let stored = |name: &'static str| {
        let store = &store;
        async move { find(store, &handle(name)).await.map(|record| record.value.clone()) }
    };
    assert!(matches!(report.outcomes[0], Outcome::Applied(_)), "{report:?}");
    assert!(matches!(report.outcomes[1], Outcome::Applied(_)), "{report:?}");
    assert_eq!(stored("b").await, Some(counted(2)));
    match report.outcomes[2] {
        Outcome::Applied(_) => assert_eq!(stored("a").await, Some(counted(2))),
        _ => assert_eq!(stored("a").await, None),
    }
    assert!(matches!(report.outcomes[3], Outcome::Refused(_)), "{report:?}");
    assert_eq!(report.outcomes[4], Outcome::NotTried);
    assert_eq!((stored("taken").await, stored("c").await), (Some(counted(1)), None));
}

/// When the first write is refused, nothing is applied, in every backend.
pub async fn a_first_write_that_is_refused_leaves_everything<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    create(&store, &handle("a"), counted(1)).await;
    let batch = creates(["a", "b", "c"].map(String::from));
    let report = commit(&store, &batch).await;
    check_prefix(&store, &batch, &report, 0).await;
    assert_eq!(report.refusal().map(|(at, _)| at), Some(0));
}

/// Guards of a present and of an absent record that hold do not stop the batch.
pub async fn guards_that_hold_let_pass<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    let revision = create(&store, &handle("guarded"), counted(1)).await;
    let mut batch = creates(["a".to_string()]);
    batch.guard(handle("guarded"), Some(revision));
    batch.guard(handle("absent"), None);
    assert!(commit(&store, &batch).await.is_applied());
}

/// Where guards are honoured, a guard that does not hold stops the batch: nothing is written, and the report
/// names the guard.
pub async fn a_broken_guard_stops_everything<B: Backend>(backend: &B) {
    if !backend.promises().guards {
        return;
    }
    let store = backend.fresh().await;
    let old = create(&store, &handle("guarded"), counted(1)).await;
    let now = set(&store, &handle("guarded"), counted(2)).await;
    let guards: [(&str, Option<Revision>); 3] =
        [("guarded", Some(old)), ("guarded", None), ("absent", Some(now.clone()))];
    for (name, revision) in guards {
        let mut batch = creates(["a", "b"].map(String::from));
        batch.guard(handle("guarded"), Some(now.clone()));
        batch.guard(handle(name), revision);
        let report = commit(&store, &batch).await;
        assert_eq!(report.broken_guard, Some(1));
        assert!(!report.is_applied());
        assert_eq!(report.outcomes, [Outcome::NotTried, Outcome::NotTried]);
        assert_eq!(find(&store, &handle("a")).await, None);
    }
}

/// A guarded record is looked at again before the write for which the batch demands that. Where the batch is
/// applied in one go, the record was compared already.
pub async fn a_guarded_record_is_looked_at_again<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    let revision = create(&store, &handle("guarded"), counted(1)).await;
    let with_look = |names: [&str; 2]| {
        let mut batch = creates(names.map(String::from));
        batch.guard(handle("guarded"), Some(revision.clone()));
        batch
    };
    let mut batch = with_look(["a", "b"]);
    batch.look_again(&handle("guarded"), 1);
    assert!(commit(&store, &batch).await.is_applied());

    let mut batch = with_look(["c", "d"]);
    batch.put(handle("guarded"), Expect::at(&revision), counted(2));
    let last = batch.put(handle("e"), Expect::Absent, counted(1));
    batch.look_again(&handle("guarded"), last);
    let report = commit(&store, &batch).await;
    if backend.promises().transactions {
        assert!(report.is_applied(), "{report:?}");
        return;
    }
    assert_eq!((report.broken_guard, report.is_applied()), (Some(0), false));
    assert!(matches!(report.outcomes[2], Outcome::Applied(_)), "{report:?}");
    assert_eq!(report.outcomes[last], Outcome::NotTried);
    assert_eq!(find(&store, &handle("e")).await, None);
}

/// A claim as the allocator writes it: affinity pending, block, affinity confirmed.
pub async fn a_claim_is_one_batch<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    let (owner, net) = (host("node1"), "10.0.0.0/26");
    let mut batch = Batch::new();
    let pending = batch.put(affinity(&owner, net), Expect::Absent, in_state(AffinityState::Pending));
    let claimed = batch.put(block(net), Expect::Absent, block_value(net, &owner, 1));
    batch.put(handle("h"), Expect::Absent, counted(1));
    batch.put(block(net), Expect::AsLeftBy(claimed), block_value(net, &owner, 2));
    batch.put(affinity(&owner, net), Expect::AsLeftBy(pending), in_state(AffinityState::Confirmed));
    let report = commit(&store, &batch).await;
    assert!(report.is_applied(), "{report:?}");
    let record = find(&store, &affinity(&owner, net)).await.unwrap();
    assert_eq!(record.value, in_state(AffinityState::Confirmed));
    assert_eq!(find(&store, &block(net)).await.unwrap().value, block_value(net, &owner, 2));
}

/// For every sequence of writes of one key, one batch leaves the same state as write by write.
pub async fn folding_equals_one_by_one<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    // P is a put, D a delete. Each expects the state after the one before, and the first put expects no
    // record.
    for (round, steps) in ["P", "PP", "PD", "PDP", "PPDPP", "PDPD", "PPPPDPPPD"].iter().enumerate() {
        let (whole, single) = (handle(&format!("whole-{round}")), handle(&format!("single-{round}")));
        let mut batch = Batch::new();
        let mut left = None;
        for (count, step) in steps.chars().enumerate() {
            let expect = left.map_or(Expect::Absent, Expect::AsLeftBy);
            left = Some(match step {
                'P' => batch.put(whole.clone(), expect, counted(count as u32)),
                _ => batch.delete(whole.clone(), expect),
            });
            match step {
                'P' => {
                    set(&store, &single, counted(count as u32)).await;
                }
                _ => delete(&store, &single).await,
            }
        }
        let report = commit(&store, &batch).await;
        assert!(report.is_applied(), "{steps}: {report:?}");
        let value = |record: std::sync::Arc<api::Record>| record.value.clone();
        let (whole, single) = (find(&store, &whole).await, find(&store, &single).await);
        assert_eq!(whole.map(value), single.map(value), "{steps}");
    }
}

const LARGE: usize = 300;

async fn stored_count<S: Store>(store: &S) -> usize {
    keys(&scope(store, Scope::Handles).await, &Scope::Handles).len()
}

/// A batch with more writes than an etcd transaction may have is applied in order.
pub async fn large_batches_are_applied_in_order<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    let mut batch = creates((0..LARGE).map(|i| format!("h{i:03}")));
    // Then each record again, expecting the state after a write far before.
    for index in 0..LARGE {
        batch.put(handle(&format!("h{index:03}")), Expect::AsLeftBy(index), counted(7));
    }
    let report = commit(&store, &batch).await;
    assert!(report.is_applied(), "{:?}", report.refusal());
    assert_eq!(stored_count(&store).await, LARGE);
    for name in ["h000", "h127", "h128", "h299"] {
        assert_eq!(find(&store, &handle(name)).await.unwrap().value, counted(7));
    }
    let mut batch = Batch::new();
    for (key, slot) in scope(&store, Scope::Handles).await.slots(&Scope::Handles) {
        batch.delete(key.clone(), Expect::Revision(slot.revision().unwrap().clone()));
    }
    assert!(commit(&store, &batch).await.is_applied());
    assert_eq!(stored_count(&store).await, 0);
}

/// A refusal far behind in a large batch leaves a prefix.
pub async fn a_refusal_in_a_large_batch_leaves_a_prefix<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    create(&store, &handle("h200"), counted(1)).await;
    let batch = creates((0..LARGE).map(|i| format!("h{i:03}")));
    let report = commit(&store, &batch).await;
    check_prefix(&store, &batch, &report, 200).await;
}
