//! Every interleaving of two requests, step by step: each read and each write is a step, and any of the two
//! may go next.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use api::AffinityState;
use ipam::{
    AssignIp, Change, ClaimAffinity, EnsureActiveOwner, EnsureBlock, IpsByHandle, PodName, ReleaseAffinities,
    ReleaseByHandle, ReleaseIps, ReleaseUnowned, SetOwnerAttributes, Which, Whose,
};
use simulator::give_way;
use store::testing::{FaultPlan, Faulty};

use crate::witness::{AnswerOf, Asks, Told, Witness};
use crate::world::*;

type Task = Pin<Box<dyn Future<Output = bool>>>;
type Start = fn(Caller) -> Task;

/// Whoever makes requests, one write a step.
struct Caller {
    world: World,
    witness: Witness,
}

impl Caller {
    /// Makes a request; whether it succeeds.
    async fn ask<A: Asks>(&self, asks: A) -> bool {
        self.answer(asks).await.is_some()
    }

    /// Makes a request, and gives its answer.
    async fn answer<A: Asks>(&self, asks: A) -> Option<AnswerOf<A>> {
        let hook: store::testing::fault::Hook = Arc::new(|_| Box::pin(give_way()));
        let plan = FaultPlan { one_by_one: true, guards: false, ..FaultPlan::default() };
        let store =
            |by| Faulty::new(Told::of(&self.witness, &self.world.store, Some(by)), plan).with_hook(hook);
        self.witness.run(&self.world.clock, asks, store).await.ok()
    }
}

/// One after the other; whether both succeed.
fn tasks<A: Asks + 'static, B: Asks + 'static>(caller: Caller, first: A, second: B) -> Task {
    Box::pin(async move {
        let first = caller.ask(first).await;
        caller.ask(second).await && first
    })
}

fn task<A: Asks + 'static>(caller: Caller, asks: A) -> Task {
    Box::pin(async move { caller.ask(asks).await })
}

/// Runs both, in the order that `choices` gives; where it has ended the one that is running goes on, while it
/// can. Tells every choice that there was: who was chosen, and whether the other could have been.
fn run_both(
    world: &World,
    witness: &Witness,
    starts: [Start; 2],
    choices: &[usize],
) -> (Vec<(usize, bool)>, [bool; 2]) {
    let caller = || Caller { world: world.clone(), witness: witness.clone() };
    let mut tasks = starts.map(|start| Some(start(caller())));
    let mut answers = [false; 2];
    let mut taken = Vec::new();
    let mut running = 0;
    while tasks.iter().any(Option::is_some) {
        let both = tasks.iter().all(Option::is_some);
        running = match (both, choices.get(taken.len())) {
            (true, Some(choice)) => *choice,
            (true, None) => running,
            (false, _) => usize::from(tasks[0].is_none()),
        };
        taken.push((running, both));
        assert!(taken.len() < 2_000, "they keep each other from ending");
        let Some(task) = &mut tasks[running] else { continue };
        if let Poll::Ready(answer) = task.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            answers[running] = answer;
            tasks[running] = None;
        }
    }
    witness.check(&format!("{taken:?}"));
    assert_eq!(witness.left_by_failed(), [], "{taken:?}");
    (taken, answers)
}

/// Explores all interleavings with at most so many changes from one to the other, beyond those where one
/// ends; tells how many there were.
fn explore(
    changes: usize,
    prepare: fn(&World),
    starts: [Start; 2],
    check: impl Fn(&World, [bool; 2]),
) -> usize {
    let prepared = World::with_pool("10.0.0.0/29", 30);
    prepare(&prepared);
    let witness = Witness::of(&prepared.store.records());
    let mut left = vec![vec![0], vec![1]];
    let mut explored = 0;
    while let Some(choices) = left.pop() {
        let world = prepared.fork();
        let (taken, answers) = run_both(&world, &witness.fork(), starts, &choices);
        explored += 1;
        let violations = ipam::invariants::check_at_rest(&world.store.records(), None);
        assert!(violations.is_empty(), "{taken:?} {violations:#?}");
        check(&world, answers);
        // Another way at every later point at which there was one.
        for at in choices.len()..taken.len() {
            let (chosen, could) = taken[at];
            let made: Vec<usize> = taken[..at].iter().map(|(chosen, _)| *chosen).collect();
            let changed = made.windows(2).filter(|pair| pair[0] != pair[1]).count();
            if could && changed < changes {
                left.push(made.into_iter().chain([1 - chosen]).collect());
            }
        }
    }
    explored
}

fn add(caller: Caller) -> Task {
    task(caller, request("a", "h", 1, 0))
}

fn add_other(caller: Caller) -> Task {
    task(caller, request("a", "i", 1, 0))
}

fn add_elsewhere(caller: Caller) -> Task {
    task(caller, request("b", "i", 1, 0))
}

fn add_many(caller: Caller) -> Task {
    task(caller, request("b", "i", 8, 0))
}

fn del(caller: Caller) -> Task {
    task(caller, ReleaseByHandle::new(vec![handle("h")], None))
}

fn del_other(caller: Caller) -> Task {
    task(caller, ReleaseByHandle::new(vec![handle("x")], None))
}

fn give_up_blocks(caller: Caller) -> Task {
    task(caller, ReleaseAffinities { which: Which::Owner(host("a")), must_be_empty: true })
}

/// Host `a` gives back its first block, which is empty, if it is still as it was.
fn give_back_idle(caller: Caller) -> Task {
    let stored = caller.world.block("10.0.0.0/30");
    let sequence_number = stored.map_or(0, |block| block.sequence_number);
    let blocks = vec![ipam::IdleBlock { cidr: block_cidr("10.0.0.0/30"), sequence_number }];
    task(caller, ipam::ReleaseIdleBlocks { host: "a".to_string(), blocks })
}

fn collect(caller: Caller) -> Task {
    let blocks = ["10.0.0.0/30", "10.0.0.4/30"].map(block_cidr).to_vec();
    task(caller, ipam::CollectCooldowns { blocks })
}

/// The owner looks for what it can give up, which a claim that has only begun looks like, and then allocates.
fn give_up_blocks_and_add(caller: Caller) -> Task {
    let release = ReleaseAffinities { which: Which::Owner(host("a")), must_be_empty: true };
    tasks(caller, release, request("a", "i", 1, 0))
}

fn add_or_nothing(caller: Caller) -> Task {
    let request = ipam::AutoAssign { all_or_nothing: true, ..request("a", "h", 1, 0) };
    task(caller, request)
}

fn give_up_blocks_and_add_elsewhere(caller: Caller) -> Task {
    let release = ReleaseAffinities { which: Which::Owner(host("a")), must_be_empty: true };
    tasks(caller, release, request("b", "i", 4, 0))
}

fn named_of_owner(caller: Caller) -> Task {
    task(caller, request_ip("a", "h", "10.0.0.1"))
}

fn give_up_blocks_and_take_named(caller: Caller) -> Task {
    let release = ReleaseAffinities { which: Which::Owner(host("a")), must_be_empty: true };
    tasks(caller, release, request_ip("b", "i", "10.0.0.1"))
}

fn named(caller: Caller) -> Task {
    task(caller, request_ip("b", "i", "10.0.0.1"))
}

fn release_named(caller: Caller) -> Task {
    task(caller, ReleaseIps::new(vec![just("10.0.0.1")]))
}

/// So many addresses are assigned in all.
fn assigned(world: &World, count: usize) {
    let held = world.assigned();
    assert_eq!(held.len(), count, "{held:?}");
}

#[test]
fn two_requests_in_every_order() {
    type Row = (&'static str, usize, fn(&World), [Start; 2], fn(&World, [bool; 2]));
    let rows: [Row; 18] = [
        ("an ADD and idle blocks", 3, World::two_blocks, [add, give_back_idle], |w, _| assigned(w, 2)),
        ("another's ADD and idle blocks", 2, World::two_blocks, [add_elsewhere, give_back_idle], |w, _| {
            assigned(w, 2);
        }),
        ("an ADD and cooldowns that are over", 3, World::cooled_down, [add, collect], |w, _| {
            assigned(w, 1);
            let cooling = |block: &api::Block| block.attributes.iter().any(|a| a.released_at.is_some());
            assert!(!w.blocks().iter().any(|block| cooling(block) || block.affinity.is_none()));
        }),
        ("two on one block", 4, World::del_after_add, [add, add_other], |w, _| assigned(w, 2)),
        ("two first blocks of one host", 2, |_| {}, [add, add_other], |w, _| assigned(w, 2)),
        ("first blocks of two hosts", 3, |_| {}, [add, add_elsewhere], |w, _| assigned(w, 2)),
        (
            "one, and all there are",
            2,
            |_| {},
            [add, add_many],
            |w, _| {
                assert_eq!(w.assigned().len(), 8);
                assigned(w, 8);
            },
        ),
        ("an ADD and its DEL", 4, World::del_after_add, [add, del], |w, [added, _]| {
            // What the ADD was answered is there, or the DEL came after it; what it was refused is not.
            let left = w.assigned().len();
            assert!(left == 0 || added);
            assigned(w, left);
        }),
        (
            "a first ADD and its DEL",
            3,
            |_| {},
            [add, del],
            |w, [added, _]| {
                let left = w.assigned().len();
                assert!(left == 0 || added);
                assigned(w, left);
            },
        ),
        (
            "two DELs of one handle",
            3,
            |w| {
                w.add("a", "h");
            },
            [del, del],
            |w, _| assigned(w, 0),
        ),
        (
            "DELs in one block",
            3,
            |w| {
                w.add("a", "h");
                w.add("a", "x");
            },
            [del, del_other],
            |w, _| {
                assigned(w, 0);
                assert_eq!(w.handles(), 0);
            },
        ),
        (
            "a claim and the release of the host's empty blocks",
            3,
            World::del_after_add,
            [add, give_up_blocks],
            |w, _| {
                assigned(w, 1);
            },
        ),
        ("a first claim that is taken for stale", 3, |_| {}, [add, give_up_blocks], |w, _| assigned(w, 1)),
        (
            "the same, and another block is there when it is tried again",
            3,
            |_| {},
            [add, give_up_blocks_and_add],
            |w, _| assigned(w, 2),
        ),
        (
            "the same, and all is taken when it is tried again",
            3,
            |w| {
                w.auto(request("b", "before", 4, 0));
            },
            [add_or_nothing, give_up_blocks_and_add_elsewhere],
            |w, _| assigned(w, 8),
        ),
        (
            "the same, and the address is taken when it is tried again",
            3,
            |_| {},
            [named_of_owner, give_up_blocks_and_take_named],
            |w, _| assigned(w, 1),
        ),
        (
            "a half-done claim healed by two",
            2,
            |w| {
                w.del_after_add();
                let block = w.blocks()[0].cidr.to_string();
                w.affinity("a", &block, AffinityState::PendingDeletion);
            },
            [add, add_other],
            |w, _| assigned(w, 2),
        ),
        (
            "a named address taken while it is released",
            4,
            |w| w.assign(request_ip("a", "h", "10.0.0.1")).unwrap(),
            [named, release_named],
            |w, [named, _]| {
                assigned(w, w.assigned().len());
                assert_eq!(w.assigned().values().any(|id| id == "i"), named || w.handle("i").is_some());
            },
        ),
    ];
    for (name, changes, prepare, starts, check) in rows {
        let explored = explore(changes, prepare, starts, check);
        assert!(explored > 30, "{name}: {explored}");
    }
}

fn claim_all(caller: Caller) -> Task {
    task(caller, ClaimAffinity::new(cidr("10.0.0.0/29"), host("a")))
}

fn claim_all_elsewhere(caller: Caller) -> Task {
    task(caller, ClaimAffinity::new(cidr("10.0.0.0/29"), host("b")))
}

fn own_a_block(caller: Caller) -> Task {
    task(caller, EnsureBlock { v4: true, ..EnsureBlock::new("a") })
}

fn own_a_block_elsewhere(caller: Caller) -> Task {
    task(caller, EnsureBlock { v4: true, ..EnsureBlock::new("b") })
}

fn give_up_network(caller: Caller) -> Task {
    let which = Which::OwnerWithin(host("a"), cidr("10.0.0.0/29"));
    task(caller, ReleaseAffinities { which, must_be_empty: true })
}

/// So many blocks have an owner, and each owner's affinity is confirmed.
fn owned(world: &World, count: usize) {
    let affinities = world.affinities();
    let confirmed = affinities.iter().filter(|text| text.ends_with("Confirmed"));
    assert_eq!((affinities.len(), confirmed.count()), (count, count), "{affinities:?}");
}

#[test]
fn claims_in_every_order() {
    type Row = (&'static str, usize, [Start; 2], fn(&World, [bool; 2]));
    let rows: [Row; 8] = [
        ("a network claimed twice", 3, [claim_all, claim_all], |w, _| owned(w, 2)),
        ("a network claimed by two", 3, [claim_all, claim_all_elsewhere], |w, _| owned(w, 2)),
        ("a network claimed while it is given up", 3, [claim_all, give_up_network], |w, _| {
            // What the release met half-way, it may give up or leave.
            owned(w, w.affinities().len());
        }),
        ("a network claimed beside an ADD", 3, [claim_all, add], |w, _| {
            owned(w, 2);
            assigned(w, 1);
        }),
        ("a network claimed beside another's ADD", 3, [claim_all, add_elsewhere], |w, _| {
            owned(w, 2);
            assigned(w, 1);
        }),
        // As two first ADDs, these may come to own a block each.
        ("a block for one host twice", 3, [own_a_block, own_a_block], |w, _| owned(w, w.affinities().len())),
        ("a block for each of two hosts", 3, [own_a_block, own_a_block_elsewhere], |w, _| owned(w, 2)),
        ("a block while the host gives up its blocks", 3, [own_a_block, give_up_blocks], |w, _| {
            owned(w, w.affinities().len());
        }),
    ];
    for (name, changes, starts, check) in rows {
        let explored = explore(
            changes,
            |_| {},
            starts,
            |world, answers| {
                assert_eq!(answers, [true, true]);
                check(world, answers);
            },
        );
        assert!(explored > 30, "{name}: {explored}");
    }
}

/// Looks up what the handle holds, and then releases just that.
fn del_seen(caller: Caller) -> Task {
    Box::pin(async move {
        let Some(seen) = caller.answer(IpsByHandle::new(handle("h"))).await.flatten() else { return true };
        caller.ask(ReleaseByHandle::new(Vec::new(), None).only(handle("h"), seen.assignments())).await
    })
}

/// A request for an address under the handle `h`, for the pod `x`.
fn of_pod_x(addr: &str) -> AssignIp {
    AssignIp { attributes: request("a", "x", 1, 0).attributes, ..request_ip("a", "h", addr) }
}

fn pod(name: &str) -> PodName {
    PodName { namespace: "default".to_string(), name: name.to_string() }
}

/// Releases what the handle holds for the pod `x`.
fn del_of_pod_x(caller: Caller) -> Task {
    task(caller, ReleaseByHandle::new(Vec::new(), None).and(handle("h"), Whose::Pods(pod("x"))))
}

fn del_and_take_the_same(caller: Caller) -> Task {
    tasks(caller, ReleaseByHandle::new(vec![handle("h")], None), of_pod_x("10.0.0.1"))
}

fn add_other_and_add(caller: Caller) -> Task {
    tasks(caller, request("a", "i", 1, 0), request("a", "h", 1, 0))
}

/// The handle gets an address while a part of what it holds is released. At rest it counts what it holds.
#[test]
fn releases_of_a_part_in_every_order() {
    type Row = (&'static str, usize, [Start; 2], fn(&World, [bool; 2]));
    let rows: [Row; 5] = [
        (
            "what was seen, and the same is taken again",
            3,
            [del_and_take_the_same, del_seen],
            |w, [taken, _]| {
                // Whoever frees the address ends with the handle's count, and may meet the request then.
                assert!(w.assigned().len() <= usize::from(taken));
            },
        ),
        ("what was seen, and one more is taken", 3, [add, del_seen], |w, [added, _]| {
            // The look may have come after the ADD.
            assert!(w.assigned().len() <= usize::from(added));
        }),
        ("one pod's, and another's is taken", 3, [add, del_of_pod_x], |w, [added, _]| {
            assigned(w, usize::from(added));
        }),
        ("an address, and one more is taken", 3, [add, release_named], |w, [added, _]| {
            assigned(w, usize::from(added));
        }),
        ("the same, tried again", 4, [add_other_and_add, release_named], |w, [added, _]| {
            assigned(w, 1 + usize::from(added));
        }),
    ];
    for (name, changes, starts, check) in rows {
        let prepare: fn(&World) = |w| w.assign(of_pod_x("10.0.0.1")).unwrap();
        let explored = explore(changes, prepare, starts, check);
        assert!(explored > 30, "{name}: {explored}");
    }
}

/// The machine moves to the pod `y`.
fn move_to_y(caller: Caller) -> Task {
    let alternate = Change::Set(request("a", "y", 1, 0).attributes);
    let begin = SetOwnerAttributes { handle: handle("h"), active: Change::Keep, alternate };
    tasks(caller, begin, EnsureActiveOwner { handle: handle("h"), pod: pod("y") })
}

/// The machine's pod `x` goes, while another may take over.
fn x_leaves(caller: Caller) -> Task {
    let leave = || Change::Leave(pod("x"));
    task(caller, SetOwnerAttributes { handle: handle("h"), active: leave(), alternate: leave() })
}

/// The last pod of a machine that is deleted goes.
fn x_is_the_last(caller: Caller) -> Task {
    task(caller, ReleaseUnowned { handle: handle("h"), pod: pod("x") })
}

/// The names of the pods that own the handle's address now and next.
fn owners(world: &World) -> Vec<(String, String)> {
    let name = |owner: &ipam::OwnerAttributes| owner.get("pod").cloned().unwrap_or_default();
    let blocks = world.blocks();
    let all = blocks.iter().flat_map(|block| {
        ipam::block::ordinals_of(block, "h").into_iter().filter_map(|ordinal| block.attribute(ordinal))
    });
    all.map(|attribute| (name(&attribute.owner), name(&attribute.alternate_owner))).collect()
}

fn owned_by(active: &str, alternate: &str) -> Vec<(String, String)> {
    vec![(active.to_string(), alternate.to_string())]
}

/// A machine's address keeps an owner, or goes, and no owner that was answered is lost.
#[test]
fn owners_in_every_order() {
    type Row = (&'static str, [Start; 2], fn(&World, [bool; 2]));
    let rows: [Row; 4] = [
        ("a machine moves, and its former pod goes", [move_to_y, x_leaves], |w, answers| {
            assert_eq!((owners(w), answers), (owned_by("y", ""), [true, true]));
        }),
        ("a machine moves, and is deleted", [move_to_y, x_is_the_last], |w, [moved, released]| {
            assert!(released);
            // Whoever comes first decides.
            assert_eq!(owners(w), if moved { owned_by("y", "x") } else { vec![] });
        }),
        ("a machine moves beside an ADD", [move_to_y, add_other], |w, answers| {
            assert_eq!((owners(w), answers), (owned_by("y", "x"), [true, true]));
            assigned(w, 2);
        }),
        ("a machine moves while what was seen is released", [move_to_y, del_seen], |w, _| assigned(w, 0)),
    ];
    for (name, starts, check) in rows {
        let prepare: fn(&World) = |w| w.assign(of_pod_x("10.0.0.1")).unwrap();
        let explored = explore(3, prepare, starts, check);
        assert!(explored > 30, "{name}: {explored}");
    }
}

impl World {
    /// The same cluster in a store of its own.
    pub fn fork(&self) -> World {
        let world = World::new();
        self.store
            .records()
            .iter()
            .for_each(|record| world.store.put(record.key.clone(), record.value.clone()));
        world.clock.advance(1);
        world
    }

    /// Host `a` owns an empty block.
    fn del_after_add(&self) {
        self.add("a", "before");
        self.del("before");
    }

    /// Host `a` owns two blocks, of which the first is empty.
    fn two_blocks(&self) {
        self.assign(request_ip("a", "before", "10.0.0.1")).unwrap();
        self.assign(request_ip("a", "kept", "10.0.0.5")).unwrap();
        self.del("before");
    }

    /// The clock of a copy begins anew, so no time passes: the cooldown is switched off instead.
    fn cooled_down(&self) {
        crate::operations::upkeep::cooled_down(self);
        self.config(|config| config.cooldown_seconds = 0);
    }
}
