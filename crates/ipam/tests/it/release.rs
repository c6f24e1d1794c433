//! Releasing addresses, by address and by handle.

use api::{Attribute, Key, Kind};
use ipam::{HandleRelease, ReleaseIp};
use serde_json::json;

use crate::world::*;

/// A release of an assignment that has changed since fails, and releases nothing. The sequence number grows
/// by two in each round.
#[test]
fn sequence_numbers_protect() {
    let world = World::with_pool("10.0.0.0/30", 30);
    world.assign(request_ip("a", "h", "10.0.0.1")).unwrap();
    let sequence = || world.block("10.0.0.0/30").unwrap().sequence_of(1);
    for _ in 0..10 {
        let old = sequence();
        let of = |sequence| ReleaseIp { sequence: Some(sequence), ..just("10.0.0.1") };
        assert_eq!(world.release(vec![just("10.0.0.1")]).released, [ip("10.0.0.1")]);
        world.assign(request_ip("a", "h", "10.0.0.1")).unwrap();
        assert_eq!(sequence(), old + 2);
        let stale = world.release(vec![of(old), just("10.0.0.2")]);
        assert!(stale.released.is_empty() && stale.unallocated.is_empty());
        assert_eq!(
            stale.error.unwrap().to_string(),
            format!(
                "update conflict: the given sequence number ({old}) does not match ({}) when attempting to release IP",
                old + 2
            )
        );
        assert_eq!(world.assigned().len(), 1);
        assert_eq!(world.release(vec![of(old + 2)]).released.len(), 1);
        world.assign(request_ip("a", "h", "10.0.0.1")).unwrap();
    }
}

#[test]
fn a_block_that_was_made_anew_does_not_take_old_sequence_numbers() {
    let world = World::with_pool("10.0.0.0/30", 30);
    world.assign(request_ip("a", "h", "10.0.0.1")).unwrap();
    let old = world.block("10.0.0.0/30").unwrap().sequence_of(1);
    world.del("h");
    world.release_affinities(ipam::Which::Owner(host("a")), true);
    assert_eq!(world.block("10.0.0.0/30"), None);
    world.assign(request_ip("a", "h", "10.0.0.1")).unwrap();
    assert!(world.release(vec![ReleaseIp { sequence: Some(old), ..just("10.0.0.1") }]).error.is_some());
}

/// Each row: the handle, the difference to the stored sequence number, and the error.
#[test]
fn what_a_release_may_demand() {
    for (id, sequence, error) in [
        (None, None, None),
        (Some("h"), None, None),
        (Some("h"), Some(0), None),
        (None, Some(0), None),
        (None, Some(1), Some("sequence number")),
        (Some("i"), None, Some("the given handle (i) does not match (h)")),
        (Some("i"), Some(0), Some("the given handle (i) does not match (h)")),
    ] {
        let world = World::with_pool("10.0.0.0/26", 26);
        world.assign(request_ip("a", "h", "10.0.0.1")).unwrap();
        let stored = world.block("10.0.0.0/26").unwrap().sequence_of(1);
        let ip = ReleaseIp {
            handle: id.map(str::to_string),
            sequence: sequence.map(|n| stored + n),
            ..just("10.0.0.1")
        };
        let answer = world.release(vec![ip]);
        assert_eq!(answer.error.is_some(), error.is_some(), "{id:?} {sequence:?}");
        assert!(answer.error.is_none_or(|e| e.to_string().contains(error.unwrap())));
        assert_eq!(world.assigned().len(), usize::from(error.is_some()));
        assert_eq!(world.handles(), usize::from(error.is_some()));
    }
}

/// Handles that span several blocks, in one release of more than two addresses: Calico's workers for the
/// blocks change one handle object at once, and crash. Here one plan changes each handle once.
#[test]
fn many_at_once_over_blocks_pools_and_families() {
    let world = World::with_pool("10.0.0.0/24", 26);
    world.pool("other", "10.1.0.0/24", 28);
    world.pool("pool6", "fd00::/112", 122);
    let mut all = Vec::new();
    for (at, node) in ["a", "b", "c", "a"].iter().enumerate() {
        let answer = world.auto(request(node, &format!("h{at}"), 25, 10));
        all.extend(answer.v4.addresses.into_iter().chain(answer.v6.addresses));
    }
    world.pool_with("other", json!({"cidr": "10.1.0.0/24", "blockSize": 28, "disabled": true}));
    world.delete(Key::global(Kind::IPPool, "pool6"));
    let mut ips: Vec<ReleaseIp> =
        all.iter().map(|a| ReleaseIp { addr: a.addr, handle: None, sequence: None }).collect();
    ips.extend([just("10.0.0.250"), just("172.16.0.1"), just("fe80::1")]);
    ips.push(ips[0].clone());
    let answer = world.release(ips);
    assert_eq!(answer.released.len(), 140);
    let mut unallocated = answer.unallocated;
    unallocated.sort();
    assert_eq!(unallocated, [ip("10.0.0.250"), ip("172.16.0.1"), ip("fe80::1")]);
    assert_eq!((world.assigned().len(), world.handles()), (0, 0));
}

#[test]
fn an_address_named_twice_is_free_once() {
    let world = World::with_pool("10.0.0.0/30", 30);
    world.assign(request_ip("a", "h", "10.0.0.1")).unwrap();
    assert_eq!(world.release(vec![just("10.0.0.1"), just("10.0.0.1")]).error, None);
    assert_eq!(world.auto(request("a", "i", 5, 0)).v4.addresses.len(), 4);
}

#[test]
fn by_handle() {
    let world = World::with_pool("10.0.0.0/24", 26);
    assert_eq!(world.del("h"), HandleRelease::NotFound);
    let got = world.auto(request("a", "h", 100, 0));
    world.add("a", "i");
    let HandleRelease::Released(released) = world.del("h") else { panic!("it was there") };
    assert_eq!(released.len(), got.v4.addresses.len());
    assert_eq!(world.assigned().into_values().collect::<Vec<_>>(), ["i"]);
    assert_eq!((world.handle("h"), world.handles()), (None, 1));
    let twice = world
        .run(ipam::ReleaseByHandle::new(vec![handle("i"), handle("h"), handle("i")], None).planner())
        .unwrap();
    assert!(
        matches!(&twice[..], [HandleRelease::Released(a), HandleRelease::NotFound, HandleRelease::Released(b)] if a == b)
    );
}

/// Two parties can have the same handle, since it is joined from names. Only addresses that are stored as the
/// caller's are released.
#[test]
fn by_a_handle_that_is_anothers_too() {
    let pod = |name: &str| ipam::PodName { namespace: "default".to_string(), name: name.to_string() };
    let release = |world: &World, whose: ipam::Whose| {
        let planner = ipam::ReleaseByHandle::new(Vec::new(), None).and(handle("h"), whose).planner();
        let answer = world.run(planner).unwrap().remove(0);
        world.check();
        answer
    };
    let before = World::with_pool("10.0.0.0/24", 26);
    let mine = before.add("a", "h");
    let mut other = request("a", "h", 1, 0);
    other.attributes.insert("pod".to_string(), "other".to_string());
    let theirs = before.auto(other).v4.addresses[0].addr;
    let mut container = request("a", "h", 1, 0);
    container.attributes.remove("pod");
    let nobodys = before.auto(container).v4.addresses[0].addr;
    let sorted = |mut addresses: Vec<std::net::IpAddr>| {
        addresses.sort();
        addresses
    };
    // Each row: whose addresses, which are released, and how many stay.
    for (whose, gone, left) in [
        (ipam::Whose::Anybodys, vec![mine, theirs, nobodys], 0),
        (ipam::Whose::NotAnothers(pod("h")), vec![mine, nobodys], 1),
        (ipam::Whose::Pods(pod("h")), vec![mine], 2),
        (ipam::Whose::NoPods, vec![nobodys], 2),
    ] {
        let world = World::new();
        for record in before.store.records() {
            world.store.put(record.key.clone(), record.value.clone());
        }
        let HandleRelease::Released(released) = release(&world, whose.clone()) else { panic!("{whose:?}") };
        assert_eq!(sorted(released), sorted(gone), "{whose:?}");
        assert_eq!(world.assigned().len(), left, "{whose:?}");
        let counted = world.handle("h").map_or(0, |handle| handle.blocks.values().sum());
        assert_eq!(counted as usize, left, "{whose:?}");
    }
    let stranger = ipam::Whose::Pods(pod("stranger"));
    let records = before.store.records();
    let HandleRelease::Anothers(kept) = release(&before, stranger) else {
        panic!("nothing is the stranger's")
    };
    assert_eq!(sorted(kept), sorted(vec![mine, theirs, nobodys]));
    assert_eq!(before.store.records(), records, "not even the sequence number has moved");
}

/// The handle has no valid entry. Its addresses are looked for in the host's own blocks before it is deleted.
#[test]
fn by_a_handle_that_names_nothing() {
    let pod = |name: &str| ipam::PodName { namespace: "default".to_string(), name: name.to_string() };
    for text in [
        json!({}),
        json!({"block": null}),
        json!({"Block": {"10.0.0.0/26": 1}}),
        json!({"block": {"10.0.9.128/27": 1}}),
        // The handle names an existing block in which it holds no address.
        json!({"block": {"10.0.0.192/26": 1}}),
        json!({"block": {"10.0.0.192/26": 0}}),
    ] {
        let world = World::with_pool("10.0.0.0/24", 26);
        world.assign(request_ip("b", "other", "10.0.0.193")).unwrap();
        let mine = world.add("a", "h");
        world.add("a", "i");
        let key = Key::Handle(handle("h"));
        let put = || {
            let value = api::Value::from_stored_text(&key, &text.to_string()).unwrap();
            world.store.put(key.clone(), value);
        };
        let release = |whose| {
            let request = ipam::ReleaseByHandle::new(Vec::new(), Some("a".to_string()));
            world.run(request.and(handle("h"), whose).planner()).unwrap().remove(0)
        };
        put();
        let of_another = release(ipam::Whose::Pods(pod("stranger")));
        assert_eq!(of_another, HandleRelease::Anothers(vec![mine]), "{text}");
        world.check();
        assert_eq!(world.handle("h").map(|h| h.blocks.values().sum::<u32>()), Some(1), "{text}");
        put();
        let of_own = release(ipam::Whose::NotAnothers(pod("h")));
        assert_eq!(of_own, HandleRelease::Released(vec![mine]), "{text}");
        assert!(!world.assigned().contains_key(&mine) && world.handle("h").is_none(), "{text}");
        world.check();
        // The handle holds no address, and is deleted without an error.
        put();
        assert_eq!(release(ipam::Whose::Anybodys), HandleRelease::Released(Vec::new()), "{text}");
        assert_eq!((world.assigned().len(), world.handles()), (2, 2), "{text}");
        world.check();
    }
}

/// The states recorded in 045-existing-data-quirks: a count that is too high, a handle that is stored with a
/// carriage return, and a block without an owner.
#[test]
fn old_data() {
    let world = World::with_pool("10.0.0.0/24", 26);
    world.add("a", "h");
    world.add("a", "h");
    let record = world.record(&Key::Handle(handle("h"))).unwrap();
    let mut over = record.handle().unwrap().clone();
    over.blocks.values_mut().for_each(|n| *n += 5);
    over.blocks.insert(block_cidr("10.0.9.0/26"), 3);
    world.store.put(record.key.clone(), api::Value::Handle(over));
    let mut block = world.blocks().remove(0);
    for attribute in &mut block.attributes {
        let damaged = Some(format!("{}\rdamage", attribute.handle_id.clone().unwrap()));
        *attribute = std::sync::Arc::new(Attribute { handle_id: damaged, ..(**attribute).clone() });
    }
    world.store.put(Key::Block(block.cidr), api::Value::Block(block));
    assert!(matches!(world.del("h"), HandleRelease::Released(addresses) if addresses.len() == 2));
    assert_eq!((world.assigned().len(), world.handles()), (0, 0));
}

#[test]
fn an_empty_block_that_nobody_owns_goes_with_its_last_address() {
    let world = World::with_pool("10.0.0.0/24", 26);
    let (x, y) = (world.add("a", "h"), world.add("a", "i"));
    world.release_affinities(ipam::Which::Owner(host("a")), false);
    assert_eq!((world.affinities().len(), world.blocks().len()), (0, 1));
    world.release(vec![ReleaseIp { addr: x, handle: None, sequence: None }]);
    assert_eq!(world.blocks().len(), 1);
    world.release(vec![ReleaseIp { addr: y, handle: None, sequence: None }]);
    assert_eq!((world.blocks().len(), world.handles()), (0, 0));
}

/// An address that cools down belongs to nobody, cannot be assigned, and keeps its block. After the cooldown
/// it goes to the end of the queue.
#[test]
fn cooling_down() {
    let world = World::with_pool("10.0.0.0/30", 30);
    world.config(|config| config.cooldown_seconds = 60);
    let first = world.add("a", "h");
    world.del("h");
    assert_eq!(
        world.release(vec![ReleaseIp { addr: first, handle: None, sequence: None }]).unallocated,
        [first]
    );
    assert_eq!(world.auto(request("a", "i", 4, 0)).v4.addresses.len(), 3);
    world.del("i");
    world.clock.advance(59);
    assert!(world.auto(request("a", "j", 1, 0)).v4.addresses.is_empty());
    world.clock.advance(2);
    assert_eq!(world.add("a", "j"), first);
    assert_eq!(world.auto(request("a", "k", 3, 0)).v4.addresses.len(), 3);
}

/// The block's pool no longer selects the node. When its last address is released, in whatever way, block and
/// affinity are deleted.
#[test]
fn a_deselected_block_goes_with_its_last_address() {
    for by_handle in [false, true] {
        let world = World::new();
        world.pool_with("p", json!({"cidr": "10.0.0.0/24", "nodeSelector": "rack == '0'"}));
        world.node("a", &[("rack", "0")]);
        let (x, _) = (world.add("a", "h"), world.add("a", "i"));
        world.node("a", &[("rack", "1")]);
        let release = |addr, id: &str| match by_handle {
            true => drop(world.del(id)),
            false => drop(world.release(vec![ReleaseIp { addr, handle: None, sequence: None }])),
        };
        release(x, "h");
        assert_eq!((world.blocks().len(), world.affinities().len()), (1, 1));
        let y = *world.assigned().keys().next().unwrap();
        release(y, "i");
        assert_eq!((world.blocks().len(), world.affinities().len(), world.handles()), (0, 0, 0));
    }
}
