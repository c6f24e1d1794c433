//! Many requests at the same time. Each applies its batches write by write, and others act between any two
//! writes.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipam::Which;
use store::testing::{FaultPlan, Faulty};
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
