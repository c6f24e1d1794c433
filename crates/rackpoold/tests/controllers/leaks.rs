//! Addresses that leaked come back, and no others.

use std::collections::BTreeSet;
use std::time::Duration;

use api::{Key, Kind};
use rackpoold::controllers::collecting::Collecting;
use rackpoold::controllers::health::Health;
use rackpoold::controllers::work::Wishes;
use serde_json::json;
use servers::kube_server;
use store::kubernetes::ObjectName;
use store::sqlite::{SqliteOptions, SqliteStore};
use store::{AnyStore, Effects};

use super::WITHIN;
use crate::town::Town;

const SECOND: Duration = Duration::from_secs(1);
const WISHES: Wishes =
    Wishes { collects: true, grace: Some(Duration::from_secs(900)), period: Duration::from_secs(300) };

#[tokio::test]
async fn pods_that_are_gone_give_their_addresses_back() {
    if kube_server::is_left_out() {
        return;
    }
    let town = Town::kubernetes().await;
    town.create_node("n1").await;
    let mut kept = BTreeSet::new();
    kept.insert(town.run_pod("lives", "n1", "net.lives").await);
    kept.insert(town.assign("by-hand", "n1", &[]).await);
    // ADD is done, and the kubelet has not told yet.
    town.create_pod("starts", "n1").await;
    let of_pod = [("namespace", "default"), ("pod", "starts")];
    kept.insert(town.assign("net.starts", "n1", &of_pod).await);
    let ends = town.run_pod("ends", "n1", "net.ends").await;
    town.tell_pod("ends", "Succeeded", &[ends]).await;
    town.run_pod("gone", "n1", "net.gone").await;
    town.kubectl_delete(&["pod", "gone"]);
    // No pod can have such a name.
    town.assign("net.odd", "n1", &[("namespace", "default"), ("pod", "a/b")]).await;
    // Another container of a pod that lives: the old one's address has leaked.
    town.assign("net.lives-before", "n1", &[("namespace", "default"), ("pod", "lives")]).await;
    assert_eq!(town.assigned().await.len(), 7);

    let took = town.work_until(2 * SECOND, async |town| town.assigned().await == kept).await;
    println!("four leaks were freed after {took:?}, with a grace of 2 s");
    assert_eq!(town.counts().await[2], 3, "handles are gone with their addresses");
}

#[tokio::test]
async fn a_node_that_is_gone_gives_everything_back_at_once() {
    if kube_server::is_left_out() {
        return;
    }
    let town = Town::kubernetes().await;
    for node in ["n1", "n2"] {
        town.create_node(node).await;
    }
    town.run_pod("a", "n1", "net.a").await;
    town.assign("vxlan-tunnel-addr-n1", "n1", &[("type", "vxlanTunnelAddress")]).await;
    let kept = BTreeSet::from([town.run_pod("b", "n2", "net.b").await]);
    town.kubectl_delete(&["node", "n1"]);
    // As long as a pod of the node is there, nothing of it is given back.
    let before = town.assigned().await;
    let mut collecting = Collecting::new(town.account.clone(), town.clock.clone());
    let (mut cluster, _) = town.known().await;
    for _ in 0..3 {
        assert!(collecting.collect(&mut cluster, WISHES).await);
        town.clock.skip(10 * SECOND);
    }
    assert_eq!(town.assigned().await, before);

    town.kubectl_delete(&["pod", "a"]);
    let took = town.work_until(900 * SECOND, async |town| town.assigned().await == kept).await;
    println!("what the node had was freed after {took:?}");
    town.work_until(900 * SECOND, async |town| town.counts().await == [1, 1, 1]).await;
}

/// The watch is behind by twenty minutes, in which pods were made anew under their names, and their node was
/// gone and is back: no living pod loses its address.
#[tokio::test]
async fn a_stale_view_frees_nothing_that_lives() {
    if kube_server::is_left_out() {
        return;
    }
    let town = Town::kubernetes().await;
    town.create_node("n1").await;
    let mut old = Vec::new();
    for pod in ["a", "b", "c"] {
        old.push(town.run_pod(pod, "n1", &format!("net.{pod}")).await);
    }
    let (mut cluster, _) = town.known().await;
    let mut collecting = Collecting::new(town.account.clone(), town.clock.clone());
    assert!(collecting.collect(&mut cluster, WISHES).await);

    town.kubectl_delete(&["pod", "a", "b"]);
    let mut living = BTreeSet::from([old[2]]);
    for pod in ["a", "b"] {
        living.insert(town.run_pod(pod, "n1", &format!("net.{pod}-again")).await);
    }
    // The blocks are known, the pods are not.
    let blind = cluster.users.clone();
    (cluster, _) = town.known().await;
    cluster.users = blind;
    cluster.collector.all_changed(&cluster.view);
    assert!(collecting.collect(&mut cluster, WISHES).await);
    town.clock.skip(1_200 * SECOND);
    assert!(collecting.collect(&mut cluster, WISHES).await);
    let assigned = town.assigned().await;
    assert!(living.is_subset(&assigned), "{living:?} {assigned:?}");

    // It believes that the node is gone, and all pods are.
    let controllers::witness::Users::Pods(pods) = &mut cluster.users else { panic!() };
    pods.clear();
    let node = api::Key::global(api::Kind::Node, "n1");
    let gone = store::Event::Delete(node, api::Revision::new("99999999"));
    cluster.view.fold(&store::Scope::kind(api::Kind::Node), &gone);
    cluster.collector.all_changed(&cluster.view);
    for _ in 0..3 {
        assert!(collecting.collect(&mut cluster, WISHES).await);
        town.clock.skip(1_200 * SECOND);
    }
    let assigned = town.assigned().await;
    assert!(living.is_subset(&assigned), "{living:?} {assigned:?}");

    // Once it sees again, what leaked is freed.
    (cluster, _) = town.known().await;
    assert!(collecting.collect(&mut cluster, WISHES).await);
    town.clock.skip(1_200 * SECOND);
    assert!(collecting.collect(&mut cluster, WISHES).await);
    assert_eq!(town.assigned().await, living);
}

/// While nobody answers, nothing is freed.
#[tokio::test]
async fn a_server_that_is_away_is_no_witness() {
    if kube_server::is_left_out() {
        return;
    }
    let mut town = Town::kubernetes().await;
    town.create_node("n1").await;
    town.run_pod("a", "n1", "net.a").await;
    town.kubectl_delete(&["pod", "a"]);
    let (mut cluster, feed) = town.known().await;
    drop(feed);
    let mut collecting = Collecting::new(town.account.clone(), town.clock.clone());
    assert!(collecting.collect(&mut cluster, WISHES).await);
    town.clock.skip(1_000 * SECOND);
    town.server.as_mut().unwrap().kill();
    assert!(!collecting.collect(&mut cluster, WISHES).await);
    town.server.as_mut().unwrap().restart();
    assert_eq!(town.assigned().await.len(), 1);
    assert!(collecting.collect(&mut cluster, WISHES).await);
    assert_eq!(town.assigned().await.len(), 0);
}

/// Who gives much back shows that it lives: a pass may take longer than a loop may be silent.
#[tokio::test]
async fn a_long_pass_shows_that_it_lives() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("s.db"), SqliteOptions::default()).unwrap();
    let town = Town::of(AnyStore::Sqlite(store), None).await;
    town.create_node("n1").await;
    town.assign("net.a", "n1", &[]).await;
    town.delete(Key::global(Kind::Node, "n1")).await;
    let (mut cluster, _) = town.known().await;
    let mut collecting = Collecting::new(town.account.clone(), town.clock.clone());
    let health = Health::new("", town.clock.elapsed());
    collecting.health = Some(health.clone());
    for free in [false, true] {
        assert!(collecting.collect(&mut cluster, WISHES).await);
        assert!(health.liveness(town.clock.elapsed()).is_ok());
        assert_eq!(town.assigned().await.is_empty(), free);
        town.clock.skip(1_000 * SECOND);
        assert!(health.liveness(town.clock.elapsed()).is_err());
    }
    collecting.sweep(&mut cluster, WISHES).await;
    town.clock.skip(1_000 * SECOND);
    collecting.sweep(&mut cluster, WISHES).await;
    assert!(health.liveness(town.clock.elapsed()).is_ok());
}

/// Virtual machines that cannot be asked for keep their addresses, and no others.
#[tokio::test]
async fn machines_that_cannot_be_asked_for() {
    if kube_server::is_left_out() {
        return;
    }
    let town = Town::kubernetes().await;
    town.create_node("n1").await;
    let fields = [("namespace", "default"), ("pod", "virt-launcher-x"), ("vmi-name", "x")];
    let machine = town.assign("net.vmi.default.x", "n1", &fields).await;
    let ownerless = town.assign("net.vmi.default.y", "n1", &[("pod", "y")]).await;
    town.clear_owner(ownerless).await;
    town.run_pod("gone", "n1", "net.gone").await;
    town.kubectl_delete(&["pod", "gone"]);
    // An API whose server is not there.
    let service = ObjectName {
        api: "/apis/apiregistration.k8s.io/v1",
        plural: "apiservices",
        namespace: None,
        name: "v1.kubevirt.io",
    };
    let object = json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": {"name": service.name}, "spec": {"group": "kubevirt.io", "version": "v1",
            "groupPriorityMinimum": 100, "versionPriority": 100, "insecureSkipTLSVerify": true,
            "service": {"namespace": "default", "name": "none"}}});
    assert!(town.kube().create_object(service, &object, WITHIN).await.unwrap());
    let machines = ObjectName {
        api: "/apis/kubevirt.io/v1",
        plural: "virtualmachines",
        namespace: Some("default"),
        name: "x",
    };
    let by = std::time::Instant::now() + WITHIN;
    while town.kube().object(machines, SECOND).await.is_ok() {
        assert!(std::time::Instant::now() < by);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (mut cluster, _) = town.known().await;
    let mut collecting = Collecting::new(town.account.clone(), town.clock.clone());
    collecting.collect(&mut cluster, WISHES).await;
    town.clock.skip(1_000 * SECOND);
    assert!(collecting.collect(&mut cluster, WISHES).await);
    assert_eq!(town.assigned().await, BTreeSet::from([machine, ownerless]));

    // Where they can be asked for and are not there, their addresses come back.
    let server = town.server.as_ref().unwrap();
    assert!(server.kubectl(&["delete", "apiservice", service.name]).status().unwrap().success());
    let by = std::time::Instant::now() + WITHIN;
    while town.kube().object(machines, SECOND).await.is_err() {
        assert!(std::time::Instant::now() < by);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    town.clock.skip(1_000 * SECOND);
    assert!(collecting.collect(&mut cluster, WISHES).await);
    assert_eq!(town.assigned().await, BTreeSet::new());
}

/// A handle whose other address is in a block that cannot be read: its pod may have told just that one.
#[tokio::test]
async fn a_handle_in_a_block_that_cannot_be_read() {
    if kube_server::is_left_out() {
        return;
    }
    let town = Town::kubernetes().await;
    town.create_node("n1").await;
    town.create_pod("a", "n1").await;
    let of_pod = [("namespace", "default"), ("pod", "a")];
    let mut addresses = Vec::new();
    for _ in 0..17 {
        addresses.push(town.assign("net.a", "n1", &of_pod).await);
    }
    let told = addresses[16];
    town.tell_pod("a", "Running", &[told]).await;
    // The address that the pod has told is in a block of its own; that block cannot be read.
    let block = town.block_of(told).await;
    assert_ne!(block, town.block_of(addresses[0]).await);
    let name = block.to_string().replace(['.', '/'], "-");
    let server = town.server.as_ref().unwrap();
    let patch = r#"{"spec":{"allocations":[77]}}"#;
    let patched = server.kubectl(&["patch", "ipamblock", &name, "--type=merge", "-p", patch]).output();
    assert!(patched.unwrap().status.success());
    let (mut cluster, _) = town.known().await;
    let mut collecting = Collecting::new(town.account.clone(), town.clock.clone());
    collecting.collect(&mut cluster, WISHES).await;
    town.clock.skip(1_000 * SECOND);
    assert!(collecting.collect(&mut cluster, WISHES).await);
    let assigned = town.assigned().await;
    assert!(addresses[..16].iter().all(|addr| assigned.contains(addr)), "{assigned:?}");
}
