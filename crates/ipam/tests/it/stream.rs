//! A store's records are checked page by page, as they are listed.

use api::{AffinityState, DecodeError, Key, Kind};
use ipam::invariants::{Moment, Snapshot, Violation, check_at_rest};
use store::{Depth, MemoryStore, Page, ReadSet, Scope, Slot, Store};

use crate::world::*;

/// What is told of a store that is read in pages of a few records, one kind after the other.
fn stream(store: &MemoryStore, scopes: &[Scope]) -> Vec<Violation> {
    let (mut told, mut snapshot) = (Vec::new(), Snapshot::new(Moment::AtRest, None));
    let mut tell = |violation| told.push(violation);
    for scope in scopes {
        let mut after = None;
        loop {
            let page = ReadSet::new().page(scope.clone(), Depth::Full, Page { after, limit: 3 });
            let view = block_on(store.read(&page, WITHIN)).unwrap();
            for (key, slot) in view.all() {
                match slot {
                    Slot::Full(record) => snapshot.feed(record, &mut tell),
                    Slot::Unreadable(odd) => snapshot.feed_unreadable(Some(key), &odd.error, &mut tell),
                    other => panic!("{key}: {other:?}"),
                }
            }
            after = view.page_end(scope).cloned();
            if after.is_none() {
                break;
            }
        }
    }
    assert_eq!(snapshot.end(&mut tell), []);
    told.sort();
    told
}

#[test]
fn pages_of_a_store_are_checked_as_a_whole() {
    let world = World::with_pool("10.0.0.0/24", 30);
    for (n, name) in ["a", "b", "c"].iter().cycle().take(20).enumerate() {
        world.auto(request(name, &format!("h{n}"), 1 + n as u32 % 5, 0));
    }
    let mut scopes = vec![
        Scope::kind(Kind::IPPool),
        Scope::Affinities { owner: None, family: None },
        Scope::Blocks { family: None },
        Scope::Handles,
    ];
    assert_eq!(stream(&world.store, &scopes), []);
    // Damage of each kind.
    world.delete(Key::Handle(handle("h7")));
    let mine = world.blocks().into_iter().find(|block| block.affinity.as_deref() == Some("host:b")).unwrap();
    world.affinity("c", &mine.cidr.to_string(), AffinityState::Confirmed);
    world.store.put_text(Key::Block(block_cidr("10.0.0.252/30")), "{");
    let told = stream(&world.store, &scopes);
    let is_unreadable = |violation: &&Violation| matches!(violation, Violation::Unreadable { .. });
    let (unreadable, others): (Vec<_>, Vec<_>) = told.iter().partition(is_unreadable);
    assert_eq!(
        unreadable.iter().map(|v| v.key()).collect::<Vec<_>>(),
        [Some(Key::Block(block_cidr("10.0.0.252/30")))]
    );
    assert!(others.len() > 1, "{told:?}");
    // In one piece, the same is found, and whatever kind comes first.
    let whole = check_at_rest(&world.store.records(), None);
    assert_eq!(others.into_iter().cloned().collect::<Vec<_>>(), whole);
    scopes.reverse();
    assert_eq!(stream(&world.store, &scopes), told);
}

/// Something in a store that has no key of a record is told, too.
#[test]
fn what_is_no_record_is_told() {
    let (mut told, mut snapshot) = (Vec::new(), Snapshot::new(Moment::Between, None));
    let error = DecodeError::new("/calico/ipam/v2/handle/a/b", "", "no name of a handle");
    snapshot.feed_unreadable(None, &error, &mut |violation| told.push(violation));
    assert_eq!(
        (told[0].key(), told[0].to_string()),
        (None, "/calico/ipam/v2/handle/a/b: no name of a handle".into())
    );
}
