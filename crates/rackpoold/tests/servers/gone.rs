//! Gives back what containers have left, on the embedded store and on etcd.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use api::{HandleId, Key, Kind, Resource};
use ipam::usage::{Allocation, allocation_of, reads_of};
use ipam::{AssignIp, ReleaseIp, ReleaseIps};
use rackpoold::gone::{Endpoint, GiveBackError, GivenBack, Missing, give_back, gone};
use serde_json::json;
use servers::etcd_server::{self, EtcdServer};
use setup::Clock;
use store::etcd::{EtcdOptions, EtcdStore};
use store::sqlite::{SqliteOptions, SqliteStore};
use store::{Depth, ReadSet, Scope, Store};

use super::{WITHIN, put};

async fn lock<S: Store>(store: &S, is_ready: bool) {
    let information = json!({"metadata": {"name": "default"}, "spec": {"datastoreReady": is_ready}});
    put(store, Kind::ClusterInformation, information).await;
}

/// Assigns an address to a container, as `calico-ipam` does.
async fn assign<S: Store>(store: &S, addr: &str, handle: &str, node: &str) {
    let owner = [("node".to_string(), node.to_string())].into_iter().collect();
    let request = AssignIp {
        addr: addr.parse().unwrap(),
        host: node.to_string(),
        handle: HandleId::new(handle),
        attributes: owner,
        intended_use: None,
        max_per_handle: None,
    };
    ipam::run(store, &Clock::start(), request.planner(), WITHIN).await.unwrap();
}

async fn attach<S: Store>(store: &S, container: &str, addresses: &[&str]) {
    let networks: Vec<String> = addresses.iter().map(|addr| format!("{addr}/32")).collect();
    let spec = json!({"node": "n1", "orchestrator": "cni", "containerID": container, "endpoint": "eth0",
        "interfaceName": format!("cali{container}"), "ipNetworks": networks, "profiles": ["net"]});
    let name = format!("n1-cni-{container}-eth0");
    put(
        store,
        Kind::WorkloadEndpoint,
        json!({"metadata": {"name": name, "namespace": "default"}, "spec": spec}),
    )
    .await;
}

async fn endpoints<S: Store>(store: &S) -> Vec<Resource> {
    let scope = Scope::kind(Kind::WorkloadEndpoint);
    let view = store.read(&ReadSet::new().scope(scope, Depth::Full), WITHIN).await.unwrap();
    view.resources(Kind::WorkloadEndpoint).map(|(endpoint, _)| endpoint.clone()).collect()
}

async fn is_assigned<S: Store>(store: &S, addr: &str) -> bool {
    let addr: IpAddr = addr.parse().unwrap();
    let view = store.read(&reads_of(addr), WITHIN).await.unwrap();
    matches!(allocation_of(&view, addr), Allocation::Assigned { .. })
}

fn addrs(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// The agent's two looks at this host, on which only these interfaces are left.
async fn look_twice<S: Store>(store: &S, interfaces: &[&str]) -> Vec<Endpoint> {
    let interfaces: BTreeSet<String> = interfaces.iter().map(|name| name.to_string()).collect();
    let (found, mut missing) = (endpoints(store).await, Missing::default());
    let grace = Duration::from_secs(60);
    gone("n1", &found, &interfaces, &mut missing, Duration::ZERO, grace);
    gone("n1", &found, &interfaces, &mut missing, grace, grace)
}

async fn story<S: Store>(store: &S) {
    let clock = Clock::start();
    lock(store, true).await;
    put(store, Kind::Node, json!({"metadata": {"name": "n1"}, "spec": {}})).await;
    put(
        store,
        Kind::IPPool,
        json!({"metadata": {"name": "p"}, "spec": {"cidr": "10.1.0.0/24", "nodeSelector": "all()"}}),
    )
    .await;
    for (container, addr) in [("aa", "10.1.0.1"), ("bb", "10.1.0.2"), ("cc", "10.1.0.3"), ("dd", "10.1.0.4")]
    {
        assign(store, addr, &format!("net.{container}"), "n1").await;
        attach(store, container, &[addr]).await;
    }
    // bb lives; cc's address has gone to another owner; dd names another container's address beside its own.
    let cc = ReleaseIp { addr: addrs(&["10.1.0.3"])[0], handle: None, sequence: None };
    ipam::run(store, &clock, ReleaseIps::new(vec![cc]).planner(), WITHIN).await.unwrap();
    assign(store, "10.1.0.3", "net.zz", "n1").await;
    attach(store, "dd", &["10.1.0.4", "10.1.0.2", "192.0.2.1"]).await;

    let found = look_twice(store, &["calibb", "eth0"]).await;
    let containers: Vec<_> = found.iter().map(|endpoint| endpoint.container.as_str()).collect();
    assert_eq!(containers, ["aa", "cc", "dd"]);

    lock(store, false).await;
    let error = give_back(store, &clock, "n1", &found[0], WITHIN).await.unwrap_err();
    assert!(matches!(error, GiveBackError::Locked), "{error}");
    lock(store, true).await;
    assert!(is_assigned(store, "10.1.0.1").await);

    let wanted = [
        (addrs(&["10.1.0.1"]), addrs(&[])),
        (addrs(&[]), addrs(&["10.1.0.3"])),
        (addrs(&["10.1.0.4"]), addrs(&["10.1.0.2", "192.0.2.1"])),
    ];
    for (endpoint, (released, others)) in found.iter().zip(wanted) {
        let given = give_back(store, &clock, "n1", endpoint, WITHIN).await.unwrap();
        assert_eq!(given, GivenBack { released, others, is_deleted: true }, "{endpoint:?}");
        // Once more: it is gone.
        assert_eq!(give_back(store, &clock, "n1", endpoint, WITHIN).await.unwrap(), GivenBack::default());
    }
    let left: Vec<_> = endpoints(store).await.iter().map(|endpoint| endpoint.name().to_string()).collect();
    assert_eq!(left, ["n1-cni-bb-eth0"]);
    let mut states = Vec::new();
    for last in 1..=4 {
        states.push(is_assigned(store, &format!("10.1.0.{last}")).await);
    }
    assert_eq!(states, [false, true, true, false]);
    let handle = |id: &str| Key::Handle(HandleId::new(id).unwrap());
    let set = ReadSet::new().keys(["net.aa", "net.bb", "net.dd"].map(handle));
    let view = store.read(&set, WITHIN).await.unwrap();
    let is_there = |id: &str| view.handle(&HandleId::new(id).unwrap()).unwrap().is_some();
    assert_eq!(["net.aa", "net.bb", "net.dd"].map(is_there), [false, true, false]);

    // The endpoint of another container of the same name stays, and so does that container's address.
    assign(store, "10.1.0.1", "net.ee", "n1").await;
    attach(store, "ee", &["10.1.0.1"]).await;
    let mut stale = look_twice(store, &["calibb"]).await.remove(0);
    stale.container = "aa".to_string();
    assert_eq!(give_back(store, &clock, "n1", &stale, WITHIN).await.unwrap(), GivenBack::default());
    assert!(is_assigned(store, "10.1.0.1").await && endpoints(store).await.len() == 2);
}

#[tokio::test]
async fn on_the_embedded_store() {
    let dir = tempfile::tempdir().unwrap();
    story(&SqliteStore::open(dir.path().join("s.db"), SqliteOptions::default()).unwrap()).await;
}

#[tokio::test]
async fn on_etcd() {
    if etcd_server::is_left_out() {
        return;
    }
    let server = EtcdServer::start();
    let endpoints = vec![server.endpoint()];
    story(&EtcdStore::open(EtcdOptions { endpoints, ..EtcdOptions::default() }).unwrap()).await;
}
