//! Guards of scopes.

use api::{Kind, Revision};

use super::Backend;
use super::fixture::*;
use crate::batch::{Batch, Expect, Outcome};
use crate::port::Store;
use crate::read::{Depth, ReadSet, Scope};

/// More records than one transaction of etcd can compare.
const MANY: usize = 1_000;

/// A batch whose write is applied only while nothing of the scope has changed since a revision.
fn guarded(name: &str, scope: &Scope, since: &Revision) -> Batch {
    let mut batch = Batch::new();
    batch.put(handle(name), Expect::Absent, counted(1));
    batch.guard_scope(scope.clone(), since.clone());
    batch
}

async fn read_at<S: Store>(store: &S, scope: &Scope) -> Revision {
    let view = store.read(&ReadSet::new().scope(scope.clone(), Depth::Key), WITHIN).await.unwrap();
    view.read_at(scope).expect("a store that honours guards has revisions").clone()
}

/// Whether the guard holds. Where it does not, checks that nothing was written and that the report names the
/// guard.
async fn passes<S: Store>(store: &S, batch: &Batch) -> bool {
    let report = commit(store, batch).await;
    if report.broken_guard.is_some() {
        assert_eq!((report.broken_guard, &report.outcomes[0]), (Some(0), &Outcome::NotTried));
        assert_eq!(find(store, &batch.writes[0].key).await, None);
        return false;
    }
    assert!(report.is_applied(), "{report:?}");
    true
}

/// A scope takes one comparison, however many records it has. A change or an addition breaks the guard; a
/// deletion does not.
pub async fn a_large_scope_is_guarded_at_once<B: Backend>(backend: &B) {
    if !backend.promises().guards {
        return;
    }
    let store = backend.fresh().await;
    let pools = Scope::kind(Kind::IPReservation);
    let key = |index: usize| api::Key::global(Kind::IPReservation, format!("r{index:04}"));
    let mut batch = Batch::new();
    for index in 0..MANY {
        batch.put(key(index), Expect::Absent, resource(&key(index)));
    }
    assert!(commit(&store, &batch).await.is_applied());

    let seen = read_at(&store, &pools).await;
    let batch = guarded("none-changed", &pools, &seen);
    assert_eq!((batch.comparisons(), batch.transactions(2).len()), (1, 1));
    assert!(passes(&store, &batch).await);
    assert!(passes(&store, &guarded("others-changed", &pools, &seen)).await);

    set(&store, &key(MANY / 2), resource(&key(MANY / 2))).await;
    if backend.promises().touch {
        assert!(!passes(&store, &guarded("one-changed", &pools, &seen)).await);
    }
    let seen = read_at(&store, &pools).await;
    assert!(passes(&store, &guarded("seen", &pools, &seen)).await);
    create(&store, &key(MANY), resource(&key(MANY))).await;
    assert!(!passes(&store, &guarded("one-added", &pools, &seen)).await);

    let seen = read_at(&store, &pools).await;
    delete(&store, &key(1)).await;
    assert!(passes(&store, &guarded("one-deleted", &pools, &seen)).await);
    create(&store, &key(1), resource(&key(1))).await;
    assert!(!passes(&store, &guarded("one-anew", &pools, &seen)).await);
}

/// An empty scope can be guarded. Changes outside of a scope do not break its guard, also where the scope's
/// records have several prefixes.
pub async fn guarded_scopes_are_apart<B: Backend>(backend: &B) {
    if !backend.promises().guards {
        return;
    }
    let store = backend.fresh().await;
    let (blocks, affinities) =
        (Scope::Blocks { family: None }, Scope::Affinities { owner: None, family: None });
    let (no_blocks, no_affinities) = (read_at(&store, &blocks).await, read_at(&store, &affinities).await);
    assert!(passes(&store, &guarded("a", &blocks, &no_blocks)).await);
    assert!(passes(&store, &guarded("b", &affinities, &no_affinities)).await);
    let owners = [host("node1"), api::Owner::Virtual("load-balancer".to_string())];
    for (name, owner) in ["c", "d"].into_iter().zip(owners) {
        let seen = read_at(&store, &affinities).await;
        create(&store, &affinity(&owner, "10.0.0.0/26"), in_state(api::AffinityState::Confirmed)).await;
        assert!(!passes(&store, &guarded(name, &affinities, &seen)).await, "{owner:?}");
        assert!(passes(&store, &guarded(&format!("{name}-blocks"), &blocks, &no_blocks)).await);
    }
    // A text that is no revision of this store breaks the guard of every scope, even of an empty one.
    for foreign in ["", "x", "-1"] {
        for scope in [&affinities, &blocks] {
            assert!(!passes(&store, &guarded("foreign", scope, &Revision::new(foreign))).await, "{foreign}");
        }
    }
}
