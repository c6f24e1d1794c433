//! Without Kubernetes: WorkloadEndpoints and Nodes are the witnesses.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use api::{Key, Kind};
use serde_json::json;
use servers::etcd_server::{self, EtcdServer};
use store::AnyStore;
use store::etcd::{EtcdOptions, EtcdStore};
use store::sqlite::{SqliteOptions, SqliteStore};

use crate::town::Town;

const GRACE: Duration = Duration::from_secs(2);

async fn witnesses(town: &Town) {
    for node in ["n1", "n2"] {
        town.create_node(node).await;
    }
    let endpoint = async |node: &str, container: &str| {
        let addr = town.assign(&format!("net.{container}"), node, &[]).await;
        let spec = json!({"node": node, "orchestrator": "cni", "containerID": container,
            "endpoint": "eth0", "interfaceName": format!("cali{container}"), "ipNetworks": [format!("{addr}/32")]});
        let name = format!("{node}-cni-{container}-eth0");
        town.put(Kind::WorkloadEndpoint, Some("default"), &name, spec).await;
        addr
    };
    let mut kept = BTreeSet::from([endpoint("n1", "a").await]);
    endpoint("n2", "b").await;
    // A network whose plugin makes no endpoints is not judged by them.
    kept.insert(town.assign("other.c", "n1", &[]).await);
    town.assign("net.leaked", "n1", &[]).await;
    let took = town.work_until(GRACE, async |town| town.assigned().await.len() == 3).await;
    println!("a leak was freed after {took:?}");
    // A node that is gone gives back its endpoints, then their addresses, its blocks and affinities.
    town.delete(Key::global(Kind::Node, "n2")).await;
    town.work_until(GRACE, async |town| town.assigned().await == kept).await;
    town.work_until(GRACE, async |town| town.counts().await == [1, 1, 2]).await;
}

#[tokio::test]
async fn on_the_embedded_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("s.db"), SqliteOptions::default()).unwrap();
    witnesses(&Town::of(AnyStore::Sqlite(store), None).await).await;
}

#[tokio::test]
async fn on_etcd() {
    if etcd_server::is_left_out() {
        return;
    }
    let server = EtcdServer::start();
    let endpoints = vec![server.endpoint()];
    let store = EtcdStore::open(EtcdOptions { endpoints, ..EtcdOptions::default() }).unwrap();
    witnesses(&Town::of(AnyStore::Etcd(store), None).await).await;
}

/// More leaks in one block than a transaction of etcd has room for.
#[tokio::test]
async fn many_leaks_in_one_block() {
    if etcd_server::is_left_out() {
        return;
    }
    let server = EtcdServer::start();
    let endpoints = vec![server.endpoint()];
    let store = EtcdStore::open(EtcdOptions { endpoints, ..EtcdOptions::default() }).unwrap();
    let town = Town::of(AnyStore::Etcd(store), None).await;
    town.delete(Key::global(Kind::IPPool, "pool")).await;
    let pool = json!({"cidr": "10.1.0.0/16", "blockSize": 23, "nodeSelector": "all()"});
    town.put(Kind::IPPool, None, "large", pool).await;
    town.create_node("n1").await;
    for n in 0..300 {
        town.assign(&format!("net.{n}"), "n1", &[]).await;
    }
    assert_eq!(town.counts().await, [1, 1, 300]);
    town.delete(Key::global(Kind::Node, "n1")).await;
    let took = town.work_until(GRACE, async |town| town.counts().await == [0, 0, 0]).await;
    println!("300 leaks of one block were freed after {took:?}");
}

/// A block that cannot be written, whatever the reason, does not make other leaks wait.
#[tokio::test]
async fn what_leaks_beside_a_block_that_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.db");
    let store = SqliteStore::open(&path, SqliteOptions::default()).unwrap();
    let town = Town::of(AnyStore::Sqlite(store), None).await;
    for node in ["n1", "n2"] {
        town.create_node(node).await;
    }
    let stuck = town.assign("net.a", "n1", &[]).await;
    let block = Key::Block(town.block_of(stuck).await).etcd_path();
    let connection = rusqlite::Connection::open(&path).unwrap();
    let trigger = format!(
        "CREATE TRIGGER stuck BEFORE UPDATE ON kv WHEN old.key = '{block}' BEGIN SELECT RAISE(ABORT, 'stuck'); END"
    );
    connection.execute_batch(&trigger).unwrap();
    town.delete(Key::global(Kind::Node, "n1")).await;
    // By then the pause after a failure is 16 s long, and has just begun.
    let (began, quiet, soon) = (Instant::now(), Duration::from_secs(18), Duration::from_secs(12));
    let leaked_at = Cell::new(None);
    let is_freed = async |town: &Town| {
        if began.elapsed() < quiet {
            return false;
        }
        if leaked_at.get().is_none() {
            town.assign("net.b", "n2", &[]).await;
            town.delete(Key::global(Kind::Node, "n2")).await;
            leaked_at.set(Some(Instant::now()));
        }
        town.assigned().await == BTreeSet::from([stuck])
    };
    town.work_until(Duration::from_secs(1), is_freed).await;
    let took = leaked_at.get().unwrap().elapsed();
    assert!(took < soon, "it waited for the other block: {took:?}");
}
