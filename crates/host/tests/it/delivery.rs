//! Packets between pods of different nodes, by the routes of the plan.

use crate::cluster::Cluster;

fn delivers(vxlan: &str) -> Option<Cluster> {
    let cluster = Cluster::new(vxlan, &[1, 1, 2])?;
    for node in &cluster.nodes {
        cluster.sync(node);
    }
    if vxlan == "Never" {
        cluster.sync_router();
    }
    cluster.assert_all_reach_all();
    Some(cluster)
}

#[test]
fn pods_reach_each_other_through_tunnels() {
    let Some(cluster) = delivers("Always") else { return };
    // Two sides for each tunnel, and two blocks of others for each family.
    let n1 = &cluster.nodes[0].host;
    assert_eq!(n1.sh("ip neigh show dev vxlan.calico nud permanent").lines().count(), 2);
    assert_eq!(n1.sh("ip -6 neigh show dev vxlan-v6.calico nud permanent").lines().count(), 2);
    let table = n1.sh("ip route show proto 81");
    assert!(table.contains("10.81.2.0/26 via 10.81.2.0 dev vxlan.calico onlink mtu 1450"), "{table}");
    assert!(table.contains("blackhole 10.81.1.0/26"), "{table}");
    let table = n1.sh("ip -6 route show proto 81");
    assert!(table.contains("fd81::2:0/122 via fd81::2:0 dev vxlan-v6.calico metric 1024 onlink"), "{table}");
}

#[test]
fn pods_reach_each_other_through_tunnels_between_networks() {
    let Some(cluster) = delivers("CrossSubnet") else { return };
    let table = cluster.nodes[0].host.sh("ip route show proto 81; ip -6 route show proto 81");
    for part in [
        "10.81.2.0/26 via 10.77.1.12 dev eth0 onlink",
        "10.81.3.0/26 via 10.81.3.0 dev vxlan.calico onlink",
        "fd81::2:0/122 via fd77:1::12 dev eth0 metric 1024 onlink",
        "fd81::3:0/122 via fd81::3:0 dev vxlan-v6.calico metric 1024 onlink",
    ] {
        assert!(table.contains(part), "{part} in\n{table}");
    }
}

#[test]
fn pods_reach_each_other_without_encapsulation() {
    let Some(cluster) = delivers("Never") else { return };
    let links = cluster.nodes[0].host.sh("ip link");
    assert!(!links.contains("vxlan"), "{links}");
}
