//! The number of round trips, and the time of calls beside that of a bare Get.

use std::time::Duration;

use api::{Affinity, AffinityState, Family, Key, Kind, Owner};
use servers::etcd_server::EtcdServer;
use servers::proxy::Proxy;
use store::{Batch, Depth, Expect, ReadSet, Scope, Store};

use super::fixture::*;

/// An ADD makes three calls: it reads pools and affinities, then blocks and handle, and then commits.
#[tokio::test]
async fn an_add_is_three_round_trips_on_one_connection() {
    needs_etcd!();
    let server = EtcdServer::start();
    let proxy = Proxy::start(server.address());
    let before = server.handled();
    let store = open(&[proxy.address()]);
    let owner = Owner::Host("node1".to_string());
    let first = ReadSet::new()
        .scope(Scope::kind(Kind::IPPool), Depth::Full)
        .scope(Scope::kind(Kind::IPReservation), Depth::Full)
        .scope(Scope::Affinities { owner: Some(owner.clone()), family: Some(Family::V4) }, Depth::Full)
        .key(Key::IpamConfig)
        .key(Key::global(Kind::Node, "node1"));
    store.read(&first, WITHIN).await.unwrap();
    let net = "10.0.0.0/26".parse().unwrap();
    store.read(&ReadSet::new().key(Key::Block(net)).key(handle("a")), WITHIN).await.unwrap();
    let mut batch = Batch::new();
    let affinity = |state| api::Value::Affinity(Affinity::new(state));
    let key = Key::Affinity { owner, block: net };
    let pending = batch.put(key.clone(), Expect::Absent, affinity(AffinityState::Pending));
    batch.put(handle("a"), Expect::Absent, counted(1));
    batch.put(key, Expect::AsLeftBy(pending), affinity(AffinityState::Confirmed));
    batch.guard(Key::global(Kind::Node, "node1"), None);
    assert!(commit(&store, &batch).await.is_applied());
    let after = server.handled();
    let sum = |handled: &std::collections::BTreeMap<String, u64>| handled.values().sum::<u64>();
    assert_eq!(after["Txn"], 3, "{after:?}");
    assert_eq!(sum(&after) - sum(&before), 3, "{after:?}");
    assert_eq!(proxy.accepted(), 1);
}

/// Prints the ratios. Fails only if a ratio is extremely large.
#[tokio::test]
async fn a_call_costs_little_more_than_a_bare_get() {
    needs_etcd!();
    const ROUNDS: u32 = 200;
    let server = EtcdServer::start();
    let store = open(&[server.endpoint()]);
    let mut client = raw(&server.endpoint()).await;
    let mut revision = set(&store, &handle("a"), counted(1)).await;
    let set = ReadSet::new()
        .scope(Scope::kind(Kind::IPPool), Depth::Full)
        .scope(Scope::Affinities { owner: Some(Owner::Host("n".to_string())), family: None }, Depth::Full)
        .key(Key::IpamConfig)
        .key(handle("a"));
    let path = handle("a").etcd_path();
    let (mut get, mut read, mut written) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    for round in 0..ROUNDS {
        get += timed(client.get(path.as_str(), None)).await.1;
        read += timed(store.read(&set, WITHIN)).await.1;
        let mut batch = Batch::new();
        batch.put(handle("a"), Expect::Revision(revision.clone()), counted(round));
        let (report, took) = timed(commit(&store, &batch)).await;
        let store::Outcome::Applied(now) = &report.outcomes[0] else { panic!("{report:?}") };
        revision = now.clone();
        written += took;
    }
    let ratio = |time: Duration| time.as_secs_f64() / get.as_secs_f64();
    println!(
        "a bare Get {:?}; a read of four ranges {:.2} of it; a commit {:.2}",
        get / ROUNDS,
        ratio(read),
        ratio(written)
    );
    assert!(ratio(read) < 5.0, "{read:?} beside {get:?}");
}
