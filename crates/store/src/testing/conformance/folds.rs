//! Kept views: watches folded into them, the process's own writes, and the order of revisions on which both
//! depend.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use api::{AffinityState, Key, Kind, Revision};
use fastrand::Rng;

use super::Backend;
use super::fixture::*;
use crate::batch::{Batch, Expect, Op, Outcome, Write};
use crate::port::{Store, Watch};
use crate::read::{Depth, ReadSet, Scope};
use crate::view::{Slot, View};
use crate::watch::Event;

/// The number of batches in a random run, and how many of them lie between two comparisons of the folded view
/// with a read.
const BATCHES: usize = 48;
const COMPARED_EACH: usize = 6;

/// Of two revisions of records of one type, the later one compares as later; so does the revision of a later
/// read. A text that is no revision of the store has no order.
pub async fn revisions_have_an_order<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    let mut last: Option<Revision> = None;
    // More digits than the first revision has.
    for count in 0..30 {
        let key = handle(if count % 3 == 0 { "a" } else { "b" });
        let revision = set(&store, &key, counted(count)).await;
        if let Some(last) = &last {
            assert_eq!(revision.compare(last), Some(Ordering::Greater), "{revision} after {last}");
            assert_eq!(last.compare(&revision), Some(Ordering::Less));
        }
        assert_eq!(revision.compare(&revision.clone()), Some(Ordering::Equal));
        last = Some(revision);
    }
    let last = last.unwrap();
    let view = scope(&store, Scope::Handles).await;
    let at = view.read_at(&Scope::Handles).expect("a scope is read at a revision");
    assert!(matches!(at.compare(&last), Some(Ordering::Greater | Ordering::Equal)), "{at} for {last}");
    delete(&store, &handle("a")).await;
    let created = create(&store, &handle("a"), counted(1)).await;
    assert_eq!(created.compare(at), Some(Ordering::Greater), "{created} after {at}");
    for none in ["", "x", "07", "-1", "1 ", "1.0"] {
        assert_eq!(created.compare(&Revision::new(none)), None, "{none:?}");
    }
}

fn scopes() -> [Scope; 4] {
    [
        Scope::Handles,
        Scope::Blocks { family: None },
        Scope::Affinities { owner: Some(host("node1")), family: None },
        Scope::Affinities { owner: None, family: None },
    ]
}

/// What a view knows of the records of a scope.
fn known<'v>(view: &'v View, scope: &Scope) -> BTreeMap<&'v Key, &'v Slot> {
    view.slots(scope).filter(|(_, slot)| **slot != Slot::Absent).collect()
}

/// A view of a store that is kept up to date, and the watches that tell it of changes.
struct Kept<S: Store> {
    view: View,
    watches: Vec<(Scope, S::Watch)>,
}

impl<S: Store> Kept<S> {
    /// Begins a new watch of each of these scopes.
    async fn watch(&mut self, store: &S, scopes: impl IntoIterator<Item = Scope>) {
        self.watches.clear();
        for scope in scopes {
            let watch = store.watch(scope.clone()).await.unwrap();
            self.watches.push((scope, watch));
        }
    }

    /// Folds events until the view equals a read. Checks that no event takes a record back to an earlier
    /// state.
    async fn follow(&mut self, store: &S, what: &str) {
        for (scope, watch) in &mut self.watches {
            let fresh = super::fixture::scope(store, scope.clone()).await;
            let told = async {
                while !self.view.is_complete(scope, Depth::Full)
                    || known(&self.view, scope) != known(&fresh, scope)
                {
                    let event = watch.next().await.unwrap();
                    let before = event.key().and_then(|key| self.view.get(key));
                    self.view.fold(scope, &event);
                    if let (Some(before), Some(after)) =
                        (before, event.key().and_then(|key| self.view.get(key)))
                        && let (Some(before), Some(after)) = (before.revision(), after.revision())
                    {
                        assert_ne!(after.compare(before), Some(Ordering::Less), "{what}: {event:?}");
                    }
                }
            };
            let in_time = tokio::time::timeout(WITHIN, told).await.is_ok();
            assert!(in_time, "{what}: {:#?}\nis not\n{:#?}", known(&self.view, scope), known(&fresh, scope));
        }
        let read =
            self.watches.iter().fold(ReadSet::new(), |set, (scope, _)| set.scope(scope.clone(), Depth::Full));
        let faults = store.read(&read, WITHIN).await.unwrap().faults();
        assert_eq!(self.view.faults(), faults, "{what}");
    }
}

fn some_key(rng: &mut Rng) -> Key {
    let net = ["10.0.0.0/26", "10.0.0.64/26", "fd00::/122"][rng.usize(..3)];
    match rng.u8(..4) {
        0 | 1 => handle(["a", "b", "c", "bad", "worse"][rng.usize(..5)]),
        2 => block(net),
        _ => affinity(&host(["node1", "node2"][rng.usize(..2)]), net),
    }
}

fn some_value(rng: &mut Rng, key: &Key) -> api::Value {
    match key {
        Key::Block(cidr) => block_value(&cidr.to_string(), &host("node1"), rng.u64(1..1000)),
        Key::Affinity { .. } => in_state([AffinityState::Pending, AffinityState::Confirmed][rng.usize(..2)]),
        _ => counted(rng.u32(1..1000)),
    }
}

/// A batch of writes of a few records, based on what the view knows of them; some records are written twice
/// in a row.
fn some_batch(rng: &mut Rng, view: &View) -> Batch {
    let mut batch = Batch::new();
    for _ in 0..rng.usize(1..4) {
        let key = some_key(rng);
        if batch.writes.iter().any(|write| write.key == key) {
            continue;
        }
        let slot = view.get(&key).unwrap_or(Slot::Absent);
        let expect = slot.revision().map_or(Expect::Absent, |revision| Expect::Revision(revision.clone()));
        // Not every backend can delete a record that cannot be read, so only whole records are deleted.
        let left = if matches!(slot, Slot::Full(_)) && rng.u8(..3) == 0 {
            batch.push(Write { key: key.clone(), expect, op: Op::Delete })
        } else {
            batch.put(key.clone(), expect, some_value(rng, &key))
        };
        if rng.u8(..3) == 0 {
            batch.put(key.clone(), Expect::AsLeftBy(left), some_value(rng, &key));
        }
    }
    batch
}

/// Stores values that cannot be parsed, where the backend takes them, and something that is no record.
async fn put_bad_values<B: Backend>(backend: &B, store: &B::Store) {
    for path in [handle("bad").etcd_path(), handle("worse").etcd_path()] {
        backend.put_text(store, &path, "nonsense").await;
    }
    let stray = format!("{}nonsense", Scope::Blocks { family: Some(api::Family::V4) }.prefixes()[0]);
    backend.put_text(store, &stray, "nonsense").await;
}

/// After random batches, a view into which several watches were folded equals a read. The view is also right
/// after each of the process's own batches before a watch tells of it, and no late event takes the batch
/// back.
pub async fn a_folded_watch_equals_a_read<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    let seed = 7;
    let mut rng = Rng::with_seed(seed);
    let mut kept = Kept { view: View::new(), watches: Vec::new() };
    create(&store, &handle("a"), counted(1)).await;
    put_bad_values(backend, &store).await;
    kept.watch(&store, scopes()).await;
    let (mut own, mut applied) = (0, 0);
    for number in 0..BATCHES {
        let what = format!("seed {seed}, batch {number}");
        if number % COMPARED_EACH == 0 {
            kept.follow(&store, &what).await;
        }
        let batch = some_batch(&mut rng, &kept.view);
        let report = commit(&store, &batch).await;
        applied += report.outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Applied(_))).count();
        if rng.bool() {
            continue;
        }
        own += 1;
        kept.view = kept.view.after(&batch, &report);
        if report.is_applied() {
            let set = ReadSet::new().keys(batch.writes.iter().map(|write| write.key.clone()));
            let fresh = store.read(&set, WITHIN).await.unwrap();
            for write in &batch.writes {
                assert_eq!(kept.view.get(&write.key), fresh.get(&write.key), "{what}: {report:?}");
            }
        }
    }
    kept.follow(&store, &format!("seed {seed}, at the end")).await;
    assert!(own > BATCHES / 4 && applied > BATCHES / 2, "{own} own batches, {applied} writes applied");
}

/// As above, for resources, to which a backend may add fields of its own: the view then holds what the watch
/// tells.
pub async fn a_folded_watch_of_resources_equals_a_read<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    let mut kept = Kept { view: View::new(), watches: Vec::new() };
    let pools = ["one", "two", "three"].map(|name| Key::global(Kind::IPPool, name));
    create(&store, &pools[0], resource(&pools[0])).await;
    kept.watch(&store, [Scope::kind(Kind::IPPool)]).await;
    kept.follow(&store, "at first").await;
    let mut batch = Batch::new();
    batch.put(pools[1].clone(), Expect::Absent, resource(&pools[1]));
    batch.put(pools[2].clone(), Expect::Absent, resource(&pools[2]));
    let report = commit(&store, &batch).await;
    kept.view = kept.view.after(&batch, &report);
    let known = kept.view.get(&pools[2]).unwrap();
    assert_eq!(known.revision(), Some(&applied(&report.outcomes[1])));
    kept.follow(&store, "after one's own").await;
    delete(&store, &pools[0]).await;
    kept.follow(&store, "after another's").await;
    assert_eq!(kept.view.get(&pools[0]), Some(Slot::Absent));
}

/// A watch that starts anew also tells what appeared and disappeared while no watch ran.
pub async fn a_watch_that_starts_anew_replaces_what_was_known<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    let mut kept = Kept { view: View::new(), watches: Vec::new() };
    for name in ["gone", "changed", "left"] {
        create(&store, &handle(name), counted(1)).await;
    }
    create(&store, &block("10.0.0.0/26"), block_value("10.0.0.0/26", &host("node1"), 1)).await;
    kept.watch(&store, scopes()).await;
    kept.follow(&store, "at first").await;
    kept.watches.clear();
    delete(&store, &handle("gone")).await;
    delete(&store, &block("10.0.0.0/26")).await;
    set(&store, &handle("changed"), counted(2)).await;
    create(&store, &handle("new"), counted(1)).await;
    kept.watch(&store, scopes()).await;
    kept.follow(&store, "anew").await;
    assert_eq!(kept.view.get(&handle("gone")), Some(Slot::Absent));
    assert_eq!(kept.view.get(&block("10.0.0.0/26")), Some(Slot::Absent));
}

/// Until a present state has arrived completely, the view holds what it knew before; after that, nothing of
/// it.
pub async fn the_old_stands_until_the_new_is_told<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    create(&store, &handle("gone"), counted(1)).await;
    create(&store, &handle("left"), counted(1)).await;
    let mut view = scope(&store, Scope::Handles).await;
    delete(&store, &handle("gone")).await;
    set(&store, &handle("left"), counted(2)).await;
    create(&store, &handle("new"), counted(1)).await;
    let mut watch = store.watch(Scope::Handles).await.unwrap();
    loop {
        let event = tokio::time::timeout(WITHIN, watch.next()).await.unwrap().unwrap();
        view.fold(&Scope::Handles, &event);
        if matches!(event, Event::InitDone(_)) {
            break;
        }
        assert_eq!(keys(&view, &Scope::Handles), [handle("gone"), handle("left")], "after {event:?}");
        assert_eq!(view.full(&handle("left")).unwrap().unwrap().value, counted(1));
    }
    assert_eq!(known(&view, &Scope::Handles), known(&scope(&store, Scope::Handles).await, &Scope::Handles));
}
