//! A thousand racks: many pools are created at the same time, and each address comes from the right pool.

use std::time::Duration;

use api::{Backend, Cidr, Kind, Resource};
use resources::{Client, Error};
use serde_json::json;
use store::{AnyStore, Store};

use crate::case::{Case, seed};
use crate::environment::{Documents, Environment, KubeGroup, LONG, block_on, put};
use crate::etcd_faults::needs_etcd;
use crate::kubernetes::needs_kubernetes;
use crate::ours::Real;

const POOLS: usize = 1_000;
/// How many clients create pools at the same time, and how many pools each creates.
const CREATORS: usize = 4;
const ROUNDS: usize = 5;
/// The time limit for creating a pool: that reads all pools, and the machine may be busy.
const WITHIN: Duration = Duration::from_secs(60);

fn others() -> Documents {
    let pool = |at: usize| {
        let cidr = format!("10.{}.{}.0/24", 1 + at / 256, at % 256);
        let spec = json!({"cidr": cidr, "nodeSelector": format!("rack == 'other-{at}'")});
        (Kind::IPPool, json!({"metadata": {"name": format!("other-{at}")}, "spec": spec}))
    };
    (0..POOLS).map(pool).collect()
}

fn pool(name: &str, cidr: &str) -> Resource {
    let json = json!({"kind": "IPPool", "apiVersion": "projectcalico.org/v3", "metadata": {"name": name},
        "spec": {"cidr": cidr, "nodeSelector": format!("rack == '{name}'")}});
    Resource::from_input(json).unwrap()
}

/// In each round, creates a pool on a network of its own, which must succeed, and tries one on a network that
/// all creators want.
async fn create<S: Store>(store: &S, backend: Backend, creator: usize) {
    let effects = Real::new(seed() ^ creator as u64);
    let client = Client::new(store, &effects, backend, WITHIN);
    for round in 0..ROUNDS {
        let own = pool(&format!("own-{creator}-{round}"), &format!("10.{}.{round}.0/24", 100 + creator));
        client.create(&own).await.unwrap_or_else(|error| panic!("{}: {error}", own.name()));
        let wanted = pool(&format!("wanted-{creator}-{round}"), &format!("10.200.{round}.0/24"));
        match client.create(&wanted).await {
            Ok(_) => {}
            Err(Error::Invalid(error)) => assert!(error.to_string().contains("overlaps"), "{error}"),
            Err(error) => panic!("{}: {error}", wanted.name()),
        }
    }
}

/// Creates pools with several clients at the same time, and checks the result.
async fn create_at_once<S: Store>(open: impl Fn() -> S, backend: Backend) {
    put_others(&open()).await;
    std::thread::scope(|scope| {
        for creator in 0..CREATORS {
            let store = open();
            scope.spawn(move || block_on(create(&store, backend, creator)));
        }
    });
    let (store, effects) = (open(), Real::new(seed()));
    let found = Client::new(&store, &effects, backend, WITHIN).list(Kind::IPPool, None).await.unwrap().items;
    let named = |prefix: &str| found.iter().filter(|pool| pool.name().starts_with(prefix)).count();
    assert_eq!((named("other-"), named("own-")), (POOLS, CREATORS * ROUNDS));
    let mut networks: Vec<(Cidr, &str)> = found
        .iter()
        .map(|pool| (pool.text(&["spec", "cidr"]).unwrap().parse().unwrap(), pool.name()))
        .collect();
    // If networks overlap, one of them begins with the other's bits; so overlapping ones are neighbours in
    // this order.
    networks.sort_by_key(|(cidr, _)| (cidr.family(), cidr.first(), cidr.prefix()));
    for pair in networks.windows(2) {
        assert!(!pair[0].0.overlaps(&pair[1].0), "{pair:?}");
    }
}

async fn put_others<S: Store>(store: &S) {
    let others = others();
    for some in others.chunks(100) {
        put(store, some.to_vec()).await;
    }
}

/// The four racks of every load, beside a thousand others.
fn run(name: &'static str, environment: Environment, backend: Backend) {
    let case = Case::new(name, environment);
    match &case.environment {
        Environment::Memory(store) => block_on(create_at_once(|| store.clone(), backend)),
        reached => block_on(create_at_once(|| -> AnyStore { reached.reach(0).unwrap().open() }, backend)),
    }
    let workers = case.workers[..8].to_vec();
    Case { workers, requests: 5, within: LONG, ..case }.run();
}

#[test]
fn in_memory() {
    run("memory, many pools", Environment::memory(), Backend::Embedded);
}

#[test]
fn on_the_embedded_store() {
    run("embedded, many pools", Environment::embedded(), Backend::Embedded);
}

#[test]
fn on_etcd() {
    needs_etcd!();
    run("etcd, many pools", Environment::etcd(1), Backend::Etcd);
}

#[test]
#[ignore = "nightly: each pool is an object of the API server, and is written by itself"]
fn on_kubernetes() {
    needs_kubernetes!();
    run("Kubernetes, many pools", Environment::kubernetes(KubeGroup::V1), Backend::Kubernetes);
}
