//! Every interleaving of two requests, step by step: each read and each write is a step, and any of the two
//! may go next.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use api::AffinityState;
use ipam::{Planner, ReleaseAffinities, ReleaseByHandle, ReleaseIps, Which, run};
use store::MemoryStore;
use store::testing::{FaultPlan, Faulty};

use crate::world::*;

type Task = Pin<Box<dyn Future<Output = bool>>>;
type Start = fn(Faulty<MemoryStore>, Clock) -> Task;

/// Gives way once, so that the other request may go on.
async fn give_way() {
    let mut gave = false;
    std::future::poll_fn(|_| if std::mem::replace(&mut gave, true) { Poll::Ready(()) } else { Poll::Pending })
        .await
}

/// One after the other; whether both succeed.
fn tasks<P: Planner + 'static, Q: Planner + 'static>(
    store: Faulty<MemoryStore>,
    clock: Clock,
    first: P,
    second: Q,
) -> Task {
    Box::pin(async move {
        let first = run(&store, &clock, first, WITHIN).await.is_ok();
        run(&store, &clock, second, WITHIN).await.is_ok() && first
    })
}

fn task<P: Planner + 'static>(store: Faulty<MemoryStore>, clock: Clock, planner: P) -> Task {
    Box::pin(async move { run(&store, &clock, planner, WITHIN).await.is_ok() })
}

/// Runs both, in the order that `choices` gives; where it has ended the one that is running goes on, while it
/// can. Tells every choice that there was: who was chosen, and whether the other could have been.
fn run_both(world: &World, starts: [Start; 2], choices: &[usize]) -> (Vec<(usize, bool)>, [bool; 2]) {
    let hook: store::testing::fault::Hook = Arc::new(|_| Box::pin(give_way()));
    let base = Faulty::new(
        world.store.clone(),
        FaultPlan { one_by_one: true, guards: false, ..FaultPlan::default() },
    );
    let mut tasks = starts.map(|start| Some(start(base.with_hook(hook.clone()), world.clock.clone())));
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
    (taken, answers)
}

/// Explores all interleavings with at most so many changes from one to the other, beyond those where one
/// ends; tells how many there were.
fn explore(changes: usize, prepare: fn(&World), starts: [Start; 2], check: fn(&World, [bool; 2])) -> usize {
    let prepared = World::with_pool("10.0.0.0/29", 30);
    prepare(&prepared);
    let mut left = vec![vec![0], vec![1]];
    let mut explored = 0;
    while let Some(choices) = left.pop() {
        let world = prepared.fork();
        let (taken, answers) = run_both(&world, starts, &choices);
        explored += 1;
        let violations = ipam::invariants::check(&world.store.records(), None);
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

fn add(store: Faulty<MemoryStore>, clock: Clock) -> Task {
    task(store, clock, request("a", "h", 1, 0).planner())
}

fn add_other(store: Faulty<MemoryStore>, clock: Clock) -> Task {
    task(store, clock, request("a", "i", 1, 0).planner())
}

fn add_elsewhere(store: Faulty<MemoryStore>, clock: Clock) -> Task {
    task(store, clock, request("b", "i", 1, 0).planner())
}

fn add_many(store: Faulty<MemoryStore>, clock: Clock) -> Task {
    task(store, clock, request("b", "i", 8, 0).planner())
}

fn del(store: Faulty<MemoryStore>, clock: Clock) -> Task {
    task(store, clock, ReleaseByHandle::new(vec![handle("h")], None).planner())
}

fn del_other(store: Faulty<MemoryStore>, clock: Clock) -> Task {
    task(store, clock, ReleaseByHandle::new(vec![handle("x")], None).planner())
}

fn give_up_blocks(store: Faulty<MemoryStore>, clock: Clock) -> Task {
    task(store, clock, ReleaseAffinities { which: Which::Owner(host("a")), must_be_empty: true }.planner())
}

/// The owner looks for what it can give up, which a claim that has only begun looks like, and then allocates.
fn give_up_blocks_and_add(store: Faulty<MemoryStore>, clock: Clock) -> Task {
    let release = ReleaseAffinities { which: Which::Owner(host("a")), must_be_empty: true }.planner();
    tasks(store, clock, release, request("a", "i", 1, 0).planner())
}

fn add_or_nothing(store: Faulty<MemoryStore>, clock: Clock) -> Task {
    let request = ipam::AutoAssign { all_or_nothing: true, ..request("a", "h", 1, 0) };
    task(store, clock, request.planner())
}

fn give_up_blocks_and_add_elsewhere(store: Faulty<MemoryStore>, clock: Clock) -> Task {
    let release = ReleaseAffinities { which: Which::Owner(host("a")), must_be_empty: true }.planner();
    tasks(store, clock, release, request("b", "i", 4, 0).planner())
}

fn named_of_owner(store: Faulty<MemoryStore>, clock: Clock) -> Task {
    task(store, clock, request_ip("a", "h", "10.0.0.1").planner())
}

fn give_up_blocks_and_take_named(store: Faulty<MemoryStore>, clock: Clock) -> Task {
    let release = ReleaseAffinities { which: Which::Owner(host("a")), must_be_empty: true }.planner();
    tasks(store, clock, release, request_ip("b", "i", "10.0.0.1").planner())
}

fn named(store: Faulty<MemoryStore>, clock: Clock) -> Task {
    task(store, clock, request_ip("b", "i", "10.0.0.1").planner())
}

fn release_named(store: Faulty<MemoryStore>, clock: Clock) -> Task {
    task(store, clock, ReleaseIps::new(vec![just("10.0.0.1")]).planner())
}

/// Everything is exact, and so many addresses are assigned in all.
fn exact(world: &World, assigned: usize) {
    world.check_at_rest();
    let held = world.assigned();
    assert_eq!(held.len(), assigned, "{held:?}");
}

#[test]
fn two_requests_in_every_order() {
    type Row = (&'static str, usize, fn(&World), [Start; 2], fn(&World, [bool; 2]));
    let rows: [Row; 15] = [
        ("two on one block", 4, World::del_after_add, [add, add_other], |w, _| exact(w, 2)),
        ("two first blocks of one host", 2, |_| {}, [add, add_other], |w, _| exact(w, 2)),
        ("first blocks of two hosts", 3, |_| {}, [add, add_elsewhere], |w, _| exact(w, 2)),
        (
            "one, and all there are",
            2,
            |_| {},
            [add, add_many],
            |w, _| {
                assert_eq!(w.assigned().len(), 8);
                exact(w, 8);
            },
        ),
        ("an ADD and its DEL", 4, World::del_after_add, [add, del], |w, [added, _]| {
            // What the ADD was answered is there, or the DEL came after it; what it was refused is not.
            let left = w.assigned().len();
            assert!(left == 0 || added);
            exact(w, left);
        }),
        (
            "a first ADD and its DEL",
            3,
            |_| {},
            [add, del],
            |w, [added, _]| {
                let left = w.assigned().len();
                assert!(left == 0 || added);
                exact(w, left);
            },
        ),
        (
            "two DELs of one handle",
            3,
            |w| {
                w.add("a", "h");
            },
            [del, del],
            |w, _| exact(w, 0),
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
                exact(w, 0);
                assert_eq!(w.handles(), 0);
            },
        ),
        (
            "a claim and the release of the host's empty blocks",
            3,
            World::del_after_add,
            [add, give_up_blocks],
            |w, _| {
                exact(w, 1);
            },
        ),
        ("a first claim that is taken for stale", 3, |_| {}, [add, give_up_blocks], |w, _| exact(w, 1)),
        (
            "the same, and another block is there when it is tried again",
            3,
            |_| {},
            [add, give_up_blocks_and_add],
            |w, _| exact(w, 2),
        ),
        (
            "the same, and all is taken when it is tried again",
            3,
            |w| {
                w.auto(request("b", "before", 4, 0));
            },
            [add_or_nothing, give_up_blocks_and_add_elsewhere],
            |w, _| exact(w, 8),
        ),
        (
            "the same, and the address is taken when it is tried again",
            3,
            |_| {},
            [named_of_owner, give_up_blocks_and_take_named],
            |w, _| exact(w, 1),
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
            |w, _| exact(w, 2),
        ),
        (
            "a named address taken while it is released",
            4,
            |w| w.assign(request_ip("a", "h", "10.0.0.1")).unwrap(),
            [named, release_named],
            |w, [named, _]| {
                exact(w, w.assigned().len());
                assert_eq!(w.assigned().values().any(|id| id == "i"), named || w.handle("i").is_some());
            },
        ),
    ];
    for (name, changes, prepare, starts, check) in rows {
        let explored = explore(changes, prepare, starts, check);
        assert!(explored > 30, "{name}: {explored}");
    }
}

impl World {
    /// The same cluster in a store of its own.
    fn fork(&self) -> World {
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
}
