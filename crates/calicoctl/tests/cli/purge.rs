//! Emptying a store: nothing goes before it was said what is in use, and nothing is left at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use api::{HandleId, Use};
use ipam::AutoAssign;
use rusqlite::Connection;
use serde_json::{Value as Json, json};
use setup::Clock;
use store::sqlite::{SqliteOptions, SqliteStore};

use crate::world::{World, pool};

const REFUSED: &str = "nothing was removed
workloads have addresses; they would keep them, and others could be given the same
To remove it all the same: calicoctl datastore purge --confirm --in-use
";

/// A store with a pool and two nodes.
fn world() -> World {
    let world = World::new();
    world.good("datastore init --ipv4-cidr=none");
    world.good_with("create -f -", &pool("a", "10.0.0.0/24"));
    for node in ["n1", "n2"] {
        world.good(&format!("create node {node}"));
    }
    world
}

/// Gives an address to somebody.
fn assign(world: &World, host: &str, handle: &str, owner: &[(&str, &str)]) {
    let mut request = AutoAssign::new(host, Use::Workload);
    request.handle = HandleId::new(handle);
    request.v4 = 1;
    request.attributes =
        owner.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect::<BTreeMap<_, _>>();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let answer = runtime.block_on(async {
        let store = SqliteStore::open(world.path("rackpool.db"), SqliteOptions::default()).unwrap();
        ipam::run(&store, &Clock::start(), request.planner(), Duration::from_secs(5)).await.unwrap()
    });
    assert!(answer.is_whole(), "{answer:?}");
}

fn pod(world: &World, host: &str, name: &str) {
    assign(world, host, &format!("net.{name}"), &[("node", host), ("namespace", "shop"), ("pod", name)]);
}

fn keys(world: &World) -> Vec<String> {
    let file = Connection::open(world.path("rackpool.db")).unwrap();
    let mut asked = file.prepare("SELECT key FROM kv ORDER BY key").unwrap();
    asked.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[test]
fn what_is_in_use_is_said_and_nothing_goes() {
    let world = world();
    pod(&world, "n1", "web-0");
    pod(&world, "n2", "web-1");
    assign(&world, "n1", "vxlan-tunnel-addr-n1", &[("node", "n1"), ("type", "vxlanTunnelAddress")]);
    let before = keys(&world);
    let ran = world.run("datastore purge");
    assert_eq!(ran.code, 1);
    for part in [
        "3 addresses in use in ",
        "\n  IPPool a 10.0.0.0/24: 3 addresses\n",
        "\n  Node n1: 2 addresses\n  Node n2: 1 address\n  1 of these for nodes' tunnels\n2 addresses of workloads\n",
        "\n  shop/web-0 10.0.0.",
        "\nWhat a purge removes: 1 ClusterInformation, 1 IPPool, 2 Node, 3 Tier, ",
        ", 3 handles\n",
    ] {
        assert!(ran.stdout.contains(part), "{part:?} is not in {}", ran.stdout);
    }
    assert_eq!(ran.stderr, REFUSED);
    assert_eq!(keys(&world), before);
    // A confirmation alone does not take addresses from workloads.
    let refused = world.run("datastore purge --confirm");
    assert_eq!((refused.code, refused.stderr.as_str()), (1, REFUSED));
    assert_eq!(keys(&world), before);
    let document: Json = serde_json::from_str(&world.run("datastore purge -o json").stdout).unwrap();
    assert_eq!(document["inUse"]["addresses"], 3);
    assert_eq!(document["inUse"]["workloads"], 2);
    // They come in the order of their addresses.
    let named = document["inUse"]["firstWorkloads"].as_array().unwrap().iter();
    let named: BTreeSet<_> = named.map(|workload| workload["name"].as_str().unwrap()).collect();
    assert_eq!(named, BTreeSet::from(["shop/web-0", "shop/web-1"]));
    assert_eq!(
        document["inUse"]["nodes"],
        json!([{"name": "n1", "addresses": 2}, {"name": "n2", "addresses": 1}])
    );
    assert_eq!((&document["records"]["IPPool"], &document["removed"]), (&json!(1), &json!({})));
}

#[test]
fn everything_goes_and_a_new_store_begins() {
    let world = world();
    pod(&world, "n1", "web-0");
    let ran = world.run("datastore purge --confirm --in-use");
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    let last = ran.stdout.lines().last().unwrap_or_default();
    assert_eq!(last, "Removed 1 ClusterInformation, 1 IPPool, 2 Node, 3 Tier, 1 affinity, 1 block, 1 handle");
    assert_eq!(keys(&world), [] as [&str; 0]);
    // Again there is nothing to do, and that is no error.
    assert!(world.good("datastore purge --confirm").ends_with("There are no records\nRemoved nothing\n"));
    world.good("datastore init");
    assert!(world.good("get ippools").contains("default-ipv4-ippool"));
}

#[test]
fn tunnels_and_settings_need_no_more_than_a_confirmation() {
    let world = world();
    assign(&world, "n1", "vxlan-tunnel-addr-n1", &[("node", "n1"), ("type", "vxlanTunnelAddress")]);
    world.good("ipam configure --strictaffinity=true");
    world.good("datastore migrate lock");
    world.good("datastore purge --confirm");
    assert_eq!(keys(&world), [] as [&str; 0]);
}

#[test]
fn what_is_not_known_stays_and_old_and_broken_records_go() {
    let world = world();
    let file = Connection::open(world.path("rackpool.db")).unwrap();
    let policy = "/calico/resources/v3/projectcalico.org/globalnetworkpolicies/p";
    for key in [policy, "/calico/ipam/v2/host/n7", "/calico/ipam/v2/assignment/ipv4/block/10.0.0.0-26"] {
        let put = "INSERT INTO kv (key, value, revision) VALUES (?1, '{', 1000000)";
        file.execute(put, [key]).unwrap();
    }
    drop(file);
    let refused = world.run("datastore purge --confirm");
    assert_eq!(refused.code, 1, "nobody knows who has the addresses of a block that cannot be read");
    assert!(refused.stderr.contains("--in-use"), "{refused:?}");
    let ran = world.run("datastore purge --confirm --in-use");
    assert_eq!(ran.code, 0, "{ran:?}");
    let left = "Left, as this program does not know it: 1 /calico/resources/v3/projectcalico.org/globalnetworkpolicies\n";
    assert!(ran.stdout.ends_with(left), "{ran:?}");
    assert_eq!(keys(&world), [policy]);
}

#[test]
fn a_store_that_is_not_there_is_not_made() {
    let world = World::new();
    assert_eq!(world.run("datastore purge --confirm").code, 1);
    assert!(!world.path("rackpool.db").exists());
}
