//! `calicoctl routes`: what nodes and routers need, by the records of a store.

use std::collections::BTreeMap;
use std::time::Duration;

use api::{HandleId, Use};
use serde_json::{Value, json};
use store::sqlite::{SqliteOptions, SqliteStore};

use crate::world::World;

/// Four nodes in two racks, a pool for each rack, a block on each node, and an address of the first block on
/// the second node.
fn world(pool: &str) -> World {
    let world = World::new();
    world.good("datastore init --ipv4-cidr=none");
    for rack in 0..2 {
        for at in 0..2 {
            let name = format!("n{}", rack * 2 + at);
            let node = format!(
                "apiVersion: projectcalico.org/v3\nkind: Node\nmetadata: {{name: {name}, labels: {{rack: '{rack}'}}}}\n\
                 spec: {{bgp: {{ipv4Address: 10.100.{rack}.{}/24}}, interfaces: [{{name: eth1, addresses: [10.100.{rack}.{}]}}]}}\n",
                at + 1,
                at + 1
            );
            world.good_with("create -f -", &node);
        }
        let text = format!(
            "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {{name: rack-{rack}}}\n\
             spec: {{cidr: 10.{rack}.0.0/16, nodeSelector: \"rack == '{rack}'\", {pool}}}\n"
        );
        world.good_with("create -f -", &text);
    }
    for (addr, host) in [("10.0.0.1", "n0"), ("10.0.0.66", "n1"), ("10.1.0.1", "n2"), ("10.1.0.66", "n3")] {
        assign(&world, addr, host);
    }
    assign(&world, "10.0.0.9", "n1");
    world
}

const PLAIN: &str = "ipipMode: Never, vxlanMode: Never";

fn assign(world: &World, addr: &str, host: &str) {
    let store = SqliteStore::open(world.path("rackpool.db"), SqliteOptions::default()).unwrap();
    let request = ipam::AssignIp {
        addr: addr.parse().unwrap(),
        host: host.to_string(),
        intended_use: Some(Use::Workload),
        handle: HandleId::new(&format!("net.{addr}")),
        attributes: BTreeMap::from([("node".to_string(), host.to_string())]),
        max_per_handle: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let clock = setup::Clock::start();
    runtime.block_on(ipam::run(&store, &clock, request.planner(), Duration::from_secs(10))).unwrap();
}

fn document(world: &World, line: &str) -> Value {
    let json: Value = serde_json::from_str(&world.good(&format!("{line} -o json"))).unwrap();
    let yaml = golang::yaml::read(world.good(&format!("{line} -o yaml")).as_bytes()).unwrap();
    assert_eq!(yaml, json);
    json
}

#[test]
fn a_node_is_shown_with_reasons() {
    let world = world(PLAIN);
    insta::assert_snapshot!(world.good("routes show --node n0 --via 10.100.0.254"));
    let shown = document(&world, "routes show --node n0");
    assert_eq!((&shown["node"], &shown["rack"], &shown["podMTU"]), (&json!("n0"), &json!("0"), &json!(1500)));
    let routes = shown["routes"].as_array().unwrap();
    let borrowed = routes.iter().find(|route| route["destination"] == "10.0.0.9/32").unwrap();
    assert_eq!(
        *borrowed,
        json!({"destination": "10.0.0.9/32", "type": "via", "gateways": ["10.100.0.2"], "device": "eth1", "mtu": null,
            "reason": {"kind": "borrowed", "pool": "rack-0", "block": "10.0.0.0/26", "node": "n1", "handle": "net.10.0.0.9"}})
    );
    assert!(!routes.iter().any(|route| route["reason"]["kind"] == "rack"), "left to the default route");
}

#[test]
fn tunnels_are_shown() {
    let world = world("ipipMode: Never, vxlanMode: Always");
    world.good_with(
        "apply -f -",
        "apiVersion: projectcalico.org/v3\nkind: Node\nmetadata: {name: n2, labels: {rack: '1'}}\n\
         spec: {ipv4VXLANTunnelAddr: 10.1.0.1, bgp: {ipv4Address: 10.100.1.1/24}}\n",
    );
    let shown = document(&world, "routes show --node n0 --mtu 9000");
    let tunnel = &shown["tunnels"][0];
    assert_eq!(
        (&tunnel["device"], &tunnel["action"], &tunnel["mtu"]),
        (&json!("vxlan.calico"), &json!("take"), &json!(8950))
    );
    assert_eq!((&tunnel["pools"], &tunnel["complete"]), (&json!(["rack-0"]), &json!(false)));
    assert_eq!(tunnel["peers"][0]["tunnelAddress"], json!("10.1.0.1"));
    let text = world.good("routes show --node n0");
    assert!(text.contains("- (to be taken from rack-0)"), "{text}");
}

#[test]
fn a_router_has_one_route_for_each_rack() {
    let world = world(PLAIN);
    insta::assert_snapshot!(world.good("routes show --router all"));
    let shown = document(&world, "routes show --router 0 --aggregation tor --via 10.200.0.1");
    assert_eq!((&shown["beside"], shown["routes"].as_array().unwrap().len()), (&json!(["0"]), 5));
    let rack = document(&world, "routes show --rack 1");
    assert_eq!(
        rack,
        json!({"rack": "1", "label": "rack", "nodes": ["n2", "n3"], "pools": ["10.1.0.0/16"],
        "blocks": [], "exceptions": []})
    );
    let lone = world.run("routes show --router 0");
    assert_eq!(
        lone.stderr,
        "Other racks are left to the router's default route; --via names a router for them\n"
    );
}

#[test]
fn a_routers_configuration_is_printed() {
    let world = world(PLAIN);
    assert_eq!(
        world.good("routes tor all"),
        "# rack 0\nip route replace 10.0.0.0/16 proto static nexthop via 10.100.0.1 nexthop via 10.100.0.2\n\
         # rack 1\nip route replace 10.1.0.0/16 proto static nexthop via 10.100.1.1 nexthop via 10.100.1.2\n"
    );
    let bird = world.good("routes tor 0 --format=bird --via=10.200.0.1 --gateways=1");
    assert!(
        bird.contains("  route 10.0.0.0/16 via 10.100.0.1;\n")
            && bird.contains("  route 10.1.0.0/16 via 10.200.0.1;\n")
    );
    let frr = world.good("routes tor 0 1 --format frr");
    assert!(frr.contains("ip route 10.0.0.0/16 10.100.0.1\nip route 10.0.0.0/16 10.100.0.2\n"), "{frr}");
}

#[test]
fn budgets_are_counted_and_limited() {
    let world = world(PLAIN);
    insta::assert_snapshot!(world.good("routes budget --aggregation tor"));
    assert_eq!(document(&world, "routes budget")["routers"][2]["total"], json!(2));
    let limited = |limit: usize| world.run(&format!("routes budget --limit {limit} --aggregation tor"));
    let over = limited(3);
    assert_eq!((over.code, over.stderr.as_str()), (1, "more than 3 routes needed by rack 0 (4)\n"));
    assert_eq!(limited(4).code, 0);
}

#[test]
fn pools_that_encapsulate_are_nothing_to_a_router() {
    let world = world("ipipMode: Always");
    let none = world.run("routes tor all");
    assert_eq!(none.code, 1);
    assert!(none.stderr.contains("--encapsulated counts all pools"), "{none:?}");
    assert_eq!(world.good("routes tor all --encapsulated").lines().count(), 4);
}

/// The tables of a node that has what it needs, and of one that has not.
#[test]
fn tables_are_compared() {
    let world = world(PLAIN);
    let row = |dst: &str, gateway: &str, protocol: &str| json!({"dst": dst, "gateway": gateway, "dev": "eth1", "protocol": protocol, "flags": ["onlink"]});
    let end = |kind: &str, dst: &str| json!({"type": kind, "dst": dst, "protocol": "81", "flags": []});
    let kernel = json!({"dst": "10.100.0.0/24", "dev": "eth1", "protocol": "kernel", "scope": "link", "prefsrc": "10.100.0.1", "flags": []});
    let pod = json!({"dst": "10.0.0.1", "dev": "cali12345", "scope": "link", "flags": []});
    let own = [kernel, pod, end("blackhole", "10.0.0.0/26"), end("unreachable", "10.0.0.0/16")];
    let good: Vec<Value> = own
        .iter()
        .cloned()
        .chain([row("10.0.0.64/26", "10.100.0.2", "81"), row("10.0.0.9", "10.100.0.2", "81")])
        .collect();
    let file = world.write("good.json", &json!(good).to_string());
    let line = format!("routes check --node n0 --table {file}");
    assert_eq!(world.good(&line), "Nothing was found\n");

    let bad: Vec<Value> = own
        .iter()
        .cloned()
        .chain([
            row("10.0.0.64/26", "10.100.0.9", "81"),
            row("10.0.5.0/26", "10.100.0.2", "81"),
            row("10.1.0.0/26", "10.100.0.3", "static"),
        ])
        .collect();
    let file = world.write("bad.json", &json!(bad).to_string());
    let ran = world.run(&format!("routes check --node n0 --table {file}"));
    assert_eq!((ran.code, ran.stderr.as_str()), (1, "4 findings\n"));
    insta::assert_snapshot!(ran.stdout);

    let router = json!([row("10.0.0.0/16", "10.100.0.1", "static"), row("10.9.0.0/16", "10.100.0.1", "static"),
        {"dst": "10.1.0.0/16", "protocol": "static", "flags": [], "nexthops": [
            {"gateway": "10.100.1.1", "dev": "br1", "weight": 1, "flags": []}, {"gateway": "10.100.1.2", "dev": "br1", "weight": 1, "flags": []}]}]);
    let file = world.write("router.json", &router.to_string());
    let ran = world.run(&format!("routes check --router all --table {file}"));
    assert_eq!((ran.code, ran.stderr.as_str()), (1, "1 finding\n"));
    assert!(
        ran.stdout
            .starts_with("Different: 10.0.0.0/16 leads elsewhere: 10.0.0.0/16 via 10.100.0.1 dev eth1;"),
        "{ran:?}"
    );
}

#[test]
fn records_are_checked() {
    let world = world(PLAIN);
    assert_eq!(world.good("routes check"), "Nothing was found\n");
    assert_eq!(document(&world, "routes check"), json!({"findings": []}));
    assign(&world, "10.0.0.10", "n3");
    let ran = world.run("routes check --limit 1 -o json");
    let found: Value = serde_json::from_str(&ran.stdout).unwrap();
    let kinds: Vec<&str> =
        found["findings"].as_array().unwrap().iter().map(|one| one["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["CrossRackBorrowing", "InAnotherRack", "OverBudget", "OverBudget", "OverBudget"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (1, "5 findings\n"));
}

#[test]
fn mistakes_are_told() {
    let mut world = world(PLAIN);
    let no_table = world.write("text", "10.0.0.0/8 via 10.0.0.1");
    let six = world.write("six.json", "[{\"dst\":\"fd00::/64\",\"dev\":\"eth0\"}]");
    for (line, told) in [
        ("routes show --node n9", "Node(n9) does not exist: `calicoctl get nodes` shows those that do\n"),
        ("routes show --rack 7", "there is no rack 7; by the label rack there are 0, 1\n"),
        ("routes tor 0,7", "there is no rack 7; by the label rack there are 0, 1\n"),
        (
            "routes tor 0 --rack-label zone",
            "there is no rack 0: no node has the label zone. `calicoctl label nodes NODE zone=0` sets it\n",
        ),
        (
            "routes show",
            "show what? Name a node by --node, a rack by --rack, or the racks beside a router by --router\n",
        ),
        ("routes tor", "requires at least 1 arg(s), only received 0\n"),
        ("routes tor all --via x", "--via: 'x' is no IP address\n"),
        (
            "routes check --node n0",
            "compared with what? Name files by --table and --table6, or take this host's tables by --kernel\n",
        ),
        ("routes check --table /nowhere --node n0", "/nowhere: no such file or directory\n"),
        (
            &format!("routes check --table {no_table}"),
            "[DIR]/text: it is no JSON: trailing characters at line 1 column 5. `ip -j route` prints what is needed\n",
        ),
        (
            &format!("routes check --node n0 --table {six}"),
            "[DIR]/six.json: fd00::/64 is no IPv4 route; --table is for IPv4, --table6 for IPv6\n",
        ),
    ] {
        let ran = world.run(line);
        assert_eq!((ran.code, ran.stderr.as_str()), (1, told), "{line}");
    }
    world.good_with(
        "apply -f -",
        "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: rack-0}\n\
         spec: {cidr: 10.0.0.0/16, nodeSelector: \"zone == 'a'\", ipipMode: Never, vxlanMode: Never}\n",
    );
    let told = "the nodeSelectors of pools do not say which label names a node's rack: it can be any of rack, zone. Name it by --rack-label\n";
    assert_eq!(world.run("routes check").stderr, told);
    world.good("routes show --node n0 --aggregation off");
    // This host's tables hold no route of ours.
    world.set("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let ran = world.run("routes check --node n0 --kernel --rack-label rack");
    assert_eq!(ran.code, 1);
    assert!(
        ran.stdout.contains("Missing: 10.0.0.64/26") || ran.stderr.contains("`ip -j -4 route`"),
        "{ran:?}"
    );
}
