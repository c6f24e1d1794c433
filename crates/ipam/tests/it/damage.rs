//! Records that cannot be read: no address is assigned twice because of them, other requests go on, and
//! errors name the records.

use api::{Key, Kind, Value};
use ipam::{HandleRelease, RunError, Which};
use serde_json::{Value as Json, json};
use store::{Depth, ReadSet, Scope, Store};

use crate::world::*;

fn text_of(world: &World, key: &Key) -> Json {
    serde_json::from_str(&world.record(key).unwrap().value.to_stored_text()).unwrap()
}

/// Changes a part of a stored record, as a user of etcdctl could.
fn damage(world: &World, key: &Key, pointer: &str, value: Json) {
    let mut json = text_of(world, key);
    *json.pointer_mut(pointer).unwrap() = value;
    world.store.put_text(key.clone(), &json.to_string());
}

fn block_key(cidr: &str) -> Key {
    Key::Block(block_cidr(cidr))
}

/// A cluster in which host `a` has a block with the addresses of `h1` and `h2`, and in which more blocks can
/// be claimed.
fn world_with_block() -> (World, Key) {
    let world = World::with_pool("10.0.0.0/24", 28);
    world.add("a", "h1");
    world.add("a", "h2");
    let block = world.blocks().remove(0);
    (world, Key::Block(block.cidr))
}

/// All faults in the records that the allocator reads.
fn faults(world: &World) -> Vec<String> {
    let kinds = [Kind::IPPool, Kind::IPReservation, Kind::Node];
    let set = kinds.iter().fold(ReadSet::new(), |set, kind| set.scope(Scope::kind(*kind), Depth::Full));
    let set = set
        .key(Key::IpamConfig)
        .scope(Scope::Blocks { family: None }, Depth::Full)
        .scope(Scope::Affinities { owner: None, family: None }, Depth::Full)
        .scope(Scope::Handles, Depth::Full);
    let view = block_on(world.store.read(&set, WITHIN)).unwrap();
    view.faults().iter().map(ToString::to_string).collect()
}

fn named(world: &World, key: &Key, field: &str) {
    let faults = faults(world);
    let wanted = |fault: &&String| fault.starts_with(&key.to_string()) && fault.contains(field);
    assert!(faults.iter().any(|fault| wanted(&fault)), "{key} {field}: {faults:?}");
}

/// Assigns one address to `id`, as an ADD does. The error says why there is none.
fn add(world: &World, host: &str, id: &str) -> Result<std::net::IpAddr, String> {
    let answer = world.run(request(host, id, 1, 0).planner()).map_err(|error| error.to_string())?;
    let address = answer.v4.addresses.first().map(|address| address.addr);
    address.ok_or_else(|| format!("{:?} {:?}", answer.v4.error, words(&answer.v4)))
}

/// It is doubtful who holds the addresses of this block. Host `a` uses another block, the damaged one is not
/// written, and `DEL` names it.
#[test]
fn a_doubtful_block_is_left_alone() {
    let rows = [
        ("/cidr", json!("10.0.0.0/33"), "cidr"),
        ("/affinity", json!(5), "affinity"),
        ("/allocations", json!([]), "allocations"),
        ("/allocations/1", json!(-1), "allocations[1]"),
        ("/allocations/0", json!(7), "allocations[0]"),
        ("/attributes", json!([]), "allocations[0]"),
        ("/attributes", json!("x"), "attributes"),
        ("/unallocated", json!("x"), "unallocated"),
        ("/sequenceNumber", json!("x"), "sequenceNumber"),
        ("/deleted", json!("x"), "deleted"),
    ];
    for (pointer, value, field) in rows {
        let (world, key) = world_with_block();
        let Key::Block(cidr) = key else { unreachable!() };
        damage(&world, &key, pointer, value);
        named(&world, &key, field);
        for (host, id) in [("a", "h3"), ("b", "h4"), ("a", "h5")] {
            let addr = add(&world, host, id).unwrap_or_else(|error| panic!("{field}: {error}"));
            assert!(!cidr.cidr().contains(addr), "{field}: {addr}");
        }
        match world
            .run(ipam::ReleaseByHandle::new(vec![handle("h1"), handle("h3")], None).planner())
            .unwrap()
            .as_slice()
        {
            [HandleRelease::Partly(none, why), HandleRelease::Released(one)] => {
                assert_eq!((none.len(), one.len(), why.field.as_str()), (0, 1, field));
                assert!(why.to_string().contains(&cidr.to_string()), "{why}");
            }
            other => panic!("{field}: {other:?}"),
        }
        assert!(world.handle("h1").is_some(), "{field}: the handle still names it");
        let addr = cidr.addr(0).unwrap();
        let released = world.run(ipam::ReleaseIps::new(vec![just(&addr.to_string())]).planner()).unwrap();
        assert!(released.error.unwrap().to_string().contains(field), "by its address");
        let explicit = world.run(request_ip("a", "h9", &addr.to_string()).planner()).unwrap_err();
        assert!(explicit.to_string().contains(&key.to_string()), "{explicit}");
        let affinities = world
            .run(ipam::ReleaseAffinities { which: Which::Owner(host("a")), must_be_empty: false }.planner())
            .unwrap_err();
        assert!(affinities.to_string().contains(&key.to_string()), "{affinities}");
        assert!(world.affinities().iter().any(|text| text.starts_with(&format!("a {cidr}"))), "{field}");
        named(&world, &key, field);
    }
}

/// These faults make nothing doubtful. The block is still used, and keeps the faulty parts.
#[test]
fn an_odd_block_is_used_and_keeps_what_is_odd() {
    let rows = [
        ("/attributes/0/secondary/pod", json!(5), "attributes[0].secondary.pod"),
        ("/unallocated/3", json!(null), "unallocated[3]"),
        ("/unallocated/3", json!(-1), "unallocated[3]"),
        ("/unallocated/3", json!(0), "unallocated[3]"),
        ("/unallocated/3", json!(99), "unallocated[3]"),
        ("/sequenceNumberForAllocation/0", json!(-1), "sequenceNumberForAllocation.0"),
        ("/affinity_claim_time", json!("soon"), "affinity_claim_time"),
    ];
    for (pointer, value, field) in rows {
        let (world, key) = world_with_block();
        let Key::Block(cidr) = key else { unreachable!() };
        damage(&world, &key, pointer, value.clone());
        named(&world, &key, field);
        let addr = add(&world, "a", "h3").unwrap_or_else(|error| panic!("{field}: {error}"));
        assert!(cidr.cidr().contains(addr), "{field}: {addr} is not of its own block");
        assert!(
            matches!(world.run(ipam::ReleaseByHandle::new(vec![handle("h2")], None).planner()).unwrap().as_slice(),
            [HandleRelease::Released(one)] if one.len() == 1),
            "{field}"
        );
        let stored = text_of(&world, &key).to_string();
        assert!(stored.contains(&value.to_string()), "{field}: {stored}");
        let released = world.run(ipam::ReleaseByHandle::new(vec![handle("h1")], None).planner()).unwrap();
        assert!(
            matches!(&released[..], [HandleRelease::Released(one)] if one.len() == 1),
            "{field}: {released:?}"
        );
        assert_eq!(world.assigned().into_values().collect::<Vec<_>>(), ["h3"], "{field}");
    }
}

/// If the queue names addresses in use, or an address twice, none is assigned twice.
#[test]
fn a_wrong_queue_gives_no_address_twice() {
    let (world, key) = world_with_block();
    damage(&world, &key, "/unallocated", json!([0, 1, 2, 2, null, 3, 3, -1, 99, 4]));
    let mut taken = std::collections::BTreeSet::new();
    for n in 0..12 {
        let addr = add(&world, "a", &format!("n{n}")).unwrap();
        assert!(taken.insert(addr), "{addr} twice");
    }
    assert_eq!(world.assigned().len(), 14);
}

/// A handle without entries may have addresses in a block that cannot be read. So it stays, and the block is
/// reported.
#[test]
fn a_handle_that_names_nothing_beside_a_block_that_cannot_be_read() {
    for (pointer, value) in [("/allocations", json!([])), ("/attributes/0/handle_id", json!(5))] {
        let (world, key) = world_with_block();
        damage(&world, &key, pointer, value);
        world.store.put(Key::Handle(handle("h1")), api::Value::Handle(api::Handle::default()));
        let release = ipam::ReleaseByHandle::new(vec![handle("h1")], Some("a".to_string())).planner();
        match world.run(release).unwrap().remove(0) {
            HandleRelease::Partly(none, why) => {
                assert!(none.is_empty() && why.to_string().contains(&key.to_string()), "{why}");
            }
            other => panic!("{pointer}: {other:?}"),
        }
        assert!(world.handle("h1").is_some(), "{pointer}");
    }
}

/// The handle of this address cannot be read, so its holder is unknown. It is released for none of its
/// possible holders.
#[test]
fn a_handle_that_cannot_be_read_keeps_its_address() {
    let (world, key) = world_with_block();
    damage(&world, &key, "/attributes/0/handle_id", json!(5));
    let Key::Block(cidr) = key else { unreachable!() };
    let addr = cidr.addr(0).unwrap();
    let HandleRelease::Partly(none, why) =
        world.run(ipam::ReleaseByHandle::new(vec![handle("h1")], None).planner()).unwrap().remove(0)
    else {
        panic!("it may be h1's");
    };
    assert!(none.is_empty() && why.to_string().contains(&addr.to_string()), "{why}");
    assert!(world.handle("h1").is_some());
    assert!(
        matches!(world.run(ipam::ReleaseByHandle::new(vec![handle("h2")], None).planner()).unwrap().as_slice(),
        [HandleRelease::Released(one)] if one.len() == 1)
    );
    for n in 0..20 {
        assert_ne!(add(&world, "a", &format!("n{n}")).unwrap(), addr);
    }
    assert!(text_of(&world, &Key::Block(cidr))["attributes"].to_string().contains("\"handle_id\":5"));
    // A request that names the address can release it.
    let released = world.run(ipam::ReleaseIps::new(vec![just(&addr.to_string())]).planner()).unwrap();
    assert_eq!(released.released, [addr]);
}

/// If a block's owner has an unknown form, nobody takes the block over or borrows from it.
#[test]
fn an_owner_of_unknown_form_keeps_its_block() {
    let world = World::with_pool("10.0.0.0/28", 28);
    world.add("a", "h1");
    let key = block_key("10.0.0.0/28");
    damage(&world, &key, "/affinity", json!("pod:x"));
    damage(&world, &key, "/affinity_claim_time", json!("2020-01-01T00:00:00Z"));
    named(&world, &key, "affinity");
    let error = add(&world, "b", "h2").unwrap_err();
    assert!(error.contains("No IPs available"), "{error}");
    assert!(
        matches!(world.run(ipam::ReleaseByHandle::new(vec![handle("h1")], None).planner()).unwrap().as_slice(),
        [HandleRelease::Released(one)] if one.len() == 1)
    );
    assert!(add(&world, "b", "h2").is_err(), "an empty one, too");
    assert_eq!(text_of(&world, &key)["affinity"], "pod:x");
}

/// In Calico one pool with a bad selector fails every request that names no pools.
#[test]
fn a_bad_pool_stops_no_other() {
    let rows = [
        (json!({"cidr": "10.9.0.0/24", "nodeSelector": "rack == 1"}), "spec.nodeSelector"),
        (json!({"cidr": "10.9.0.0/24", "nodeSelector": 5}), "spec.nodeSelector"),
        (json!({"cidr": "10.9.0.0/24", "namespaceSelector": "a =="}), "spec.namespaceSelector"),
        (json!({"cidr": "10.9.0.0/24", "disabled": "yes"}), "spec.disabled"),
        (json!({"cidr": "10.9.0.0/24", "allowedUses": "Workload"}), "spec.allowedUses"),
        (json!({"cidr": "10.9.0.0/24", "blockSize": 99}), "spec.blockSize"),
        (json!({"cidr": "10.9.0.0/33"}), "spec.cidr"),
        (json!({"cidr": 7}), "spec.cidr"),
        (json!({}), "spec.cidr"),
    ];
    for (spec, field) in rows {
        let world = World::with_pool("10.0.0.0/24", 28);
        // The pool comes first in the order of names, so it would be the first to be used.
        let text = json!({"metadata": {"name": "bad"}, "spec": spec}).to_string();
        let key = Key::global(Kind::IPPool, "bad");
        world.store.put_text(key.clone(), &text);
        named(&world, &key, field);
        let addr = add(&world, "a", "h1").unwrap_or_else(|error| panic!("{spec}: {error}"));
        assert!(cidr("10.0.0.0/24").contains(addr), "{spec}: {addr}");
        assert!(matches!(world.del("h1"), HandleRelease::Released(one) if one.len() == 1), "{spec}");
    }
}

#[test]
fn a_pool_with_a_bad_selector_can_be_asked_for_by_its_network() {
    let world = World::with_pool("10.0.0.0/24", 28);
    world.pool_with("bad", json!({"cidr": "10.9.0.0/24", "nodeSelector": "rack == 1"}));
    let mut wanted = request("a", "h1", 1, 0);
    wanted.v4_pools = vec![cidr("10.9.0.0/24")];
    assert!(cidr("10.9.0.0/24").contains(world.auto(wanted).v4.addresses[0].addr));
    let told = faults(&world).remove(0);
    for part in ["IPPool(bad)", "spec.nodeSelector", "'rack == 1'", "expected string", "quotes: \"1\""] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[test]
fn a_record_under_another_name_is_left_out() {
    let world = World::with_pool("10.0.0.0/24", 28);
    let pool = json!({"metadata": {"name": "other"}, "spec": {"cidr": "10.9.0.0/24"}}).to_string();
    let key = Key::global(Kind::IPPool, "bad");
    world.store.put_text(key.clone(), &pool);
    named(&world, &key, "metadata.name");
    assert!(cidr("10.0.0.0/24").contains(add(&world, "a", "h1").unwrap()));
    // The node's labels are unknown.
    world.store.put_text(Key::global(Kind::Node, "a"), r#"{"metadata": {"name": "b"}}"#);
    let error = add(&world, "a", "h2").unwrap_err();
    assert!(error.contains("Node(a)") && error.contains("metadata.name"), "{error}");
    assert!(add(&world, "b", "h3").is_ok());
    assert!(matches!(world.del("h1"), HandleRelease::Released(one) if one.len() == 1));
}

/// Those entries of a reservation that can be read are kept back.
#[test]
fn a_reservation_that_cannot_be_read_stops_nothing() {
    for (text, field) in [
        ("{", ""),
        (
            r#"{"metadata": {"name": "r"}, "spec": {"reservedCIDRs": ["10.0.0.0/33", "10.0.0.0/24"]}}"#,
            "spec.reservedCIDRs[0]",
        ),
        (r#"{"metadata": {"name": "r"}, "spec": {"reservedCIDRs": [5]}}"#, "spec.reservedCIDRs[0]"),
        (r#"{"metadata": {"name": "r"}, "spec": {"reservedCIDRs": "10.0.0.0/30"}}"#, "spec.reservedCIDRs"),
        (r#"{"metadata": {"name": "r"}, "spec": 5}"#, "spec"),
    ] {
        let world = World::with_pool("10.0.0.0/24", 28);
        world.add("a", "h1");
        let key = Key::global(Kind::IPReservation, "r");
        world.store.put_text(key.clone(), text);
        named(&world, &key, field);
        let keeps_all_back = text.contains("10.0.0.0/24");
        assert_eq!(add(&world, "a", "h2").is_err(), keeps_all_back, "{text}");
        assert!(matches!(world.del("h1"), HandleRelease::Released(one) if one.len() == 1));
        assert_eq!(world.run(request_ip("a", "h3", "10.0.0.9").planner()), Ok(()), "by name");
    }
}

/// If the configuration cannot be read, the strictest possible one is used.
#[test]
fn an_unreadable_configuration_is_no_default() {
    let world = World::with_pool("10.0.0.0/28", 29);
    world.config(|config| config.cooldown_seconds = 30);
    world.add("a", "h1");
    world.store.put_text(Key::IpamConfig, r#"{"strict_affinity": "yes"}"#);
    named(&world, &Key::IpamConfig, "strict_affinity");
    assert!(add(&world, "a", "h2").is_ok(), "from its own block");
    let error = add(&world, "b", "h3").unwrap_err();
    assert!(error.contains("NoAutoAllocate"), "no block is claimed: {error}");
    assert!(matches!(world.del("h1"), HandleRelease::Released(one) if one.len() == 1));
    world.clock.advance(100_000);
    for n in 0..6 {
        add(&world, "a", &format!("n{n}")).unwrap();
    }
    assert!(add(&world, "a", "n7").is_err(), "what cools down stays so");
}

#[test]
fn an_unreadable_affinity_is_left_alone() {
    let (world, key) = world_with_block();
    let Key::Block(cidr) = key else { unreachable!() };
    let affinity = Key::Affinity { owner: host("a"), block: cidr };
    world.store.put_text(affinity.clone(), r#"{"state": "perhaps"}"#);
    named(&world, &affinity, "");
    for n in 0..40 {
        add(&world, "a", &format!("n{n}")).unwrap();
    }
    let released = world.run(ipam::ReleaseByHandle::new(vec![handle("h1")], None).planner()).unwrap();
    assert!(matches!(&released[..], [HandleRelease::Released(one)] if one.len() == 1));
    named(&world, &affinity, "");
    let error = world
        .run(ipam::ReleaseAffinities { which: Which::One(host("a"), cidr), must_be_empty: false }.planner())
        .unwrap_err();
    assert!(matches!(error, RunError::Store(_)) && error.to_string().contains("BlockAffinityKey"), "{error}");
}

#[test]
fn nothing_is_done_by_an_unreadable_handle() {
    for text in ["{", r#"{"block": {"x": 1}}"#, r#"{"block": {"10.0.0.0/28": -1}}"#, r#"{"block": 5}"#] {
        let (world, _) = world_with_block();
        let key = Key::Handle(handle("h1"));
        world.store.put_text(key.clone(), text);
        named(&world, &key, "");
        let error = add(&world, "a", "h1").unwrap_err();
        assert!(error.contains("IPAMHandleKey(id=h1)"), "{error}");
        let error = world.run(ipam::ReleaseByHandle::new(vec![handle("h1")], None).planner()).unwrap_err();
        assert!(error.to_string().contains("IPAMHandleKey(id=h1)"), "{error}");
        assert!(add(&world, "a", "h3").is_ok());
        assert!(
            matches!(world.run(ipam::ReleaseByHandle::new(vec![handle("h2")], None).planner()).unwrap().as_slice(),
            [HandleRelease::Released(one)] if one.len() == 1)
        );
    }
}

/// The report on a cluster's usage counts a block that cannot be read as full.
#[test]
fn an_unreadable_block_is_shown_as_full() {
    let (world, key) = world_with_block();
    damage(&world, &key, "/allocations", json!([]));
    let view = block_on(world.store.read(&ipam::usage::reads(), WITHIN)).unwrap();
    let cluster = ipam::usage::pools(&view);
    assert_eq!((cluster.pools[0].usage.in_use, cluster.pools[0].usage.free), (16, 240));
    assert_eq!(cluster.pools[0].blocks[0].usage.free, 0);
}

/// A copy of a block in memory keeps the parts that cannot be read.
#[test]
fn copies_keep_what_is_odd() {
    let (world, key) = world_with_block();
    damage(&world, &key, "/attributes/1/secondary/pod", json!({"a": 1}));
    let block = world.record(&key).unwrap().block().unwrap().clone();
    let copied = Value::Block(ipam::block::copy(&block)).to_stored_text();
    assert_eq!(copied, Value::Block(block).to_stored_text());
    assert!(copied.contains(r#""pod":{"a":1}"#));
}
