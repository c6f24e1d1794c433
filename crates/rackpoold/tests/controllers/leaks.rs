//! Addresses that leaked come back, and no others.

use std::collections::BTreeSet;
use std::time::Duration;

use rackpoold::controllers::collecting::Collecting;
use rackpoold::controllers::work::Wishes;
use servers::kube_server;

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
    // Another container of a pod that lives: the old one's address has leaked.
    town.assign("net.lives-before", "n1", &[("namespace", "default"), ("pod", "lives")]).await;
    assert_eq!(town.assigned().await.len(), 6);

    let took = town.work_until(2 * SECOND, async |town| town.assigned().await == kept).await;
    println!("three leaks were freed after {took:?}, with a grace of 2 s");
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
    let mut collecting = Collecting::new(town.store.clone(), town.clock.clone());
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
    let mut collecting = Collecting::new(town.store.clone(), town.clock.clone());
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
    let mut collecting = Collecting::new(town.store.clone(), town.clock.clone());
    assert!(collecting.collect(&mut cluster, WISHES).await);
    town.clock.skip(1_000 * SECOND);
    town.server.as_mut().unwrap().kill();
    assert!(!collecting.collect(&mut cluster, WISHES).await);
    town.server.as_mut().unwrap().restart();
    assert_eq!(town.assigned().await.len(), 1);
    assert!(collecting.collect(&mut cluster, WISHES).await);
    assert_eq!(town.assigned().await.len(), 0);
}
