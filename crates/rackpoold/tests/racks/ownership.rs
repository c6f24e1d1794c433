//! What others have put on a host stays as it is, byte for byte.

use std::collections::BTreeMap;

use crate::agent::Agent;
use crate::pod::{Pod, assert_all_reach_all};
use crate::world::{Node, Shape, World, eventually};

/// What others have put on a host: beside routes, rules and tables such that look like an agent's.
const OF_OTHERS: &str = "
    ip link add other0 type veth peer name other1; ip link set other0 up; ip link set other1 up
    ip addr add 10.99.0.1/24 dev other0
    ip -6 addr add 2001:db8:99::1/64 dev other0
    ip link add vxlan7 type vxlan id 7 dstport 4790 dev eth0 local 10.70.0.10; ip link set vxlan7 up
    bridge fdb append 02:00:00:00:00:01 dev vxlan7 dst 10.70.0.77
    ip neigh add 10.99.0.9 lladdr 02:00:00:00:00:02 dev other0 nud permanent
    ip route add 10.98.0.0/16 via 10.99.0.9
    ip route add 10.97.0.0/16 via 10.99.0.9 proto 80
    ip route add 10.96.0.0/16 dev other0 proto static metric 7
    ip route add blackhole 192.168.63.192/26 proto bird
    ip route add 10.95.0.0/16 via 10.99.0.9 table 81
    ip -6 route add 2001:db8:98::/64 via 2001:db8:99::9
    ip -6 route add unreachable 2001:db8:97::/64 proto 80
    ip rule add from 10.98.0.0/16 lookup 81 pref 1000
    ip -6 rule add from 2001:db8:98::/64 lookup 81 pref 1000
    nft 'table inet other {
             set s { type ipv4_addr; elements = { 10.98.0.1 }
             }
             chain forward {
                 type filter hook forward priority 0; policy accept
                 ip saddr @s counter accept
             }
         }
         table ip nat {
             chain POSTROUTING {
                 type nat hook postrouting priority 100; policy accept
                 ip saddr 10.98.0.2 masquerade
             }
         }
         table ip filter {
             chain FORWARD {
                 type filter hook forward priority 0; policy drop
                 iifname docker0 accept
             }
         }'
";

/// How a host is shown, part by part.
const PARTS: [(&str, &str); 8] = [
    ("routes", "ip route show table all"),
    ("IPv6 routes", "ip -6 route show table all"),
    ("rules", "ip rule; ip -6 rule"),
    ("interfaces", "ip -o link; ip -o addr"),
    ("neighbours", "ip neigh show nud permanent; ip -6 neigh show nud permanent"),
    ("forwarding entries", "bridge fdb"),
    ("packet filter", "nft -s list ruleset"),
    // What other programs and packets change meanwhile is left out.
    ("sysctls", "sysctl -a 2>/dev/null | grep '^net[.]ipv[46][.]' | grep -v -e fib_sync -e [.]neigh[.]"),
];

type Host = BTreeMap<&'static str, String>;

fn look(node: &Node) -> Host {
    PARTS.map(|(part, command)| (part, node.host.sh(command))).into()
}

/// A host without what the agent says is its own: its routes, its devices, its table, its rules' comment.
fn without_ours(host: &Host) -> Host {
    let table = |text: &str| match text.split_once("table inet rackpool {") {
        Some((before, rest)) => {
            let after = rest.split_once("\n}\n").map_or("", |(_, after)| after);
            format!("{before}{after}")
        }
        None => text.to_string(),
    };
    let is_ours = |line: &str| {
        ["proto 81", "vxlan.calico", "vxlan/calico", "vxlan-v6", "rackpool: pods"]
            .iter()
            .any(|word| line.contains(word))
    };
    let lines = |text: &str| -> String {
        table(text).lines().filter(|line| !is_ours(line)).flat_map(|line| [line, "\n"]).collect()
    };
    host.iter().map(|(part, text)| (*part, lines(text))).collect()
}

fn assert_same(when: &str, before: &Host, now: &Host, world: &World) {
    for (part, text) in before {
        assert_eq!(&now[part], text, "{part}, {when}\n{}", world.logs());
    }
}

#[test]
fn what_others_have_stays() {
    for vxlan in ["Always", "Never"] {
        let Some(mut world) = World::new(Shape { vxlan, ..Shape::default() }) else { return };
        world.nodes[0].host.sh(OF_OTHERS);
        // What the kernel needs is set by a step of its own, which says what it sets.
        for node in &world.nodes {
            assert!(world.rackpoold(node, &["sysctl"]).status.success());
        }
        let pods = [Pod::attach(&world, 0, "near"), Pod::attach(&world, 2, "far")];
        let before = look(&world.nodes[0]);
        let kept = without_ours(&before);

        world.start_agents(&[]);
        world.wait_until_settled();
        let ours = look(&world.nodes[0]);
        assert!(ours["packet filter"].contains("table inet rackpool"), "{}", ours["packet filter"]);
        assert!(ours["packet filter"].contains("rackpool: pods"), "{}", ours["packet filter"]);
        assert!(ours["routes"].contains("proto 81") && ours["IPv6 routes"].contains("proto 81"));
        if vxlan == "Never" {
            world.configure_router();
        }
        // The chain of another one drops what it does not know, but not the packets of pods.
        assert_all_reach_all(&world, &pods);
        assert_same("while the agent runs", &kept, &without_ours(&ours), &world);

        world.nodes[0].agent.take().unwrap().kill();
        assert_same("after a kill", &ours, &look(&world.nodes[0]), &world);

        world.nodes[0].agent = Some(Agent::start_again(&world, 0, &[]));
        world.wait_until_settled();
        assert_same("after a start", &ours, &look(&world.nodes[0]), &world);

        world.nodes[0].agent.take().unwrap().end();
        assert_same("after an end", &ours, &look(&world.nodes[0]), &world);

        let out = world.rackpoold(&world.nodes[0], &["uninstall"]);
        assert!(out.status.success(), "{out:?}");
        assert_same("after the removal", &before, &look(&world.nodes[0]), &world);
        pods.into_iter().for_each(|pod| pod.delete(&world));
    }
}

/// What the agent has put on a host, if all of it is there, without what is numbered anew when an interface
/// is made again.
fn ours(node: &Node) -> Option<Vec<String>> {
    let shown = node.host.try_sh(
        "ip route show proto 81; ip -6 route show proto 81; ip neigh show nud permanent dev vxlan.calico
         ip -6 neigh show nud permanent dev vxlan-v6.calico; bridge fdb show dev vxlan.calico
         bridge fdb show dev vxlan-v6.calico; ip -4 addr show dev vxlan.calico scope global | grep inet
         ip -6 addr show dev vxlan-v6.calico scope global | grep inet; nft -s list table inet rackpool",
    );
    let mut lines: Vec<String> = shown.ok()?.lines().map(str::to_string).collect();
    lines.sort();
    Some(lines)
}

/// Who takes away what is the agent's finds it there again soon after.
#[test]
fn what_is_taken_away_comes_back() {
    let shape = Shape { vxlan: "CrossSubnet", ..Shape::default() };
    let Some((world, pods)) = World::with_agents(shape, &[]) else { return };
    world.wait_until_settled();
    let node = &world.nodes[0];
    let before = ours(node);
    assert!(before.is_some());
    for harm in [
        "ip route flush proto 81",
        "ip -6 route flush proto 81",
        "nft delete table inet rackpool",
        "nft flush table inet rackpool",
        "nft flush ruleset",
        "ip link del vxlan.calico",
        "ip link set vxlan-v6.calico down",
        "ip neigh flush dev vxlan.calico nud permanent",
        "ip addr flush dev vxlan.calico",
        "ip link set eth0 down; ip link set eth0 up; ip route add default via 10.70.0.1
         ip addr add 2001:db8:70::10/64 dev eth0; ip -6 route add default via 2001:db8:70::1",
    ] {
        node.agent.as_ref().unwrap().paused(|| {
            node.host.sh(harm);
            assert_ne!(ours(node), before, "{harm} does no harm");
        });
        eventually(&format!("all is there again after {harm}"), || ours(node) == before);
        assert_all_reach_all(&world, &pods);
    }
}
