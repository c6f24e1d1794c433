//! Many requests at the same time. Each applies its batches write by write, and others act between any two
//! writes.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ipam::Which;
use store::Effects;
use store::testing::fault::{Hook, Step};
use store::testing::{CommitFault, FaultPlan, Faulty};
use tokio::task::JoinSet;

use crate::world::*;

/// A store in which every write is a request of its own, so that other callers can act in between.
fn one_by_one(world: &World) -> Faulty<store::MemoryStore> {
    Faulty::new(world.store.clone(), FaultPlan::like_kubernetes())
        .with_hook(std::sync::Arc::new(|_| Box::pin(async { tokio::task::yield_now().await })))
}

fn crowd(world: &World, threads: usize, requests: Vec<ipam::AutoAssign>) -> Vec<ipam::AutoAssigned> {
    let runtime = match threads {
        1 => tokio::runtime::Builder::new_current_thread().build(),
        n => tokio::runtime::Builder::new_multi_thread().worker_threads(n).build(),
    };
    let answers = runtime.unwrap().block_on(async {
        let mut tasks = JoinSet::new();
        for request in requests {
            let (store, clock) = (one_by_one(world), world.clock.clone());
            let planner = request.planner();
            tasks.spawn(async move { ipam::run(&store, &clock, planner, WITHIN).await.unwrap() });
        }
        tasks.join_all().await
    });
    world.check();
    answers
}

/// Checks that every address in an answer is held, that no address is held twice, and that every handle
/// counts exactly.
fn is_exact(world: &World, answers: &[ipam::AutoAssigned]) {
    let all: Vec<IpAddr> = answers.iter().flat_map(|a| a.v4.addresses.iter().map(|a| a.addr)).collect();
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "an address was given twice");
    assert_eq!(world.assigned().into_keys().collect::<BTreeSet<_>>(), all.iter().copied().collect());
    let counted: u32 =
        world.store.records().iter().filter_map(|r| r.handle()).flat_map(|h| h.blocks.values()).sum();
    assert_eq!(counted as usize, all.len());
}

#[test]
fn more_hosts_than_blocks() {
    for threads in [1, 4] {
        let world = World::with_pool("10.0.0.0/24", 28);
        let hosts: Vec<String> = (0..32).map(|n| format!("host-{n}")).collect();
        hosts.iter().for_each(|name| world.node(name, &[]));
        let answers = crowd(&world, threads, hosts.iter().map(|name| request(name, name, 1, 0)).collect());
        assert!(answers.iter().all(|answer| answer.is_whole()));
        is_exact(&world, &answers);
        let confirmed: Vec<String> = world.affinities();
        assert_eq!(world.blocks().len(), 16);
        assert_eq!(confirmed.iter().filter(|text| text.ends_with("Confirmed")).count(), 16, "{confirmed:?}");
        // Owners get their addresses from their own blocks.
        for block in world.blocks() {
            let owner = block.owner().unwrap();
            let mine = world.assigned().into_iter().find(|(_, id)| id == owner.name()).unwrap();
            assert!(block.cidr.cidr().contains(mine.0), "{owner} has {}", mine.0);
        }
    }
}

#[test]
fn many_requests_of_one_host_on_one_block() {
    let world = World::with_pool("10.0.0.0/24", 26);
    let answers = crowd(&world, 1, (0..40).map(|n| request("a", &format!("h{n}"), 1, 0)).collect());
    assert!(answers.iter().all(|answer| answer.is_whole()));
    is_exact(&world, &answers);
    assert!(world.blocks().len() <= 2, "{:?}", world.affinities());
}

#[test]
fn more_requests_than_addresses() {
    let world = World::with_pool("10.0.0.0/28", 30);
    let names = ["a", "b", "c"];
    let answers = crowd(&world, 1, (0..24).map(|n| request(names[n % 3], &format!("h{n}"), 1, 0)).collect());
    is_exact(&world, &answers);
    assert_eq!(answers.iter().filter(|answer| answer.is_whole()).count(), 16);
}

/// For each ADD there is a DEL at the same time. The addresses of the ADD are held or were released. After a
/// second DEL nothing is left.
#[test]
fn adds_and_their_dels() {
    for seed in 0..30 {
        let world = World { clock: Clock::new(seed), ..World::with_pool("10.0.0.0/26", 28) };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut tasks = JoinSet::new();
            for n in 0..6 {
                let (store, clock) = (one_by_one(&world), world.clock.clone());
                let id = format!("h{n}");
                let planner = request("a", &id, 2, 0).planner();
                let (other, time) = (store.clone(), clock.clone());
                tasks.spawn(async move { drop(ipam::run(&store, &clock, planner, WITHIN).await) });
                tasks.spawn(async move {
                    for _ in 0..seed % 7 * 3 {
                        tokio::task::yield_now().await;
                    }
                    let planner = ipam::ReleaseByHandle::new(vec![handle(&id)], None).planner();
                    ipam::run(&other, &time, planner, WITHIN).await.unwrap();
                });
            }
            tasks.join_all().await
        });
        world.check();
        for n in 0..6 {
            world.del(&format!("h{n}"));
        }
        assert_eq!((world.assigned().len(), world.handles()), (0, 0), "seed {seed}");
    }
}

/// A host claims blocks while its affinities are released. The addresses in its answers are held, whoever
/// owns the blocks.
#[test]
fn claims_against_releases() {
    for seed in 0..30u64 {
        let world = World { clock: Clock::new(seed), ..World::with_pool("10.0.0.0/27", 29) };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let answers = runtime.block_on(async {
            let mut adds = JoinSet::new();
            let mut releases = JoinSet::new();
            for n in 0..4 {
                let (store, clock) = (one_by_one(&world), world.clock.clone());
                let (other, time) = (store.clone(), clock.clone());
                let planner = request(["a", "b"][n % 2], &format!("h{n}"), 3, 0).planner();
                adds.spawn(async move { ipam::run(&store, &clock, planner, WITHIN).await.unwrap() });
                releases.spawn(async move {
                    for _ in 0..seed % 11 * 2 {
                        tokio::task::yield_now().await;
                    }
                    let which = Which::Owner(host(["a", "b"][n % 2]));
                    let planner = ipam::ReleaseAffinities { which, must_be_empty: n < 2 }.planner();
                    ipam::run(&other, &time, planner, WITHIN).await.unwrap();
                });
            }
            releases.join_all().await;
            adds.join_all().await
        });
        world.check();
        is_exact(&world, &answers);
        assert!(answers.iter().all(|answer| answer.is_whole()));
    }
}

fn of_a_machine(host: &str) -> ipam::AutoAssign {
    ipam::AutoAssign { max_per_handle: Some(1), all_or_nothing: true, ..request(host, "vm", 1, 0) }
}

/// Two pods of one virtual machine begin at once on two nodes: the first has counted its address in the
/// handle, and does not write the block for a while. The second waits for the address.
#[test]
fn the_second_pod_of_a_machine_waits_for_the_first() {
    let world = World::with_pool("10.0.0.0/28", 30);
    let is_counted = Arc::new(AtomicBool::new(false));
    let seen = is_counted.clone();
    let hook: Hook = Arc::new(move |step| {
        let seen = seen.clone();
        Box::pin(async move {
            // The affinity twice, the block, the handle.
            if step == Step::AfterWrite(3) && !seen.swap(true, Ordering::Relaxed) {
                for _ in 0..50 {
                    tokio::task::yield_now().await;
                }
            }
        })
    });
    let store = Faulty::new(world.store.clone(), FaultPlan::one_by_one()).with_hook(hook);
    let first = ipam::run(&store, &world.clock, of_a_machine("a").planner(), WITHIN);
    let second = async {
        while !is_counted.load(Ordering::Relaxed) {
            tokio::task::yield_now().await;
        }
        assert_eq!((world.handle("vm").unwrap().blocks.len(), world.assigned().len()), (1, 0));
        ipam::run(&world.store, &world.clock, of_a_machine("b").planner(), WITHIN).await
    };
    let (first, second) = block_on(async { tokio::join!(first, second) });
    let addresses =
        |answer: ipam::AutoAssigned| answer.v4.addresses.iter().map(|a| a.addr).collect::<Vec<_>>();
    let (first, second) = (addresses(first.unwrap()), addresses(second.unwrap()));
    assert_eq!(first, second);
    assert_eq!(world.assigned().into_keys().collect::<Vec<_>>(), first);
    world.check();
}

/// The other pod ended after it had counted an address. Who waits for that address is refused in the end,
/// within its time, and with what there is; whoever asks for more than the handle may hold does not wait.
/// Calico waits in a loop of a hundred reads of the handle and its blocks, without a pause.
#[test]
fn who_waits_for_an_address_that_never_comes_is_refused() {
    let world = World::with_pool("10.0.0.0/28", 30);
    world.add("a", "before");
    let crash = FaultPlan::one_by_one().fault(0, CommitFault::Crash { writes: 1 });
    let store = Faulty::new(world.store.clone(), crash);
    block_on(ipam::run(&store, &world.clock, of_a_machine("a").planner(), WITHIN)).unwrap_err();
    let refused = |within: Duration, request: ipam::AutoAssign| {
        let start = world.clock.elapsed();
        let answer = block_on(ipam::run(&world.store, &world.clock, request.planner(), within));
        let error = answer.unwrap_err().to_string();
        assert!(error.starts_with("handle vm already has 1 allocation(s)"), "{error}");
        world.clock.elapsed().saturating_sub(start)
    };
    let (short, long) =
        (refused(Duration::from_secs(2), of_a_machine("b")), refused(WITHIN, of_a_machine("b")));
    assert!((2..4).contains(&short.as_secs()), "{short:?}");
    assert!((4..WITHIN.as_secs()).contains(&long.as_secs()), "{long:?}");
}
