//! What is not ours stays as it is; what is ours, or by our devices, is ours alone.

use crate::cluster::Cluster;
use crate::world::World;

/// Everything of a host's that others have put there.
const FOREIGN: &str = "ip -d route show table all | grep -v 'proto 81' | grep -v 'dev vxlan' || true
    ip -d -6 route show table all | grep -v 'proto 81' | grep -v 'dev vxlan' | grep -v ff00::/8 || true
    ip neigh show nud permanent dev eth0
    ip -6 neigh show nud permanent dev eth0
    ip -d link show eth0
    ip addr show eth0
    ip rule
    bridge fdb show dev eth0";

#[test]
fn what_is_foreign_stays_byte_for_byte() {
    let Some(mut cluster) = Cluster::new("CrossSubnet", &[1, 1, 2]) else { return };
    let node = 0;
    cluster.nodes[node].host.sh("ip route add 192.0.2.0/24 via 10.77.1.1 proto static
         ip route add 10.81.200.0/26 via 10.77.1.1 proto 80
         ip route add blackhole 10.81.201.0/26 proto 80
         ip route add 10.81.202.0/26 via 10.77.1.1 proto 81 table 100
         ip route add 10.81.2.0/26 via 10.77.1.1 proto static metric 500
         ip -6 route add 2001:db8::/64 via fd77:1::1 proto static
         ip neigh add 10.77.1.99 lladdr 02:00:00:00:00:99 nud permanent dev eth0
         ip neigh add fd77:1::99 lladdr 02:00:00:00:00:99 nud permanent dev eth0
         bridge fdb add 02:00:00:00:00:98 dev eth0 self");
    let before = cluster.nodes[node].host.sh(FOREIGN);
    assert!(before.contains("proto 80") && before.contains("02:00:00:00:00:99"), "{before}");
    for _ in 0..3 {
        cluster.sync(&cluster.nodes[node]);
        assert_eq!(cluster.nodes[node].host.sh(FOREIGN), before);
    }
    // Nothing is left of ours when nothing is wanted any more.
    let node = cluster.nodes.remove(node);
    let (name, mut world) = (node.name.clone(), World::new());
    world.node(&name, "10.77.1.11/24", "", serde_json::json!({}));
    cluster.world = world;
    cluster.sync(&node);
    node.host.kernel(async |kernel| {
        for device in crate::cluster::DEVICES {
            kernel.remove_tunnel(device).await.unwrap();
        }
    });
    assert_eq!(node.host.sh(FOREIGN), before);
    assert_eq!(node.host.sh("ip route show table main proto 81; ip -6 route show proto 81"), "");
}

#[test]
fn what_others_put_at_our_tunnels_is_removed() {
    let Some(cluster) = Cluster::new("Always", &[1, 1]) else { return };
    let node = &cluster.nodes[0];
    cluster.sync(node);
    let show = "ip route show; ip -6 route show | grep -v fe80; ip neigh show nud permanent;
        ip -6 neigh show nud permanent; bridge fdb show dev vxlan.calico";
    let before = node.host.sh(show);
    node.host.sh("ip route add 10.81.99.0/26 dev vxlan.calico proto static
         ip route add 10.81.98.0/26 dev vxlan.calico metric 77
         ip route add unreachable 10.81.97.0/26 proto 81
         ip route add prohibit 10.81.96.0/26 proto 81
         ip route add 10.81.95.0/26 proto 81 nexthop via 10.77.1.1 nexthop via 10.77.1.12
         ip route add 10.81.94.0/26 via 10.77.1.1 proto 81 metric 7
         ip -6 route add fd81::99:0/122 dev vxlan-v6.calico proto static
         ip -6 route add prohibit fd81::98:0/122 proto 81
         ip -6 route add fd81::97:0/122 proto 81 nexthop via fd77:1::1 nexthop via fd77:1::12
         ip neigh add 10.81.99.0 lladdr 66:00:00:00:00:99 nud permanent dev vxlan.calico
         ip neigh add fd81::99:0 lladdr 66:00:00:00:00:99 nud permanent dev vxlan-v6.calico
         bridge fdb add 66:00:00:00:00:99 dst 10.77.1.99 dev vxlan.calico self permanent");
    let steps = cluster.sync(node);
    assert_eq!(steps.len(), 12, "{steps:#?}");
    assert_eq!(node.host.sh(show), before);
    // What took the place of ours is replaced again.
    node.host.sh(
        "ip route change 10.81.2.0/26 dev eth0 proto 81
         ip route replace prohibit 10.81.1.0/26 proto 81
         ip -6 route change fd81::2:0/122 via fd77:1::1 dev eth0 proto 81
         ip neigh replace 10.81.2.0 lladdr 66:00:00:00:00:99 nud permanent dev vxlan.calico
         bridge fdb replace $(bridge fdb show dev vxlan.calico | cut -d' ' -f1) dst 10.77.1.99 dev vxlan.calico self",
    );
    let steps = cluster.sync(node);
    assert_eq!(steps.len(), 5, "{steps:#?}");
    assert_eq!(node.host.sh(show), before);
}
