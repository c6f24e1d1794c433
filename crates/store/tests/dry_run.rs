//! A dry run shows what a store would hold, and leaves the store as it is.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use std::collections::BTreeMap;
use std::time::Duration;

use api::{Handle, HandleId, Key, Value};
use proptest::prelude::*;
use store::{Batch, Depth, DryRun, Effect, Expect, MemoryStore, ReadSet, Scope, Slot, Store, View};

const WITHIN: Duration = Duration::from_secs(5);

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn key(number: u8) -> Key {
    Key::Handle(HandleId::new(&format!("h{number}")).unwrap())
}

fn counted(count: u32) -> Value {
    let blocks = BTreeMap::from([("10.0.0.0/26".parse().unwrap(), count)]);
    Value::Handle(Handle { blocks, deleted: false })
}

fn values(view: &View) -> BTreeMap<Key, Value> {
    let slots = view.slots(&Scope::Handles);
    slots.filter_map(|(key, slot)| Some((key.clone(), slot.record()?.value.clone()))).collect()
}

async fn all(store: &impl Store) -> View {
    store.read(&ReadSet::new().scope(Scope::Handles, Depth::Full), WITHIN).await.unwrap()
}

/// A batch that puts or deletes these records, planned on a view. Gives the batch, and what becomes of it.
fn batch(draws: &[(u8, Option<u32>)], view: &View) -> Batch {
    let mut batch = Batch::new();
    let mut last: BTreeMap<u8, (usize, bool)> = BTreeMap::new();
    for (number, count) in draws {
        let known = view.get(&key(*number)).and_then(|slot| slot.revision().cloned());
        let (expect, exists) = match (last.get(number), known) {
            (Some((index, exists)), _) => (Expect::AsLeftBy(*index), *exists),
            (None, Some(revision)) => (Expect::Revision(revision), true),
            (None, None) => (Expect::Absent, false),
        };
        let index = match count {
            Some(count) => batch.put(key(*number), expect, counted(*count)),
            None if exists => batch.delete(key(*number), expect),
            None => continue,
        };
        last.insert(*number, (index, count.is_some()));
    }
    batch
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn what_it_shows_is_what_would_be(
        before in prop::collection::vec((0..6u8, any::<u32>()), 0..6),
        batches in prop::collection::vec(prop::collection::vec((0..6u8, any::<Option<u32>>()), 0..6), 1..4),
    ) {
        block_on(async {
            let (dry_under, real) = (MemoryStore::new(), MemoryStore::new());
            for (number, count) in &before {
                dry_under.put(key(*number), counted(*count));
                real.put(key(*number), counted(*count));
            }
            let untouched = dry_under.records();
            let dry = DryRun::over(&dry_under);
            for draws in &batches {
                let plan = batch(draws, &all(&dry).await);
                assert!(dry.commit(&plan, WITHIN).await.unwrap().is_applied());
                let plan = batch(draws, &all(&real).await);
                assert!(real.commit(&plan, WITHIN).await.unwrap().is_applied());
            }
            let (shown, held) = (all(&dry).await, all(&real).await);
            assert_eq!(values(&shown), values(&held));
            for number in 0..6 {
                let by_key = dry.read(&ReadSet::new().key(key(number)), WITHIN).await.unwrap();
                let slot = by_key.get(&key(number)).unwrap();
                assert_eq!(slot.record().map(|r| r.value.clone()), values(&held).remove(&key(number)));
            }
            assert_eq!(dry_under.records(), untouched, "nothing is written underneath");
            let was_there = |key: &Key| untouched.iter().any(|record| record.key == *key);
            for foreseen in dry.foreseen() {
                let is_there = values(&held).contains_key(&foreseen.key);
                let wanted = match (was_there(&foreseen.key), is_there) {
                    (false, _) => Effect::Created,
                    (true, true) => Effect::Changed,
                    (true, false) => Effect::Deleted,
                };
                assert_eq!((foreseen.effect, is_there || wanted == Effect::Deleted), (wanted, true));
            }
            let changed: Vec<Key> = dry.foreseen().into_iter().map(|foreseen| foreseen.key).collect();
            for number in 0..6 {
                let differs = values(&held).get(&key(number))
                    != untouched.iter().find(|record| record.key == key(number)).map(|record| &record.value);
                assert!(!differs || changed.contains(&key(number)), "{number} is not foreseen");
            }
            assert!(!matches!(shown.get(&key(9)), Some(Slot::Full(_))));
        });
    }
}
