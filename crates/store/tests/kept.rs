//! Compares two computations with what a store really holds: a view after this process's own writes, and two
//! batches that are appended to each other.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::{Handle, HandleId, Key, Revision, Value};
use proptest::prelude::*;
use store::{
    Batch, Depth, Expect, MemoryStore, Op, Outcome, ReadSet, Report, Scope, Slot, Store, View, Write,
};

const WITHIN: Duration = Duration::from_secs(5);

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn key(number: u8) -> Key {
    Key::Handle(HandleId::new(&format!("h{number}")).unwrap())
}

fn counted(count: u32) -> Value {
    Value::Handle(Handle {
        blocks: BTreeMap::from([("10.0.0.0/26".parse().unwrap(), count)]),
        deleted: false,
    })
}

/// A random write: the number of its record, whether it deletes, whether its expectation is wrong, and the
/// count that it stores.
type Draw = (u8, bool, bool, u32);

fn draws(keys: std::ops::Range<u8>) -> impl Strategy<Value = Vec<Draw>> {
    prop::collection::vec((keys, any::<bool>(), prop::bool::weighted(0.05), 0..100u32), 0..8)
}

/// The batch of these writes, planned on a view. Each write expects the known state of its record, or what an
/// earlier write of the batch leaves.
fn batch(draws: &[Draw], view: &View) -> Batch {
    let mut batch = Batch::new();
    let mut last: BTreeMap<Key, (usize, bool)> = BTreeMap::new();
    for (number, deletes, is_wrong, count) in draws {
        let key = key(*number);
        let known = view.get(&key).and_then(|slot| slot.revision().cloned());
        let (expect, exists) = match (last.get(&key), known) {
            (Some((index, exists)), _) => (Expect::AsLeftBy(*index), *exists),
            (None, Some(revision)) => (Expect::Revision(revision), true),
            (None, None) => (Expect::Absent, false),
        };
        let expect = if *is_wrong { Expect::Revision(Revision::from(1_000_000)) } else { expect };
        let (op, is_left) = match *deletes && exists {
            true => (Op::Delete, false),
            false => (Op::Put(Arc::new(counted(*count))), true),
        };
        let index = batch.push(Write { key: key.clone(), expect, op });
        last.insert(key, (index, is_left));
    }
    batch
}

async fn read(store: &MemoryStore) -> View {
    store.read(&ReadSet::new().scope(Scope::Handles, Depth::Full), WITHIN).await.unwrap()
}

fn known(view: &View) -> Vec<(Key, Slot)> {
    let slots = view.slots(&Scope::Handles).filter(|(_, slot)| **slot != Slot::Absent);
    slots.map(|(key, slot)| (key.clone(), slot.clone())).collect()
}

async fn applied(store: &MemoryStore, batch: &Batch) -> Report {
    store.commit(batch, WITHIN).await.unwrap()
}

/// A store with a few records.
async fn some_store(numbers: &[u8]) -> MemoryStore {
    let store = MemoryStore::new();
    numbers.iter().for_each(|number| store.put(key(*number), counted(1)));
    store
}

proptest! {
    /// After each of many batches, applied in full or in part, the view after the batch equals a read.
    #[test]
    fn a_view_after_a_batch_equals_a_read(start in prop::collection::vec(0..6u8, 0..6), batches in prop::collection::vec(draws(0..6), 1..8)) {
        block_on(async {
            let store = some_store(&start).await;
            let mut view = read(&store).await;
            for draws in batches {
                let batch = batch(&draws, &view);
                let report = applied(&store, &batch).await;
                view = view.after(&batch, &report);
                prop_assert_eq!(known(&view), known(&read(&store).await), "{:?}\n{:?}", batch, report);
            }
            Ok(())
        })?;
    }

    /// The second batch is planned on the view that the first would leave. Appended to each other, the two
    /// leave the same records and get the same reports as one after the other. If the first is refused, the
    /// second is not tried.
    #[test]
    fn a_batch_appended_equals_one_after_the_other(
        start in prop::collection::vec(0..6u8, 0..6),
        first in draws(0..6),
        second in draws(0..6),
        shared in prop::collection::btree_set(0..6u8, 0..3),
        own in prop::collection::btree_set(0..6u8, 0..3),
    ) {
        block_on(async {
            let (apart, together) = (some_store(&start).await, some_store(&start).await);
            let view = read(&apart).await;
            let guarded = |draws: &[Draw], view: &View, guards: &mut dyn Iterator<Item = &u8>| {
                let mut batch = batch(draws, view);
                for number in guards {
                    let revision = view.get(&key(*number)).and_then(|slot| slot.revision().cloned());
                    batch.guard(key(*number), revision);
                }
                batch
            };
            let one = guarded(&first, &view, &mut shared.iter());
            let mut both = one.clone();
            let other = guarded(&second, &view.once_applied(&one), &mut shared.union(&own));
            prop_assert_eq!(both.append(other.clone()), one.writes.len());
            let written = |number: &&u8| one.writes.iter().any(|write| write.key == key(**number));
            let guards = shared.len() + own.difference(&shared).filter(|number| !written(number)).count();
            prop_assert_eq!(both.guards.len(), guards, "{:?}\n{:?}", one, other);

            let told = applied(&apart, &one).await;
            let later = match told.is_applied() {
                true => {
                    let view = view.after(&one, &told);
                    let other = guarded(&second, &view, &mut shared.union(&own));
                    applied(&apart, &other).await
                }
                false => Report { outcomes: vec![Outcome::NotTried; other.writes.len()], broken_guard: None },
            };
            let report = applied(&together, &both).await;
            prop_assert_eq!(report.split_at(one.writes.len()), (told, later));
            prop_assert_eq!(together.records(), apart.records());
            Ok(())
        })?;
    }
}

#[test]
fn an_index_of_no_write_names_none_afterwards() {
    let mut one = Batch::new();
    one.put(key(0), Expect::Absent, counted(1));
    let mut other = Batch::new();
    other.put(key(1), Expect::AsLeftBy(usize::MAX), counted(1));
    assert_eq!(one.append(other), 1);
    assert_eq!(one.writes[1].expect, Expect::AsLeftBy(usize::MAX));
}
