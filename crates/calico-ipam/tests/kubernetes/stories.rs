//! Whole stories of allocation, as the objects in the server show them.

use std::thread;

use serde_json::json;

use crate::fixture::{Host, PLUGIN, cluster, node, pod, pool};
use crate::harness::addr;

#[test]
fn an_address_of_each_family_and_back() {
    let Some(cluster) = cluster() else { return };
    cluster.apply(&[node("n1"), pool("p4", "10.0.0.0/16", json!({})), pool("p6", "fd00::/64", json!({}))]);
    let dual = json!({"type": "calico-ipam", "assign_ipv6": "true"});
    let host = Host::new(&cluster, "n1", PLUGIN).with("ipam", dual);
    assert_eq!(host.run_with("ADD", "c1", &pod("default", "web")).addresses().len(), 2);
    let block = &cluster.objects("ipamblocks")[0];
    let attribute = &block["spec"]["attributes"][0];
    assert_eq!(attribute["handle_id"], "net.c1");
    let owner = &attribute["secondary"];
    let names = [&owner["node"], &owner["namespace"], &owner["pod"]];
    assert_eq!(names, [&json!("n1"), &json!("default"), &json!("web")]);
    assert_eq!(cluster.objects("ipamhandles")[0]["spec"]["block"].as_object().unwrap().len(), 2);
    assert_eq!(host.run_with("DEL", "c1", &pod("default", "web")).code, Some(0));
    assert_eq!(host.run_with("DEL", "c1", &pod("default", "web")).code, Some(0));
    assert_eq!((cluster.taken(), cluster.objects("ipamhandles").len()), (0, 0));
    assert_eq!(cluster.objects("blockaffinities").len(), 2);
}

/// An address that Calico's version 2 assigned.
#[test]
fn the_old_handle_of_a_pod_is_released_too() {
    let Some(cluster) = cluster() else { return };
    cluster.apply(&[node("n1"), pool("p", "10.0.0.0/16", json!({}))]);
    let host = Host::new(&cluster, "n1", PLUGIN);
    let old = Host::new(&cluster, "n1", PLUGIN).with("name", json!("default"));
    assert_eq!(old.run_with("ADD", "web", &pod("default", "web")).addresses().len(), 1);
    assert_eq!(cluster.objects("ipamhandles")[0]["spec"]["handleID"], "default.web");
    assert_eq!(host.run_with("DEL", "c1", &pod("default", "web")).code, Some(0));
    assert_eq!(cluster.taken(), 0);
    // Another container may have the same handle.
    assert_eq!(old.run("ADD", "web").addresses().len(), 1);
    assert_eq!(host.run_with("DEL", "c1", &pod("default", "web")).code, Some(0));
    assert_eq!(cluster.taken(), 1);
    assert_eq!(old.run("DEL", "web").code, Some(0));
}

/// If one of two families has no address, the other's address is released, too. With Calico it stays
/// assigned.
#[test]
fn all_or_nothing() {
    let Some(cluster) = cluster() else { return };
    cluster.apply(&[node("n1"), pool("p4", "10.0.0.0/16", json!({}))]);
    let dual = json!({"type": "calico-ipam", "assign_ipv6": "true"});
    let host = Host::new(&cluster, "n1", PLUGIN).with("ipam", dual);
    assert_eq!(host.run("ADD", "c1").error(), (999, "cannot find a qualified ippool".to_string()));
    for plural in ["ipamblocks", "blockaffinities", "ipamhandles"] {
        assert!(cluster.objects(plural).is_empty(), "{plural}");
    }
}

/// Several hosts, which do not share a lock, allocate at the same time.
#[test]
fn hosts_at_once_get_addresses_of_their_own() {
    let Some(cluster) = cluster() else { return };
    let names: Vec<String> = (0..4).map(|at| format!("n{at}")).collect();
    cluster.apply(&names.iter().map(|name| node(name)).collect::<Vec<_>>());
    // There are two blocks for four hosts, so some hosts must borrow.
    cluster.apply(&[pool("p", "10.0.0.0/28", json!({"blockSize": 29}))]);
    let hosts: Vec<Host> = names.iter().map(|name| Host::new(&cluster, name, PLUGIN)).collect();
    let addresses: Vec<String> = thread::scope(|scope| {
        let running: Vec<_> = hosts
            .iter()
            .zip(&names)
            .flat_map(|(host, name)| (0..3).map(move |at| (host, format!("{name}-c{at}"))))
            .map(|(host, container)| scope.spawn(move || host.run("ADD", &container).addresses()))
            .collect();
        running.into_iter().flat_map(|running| running.join().unwrap()).collect()
    });
    let mut each: Vec<_> = addresses.iter().map(|text| addr(text)).collect();
    each.sort();
    each.dedup();
    assert_eq!((each.len(), cluster.taken()), (12, 12), "{addresses:?}");
}
