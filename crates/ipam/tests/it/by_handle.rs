//! What a handle holds, and the release of no more than was seen.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use api::{Handle, Key, Value};
use ipam::{HandleRelease, HeldIps, IpsByHandle, Planner, PodName, ReleaseByHandle, ReleaseIps, Whose, run};
use serde_json::json;
use store::Effects as _;
use store::testing::{Chances, CommitFault, Counting, FaultPlan, Faulty, Step};

use crate::witness::{Asks, Told, Witness};
use crate::world::*;

fn asked(world: &World, question: IpsByHandle) -> Option<HeldIps> {
    world.run(question.planner()).unwrap()
}

fn held(world: &World, id: &str) -> Option<HeldIps> {
    asked(world, IpsByHandle::new(handle(id)))
}

fn addresses(held: &HeldIps) -> BTreeSet<IpAddr> {
    held.ips.iter().map(|ip| ip.addr).collect()
}

fn all(list: &[&str]) -> BTreeSet<IpAddr> {
    list.iter().map(|addr| ip(addr)).collect()
}

/// The handle holds addresses of three blocks, has given one back that cools down, and shares its blocks.
fn shared() -> World {
    let world = World::with_pool("10.0.0.0/28", 30);
    world.pool("six", "fd00::/124", 126);
    world.config(|config| config.cooldown_seconds = 60);
    for (addr, id) in
        [("10.0.0.9", "h"), ("10.0.0.1", "h"), ("10.0.0.2", "i"), ("10.0.0.3", "h"), ("fd00::1", "h")]
    {
        world.assign(request_ip("a", id, addr)).unwrap();
    }
    world.release(vec![just("10.0.0.3")]);
    world
}

#[test]
fn what_a_handle_holds() {
    let world = shared();
    let before = world.store.records();
    let found = held(&world, "h").unwrap();
    let order: Vec<IpAddr> = found.ips.iter().map(|ip| ip.addr).collect();
    assert_eq!(order, ["10.0.0.1", "10.0.0.9", "fd00::1"].map(ip));
    assert_eq!(found.unreadable, []);
    assert_eq!(addresses(&held(&world, "i").unwrap()), all(&["10.0.0.2"]));
    assert_eq!(held(&world, "none"), None);
    assert_eq!(world.store.records(), before, "nothing is written");
    // The release of just what was found releases all of it.
    let released = world.release(found.ips);
    assert_eq!((released.released.len(), released.error), (3, None));
    assert_eq!(held(&world, "h"), None);
}

/// What was found names the assignments: an address that was given back and assigned again, even to the same
/// handle, is not released by it.
#[test]
fn what_was_found_names_assignments() {
    let world = World::with_pool("10.0.0.0/28", 30);
    world.assign(request_ip("a", "h", "10.0.0.1")).unwrap();
    let found = held(&world, "h").unwrap();
    world.del("h");
    world.assign(request_ip("a", "h", "10.0.0.1")).unwrap();
    let released = world.run(ReleaseIps::new(found.ips.clone()).planner()).unwrap();
    assert!(released.released.is_empty() && released.error.is_some(), "{released:?}");
    let now = held(&world, "h").unwrap();
    assert_eq!(addresses(&now), addresses(&found));
    assert_ne!(now, found);
}

/// The rest is given; what cannot be read is named, not taken for nothing.
#[test]
fn what_cannot_be_read_is_named() {
    let key = Key::Block(block_cidr("10.0.0.0/30"));
    let damage = |world: &World, pointer: &str, value| {
        let mut text: serde_json::Value =
            serde_json::from_str(&world.record(&key).unwrap().value.to_stored_text()).unwrap();
        *text.pointer_mut(pointer).unwrap() = value;
        world.store.put_text(key.clone(), &text.to_string());
    };
    for (pointer, value, field) in
        [("/allocations/1", json!(-1), "allocations[1]"), ("/attributes/0/handle_id", json!(5), "attributes")]
    {
        let world = shared();
        damage(&world, pointer, value);
        let found = held(&world, "h").unwrap();
        assert_eq!(addresses(&found), all(&["10.0.0.9", "fd00::1"]), "{field}");
        let [error] = found.unreadable.as_slice() else { panic!("{field}: {found:?}") };
        assert!(error.to_string().contains("10.0.0.0/30") && error.field == field, "{error}");
    }
    let world = shared();
    world.store.put_text(Key::Handle(handle("h")), "{\"block\": 5}");
    let error = world.run(IpsByHandle::new(handle("h")).planner()).unwrap_err().to_string();
    assert!(error.contains(&Key::Handle(handle("h")).to_string()), "{error}");
}

/// After a crash or a change by hand, the handle names other blocks than those that hold its addresses, or
/// does not exist.
#[test]
fn what_a_handle_does_not_name() {
    let world = World::with_pool("10.0.0.0/28", 30);
    world.assign(request_ip("a", "h", "10.0.0.1")).unwrap();
    world.assign(request_ip("a", "other", "10.0.0.5")).unwrap();
    let counts =
        |block: &str| Value::Handle(Handle { blocks: [(block_cidr(block), 1)].into(), deleted: false });
    let question = |host: Option<&str>, given: &[&str]| IpsByHandle {
        host: host.map(str::to_string),
        given: given.iter().map(|addr| ip(addr)).collect(),
        ..IpsByHandle::new(handle("h"))
    };
    // The second of these blocks does not exist.
    for wrong in ["10.0.0.4/30", "10.0.0.12/30"] {
        world.store.put(Key::Handle(handle("h")), counts(wrong));
        assert_eq!(asked(&world, question(None, &[])), Some(HeldIps::default()), "{wrong}");
        assert_eq!(asked(&world, question(Some("b"), &[])), Some(HeldIps::default()), "{wrong}");
        let found = asked(&world, question(Some("a"), &[])).unwrap();
        assert_eq!((addresses(&found), found.unreadable), (all(&["10.0.0.1"]), vec![]), "{wrong}");
    }
    world.delete(Key::Handle(handle("h")));
    assert_eq!(asked(&world, question(Some("a"), &[])), None);
    assert_eq!(asked(&world, question(None, &["10.0.0.5", "172.16.0.1"])), None);
    let found = asked(&world, question(None, &["10.0.0.2"])).unwrap();
    assert_eq!(addresses(&found), all(&["10.0.0.1"]));
    // A block that cannot be read may hold addresses of the handle.
    world.store.put_text(Key::Block(block_cidr("10.0.0.0/30")), "{}");
    let found = asked(&world, question(None, &["10.0.0.2"])).unwrap();
    assert_eq!((found.ips.len(), found.unreadable.len()), (0, 1), "{found:?}");
}

/// The release of what was seen.
fn seen(world: &World, id: &str) -> ReleaseByHandle {
    ReleaseByHandle::new(Vec::new(), None).only(handle(id), held(world, id).unwrap().assignments())
}

/// The addresses that the handle has got since stay, and so does one that was given back and assigned to it
/// again.
#[test]
fn a_stale_release_frees_nothing_newer() {
    for cooldown in [0, 60] {
        let world = World::with_pool("10.0.0.0/28", 30);
        world.config(|config| config.cooldown_seconds = cooldown);
        for addr in ["10.0.0.1", "10.0.0.2", "10.0.0.5"] {
            world.assign(request_ip("a", "h", addr)).unwrap();
        }
        let stale = seen(&world, "h");
        world.release(vec![just("10.0.0.1")]);
        world.clock.advance(61);
        for addr in ["10.0.0.1", "10.0.0.6"] {
            world.assign(request_ip("a", "h", addr)).unwrap();
        }
        let answer = world.run(stale.clone().planner()).unwrap();
        assert_eq!(answer, [HandleRelease::Released(["10.0.0.2", "10.0.0.5"].map(ip).to_vec())]);
        assert_eq!(addresses(&held(&world, "h").unwrap()), all(&["10.0.0.1", "10.0.0.6"]));
        world.check_at_rest();
        // Once more, there is nothing left of it.
        let before = world.store.records();
        let answer = world.run(stale.planner()).unwrap();
        assert_eq!(answer, [HandleRelease::Anothers(["10.0.0.1", "10.0.0.6"].map(ip).to_vec())]);
        assert_eq!(world.store.records(), before);
        // A sequence number of an address that the handle does not hold frees nothing of another's.
        let other = held(&world, "h").unwrap();
        world.assign(request_ip("a", "i", "10.0.0.3")).unwrap();
        let wrong = ReleaseByHandle::new(Vec::new(), None).only(handle("i"), other.assignments());
        assert_eq!(world.run(wrong.planner()).unwrap(), [HandleRelease::Anothers(vec![ip("10.0.0.3")])]);
        let none = ReleaseByHandle::new(Vec::new(), None).only(handle("none"), other.assignments());
        assert_eq!(world.run(none.planner()).unwrap(), [HandleRelease::NotFound]);
    }
}

/// Both demands hold: the pod's name and the sequence number.
#[test]
fn a_pod_and_a_sequence_number() {
    let world = World::with_pool("10.0.0.0/28", 30);
    let addr = world.add("a", "h");
    let stale = seen(&world, "h");
    let of_pod = |request: ReleaseByHandle, name: &str| {
        let pod = PodName { namespace: "default".to_string(), name: name.to_string() };
        world.run(request.and(handle("h"), Whose::Pods(pod)).planner()).unwrap()
    };
    world.release(vec![just(&addr.to_string())]);
    let mut again = request_ip("a", "h", &addr.to_string());
    again.attributes = request("a", "h", 1, 0).attributes;
    world.assign(again).unwrap();
    assert_eq!(of_pod(stale, "h"), [HandleRelease::Anothers(vec![addr])]);
    assert_eq!(of_pod(seen(&world, "h"), "x"), [HandleRelease::Anothers(vec![addr])]);
    assert_eq!(of_pod(seen(&world, "h"), "h"), [HandleRelease::Released(vec![addr])]);
}

/// Before any write of the release, whose replies are lost or not, the handle loses its addresses and gets
/// the same ones again. These stay.
#[test]
fn what_is_assigned_again_during_the_release_stays() {
    for (before, landed) in (0..3).flat_map(|at| [(at, None), (at, Some(false)), (at, Some(true))]) {
        let world = World::with_pool("10.0.0.0/28", 30);
        for addr in ["10.0.0.1", "10.0.0.5"] {
            world.assign(request_ip("a", "h", addr)).unwrap();
        }
        let stale = seen(&world, "h");
        let witness = Witness::of(&world.store.records());
        let by = witness.asked(stale.request(), world.clock.now());
        let acted = Arc::new(AtomicUsize::new(0));
        let (w, once, sees) = (world.clone(), acted.clone(), witness.clone());
        let hook = move |step| {
            if step == Step::BeforeWrite(before) && once.fetch_add(1, Ordering::Relaxed) == 0 {
                let (w, sees) = (w.clone(), sees.clone());
                let act = move || {
                    w.del("h");
                    sees.catch_up(&w.store.records());
                    for addr in ["10.0.0.1", "10.0.0.5"] {
                        w.assign(request_ip("a", "h", addr)).unwrap();
                    }
                    sees.catch_up(&w.store.records());
                };
                std::thread::spawn(act).join().unwrap();
            }
            Box::pin(async {}) as std::pin::Pin<Box<dyn Future<Output = ()> + Send>>
        };
        let plan = FaultPlan::one_by_one();
        let plan = match landed {
            Some(landed) => plan.fault(0, CommitFault::ReplyLost { answered: before, lost: 3, landed }),
            None => plan,
        };
        let store = Faulty::new(Told::of(&witness, &world.store, Some(by)), plan).with_hook(Arc::new(hook));
        let answer = block_on(run(&store, &world.clock, stale.planner(), WITHIN)).unwrap();
        let what = format!("before {before}, {landed:?}: {answer:?}");
        assert!(acted.load(Ordering::Relaxed) > 0, "{what}");
        witness.check(&what);
        assert_eq!(addresses(&held(&world, "h").unwrap()), all(&["10.0.0.1", "10.0.0.5"]), "{what}");
        world.check();
    }
}

/// One read of the handle and one of its blocks, however large the cluster is. Reads that fail are repeated.
#[test]
fn it_reads_the_handle_and_its_blocks() {
    let world = shared();
    let counting = Counting::new(world.store.clone());
    block_on(run(&counting, &world.clock, IpsByHandle::new(handle("h")).planner(), WITHIN)).unwrap();
    let counts = counting.counts();
    assert_eq!((counts.reads, counts.commits, counts.records.values().sum::<u64>()), (2, 0, 4), "{counts:?}");
    for seed in 0..50 {
        let chances = Chances { read_fails: 400, unsent: 0, reply_lost: 0, crash: 0, watch_dropped: 0 };
        let store = Faulty::new(world.store.clone(), FaultPlan { seed, chances, ..FaultPlan::default() });
        let planner = IpsByHandle::new(handle("h")).planner();
        assert!(!planner.may_begin_warm(), "what is gone must not be found");
        let found = block_on(run(&store, &world.clock, planner, WITHIN)).unwrap().unwrap();
        assert_eq!(found.ips.len(), 3, "seed {seed}");
    }
}
