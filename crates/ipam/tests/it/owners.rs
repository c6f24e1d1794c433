//! The owners of an address that moves with a virtual machine.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use api::{Attribute, Key, Value};
use ipam::plan::EnsureActiveOwnerPlanner;
use ipam::{
    AutoAssign, Change, EnsureActiveOwner, HandleRelease, OwnerAttributes, Planner, PodName, ReleaseUnowned,
    ReleaseUnownedPlanner, SetOwnerAttributes, SetOwnerAttributesPlanner, run,
};
use store::testing::{CommitFault, FaultPlan, Faulty, Step};

use crate::world::*;

const VM: &str = "net.vmi.default.vm";

fn pod(name: &str) -> PodName {
    PodName { namespace: "default".to_string(), name: name.to_string() }
}

/// The attributes of a pod as an owner; empty for the empty name.
fn owner(name: &str) -> OwnerAttributes {
    let attributes = [("namespace", "default"), ("pod", name), ("node", "a")];
    let attributes = attributes.iter().filter(|_| !name.is_empty());
    attributes.map(|(k, v)| (k.to_string(), v.to_string())).collect()
}

fn set(name: &str) -> Change {
    Change::Set(owner(name))
}

fn replace(expected: &str, by: &str) -> Change {
    Change::Replace { expected: (!expected.is_empty()).then(|| pod(expected)), by: owner(by) }
}

fn leave(name: &str) -> Change {
    Change::Leave(pod(name))
}

fn request_of(active: Change, alternate: Change) -> SetOwnerAttributesPlanner {
    SetOwnerAttributes { handle: handle(VM), active, alternate }.planner()
}

/// A cluster with a virtual machine that has an address of each family and these owners, and with another
/// container.
fn machine(active: &str, alternate: &str) -> World {
    let world = World::with_pool("10.0.0.0/28", 30);
    world.pool("six", "fd00::/124", 126);
    world.auto(request("a", "kept", 1, 1));
    world.auto(request("a", VM, 1, 1));
    world.run(request_of(set(active), set(alternate))).unwrap();
    world
}

/// The active and the alternate owner, which must be the same for all addresses of the machine.
fn owners(world: &World) -> (OwnerAttributes, OwnerAttributes) {
    let mut all: Vec<(OwnerAttributes, OwnerAttributes)> = attributes(world, VM)
        .into_values()
        .map(|attribute| (attribute.owner.clone(), attribute.alternate_owner.clone()))
        .collect();
    assert_eq!(all.len(), 2);
    all.dedup();
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

fn attributes(world: &World, id: &str) -> BTreeMap<IpAddr, Arc<Attribute>> {
    let mut found = BTreeMap::new();
    for block in world.blocks() {
        for ordinal in ipam::block::ordinals_of(&block, id) {
            found.insert(block.cidr.addr(ordinal).unwrap(), block.attribute(ordinal).unwrap().clone());
        }
    }
    found
}

/// Each row: the owners before, the changes, and the owners after or the error.
#[test]
fn states_and_changes() {
    let keep = Change::default;
    let wrong = "cannot set ActiveOwnerAttrs: expected pod=";
    for (before, active, alternate, wanted) in [
        (("x", ""), keep(), keep(), Ok(("x", ""))),
        (("x", ""), set("y"), keep(), Ok(("y", ""))),
        (("x", "y"), set(""), keep(), Ok(("", "y"))),
        (("", ""), set("x"), keep(), Ok(("x", ""))),
        (("x", ""), keep(), set("y"), Ok(("x", "y"))),
        (("x", "y"), keep(), set("z"), Ok(("x", "z"))),
        (("x", "y"), keep(), set(""), Ok(("x", ""))),
        (("x", "y"), set(""), set(""), Ok(("", ""))),
        (("x", "y"), set("y"), set("x"), Ok(("y", "x"))),
        // The end of a migration; then the same change again, after its reply was lost.
        (("x", "y"), replace("x", "y"), replace("y", "x"), Ok(("y", "x"))),
        (("y", "x"), replace("x", "y"), replace("y", "x"), Ok(("y", "x"))),
        (("", "y"), replace("", "y"), replace("y", ""), Ok(("y", ""))),
        (("x", ""), replace("x", ""), keep(), Ok(("", ""))),
        (("z", "y"), replace("x", "y"), replace("y", "x"), Err(wrong)),
        (("", "y"), replace("x", "y"), replace("y", ""), Err(wrong)),
        (("x", "y"), replace("", "y"), replace("y", ""), Err(wrong)),
        (("x", "z"), replace("x", "y"), replace("y", "x"), Err("cannot set AlternateOwnerAttrs")),
        // A precondition on a slot that is already changed is checked against the other slot.
        (("y", "z"), replace("x", "y"), replace("", "x"), Err(wrong)),
        (("x", "y"), leave("x"), leave("x"), Ok(("", "y"))),
        (("x", "y"), leave("y"), leave("y"), Ok(("x", ""))),
        (("x", "x"), leave("x"), leave("x"), Ok(("", ""))),
        (("x", "y"), leave("z"), leave("z"), Ok(("x", "y"))),
        (("", ""), leave("x"), leave("x"), Ok(("", ""))),
    ] {
        let world = machine(before.0, before.1);
        let (blocks, kept) = (world.blocks(), attributes(&world, "kept"));
        let answer = world.run(request_of(active.clone(), alternate.clone()));
        let what = format!("{before:?}, {active:?}, {alternate:?}: {answer:?}");
        match wanted {
            Ok(after) => {
                assert_eq!(answer.unwrap().unwrap().len(), 2, "{what}");
                assert_eq!(owners(&world), (owner(after.0), owner(after.1)), "{what}");
            }
            Err(text) => {
                let message = answer.unwrap_err().to_string();
                assert!(message.starts_with("update conflict: ") && message.contains(text), "{what}");
                assert_eq!(owners(&world), (owner(before.0), owner(before.1)), "{what}");
            }
        }
        // Attributes that already are as wanted are not written.
        let is_written =
            |(block, now): (&api::Block, &api::Block)| block.sequence_number != now.sequence_number;
        let is_changed = owners(&world) != (owner(before.0), owner(before.1));
        assert!(blocks.iter().zip(&world.blocks()).all(|pair| is_written(pair) == is_changed), "{what}");
        assert_eq!(attributes(&world, "kept"), kept, "{what}");
        world.check();
    }
}

#[test]
fn the_words_are_calicos() {
    let world = machine("x", "");
    let error = world.run(request_of(replace("w", "y"), Change::Keep)).unwrap_err().to_string();
    let addr = attributes(&world, VM).into_keys().next().unwrap();
    assert_eq!(
        error,
        format!(
            "update conflict: {addr} with error: cannot set ActiveOwnerAttrs: expected pod=w namespace=default but found pod=x namespace=default"
        )
    );
    let error = world.run(request_of(Change::Keep, replace("w", "y"))).unwrap_err().to_string();
    assert!(error.ends_with("expected pod=w namespace=default but found pod= namespace="), "{error}");
    // A pod of the same name in another namespace.
    let other = PodName { namespace: "other".to_string(), name: "x".to_string() };
    world.run(request_of(Change::Leave(other), Change::Keep)).unwrap();
    assert_eq!(owners(&world).0, owner("x"));
}

/// Only the owners change. Handle and sequence numbers, which protect a release, stay as they are.
#[test]
fn an_address_stays_what_it_was() {
    let world = machine("x", "");
    let of = |world: &World| -> Vec<_> {
        let blocks = world.blocks();
        let each =
            |block: &api::Block| (block.allocations.iter().flatten().count(), block.sequence_numbers.clone());
        blocks.iter().map(each).collect()
    };
    let (before, counted) = (of(&world), world.handle(VM));
    world.run(request_of(set("y"), set("z"))).unwrap();
    assert_eq!((of(&world), world.handle(VM)), (before, counted));
    // No unused attribute is left, and the release does not depend on the last owner.
    assert!(world.blocks().iter().all(|block| block.attributes.len() == 2), "{:?}", world.blocks());
    world.run(request_of(set(""), set(""))).unwrap();
    assert!(matches!(world.del(VM), HandleRelease::Released(addresses) if addresses.len() == 2));
}

#[test]
fn handles_without_addresses() {
    let world = machine("x", "");
    world.config(|config| config.cooldown_seconds = 60);
    let none = SetOwnerAttributes { handle: handle("none"), active: set("y"), alternate: set("z") }.planner();
    assert_eq!(world.run(none), Ok(None));
    let counted = world.handle(VM).unwrap();
    world.del(VM);
    assert_eq!(world.run(request_of(set("y"), set("z"))), Ok(None));
    // The handle's count is too high: it includes addresses that cool down.
    world.store.put(Key::Handle(handle(VM)), Value::Handle(counted));
    assert_eq!(world.run(request_of(set("y"), set("z"))), Ok(Some(Vec::new())));
    assert!(attributes(&world, VM).is_empty());
    assert_eq!(
        world.run(ReleaseUnowned { handle: handle(VM), pod: pod("y") }.planner()),
        Ok(Some(HandleRelease::Released(vec![])))
    );
    assert_eq!((world.handle(VM), world.handles()), (None, 1));
}

/// Each row: the owners, and whether the handle is released for `x`.
#[test]
fn a_release_spares_what_is_anothers() {
    for (active, alternate, is_released) in [
        ("x", "", true),
        ("", "x", true),
        ("x", "x", true),
        ("", "", true),
        ("y", "", false),
        ("x", "y", false),
        ("y", "x", false),
        ("", "y", false),
    ] {
        let world = machine(active, alternate);
        let before = world.store.records();
        let answer = world.run(ReleaseUnowned { handle: handle(VM), pod: pod("x") }.planner()).unwrap();
        let what = format!("{active} {alternate}: {answer:?}");
        match is_released {
            true => assert!(matches!(answer, Some(HandleRelease::Released(all)) if all.len() == 2), "{what}"),
            false => assert_eq!((answer, world.store.records()), (None, before), "{what}"),
        }
        assert_eq!(world.handle(VM).is_none(), is_released, "{what}");
        assert_eq!(attributes(&world, "kept").len(), 2, "{what}");
        world.check();
    }
    let world = machine("x", "");
    let none = world.run(ReleaseUnowned { handle: handle("none"), pod: pod("x") }.planner());
    assert_eq!(none, Ok(Some(HandleRelease::NotFound)));
}

fn ensure_active(name: &str) -> EnsureActiveOwnerPlanner {
    EnsureActiveOwner { handle: handle(VM), pod: pod(name) }.planner()
}

/// Each row: the owners before, and the owners after or the error, where `y` is the pod to which the machine
/// has moved.
#[test]
fn the_end_of_a_migration() {
    for (before, wanted) in [
        (("x", "y"), Ok(("y", "x"))),
        (("", "y"), Ok(("y", ""))),
        (("y", "x"), Ok(("y", "x"))),
        (("y", ""), Ok(("y", ""))),
        (("y", "y"), Ok(("y", "y"))),
        (("x", ""), Err("AlternateOwnerAttrs is empty for IP 10.0.0.")),
        (("", ""), Err("AlternateOwnerAttrs is empty for IP 10.0.0.")),
        (
            ("x", "z"),
            Err(
                "AlternateOwnerAttrs doesn't match expected target owner: expected namespace=default pod=y, \
                 got namespace=default pod=z for IP 10.0.0.",
            ),
        ),
    ] {
        let world = machine(before.0, before.1);
        let (records, kept) = (world.store.records(), attributes(&world, "kept"));
        let answer = world.run(ensure_active("y"));
        let what = format!("{before:?}: {answer:?}");
        match wanted {
            Ok(after) => {
                assert_eq!(answer.unwrap().len(), 2, "{what}");
                assert_eq!(owners(&world), (owner(after.0), owner(after.1)), "{what}");
                assert_eq!(world.store.records() == records, before == after, "{what}");
            }
            Err(text) => {
                assert!(answer.unwrap_err().to_string().starts_with(text), "{what}");
                assert_eq!(world.store.records(), records, "{what}");
            }
        }
        assert_eq!(attributes(&world, "kept"), kept, "{what}");
        world.check();
    }
    let world = machine("x", "y");
    world.del(VM);
    let error = world.run(ensure_active("y")).unwrap_err().to_string();
    assert_eq!(error, format!("no IPs found for handle {VM}"));
}

/// One of the machine's addresses has another alternate owner: none of them changes its owner.
#[test]
fn all_addresses_of_a_machine_move_or_none() {
    let world = machine("x", "y");
    let last = *attributes(&world, VM).keys().last().unwrap();
    let request = SetOwnerAttributes { handle: handle(VM), active: Change::Keep, alternate: set("z") };
    assert_eq!(world.run(request.planner_for(last)), Ok(Some(vec![last])));
    let before = world.store.records();
    let error = world.run(ensure_active("y")).unwrap_err().to_string();
    assert!(error.ends_with(&format!("for IP {last}")), "{error}");
    assert_eq!(world.store.records(), before);
}

/// Two addresses of a handle lie in one block and share their attributes. A request for one of them leaves
/// the other as it was. Calico edits the attributes that both share, so it changes the other's owner, too.
#[test]
fn the_owner_of_one_address() {
    let world = World::with_pool("10.0.0.0/28", 30);
    world.config(|config| config.cooldown_seconds = 60);
    for addr in ["10.0.0.1", "10.0.0.2", "10.0.0.5"] {
        world.assign(request_ip("a", VM, addr)).unwrap();
    }
    world.assign(request_ip("a", "i", "10.0.0.6")).unwrap();
    world.assign(request_ip("a", VM, "10.0.0.3")).unwrap();
    world.release(vec![just("10.0.0.3")]);
    let of = |active: Change, addr: &str| {
        let request = SetOwnerAttributes { handle: handle(VM), active, alternate: Change::Keep };
        world.run(request.planner_for(ip(addr))).map_err(|error| error.to_string())
    };
    let mut wanted = attributes(&world, VM);
    let expected = |wanted: &mut BTreeMap<IpAddr, Arc<Attribute>>, addr: &str| {
        let entry = wanted.get_mut(&ip(addr)).unwrap();
        *entry = Arc::new(Attribute { owner: owner("y"), ..(**entry).clone() });
    };
    assert_eq!(of(set("y"), "10.0.0.2"), Ok(Some(vec![ip("10.0.0.2")])));
    expected(&mut wanted, "10.0.0.2");
    assert_eq!(attributes(&world, VM), wanted);
    // The precondition is that address's alone.
    assert_eq!(of(replace("y", "y"), "10.0.0.2"), Ok(Some(vec![ip("10.0.0.2")])));
    let error = of(replace("x", "y"), "10.0.0.1").unwrap_err();
    assert!(
        error.starts_with("update conflict: 10.0.0.1 with error: cannot set ActiveOwnerAttrs"),
        "{error}"
    );
    // Another's, one that cools down, free ones, and one of no block.
    for addr in ["10.0.0.6", "10.0.0.3", "10.0.0.0", "10.0.0.9", "172.16.0.1", "fd00::1"] {
        assert_eq!(of(set("y"), addr), Err(format!("IP {addr} is not assigned to handle {VM}")));
    }
    assert_eq!(attributes(&world, VM), wanted);
    // The block knows the holder, whatever the handle names.
    world.delete(Key::Handle(handle(VM)));
    assert_eq!(of(set("y"), "10.0.0.5"), Ok(Some(vec![ip("10.0.0.5")])));
    expected(&mut wanted, "10.0.0.5");
    assert_eq!(attributes(&world, VM), wanted);
}

/// Whatever happens to the one write, the owner of one address is set, and once only.
#[test]
fn the_owner_of_one_address_with_faults() {
    let request = |world: &World| {
        let addr = *attributes(world, VM).keys().next().unwrap();
        let request =
            SetOwnerAttributes { handle: handle(VM), active: replace("x", "y"), alternate: Change::Keep };
        (addr, request.planner_for(addr))
    };
    let lost = [false, true].map(|landed| CommitFault::ReplyLost { answered: 0, lost: 1, landed });
    for fault in lost.into_iter().chain([CommitFault::Unsent]) {
        let world = machine("x", "");
        let before = world.blocks();
        let (addr, planner) = request(&world);
        let answer = on(&world, FaultPlan::one_by_one().fault(0, fault), planner);
        assert_eq!(answer, Ok(Some(vec![addr])), "{fault:?}");
        assert_eq!(attributes(&world, VM)[&addr].owner, owner("y"), "{fault:?}");
        let written = before.iter().zip(world.blocks()).filter(|(was, now)| *was != now);
        assert_eq!(written.map(|(was, now)| now.sequence_number - was.sequence_number).sum::<u64>(), 1);
        world.check();
    }
    for writes in 0..=1 {
        let world = machine("x", "");
        let (addr, planner) = request(&world);
        let plan = FaultPlan::one_by_one().fault(0, CommitFault::Crash { writes });
        assert!(on(&world, plan, planner.clone()).is_err(), "{writes}");
        world.check();
        assert_eq!(world.run(planner), Ok(Some(vec![addr])), "{writes}");
        assert_eq!(attributes(&world, VM)[&addr].owner, owner("y"), "{writes}");
    }
}

/// Runs an operation with faults in its writes.
fn on<P: Planner>(world: &World, plan: FaultPlan, planner: P) -> Result<P::Answer, String>
where
    P::Error: std::fmt::Display,
{
    let store = Faulty::new(world.store.clone(), plan);
    block_on(run(&store, &world.clock, planner, WITHIN)).map_err(|error| error.to_string())
}

fn migrated() -> SetOwnerAttributesPlanner {
    request_of(replace("x", "y"), replace("y", "x"))
}

fn unowned() -> ReleaseUnownedPlanner {
    ReleaseUnowned { handle: handle(VM), pod: pod("x") }.planner()
}

/// Changing the owners takes two writes, and the release takes three.
#[test]
fn lost_replies() {
    for (answered, landed) in (0..3).flat_map(|answered| [(answered, false), (answered, true)]) {
        for lost in 1..=3 {
            let fault = CommitFault::ReplyLost { answered, lost, landed };
            let plan = || FaultPlan::one_by_one().fault(0, fault);
            let world = machine("x", "y");
            assert_eq!(on(&world, plan(), migrated()).unwrap().unwrap().len(), 2, "{fault:?}");
            assert_eq!(owners(&world), (owner("y"), owner("x")), "{fault:?}");
            world.check();

            let world = machine("x", "");
            let answer = on(&world, plan(), unowned()).unwrap();
            assert!(
                matches!(&answer, Some(HandleRelease::Released(all)) if all.len() == 2),
                "{fault:?} {answer:?}"
            );
            assert_eq!((attributes(&world, VM).len(), world.handles()), (0, 1), "{fault:?}");
            world.check();
        }
    }
}

/// After a crash, the repeated request completes the work.
#[test]
fn crashes() {
    for writes in 0..3 {
        let plan = || FaultPlan::one_by_one().fault(0, CommitFault::Crash { writes });
        let world = machine("x", "y");
        assert!(on(&world, plan(), migrated()).is_err(), "{writes}");
        world.check();
        world.run(migrated()).unwrap();
        assert_eq!(owners(&world), (owner("y"), owner("x")), "{writes}");

        let world = machine("x", "");
        assert!(on(&world, plan(), unowned()).is_err(), "{writes}");
        world.check();
        assert!(world.run(unowned()).unwrap().is_some());
        assert_eq!((attributes(&world, VM).len(), world.handle(VM)), (0, None), "{writes}");
        world.check();
    }
}

/// Before any write of the release, another pod gets the address. It keeps the address, whether replies are
/// lost or not.
#[test]
fn nobody_loses_what_he_was_given_meanwhile() {
    for (at, landed) in (0..2).flat_map(|at| [(at, None), (at, Some(false)), (at, Some(true))]) {
        let world = machine("x", "");
        let done = Arc::new(AtomicUsize::new(0));
        let seen = done.clone();
        let plan = FaultPlan::one_by_one();
        let plan = match landed {
            Some(landed) => plan.fault(0, CommitFault::ReplyLost { answered: at, lost: 3, landed }),
            None => plan,
        };
        let store = stepped(&world, plan, move |world, step| {
            if step == Step::BeforeWrite(at) && seen.fetch_add(1, Ordering::Relaxed) == 0 {
                world.run(request_of(set("z"), Change::Keep)).unwrap();
            }
        });
        let answer = block_on(run(&store, &world.clock, unowned(), WITHIN)).unwrap();
        let what = format!("{at} {landed:?}: {answer:?}");
        assert_eq!(done.load(Ordering::Relaxed).min(1), 1, "{what}");
        let held = attributes(&world, VM);
        assert_eq!((answer, held.len()), (None, 2 - at), "{what}");
        assert!(held.values().all(|attribute| attribute.owner == owner("z")), "{what}");
        world.check();
    }
}

/// The first write of the release is in doubt, and then another pod gets the other address. Nothing is
/// released, and the write in doubt can never be applied.
#[test]
fn what_is_in_doubt_is_fenced() {
    let world = machine("x", "");
    let before = world.blocks();
    let plan =
        FaultPlan::one_by_one().fault(0, CommitFault::ReplyLost { answered: 0, lost: 1, landed: false });
    let reads = AtomicUsize::new(0);
    let store = stepped(&world, plan, move |world, step| {
        // The first attempt makes two reads: the handle, and then its blocks.
        if step == Step::BeforeRead && reads.fetch_add(1, Ordering::Relaxed) == 2 {
            let mut block = world.blocks().pop().unwrap();
            let ordinal = ipam::block::ordinals_of(&block, VM)[0];
            let given = Attribute { owner: owner("z"), ..(**block.attribute(ordinal).unwrap()).clone() };
            ipam::block::set_attribute(&mut block, ordinal, given);
            world.store.put(Key::Block(block.cidr), Value::Block(block));
        }
    });
    assert_eq!(block_on(run(&store, &world.clock, unowned(), WITHIN)), Ok(None));
    let mut owners: Vec<_> = attributes(&world, VM).into_values().map(|a| a.owner.clone()).collect();
    owners.sort();
    assert_eq!(owners, [owner("x"), owner("z")]);
    assert_eq!(world.blocks()[0].sequence_number, before[0].sequence_number + 1);
}

/// The reply to a write is lost, and the machine has another pod before the request tries again. The request
/// finds its address, and takes no second one.
#[test]
fn a_request_finds_its_address_when_the_owner_is_another() {
    for answered in 0..5 {
        let world = Arc::new(World::with_pool("10.0.0.0/28", 30));
        let plan =
            FaultPlan::like_kubernetes().fault(0, CommitFault::ReplyLost { answered, lost: 1, landed: true });
        let moved = world.clone();
        let store = Faulty::new(world.store.clone(), plan).with_hook(Arc::new(move |step| {
            let world = moved.clone();
            Box::pin(async move {
                let is_old = attributes(&world, VM).values().any(|attribute| attribute.owner != owner("y"));
                if step == Step::BeforeRead && is_old {
                    run(&world.store, &world.clock, request_of(set("y"), set("z")), WITHIN).await.unwrap();
                }
            })
        }));
        let request = AutoAssign { max_per_handle: Some(1), ..request("a", VM, 1, 0) };
        let answer = block_on(run(&store, &world.clock, request.planner(), WITHIN)).unwrap();
        let got: Vec<IpAddr> = answer.v4.addresses.iter().map(|address| address.addr).collect();
        assert_eq!(got, world.assigned().into_keys().collect::<Vec<_>>(), "write {answered}");
        assert_eq!(got.len(), 1, "write {answered}");
        world.check_at_rest();
    }
}
