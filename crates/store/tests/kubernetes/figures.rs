//! The cost of calls: the number of requests, and the time beside that of a plain request.

use std::time::{Duration, Instant};

use api::{AffinityState, Family, Key, Kind, Owner};
use store::kubernetes::{Deletion, KubeOptions, KubeStore};
use store::{Batch, Depth, Expect, ReadSet, Scope, Store};

use super::fixture::*;

fn what_an_add_reads() -> ReadSet {
    let owner = Some(Owner::Host("n1".to_string()));
    ReadSet::new()
        .key(Key::IpamConfig)
        .key(Key::global(Kind::Node, "n1"))
        .key(handle("net.1"))
        .scope(Scope::kind(Kind::IPPool), Depth::Full)
        .scope(Scope::kind(Kind::IPReservation), Depth::Full)
        .scope(Scope::Affinities { owner, family: Some(Family::V4) }, Depth::Full)
}

/// The writes for a host's first block: affinity pending, block, affinity confirmed, handle, and the address.
fn first_block() -> Batch {
    let net = "10.0.0.0/26";
    let mut batch = Batch::new();
    let pending = batch.put(affinity("n1", net), Expect::Absent, in_state(AffinityState::Pending));
    let made = batch.put(block(net), Expect::Absent, block_value(net, "n1", 0));
    batch.put(affinity("n1", net), Expect::AsLeftBy(pending), in_state(AffinityState::Confirmed));
    batch.put(handle("net.1"), Expect::Absent, counted(1));
    batch.put(block(net), Expect::AsLeftBy(made), block_value(net, "n1", 1));
    batch
}

#[tokio::test]
async fn a_request_for_each_part() {
    let Some(cluster) = cluster().await else { return };
    let store = cluster.open(GROUPS[0]);
    let view = store.read(&what_an_add_reads(), WITHIN).await.unwrap();
    assert!(view.is_empty());
    assert_eq!(store.requests(), 6);
    let report = store.commit(&first_block(), WITHIN).await.unwrap();
    assert!(report.is_applied(), "{report:?}");
    assert_eq!(store.requests(), 11);
    // If the settings do not name the group, one more request finds it.
    let store = KubeStore::open(KubeOptions { group: None, ..cluster.options(GROUPS[0]) }).unwrap();
    store.read(&what_an_add_reads(), WITHIN).await.unwrap();
    assert_eq!(store.requests(), 7);
}

async fn median(mut what: impl AsyncFnMut(usize)) -> f64 {
    let mut times = Vec::new();
    for round in 0..31 {
        let start = Instant::now();
        what(round).await;
        times.push(start.elapsed());
    }
    times.sort();
    Duration::as_secs_f64(&times[15])
}

/// Prints the ratios. To run it: `cargo test -p store --features kubernetes --test kubernetes figures --
/// --ignored --nocapture`.
#[tokio::test]
#[ignore = "prints figures"]
async fn beside_a_bare_request() {
    let Some(cluster) = cluster().await else { return };
    let group = GROUPS[0];
    let store = cluster.open(group);
    assert!(store.commit(&first_block(), WITHIN).await.unwrap().is_applied());
    let at = path(group, &block("10.0.0.0/26"));
    let bare = median(async |_| assert_eq!(cluster.ask("GET", &at, None).await.0, 200)).await;
    let set = ReadSet::new().key(block("10.0.0.0/26"));
    let key = median(async |_| drop(store.read(&set, WITHIN).await.unwrap())).await;
    let set = what_an_add_reads();
    let six = median(async |_| drop(store.read(&set, WITHIN).await.unwrap())).await;
    let cold = median(async |_| drop(cluster.open(group).read(&set, WITHIN).await.unwrap())).await;
    let raw_create = median(async |round| {
        assert_eq!(cluster.create(group, &handle(&format!("raw.{round}")), &counted(1)).await.0, 201);
    })
    .await;
    let two = median(async |round| {
        let mut batch = Batch::new();
        batch.put(handle(&format!("ours.{round}")), Expect::Absent, counted(1));
        let net = format!("10.1.{round}.0/26");
        batch.put(block(&net), Expect::Absent, block_value(&net, "n1", 1));
        assert!(store.commit(&batch, WITHIN).await.unwrap().is_applied());
    })
    .await;
    println!("a bare GET of a block: 1; the same by the store: {:.2}", key / bare);
    println!("six reads of an ADD, side by side: {:.2} bare GETs", six / bare);
    println!("the same from nothing, settings and connection included: {:.2} bare GETs", cold / bare);
    println!("a bare POST of a handle: 1; a batch of handle and block: {:.2}", two / raw_create);
    for deletion in [Deletion::TwoPhase, Deletion::Atomic] {
        let store = KubeStore::open(KubeOptions { deletion, ..cluster.options(group) }).unwrap();
        let mut revisions = Vec::new();
        for round in 0..31 {
            let name = format!("gone.{round}");
            revisions.push(applied(&put(&store, &handle(&name), Expect::Absent, counted(1)).await));
        }
        let gone = median(async |round| {
            let mut batch = Batch::new();
            batch.delete(handle(&format!("gone.{round}")), Expect::Revision(revisions[round].clone()));
            assert!(store.commit(&batch, WITHIN).await.unwrap().is_applied());
        })
        .await;
        println!("{deletion:?} deletion of a handle: {:.2} bare POSTs", gone / raw_create);
    }
    for (depth, name) in [(Depth::Key, "keys"), (Depth::Header, "headers"), (Depth::Full, "whole blocks")] {
        let set = ReadSet::new().scope(Scope::Blocks { family: None }, depth);
        let list = median(async |_| drop(store.read(&set, WITHIN).await.unwrap())).await;
        println!("a list of 32 blocks, {name}: {:.2} bare GETs", list / bare);
    }
    // How much smaller the server's short form of a list is.
    let accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    for taken in [1, 32, 64] {
        cluster.clear().await;
        cluster.create(group, &block("10.0.0.0/26"), &block_value("10.0.0.0/26", "n1", taken)).await;
        let (_, whole) = cluster.ask("GET", &collection(group, &block("10.0.0.0/26")), None).await;
        let short = cluster.short(&collection(group, &block("10.0.0.0/26")), accept).await;
        println!("a block with {taken} taken: {} bytes; its short form: {short}", whole.to_string().len());
    }
}
