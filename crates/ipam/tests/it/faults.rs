//! Every operation, with everything that can go wrong at every one of its writes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use api::Key;
use ipam::invariants::{Request, Violation};
use ipam::{ReleaseAffinities, ReleaseByHandle, ReleaseIp, ReleaseIps, Which};
use store::Effects as _;
use store::Store;
use store::testing::{Chances, CommitFault, FaultPlan, Faulty, Stale, Step};
use tokio::task::JoinSet;

use crate::operations::{Act, Answer, Case, HANDLES, cases, holds, prepared};
use crate::witness::{Told, Witness};
use crate::world::*;

/// Number of writes of the operation's commit where nothing goes wrong.
fn writes_of(case: &Case) -> usize {
    let world = prepared(case);
    let most = Arc::new(AtomicUsize::new(0));
    let seen = most.clone();
    let store = Faulty::new(world.store.clone(), FaultPlan::one_by_one()).with_hook(Arc::new(move |step| {
        if let Step::AfterWrite(index) = step {
            seen.fetch_max(index + 1, Ordering::Relaxed);
        }
        Box::pin(async {})
    }));
    let answer = block_on(case.act.on(&store, &world.clock)).unwrap();
    assert!((case.is_done)(&world, &answer), "{}: {answer:?} {:#?}", case.name, world.affinities());
    world.check();
    most.load(Ordering::Relaxed)
}

/// Runs an operation that meets the faults of a plan, in sight of a witness.
fn play(world: &World, act: &Act, plan: FaultPlan, what: &str) -> (Answer, Witness) {
    let witness = Witness::of(&world.store.records());
    let by = witness.asked(act.request(), world.clock.now());
    let store = Faulty::new(Told::of(&witness, &world.store, Some(by)), plan);
    let answer = block_on(act.on(&store, &world.clock));
    witness.answered(by, act.ended(&answer));
    witness.check(what);
    (answer, witness)
}

/// The reply of any write, of any number of them, or of all at once, is lost: the operation succeeds all the
/// same, exactly once.
#[test]
fn lost_replies() {
    for case in cases() {
        let writes = writes_of(&case);
        assert!(writes > 1, "{}", case.name);
        for landed in [false, true] {
            for answered in 0..writes {
                for lost in [1, 2, writes - answered] {
                    let fault = CommitFault::ReplyLost { answered, lost, landed };
                    let world = prepared(&case);
                    let plan = FaultPlan::one_by_one().fault(0, fault);
                    let (answer, _) = play(&world, &case.act, plan, case.name);
                    let what = format!("{}, {fault:?}: {answer:?}", case.name);
                    assert!(
                        (case.is_done)(&world, answer.as_ref().expect(&what)),
                        "{what} {:#?}",
                        world.store.records()
                    );
                    world.check();
                }
            }
        }
    }
}

/// Two replies are lost, one after the other.
#[test]
fn lost_replies_of_two_attempts() {
    for case in cases() {
        let writes = writes_of(&case);
        for (first, second) in (0..writes).flat_map(|a| (0..writes).map(move |b| (a, b))) {
            for landed in 0..4 {
                let lost = |answered, landed| CommitFault::ReplyLost { answered, lost: 20, landed };
                let plan = FaultPlan::one_by_one()
                    .fault(0, lost(first, landed & 1 == 1))
                    .fault(1, lost(second, landed & 2 == 2));
                let world = prepared(&case);
                let (answer, _) = play(&world, &case.act, plan, case.name);
                let what = format!("{}, {first} then {second}, landed {landed}: {answer:?}", case.name);
                assert!(
                    (case.is_done)(&world, answer.as_ref().expect(&what)),
                    "{what} {:#?}",
                    world.store.records()
                );
                world.check();
            }
        }
    }
}

/// A crash after any write leaves a legal state, and whoever asks again gets what was wanted; a release of
/// all leaves nothing.
#[test]
fn crashes() {
    for case in cases() {
        for writes in 0..=writes_of(&case) {
            let world = prepared(&case);
            let plan = FaultPlan::one_by_one().fault(0, CommitFault::Crash { writes });
            let store = Faulty::new(world.store.clone(), plan);
            assert!(block_on(case.act.on(&store, &world.clock)).is_err());
            world.check();
            let again = store.another(FaultPlan::one_by_one());
            let answer = block_on(case.act.on(&again, &world.clock));
            assert!(answer.is_ok() || case.act.is_named(), "{} after {writes}: {answer:?}", case.name);
            world.check();
            if case.act.is_release() {
                let held = world.assigned().values().filter(|id| *id == "new").count();
                assert!(
                    held <= usize::from(case.name == "a release by address"),
                    "{} after {writes}",
                    case.name
                );
            }
            for id in HANDLES {
                world.del(id);
            }
            assert_eq!((world.assigned().len(), world.handles()), (0, 0), "{} after {writes}", case.name);
            world.release_affinities(Which::Within(cidr("10.0.0.0/8")), false);
            world.release_affinities(Which::Within(cidr("fd00::/8")), false);
            assert_eq!(world.affinities(), [""; 0]);
        }
    }
}

/// The store goes away for good after a request has written something, and comes back while the request gives
/// up: nothing is left.
#[test]
fn what_ends_in_an_error_leaves_nothing() {
    for case in cases().iter().filter(|case| !case.act.is_release()) {
        for k in 0..writes_of(case) {
            for landed in [false, true] {
                let world = prepared(case);
                // Every commit of the 100 attempts loses its reply after k writes.
                let mut plan = FaultPlan::one_by_one();
                for commit in 0..100 {
                    let fault = if commit % 2 == 0 {
                        CommitFault::ReplyLost { answered: k, lost: 20, landed: landed && commit == 98 }
                    } else {
                        CommitFault::Unsent
                    };
                    plan = plan.fault(commit, fault);
                }
                let (answer, witness) = play(&world, &case.act, plan, case.name);
                world.check();
                match answer {
                    // It may have come through, with what an earlier attempt had got.
                    Ok(answer) => assert!((case.is_done)(&world, &answer), "{} {k}", case.name),
                    Err(error) => {
                        let left = witness.left_by_failed();
                        assert_eq!(left, [], "{} {k} {landed}: {error}", case.name);
                    }
                }
            }
        }
    }
}

/// Before any write of an operation somebody else acts: all of the operation's promises hold, and nobody's
/// address is lost.
#[test]
fn others_between_the_writes() {
    type Other = (&'static str, fn(&World));
    let others: [Other; 8] = [
        ("the same host takes one", |w| drop(w.run(request("a", "other", 1, 0).planner()).unwrap())),
        ("another host takes some", |w| drop(w.run(request("b", "other", 3, 0).planner()).unwrap())),
        ("everything is taken", |w| drop(w.run(request("b", "other", 16, 0).planner()).unwrap())),
        ("the host's affinities go", |w| {
            drop(
                w.run(ReleaseAffinities { which: Which::Owner(host("a")), must_be_empty: false }.planner())
                    .unwrap(),
            );
        }),
        ("empty blocks of the host go", |w| {
            drop(
                w.run(ReleaseAffinities { which: Which::Owner(host("a")), must_be_empty: true }.planner())
                    .unwrap(),
            );
        }),
        ("another's affinities go", |w| {
            drop(
                w.run(ReleaseAffinities { which: Which::Owner(host("b")), must_be_empty: false }.planner())
                    .unwrap(),
            );
        }),
        ("another handle is released", |w| {
            drop(w.run(ReleaseByHandle::new(vec![handle("old")], None).planner()).unwrap());
        }),
        ("the handle is released", |w| {
            drop(w.run(ReleaseByHandle::new(vec![handle("new")], None).planner()).unwrap());
        }),
    ];
    for case in cases() {
        for before in 0..writes_of(&case) {
            for (what, other) in others {
                let world = prepared(&case);
                let acted = Arc::new(AtomicUsize::new(0));
                let overtaken = what == "the handle is released";
                let witness = Witness::of(&world.store.records());
                let by = witness.asked(case.act.request(), world.clock.now());
                let (w, once, seen) = (world.clone(), acted.clone(), witness.clone());
                let hook = move |step| {
                    if step == Step::BeforeWrite(before) && once.fetch_add(1, Ordering::Relaxed) == 0 {
                        if overtaken {
                            seen.asked(Request::ReleaseHandles(vec![handle("new")]), w.clock.now());
                        }
                        let (w, seen) = (w.clone(), seen.clone());
                        std::thread::spawn(move || {
                            other(&w);
                            seen.catch_up(&w.store.records());
                        })
                        .join()
                        .unwrap();
                    }
                    Box::pin(async {}) as std::pin::Pin<Box<dyn Future<Output = ()> + Send>>
                };
                let told = Told::of(&witness, &world.store, Some(by));
                let store = Faulty::new(told, FaultPlan::like_kubernetes()).with_hook(Arc::new(hook));
                let answer = block_on(case.act.on(&store, &world.clock));
                let text = format!("{}, before write {before} {what}: {answer:?}", case.name);
                witness.answered(by, case.act.ended(&answer));
                witness.check(&text);
                world.check();
                assert!(acted.load(Ordering::Relaxed) > 0, "{text}");
                match &answer {
                    Ok(got) if !overtaken && !case.act.is_release() && !case.act.is_claim() => {
                        assert!(holds(&world, got), "{text} {:#?}", world.store.records());
                    }
                    Ok(_) => {}
                    Err(error) => {
                        let named = case.act.is_named() || error.contains("none that is free");
                        assert!(overtaken || named, "{text}");
                        assert_eq!(witness.left_by_failed(), [], "{text}");
                        assert!(named || error.contains("the handle was released"), "{text}");
                    }
                }
                for id in HANDLES.into_iter().chain(["other"]) {
                    world.del(id);
                }
                assert_eq!((world.assigned().len(), world.handles()), (0, 0), "{text}");
            }
        }
    }
}

/// Every one of them reproduces its faults.
const SEEDS: u64 = 60;

/// Several callers, each with faults of its own by chance, on views that may be old.
#[test]
fn chaos() {
    for seed in 0..SEEDS {
        let world = World { clock: Clock::new(seed), ..World::with_pool("10.0.0.0/27", 30) };
        world.config(|config| {
            config.cooldown_seconds = if seed % 3 == 0 { 1 } else { 0 };
            config.strict_affinity = seed % 4 == 0;
        });
        let witness = Witness::of(&world.store.records());
        // What arrives late cannot be told apart by its request.
        let base = Faulty::new(Told::of(&witness, &world.store, None), FaultPlan::default());
        let chances = Chances { read_fails: 30, unsent: 30, reply_lost: 150, crash: 0, watch_dropped: 0 };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut tasks = JoinSet::new();
            for caller in 0..8u64 {
                let stale = (seed % 2 == 0).then_some(Stale { window: 3, chance: 100 });
                let plan =
                    FaultPlan { seed: seed * 100 + caller, chances, stale, ..FaultPlan::like_kubernetes() };
                let store = base.another(plan).with_hook(Arc::new(|_| Box::pin(tokio::task::yield_now())));
                let (clock, witness) = (world.clock.clone(), witness.clone());
                tasks.spawn(async move { caller_of(caller, &store, &clock, &witness).await });
            }
            tasks.join_all().await;
        });
        let violations = ipam::invariants::check(&world.store.records(), None);
        // On views that are older than the port allows, a request may misjudge what its own attempts did: a
        // count or an affinity is then wrong. An address is given twice on none.
        let is_stale = seed % 2 == 0;
        let may_be = |violation: &Violation| {
            let is_affinity = matches!(violation, Violation::Affinity { .. } | Violation::LostBlock { .. });
            is_affinity || matches!(violation, Violation::Handle { .. })
        };
        assert!(violations.iter().all(|v| is_stale && may_be(v)), "seed {seed}: {violations:#?}");
        let mut told = witness.told();
        told.retain(|violation| !is_stale || !matches!(violation, Violation::Overlooked { .. }));
        assert_eq!(told, [], "seed {seed}");
        if is_stale {
            continue;
        }
        for caller in 0..8 {
            world.run(ReleaseByHandle::new(vec![handle(&format!("h{caller}"))], None).planner()).unwrap();
        }
        assert_eq!(world.assigned().len(), 0, "seed {seed}");
    }
}

/// Takes some, gives some back, takes some more.
async fn caller_of(caller: u64, store: &Faulty<Told>, clock: &Clock, witness: &Witness) {
    let name = ["a", "b", "c"][caller as usize % 3];
    let id = format!("h{caller}");
    let mut mine = BTreeSet::new();
    for round in 0..3 {
        let mut request = request(name, &id, 1 + round % 2, 0);
        // The timestamp tells this request's addresses from those of the next request for the same handle,
        // even where a read gives records as they were some time ago.
        request.attributes.insert("timestamp".to_string(), round.to_string());
        if let Ok(answer) = witness.run(clock, request, |_| store.clone()).await {
            mine.extend(answer.v4.addresses.iter().map(|address| address.addr));
        }
        if round == 1 {
            let ips = mine.iter().take(1).map(|addr| ReleaseIp {
                addr: *addr,
                handle: Some(id.clone()),
                sequence: None,
            });
            let _ = witness.run(clock, ReleaseIps::new(ips.collect()), |_| store.clone()).await;
        }
    }
}

/// A view that nothing disturbs is enough for a plan: the store's own reads never serve an answer of a
/// request that began later.
#[test]
fn the_pending_affinity_of_a_claim_that_was_stolen_is_cleaned_up() {
    let world = World::with_pool("10.0.0.0/28", 30);
    let stolen = AtomicUsize::new(0);
    let store = stepped(&world, FaultPlan::one_by_one(), move |world, step| {
        if step == Step::BeforeWrite(1) && stolen.fetch_add(1, Ordering::Relaxed) == 0 {
            let pending = world.affinities();
            let block = pending[0].split(' ').nth(1).unwrap().to_string();
            let addr = block_cidr(&block).addr(0).unwrap().to_string();
            world.run(request_ip("b", "thief", &addr).planner()).unwrap();
        }
    });
    let act = Act::Assign(request("a", "new", 1, 0));
    let got = block_on(act.on(&store, &world.clock)).unwrap();
    assert!(holds(&world, &got));
    world.check();
    assert_eq!(world.affinities().len(), 2, "{:?}", world.affinities());
    assert!(world.affinities().iter().all(|text| text.ends_with("Confirmed")));
    assert!(block_on(store.read(&store::ReadSet::new().key(Key::IpamConfig), WITHIN)).is_ok());
}
