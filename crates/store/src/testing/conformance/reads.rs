//! Reads: keys, scopes, depths, pages.

use std::collections::BTreeMap;

use api::{AffinityState, Family, Key, Kind, Owner};

use super::Backend;
use super::fixture::*;
use crate::batch::{Expect, Op, Outcome};
use crate::error::StoreError;
use crate::port::Store;
use crate::read::{Depth, Page, ReadSet, Scope};
use crate::view::{Slot, View};

/// A record that a read asked for and did not find is absent, at every depth.
pub async fn absent_records_are_known_to_be_absent<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    let mut set = ReadSet::new().key(handle("a")).key(Key::IpamConfig).key(block("10.0.0.0/26"));
    set.keys.push((handle("b"), Depth::Key));
    set.keys.push((block("10.0.0.64/26"), Depth::Header));
    let view = store.read(&set, WITHIN).await.unwrap();
    for (key, _) in &set.keys {
        assert_eq!(view.get(key), Some(Slot::Absent), "{key}");
    }
    assert!(view.is_empty());
}

/// A record that a read did not ask for is unread, not absent.
pub async fn what_was_not_asked_is_not_known<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    create(&store, &handle("a"), counted(1)).await;
    let set = ReadSet::new().key(handle("b")).scope(Scope::Blocks { family: Some(Family::V4) }, Depth::Full);
    let view = store.read(&set, WITHIN).await.unwrap();
    assert_eq!(view.get(&handle("a")), None);
    assert_eq!(view.get(&block("fd00::/122")), None);
    assert!(!view.is_complete(&Scope::Handles, Depth::Key));
    assert!(store.read(&ReadSet::new(), WITHIN).await.unwrap().is_empty());
}

/// Reads of scopes of an empty store are complete.
pub async fn an_empty_scope_is_complete<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    for wanted in [
        Scope::Handles,
        Scope::Blocks { family: None },
        Scope::kind(Kind::IPPool),
        Scope::Affinities { owner: None, family: None },
    ] {
        assert!(scope(&store, wanted).await.is_empty());
    }
}

/// A record that a complete scope does not hold is absent.
pub async fn a_complete_scope_knows_who_is_absent<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    create(&store, &handle("a"), counted(1)).await;
    let view = scope(&store, Scope::Handles).await;
    assert_eq!(view.get(&handle("b")), Some(Slot::Absent));
    assert_eq!(view.full(&handle("a")).unwrap().unwrap().value, counted(1));
    assert_eq!(keys(&view, &Scope::Handles), [handle("a")]);
}

/// Reads at each depth, of single records and of scopes.
pub async fn depths_give_at_least_what_was_asked<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    let (net, owner) = ("10.0.0.0/28", host("node1"));
    let revision = create(&store, &block(net), block_value(net, &owner, 5)).await;
    let api::Value::Block(value) = block_value(net, &owner, 5) else { unreachable!() };
    for depth in [Depth::Key, Depth::Header, Depth::Full] {
        let mut single = ReadSet::new();
        single.keys.push((block(net), depth));
        let blocks = Scope::Blocks { family: None };
        let whole = ReadSet::new().scope(blocks.clone(), depth);
        let page = ReadSet::new().page(blocks, depth, Page { after: None, limit: 3 });
        for set in [single, whole, page] {
            let view = store.read(&set, WITHIN).await.unwrap();
            let slot = view.get(&block(net)).unwrap();
            assert_eq!(slot.revision(), Some(&revision));
            assert!(slot.depth() >= depth, "{depth:?} {slot:?}");
            match slot {
                Slot::Header(header, _) => assert_eq!(header, value.header()),
                Slot::Full(record) => assert_eq!(record.block(), Some(&value)),
                _ => {}
            }
        }
    }
    // Only blocks have a header of their own. Of any other record, a read at this depth gives the whole.
    create(&store, &handle("a"), counted(3)).await;
    let set = ReadSet::new().scope(Scope::Handles, Depth::Header);
    let view = store.read(&set, WITHIN).await.unwrap();
    assert_eq!(view.full(&handle("a")).unwrap().unwrap().value, counted(3));
}

/// When parts of a read set overlap, the view has the greatest depth that was asked for.
pub async fn a_key_asked_in_two_depths_is_known_in_the_deeper<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    create(&store, &handle("a"), counted(1)).await;
    let mut set = ReadSet::new().scope(Scope::Handles, Depth::Full).scope(Scope::Handles, Depth::Key);
    set.keys.push((handle("a"), Depth::Full));
    set.keys.push((handle("a"), Depth::Key));
    let view = store.read(&set, WITHIN).await.unwrap();
    assert!(view.full(&handle("a")).unwrap().is_some());
    assert!(view.is_complete(&Scope::Handles, Depth::Full));
}

/// Reads a scope page by page. Gives one view of all pages, and how often each key was on one.
async fn pages<S: Store>(
    store: &S,
    wanted: &Scope,
    limit: usize,
    mut between: impl AsyncFnMut(usize),
) -> (View, BTreeMap<Key, usize>) {
    let (mut all, mut told, mut after) = (View::new(), BTreeMap::new(), None);
    for number in 0..1000 {
        let page = Page { after: after.take(), limit };
        let view = store.read(&ReadSet::new().page(wanted.clone(), Depth::Full, page), WITHIN).await.unwrap();
        assert!(view.len() <= limit);
        for key in keys(&view, wanted) {
            *told.entry(key).or_default() += 1;
        }
        after = view.page_end(wanted).cloned();
        all.absorb(view);
        if after.is_none() {
            assert!(all.is_complete(wanted, Depth::Full));
            return (all, told);
        }
        between(number).await;
    }
    panic!("the pages have no end");
}

/// Pages of many sizes, over scopes whose records have one prefix and over scopes whose records have several.
pub async fn pages_tell_every_record_once<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    let owners = [host("node1"), host("node10"), Owner::load_balancer()];
    for third in 0..8 {
        for (index, owner) in owners.iter().enumerate() {
            let net = format!("10.{index}.{third}.0/24");
            create(&store, &affinity(owner, &net), in_state(AffinityState::Confirmed)).await;
            let net = format!("fd00:{index}:{third}::/122");
            create(&store, &affinity(owner, &net), in_state(AffinityState::Confirmed)).await;
        }
    }
    for (wanted, count) in [
        (Scope::Affinities { owner: None, family: None }, 48),
        (Scope::Affinities { owner: None, family: Some(Family::V6) }, 24),
        (Scope::Affinities { owner: Some(host("node1")), family: None }, 16),
        (Scope::Affinities { owner: Some(host("node1")), family: Some(Family::V4) }, 8),
    ] {
        for limit in [1, 5, 7, 16, 48, 1000] {
            let (view, told) = pages(&store, &wanted, limit, async |_| {}).await;
            assert_eq!((view.len(), told.len()), (count, count), "{wanted:?} by {limit}");
            assert!(told.values().all(|times| *times == 1), "{wanted:?} by {limit}: {told:?}");
        }
    }
}

/// A page that holds exactly all records is the last page.
pub async fn a_page_of_the_exact_size_is_the_last<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    for name in ["a", "b", "c"] {
        create(&store, &handle(name), counted(1)).await;
    }
    let (_, told) = pages(&store, &Scope::Handles, 3, async |_| panic!("one page is enough")).await;
    assert_eq!(told.len(), 3);
    // A page may begin after a key that does not exist.
    let page = Page { after: Some(handle("bb")), limit: 10 };
    let set = ReadSet::new().page(Scope::Handles, Depth::Key, page);
    let view = store.read(&set, WITHIN).await.unwrap();
    assert_eq!(keys(&view, &Scope::Handles), [handle("c")]);
    assert_eq!(view.get(&handle("a")), None, "a last page alone says nothing of what lies before it");
}

/// A record that exists from the first page to the last is on exactly one page, whatever other records come
/// and go.
pub async fn pages_go_on_while_records_change<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    for index in 0..30 {
        create(&store, &handle(&format!("h{index:02}")), counted(1)).await;
    }
    let between = async |number: usize| match number {
        0 => {
            delete(&store, &handle("h00")).await;
            delete(&store, &handle("h06")).await;
            create(&store, &handle("h065"), counted(1)).await;
        }
        1 => delete(&store, &handle("h20")).await,
        2 => {
            create(&store, &handle("a"), counted(1)).await;
            set(&store, &handle("h29"), counted(2)).await;
        }
        _ => {}
    };
    let (view, told) = pages(&store, &Scope::Handles, 7, between).await;
    for index in (1..30).filter(|index| ![6, 20].contains(index)) {
        let key = handle(&format!("h{index:02}"));
        assert_eq!(told.get(&key), Some(&1), "{key}");
    }
    assert_eq!(told.get(&handle("h20")), None);
    assert_eq!(view.full(&handle("h29")).unwrap().unwrap().value, counted(2));
}

/// A namespace whose name is the beginning of another's holds only its own records.
pub async fn namespaces_are_apart<B: Backend>(backend: &B) {
    if !backend.promises().workload_endpoints {
        return;
    }
    let store = backend.fresh().await;
    let all = [endpoint("a", "w1"), endpoint("a", "w2"), endpoint("a-b", "w1"), endpoint("b", "w1")];
    for key in &all {
        create(&store, key, resource(key)).await;
    }
    let of = |namespace: Option<&str>| Scope::Resources {
        kind: Kind::WorkloadEndpoint,
        namespace: namespace.map(String::from),
    };
    for (namespace, found) in
        [(Some("a"), &all[..2]), (Some("a-b"), &all[2..3]), (None, &all), (Some("c"), &[])]
    {
        let view = scope(&store, of(namespace)).await;
        assert_eq!(keys(&view, &of(namespace)), found, "{namespace:?}");
        assert_eq!(view.len(), found.len());
    }
}

/// A scope of blocks holds those of its family, or of both, or a single one.
pub async fn families_are_apart<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    let nets = ["10.0.0.0/26", "10.0.0.64/26", "fd00:10:244::/122"];
    for net in nets {
        create(&store, &block(net), block_value(net, &host("node1"), 1)).await;
    }
    for (family, count) in [(Some(Family::V4), 2), (Some(Family::V6), 1), (None, 3)] {
        let view = scope(&store, Scope::Blocks { family }).await;
        assert_eq!(view.len(), count, "{family:?}");
    }
    for (net, count) in [(nets[0], 1), (nets[2], 1), ("10.0.0.128/26", 0)] {
        let one = Scope::Block(cidr(net));
        let view = scope(&store, one.clone()).await;
        assert_eq!((view.len(), keys(&view, &one).len()), (count, count), "{net}");
    }
}

/// An owner's affinities, where another owner's name begins with the owner's, and where an owner of the other
/// type has the same name.
pub async fn affinities_of_an_owner_are_apart<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    let confirmed = || in_state(AffinityState::Confirmed);
    let owners = [host("node1"), host("node10"), host("node1.example"), Owner::load_balancer()];
    for (index, owner) in owners.iter().enumerate() {
        create(&store, &affinity(owner, &format!("10.0.{index}.0/26")), confirmed()).await;
        create(&store, &affinity(owner, &format!("fd00:{index}::/122")), confirmed()).await;
    }
    for owner in owners {
        for (family, count) in [(None, 2), (Some(Family::V4), 1), (Some(Family::V6), 1)] {
            let wanted = Scope::Affinities { owner: Some(owner.clone()), family };
            let view = scope(&store, wanted.clone()).await;
            assert_eq!((view.len(), keys(&view, &wanted).len()), (count, count), "{owner} {family:?}");
        }
    }
}

/// The affinities of all owners, hosts and virtual ones, by family.
pub async fn affinities_of_all_owners_are_found<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    for owner in [host("node1"), host("node2"), Owner::load_balancer()] {
        let net = format!("10.0.{}.0/26", owner.name().len());
        create(&store, &affinity(&owner, &net), in_state(AffinityState::Pending)).await;
    }
    create(&store, &affinity(&host("node1"), "fd00::/122"), in_state(AffinityState::Pending)).await;
    for (family, count) in [(None, 4), (Some(Family::V4), 3), (Some(Family::V6), 1)] {
        let view = scope(&store, Scope::Affinities { owner: None, family }).await;
        assert_eq!(view.len(), count, "{family:?}");
    }
}

/// A host's own record is read by its key and deleted, whatever it says, and no list of affinities holds it.
pub async fn a_hosts_own_record_is_no_affinity<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    let host = Key::IpamHost("n".to_string());
    let set = ReadSet { keys: vec![(host.clone(), Depth::Key)], ..ReadSet::new() };
    let found = async || store.read(&set, WITHIN).await.unwrap().get(&host).unwrap();
    assert_eq!(found().await, Slot::Absent);
    create(&store, &handle("other"), counted(1)).await;
    for text in ["{}", "nonsense"] {
        if !backend.put_text(&store, &host.etcd_path(), text).await {
            return;
        }
        let all = Scope::Affinities { owner: None, family: None };
        let view = scope(&store, all.clone()).await;
        assert_eq!((keys(&view, &all), view.faults()), (Vec::new(), Vec::new()), "{text}");
        let expect = Expect::Revision(found().await.revision().unwrap().clone());
        let gone = write(&store, &host, expect, Op::Delete).await;
        assert!(matches!(gone, Outcome::Applied(_)), "{text}: {gone:?}");
        assert_eq!(found().await, Slot::Absent);
    }
}

/// A value that cannot be parsed does not stop a read. The view reports it as unreadable, in scopes and by
/// its key, and only a caller that insists on the record gets an error.
pub async fn bad_values_are_told_as_such<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    create(&store, &handle("good"), counted(1)).await;
    let path = handle("bad").etcd_path();
    if !backend.put_text(&store, &path, "{").await {
        return;
    }
    let holds_any_key = backend.put_text(&store, "/calico/ipam/v2/handle/a/b", "{}").await;
    backend.put_text(&store, "/calico/unknown", "{}").await;
    let view = scope(&store, Scope::Handles).await;
    assert_eq!(keys(&view, &Scope::Handles), [handle("bad"), handle("good")]);
    assert_eq!(view.full(&handle("bad")), None);
    let faults: Vec<String> = view.faults().iter().map(ToString::to_string).collect();
    assert!(faults[0].contains("bad) cannot be read: "), "{faults:?}");
    assert_eq!(faults.len(), if holds_any_key { 2 } else { 1 }, "{faults:?}");
    assert!(faults.iter().skip(1).all(|fault| fault.contains("/calico/ipam/v2/handle/a/b")), "{faults:?}");
    let set = ReadSet::new().key(handle("bad")).key(handle("good"));
    let view = store.read(&set, WITHIN).await.unwrap();
    assert!(view.full(&handle("good")).unwrap().is_some());
    let slot = view.get(&handle("bad")).unwrap();
    assert!(matches!(slot, Slot::Unreadable(_)), "{slot:?}");
    let error = view.insist(&set).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
    assert!(error.to_string().contains("bad"), "{error}");
    // A delete at the revision that was read works, except where a deletion has two phases: its first phase
    // would have to write the value that cannot be parsed.
    if !holds_any_key {
        return;
    }
    let expect = Expect::Revision(slot.revision().unwrap().clone());
    assert!(matches!(write(&store, &handle("bad"), expect, Op::Delete).await, Outcome::Applied(_)));
    assert!(scope(&store, Scope::Handles).await.get(&handle("bad")) == Some(Slot::Absent));
}

/// Records that cannot be parsed count on pages like others.
pub async fn bad_values_do_not_shorten_pages<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    for index in 0..6 {
        create(&store, &handle(&format!("h{index}")), counted(1)).await;
        if !backend.put_text(&store, &handle(&format!("h{index}-bad")).etcd_path(), "nonsense").await {
            return;
        }
    }
    let (_, told) = pages(&store, &Scope::Handles, 2, async |_| {}).await;
    assert_eq!(told.len(), 12);
}

/// A read that begins after a commit was answered sees the commit.
pub async fn a_commit_is_seen_by_the_next_read<B: Backend>(backend: &B) {
    let store = backend.fresh().await;
    for count in 0..20 {
        let revision = set(&store, &handle("a"), counted(count)).await;
        let view = scope(&store, Scope::Handles).await;
        let record = view.full(&handle("a")).unwrap().unwrap();
        assert_eq!((&record.value, &record.revision), (&counted(count), &revision));
    }
}
