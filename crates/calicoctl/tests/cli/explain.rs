//! `ipam explain` on the embedded store: its remedies, run literally, and its words.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use api::{Cidr, HandleId, IpamConfig, Key, Kind, Resource, Use, Value};
use ipam::explain::Standing;
use ipam::{AutoAssign, AutoAssigned};
use serde_json::{Value as Json, json};
use setup::{ConnectOptions, Datastore, Environment, Settings};
use store::{AnyStore, Batch, Expect, Store};

use crate::world::World;

const WITHIN: Duration = Duration::from_secs(10);

/// A cluster on the embedded store, and a request in it.
struct Cluster {
    world: World,
    request: AutoAssign,
    /// The words that ask `ipam explain` about the request.
    asks: String,
}

impl Cluster {
    fn new(host: &str) -> Cluster {
        let world = World::new();
        world.good("datastore init --ipv4-cidr=none");
        let request =
            AutoAssign { handle: HandleId::new("net.next"), v4: 1, ..AutoAssign::new(host, Use::Workload) };
        Cluster { world, request, asks: format!("--node {host}") }
    }

    fn with_store<T>(&self, act: impl AsyncFnOnce(&AnyStore) -> T) -> T {
        let environment: Environment = self.world.variables().collect();
        let settings = Settings::from_environment(&environment).unwrap();
        let datastore = Datastore::choose(&settings, &environment).unwrap();
        let store = setup::connect(&datastore, ConnectOptions::default()).unwrap();
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(act(&store))
    }

    /// Stores a record that does not exist, without any check.
    fn put(&self, key: Key, value: Value) {
        let mut batch = Batch::new();
        batch.put(key, Expect::Absent, value);
        let report = self.with_store(async |store| store.commit(&batch, WITHIN).await.unwrap());
        assert!(report.is_applied(), "{report:?}");
    }

    /// Stores a resource with the identity that every created resource has.
    fn resource(&self, kind: Kind, mut document: Json) {
        document["metadata"]["uid"] = json!("3729e25d-c28b-436e-8da2-0b2dd9314c48");
        document["metadata"]["creationTimestamp"] = json!("2026-01-02T03:04:05Z");
        let resource = Resource::from_json(kind, document).unwrap();
        self.put(resource.key(), Value::Resource(resource));
    }

    fn node(&self, name: &str, labels: Json) {
        self.resource(Kind::Node, json!({"metadata": {"name": name, "labels": labels}, "spec": {}}));
    }

    fn pool(&self, name: &str, spec: Json) {
        self.resource(Kind::IPPool, json!({"metadata": {"name": name}, "spec": spec}));
    }

    fn configure(&self, change: impl FnOnce(&mut IpamConfig)) {
        let mut config = IpamConfig::default();
        change(&mut config);
        self.put(Key::IpamConfig, Value::IpamConfig(config));
    }

    fn run(&self, request: AutoAssign) -> AutoAssigned {
        let planner = request.planner();
        self.with_store(async |store| {
            ipam::run(store, &setup::Clock::start(), planner, WITHIN).await.unwrap()
        })
    }

    /// Gives a node so many addresses.
    fn fill(&self, host: &str, count: u32) {
        let handle = HandleId::new(&format!("net.of-{host}"));
        let wanted = AutoAssign { handle, v4: count, ..AutoAssign::new(host, Use::Workload) };
        assert!(self.run(wanted).is_whole());
    }

    fn explain(&self) -> Json {
        let ran = self.world.run(&format!("ipam explain {} -o json", self.asks));
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
    }

    /// Runs a command line in a shell, literally.
    fn shell(&self, line: &str) {
        let bin = std::path::Path::new(env!("CARGO_BIN_EXE_calicoctl")).parent().unwrap();
        let path = format!("{}:/usr/bin:/bin", bin.display());
        let output = Command::new("/bin/sh")
            .args(["-c", line])
            .env_clear()
            .envs(self.world.variables())
            .env("PATH", path)
            .output()
            .unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
    }
}

fn cidr(text: &str) -> Cidr {
    text.parse().unwrap()
}

/// A situation in which a request is refused.
type Situation = (&'static str, fn(usize) -> Cluster);

const SITUATIONS: &[Situation] = &[
    ("no such node", |n| {
        let cluster = Cluster::new(&format!("node-{n}"));
        cluster.pool("pool", json!({"cidr": "10.0.0.0/24"}));
        cluster
    }),
    ("no such node, and pools by label", |n| {
        let cluster = Cluster::new("n1");
        cluster.pool("pool", json!({"cidr": "10.0.0.0/24", "nodeSelector": format!("rack == '{n}'")}));
        cluster
    }),
    ("no pool", |n| {
        let cluster = Cluster::new("n1");
        cluster.node("n1", json!({"rack": n.to_string()}));
        cluster
    }),
    ("no pool of the family", |n| {
        let mut cluster = Cluster::new("n1");
        cluster.node("n1", json!({}));
        cluster.pool("pool", json!({"cidr": format!("192.168.{n}.0/24")}));
        (cluster.request.v4, cluster.request.v6) = (0, 1);
        cluster.asks.push_str(" --family 6");
        cluster
    }),
    ("another label", |n| {
        let cluster = Cluster::new("n1");
        cluster.node("n1", json!({"rack": "old", "spare": "its-here"}));
        let selector = [
            "rack == '0'",
            "rack in {'a', 'b'}",
            "has(zone)",
            "!has(spare)",
            "rack == '1' && zone == 'x'",
            "zone == 'x' || rack == '2'",
            "rack != 'old'",
            "rack starts with 'r'",
            "!(rack == 'old')",
        ][n % 9];
        cluster.pool("pool", json!({"cidr": "10.0.0.0/24", "nodeSelector": selector}));
        cluster
    }),
    ("another label, and rows of pools", |n| {
        let cluster = Cluster::new("n1");
        cluster.node("n1", json!({"rack": "none"}));
        for rack in 0..=n {
            let selector = format!("rack == '{rack}'");
            cluster.pool(
                &format!("rack-{rack}"),
                json!({"cidr": format!("10.{rack}.0.0/24"), "nodeSelector": selector}),
            );
        }
        cluster
    }),
    ("disabled", |n| {
        let cluster = Cluster::new("n1");
        cluster.node("n1", json!({"rack": "0"}));
        let selector = ["all()", "rack == '0'", "rack == '1'"][n % 3];
        cluster.pool("pool", json!({"cidr": "10.0.0.0/24", "disabled": true, "nodeSelector": selector}));
        cluster
    }),
    ("manual", |n| {
        let cluster = Cluster::new("n1");
        cluster.node("n1", json!({"rack": "0"}));
        let selector = ["all()", "rack == '1'"][n % 2];
        cluster.pool(
            "pool",
            json!({"cidr": "10.0.0.0/24", "assignmentMode": "Manual", "nodeSelector": selector}),
        );
        cluster
    }),
    ("another use", |n| {
        let cluster = Cluster::new("n1");
        cluster.node("n1", json!({"rack": "0"}));
        let selector = ["all()", "rack == '1'"][n % 2];
        cluster.pool(
            "pool",
            json!({"cidr": "10.0.0.0/24", "allowedUses": ["Tunnel"], "nodeSelector": selector}),
        );
        cluster
    }),
    ("another namespace", |n| {
        let mut cluster = Cluster::new("n1");
        cluster.node("n1", json!({}));
        let selector = ["team == 'x'", "has(team)", "team in {'x', 'y'}"][n % 3];
        let spec = json!({"cidr": "10.0.0.0/24", "allowedUses": ["Workload"], "namespaceSelector": selector});
        cluster.pool("pool", spec);
        cluster.asks.push_str(" --namespace web");
        cluster
    }),
    ("a selector that cannot be read", |n| {
        let cluster = Cluster::new("n1");
        cluster.node("n1", json!({}));
        let selector = ["rack ==", "rack = '0'", "&&"][n % 3];
        cluster.pool("pool", json!({"cidr": "10.0.0.0/24", "nodeSelector": selector}));
        cluster
    }),
    ("full", |n| {
        let cluster = Cluster::new("n1");
        cluster.node("n1", json!({"rack": "0"}));
        cluster.node("n2", json!({"rack": "0"}));
        let network = ["192.168.255.248/29", "10.0.0.0/29", "100.64.0.0/29"][n % 3];
        cluster.pool("pool", json!({"cidr": network, "blockSize": 30, "nodeSelector": "rack == '0'"}));
        cluster.pool("next-door", json!({"cidr": "10.0.0.8/29", "nodeSelector": "rack == '9'"}));
        cluster.fill("n2", 8);
        cluster
    }),
    ("all reserved", |n| {
        let cluster = Cluster::new("n1");
        cluster.node("n1", json!({}));
        cluster.pool("pool", json!({"cidr": format!("10.{n}.0.0/26")}));
        let spec = json!({"reservedCIDRs": [format!("10.{n}.0.0/26")]});
        cluster.resource(Kind::IPReservation, json!({"metadata": {"name": "all"}, "spec": spec}));
        cluster
    }),
    ("strict affinity", |n| {
        let cluster = Cluster::new("n1");
        cluster.node("n1", json!({}));
        cluster.node("n2", json!({}));
        cluster.pool("pool", json!({"cidr": "10.0.0.0/30", "blockSize": 30}));
        cluster.configure(|config| {
            config.strict_affinity = true;
            config.max_blocks_per_host = n as i64 % 3;
        });
        cluster.fill("n2", 1 + n as u32 % 3);
        cluster
    }),
    ("the limit on blocks", |n| {
        let cluster = Cluster::new("n1");
        cluster.node("n1", json!({}));
        cluster.pool("pool", json!({"cidr": "10.0.0.0/24", "blockSize": 30}));
        let most = [0, 1, 2][n % 3];
        cluster.configure(|config| {
            config.strict_affinity = most > 0;
            config.max_blocks_per_host = most;
        });
        cluster.fill("n1", 4 * if most == 0 { 20 } else { most as u32 });
        cluster
    }),
    ("nodes that may claim nothing", |n| {
        let cluster = Cluster::new("n1");
        cluster.node("n1", json!({}));
        cluster.pool("pool", json!({"cidr": "10.0.0.0/24"}));
        cluster.configure(|config| {
            config.strict_affinity = true;
            config.auto_allocate_blocks = false;
            config.cooldown_seconds = n as i64;
        });
        cluster
    }),
    ("a named pool that is disabled, or is not there", |n| {
        let mut cluster = Cluster::new("n1");
        cluster.node("n1", json!({}));
        if n % 2 == 0 {
            cluster.pool("pool", json!({"cidr": "10.0.0.0/24", "disabled": true}));
        }
        cluster.request.v4_pools = vec![cidr("10.0.0.0/24")];
        cluster.asks.push_str(" --pool 10.0.0.0/24");
        cluster
    }),
    ("no block for a tunnel", |n| {
        let mut cluster = Cluster::new("n1");
        cluster.node("n1", json!({}));
        cluster.node("n2", json!({}));
        cluster.pool("pool", json!({"cidr": format!("10.{n}.0.0/30"), "blockSize": 30}));
        cluster.fill("n2", 1);
        cluster.request.intended_use = Use::Tunnel;
        cluster.asks.push_str(" --use Tunnel");
        cluster
    }),
];

/// How often each situation is tried.
const VARIANTS: usize = 6;

#[test]
fn the_remedies_help_when_they_are_run_as_they_stand() {
    let mut tried = 0;
    for (situation, make) in SITUATIONS {
        for n in 0..VARIANTS {
            let cluster = make(n);
            let before = cluster.world.contents();
            let explanation = cluster.explain();
            assert_eq!(cluster.world.contents(), before, "{situation}: an explanation writes nothing");
            assert_eq!(explanation["next"], Json::Null, "{situation} {n}: {explanation:#}");
            assert!(explanation["refusal"].is_string(), "{situation} {n}");
            let refused = cluster.run(cluster.request.clone());
            assert!(!refused.is_whole(), "{situation} {n}: it was to be refused");
            let remedy = explanation["remedy"].as_str();
            let remedy = remedy.unwrap_or_else(|| panic!("{situation} {n}: no remedy: {explanation:#}"));
            cluster.shell(remedy);
            // Another namespace's labels are not known on this store, so the request has none.
            let healed =
                cluster.run(AutoAssign { handle: HandleId::new("net.healed"), ..cluster.request.clone() });
            assert!(healed.is_whole(), "{situation} {n}: {remedy}: {healed:?}");
            tried += 1;
        }
    }
    assert!(tried >= 100, "{tried}");
}

#[test]
fn the_next_address_is_the_one_that_is_assigned() {
    let cluster = Cluster::new("n1");
    cluster.node("n1", json!({"rack": "1"}));
    for rack in 0..3 {
        let selector = format!("rack == '{rack}'");
        cluster.pool(
            &format!("rack-{rack}"),
            json!({"cidr": format!("10.{rack}.0.0/24"), "nodeSelector": selector}),
        );
    }
    for _ in 0..3 {
        let explanation = cluster.explain();
        let next = &explanation["next"];
        assert!(next["revision"].as_str().is_some_and(|text| text.parse::<u64>().is_ok()), "{next}");
        let handle = HandleId::new(&format!("net.{}", next["address"].as_str().unwrap()));
        let answer = cluster.run(AutoAssign { handle, ..cluster.request.clone() });
        assert_eq!(next["address"], answer.v4.addresses[0].addr.to_string());
        let verdicts: Vec<&str> = explanation["pools"]
            .as_array()
            .unwrap()
            .iter()
            .map(|pool| pool["verdict"].as_str().unwrap())
            .collect();
        assert_eq!(verdicts, ["node-selector", "taken", "node-selector"]);
    }
    let text = cluster.world.good("ipam explain --node n1");
    for part in [
        "node n1 (rack=1)",
        r#"rack == "0": the node has rack = "1""#,
        "next: 10.1.0.",
        "would be changed: /calico/ipam/",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains(" \n"), "no line ends in blanks: {text:?}");
    let yaml = cluster.world.good("ipam explain --node n1 -o yaml");
    assert!(yaml.contains("\nnext:\n"), "{yaml}");
}

#[test]
fn a_node_that_does_not_exist_is_an_error_with_the_nearest_name() {
    let cluster = Cluster::new("kube-nod-1");
    cluster.node("kube-node-1", json!({}));
    cluster.pool("pool", json!({"cidr": "10.0.0.0/24"}));
    let ran = cluster.world.run("ipam explain --node kube-nod-1");
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("there is no node \"kube-nod-1\"; did you mean \"kube-node-1\"?"), "{ran:?}");
    // Nobody wants a node under the misspelt name.
    assert!(ran.stdout.contains("remedy: no single command is known to help"), "{ran:?}");
    let ran = cluster.world.run("ipam explain --node gateway");
    assert!(ran.stdout.contains("remedy: printf %s "), "{ran:?}");
}

#[test]
fn all_nodes_are_a_table_and_fail_where_one_is_without() {
    let cluster = Cluster::new("n1");
    cluster.node("n1", json!({"rack": "0", "other": "x"}));
    cluster.pool("rack-0", json!({"cidr": "10.0.0.0/24", "nodeSelector": "rack == '0'"}));
    let table = cluster.world.good("ipam explain --all-nodes");
    let cells: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(cells, ["n1", "rack=0", "rack-0", "256"]);
    cluster.node("n2", json!({}));
    let ran = cluster.world.run("ipam explain --all-nodes -o json");
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("1 of 2 nodes can reach no IPv4 address: n2"), "{ran:?}");
    let json: Json = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(json["nodes"][1], json!({"name": "n2", "labels": {}, "pools": [], "free": 0}));
}

#[test]
fn an_address_says_who_has_it_and_what_frees_it() {
    let cluster = Cluster::new("n1");
    cluster.node("n1", json!({}));
    cluster.pool("pool", json!({"cidr": "10.0.0.0/24"}));
    let owner =
        [("node", "n1"), ("namespace", "web"), ("pod", "a"), ("timestamp", "2026-01-02 03:04:05 +0000 UTC")];
    let attributes = owner.map(|(name, value)| (name.to_string(), value.to_string())).into();
    let held = cluster.run(AutoAssign { attributes, ..cluster.request.clone() }).v4.addresses[0].addr;
    let text = cluster.world.good(&format!("ipam explain --ip {held} --node n1"));
    let free = format!("to free it: calicoctl ipam release --ip={held}");
    for part in [
        "is in use",
        "handle: net.next",
        "pod: a",
        "since: 2026-01-02",
        "still exists: not known",
        "Address already assigned",
        &free,
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let json: Json =
        serde_json::from_str(&cluster.world.good(&format!("ipam explain --ip {held} -o json"))).unwrap();
    assert_eq!((&json["state"], &json["holder"]["attributes"]["pod"]), (&json!("assigned"), &json!("a")));
    let endpoint = json!({"metadata": {"name": "n1-k8s-a-eth0", "namespace": "web"}, "spec": {"ipNetworks": [format!("{held}/32")]}});
    cluster.resource(Kind::WorkloadEndpoint, endpoint);
    let text = cluster.world.good(&format!("ipam explain --ip {held}"));
    assert!(text.contains("still exists: yes: the workload endpoint web/n1-k8s-a-eth0"), "{text}");
    cluster.shell(json["remedy"].as_str().unwrap());
    let json: Json =
        serde_json::from_str(&cluster.world.good(&format!("ipam explain --ip {held} --node n1 -o json")))
            .unwrap();
    assert_eq!((&json["state"], &json["next"]["address"]), (&json!("free"), &json!(held.to_string())));
    assert!(cluster.world.good("ipam explain --ip 172.16.0.1").contains("is in no pool"));
}

/// The pool's change lets a request that names the address have it.
#[test]
fn an_address_of_a_closed_pool_says_what_opens_it() {
    for (n, spec) in [
        json!({"cidr": "10.0.0.0/24", "disabled": true}),
        json!({"cidr": "10.0.0.0/24", "allowedUses": ["Tunnel"]}),
        json!({"cidr": "10.0.0.0/24", "allowedUses": ["Tunnel"], "disabled": true}),
    ]
    .into_iter()
    .enumerate()
    {
        let cluster = Cluster::new("n1");
        cluster.node("n1", json!({}));
        cluster.pool("pool", spec);
        let look = || -> Json {
            let text = cluster.world.good("ipam explain --ip 10.0.0.5 --node n1 -o json");
            serde_json::from_str(&text).unwrap()
        };
        let before = look();
        assert_eq!((&before["next"], &before["state"]), (&Json::Null, &json!("free")), "{n}");
        let text = cluster.world.good("ipam explain --ip 10.0.0.5 --node n1");
        assert!(
            text.contains("the pool: it") && text.contains("remedy: calicoctl patch ippool pool"),
            "{text}"
        );
        cluster.shell(before["remedy"].as_str().unwrap());
        assert_eq!(look()["next"]["address"], "10.0.0.5", "{n}");
    }
}

#[test]
fn a_service_has_no_node() {
    let cluster = Cluster::new("n1");
    cluster.pool("services", json!({"cidr": "10.0.0.0/24", "allowedUses": ["LoadBalancer"]}));
    let json: Json =
        serde_json::from_str(&cluster.world.good("ipam explain --use LoadBalancer -o json")).unwrap();
    assert_eq!((&json["node"], &json["next"]["pool"]), (&Json::Null, &json!("services")));
    let text = cluster.world.good("ipam explain --use loadbalancer");
    assert!(text.starts_with("the service: an IPv4 address for use LoadBalancer\n"), "{text}");
}

/// Whatever pools there are, a new one is tried in the end.
#[test]
fn many_full_pools_do_not_hide_the_remedy() {
    let cluster = Cluster::new("n1");
    cluster.node("n1", json!({}));
    for n in 0..60 {
        let spec = json!({"cidr": format!("10.0.{n}.0/28"), "blockSize": 28, "nodeSelector": format!("rack == '{n}'")});
        cluster.pool(&format!("pool-{n}"), spec);
    }
    let spec = json!({"reservedCIDRs": ["10.0.0.0/16"]});
    cluster.resource(Kind::IPReservation, json!({"metadata": {"name": "all"}, "spec": spec}));
    let remedy = cluster.explain()["remedy"].as_str().unwrap().to_string();
    cluster.shell(&remedy);
    assert!(cluster.run(cluster.request.clone()).is_whole(), "{remedy}");
}

#[test]
fn what_cannot_be_asked_is_said() {
    let cluster = Cluster::new("n1");
    cluster.pool("pool-a", json!({"cidr": "10.0.0.0/24"}));
    for (line, wanted) in [
        ("ipam explain", "name a node (--node)"),
        ("ipam explain --pod a", "--pod needs the store in Kubernetes"),
        ("ipam explain --node n1 --pool pool-b", "did you mean \"pool-a\"?"),
        ("ipam explain --node n1 --pool pool-a --family 6", "is of IPv4, and an address of IPv6 is wanted"),
        ("ipam explain --node n1 --use Work", "it is none of Workload, Tunnel, LoadBalancer"),
        ("ipam explain --node n1 --family 5", "it is neither 4 nor 6"),
        ("ipam explain --node n1 -o wide", "use json or yaml"),
        ("ipam explain --node n1 --all-nodes", "cannot be used with"),
    ] {
        let ran = cluster.world.run(line);
        assert!(ran.code == 1 && ran.stderr.contains(wanted), "{line}: {ran:?}");
    }
}

#[test]
fn the_reference_page_lists_all_words() {
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/explain.md")).unwrap();
    let listed: BTreeSet<&str> =
        page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let words: BTreeSet<&str> = Standing::ALL.iter().map(|standing| standing.word()).collect();
    assert_eq!(listed, words);
}

#[test]
fn the_reference_page_names_every_field() {
    let cluster = Cluster::new("n1");
    cluster.node("n1", json!({}));
    cluster.pool("pool", json!({"cidr": "10.0.0.0/24"}));
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/explain.md")).unwrap();
    let json: Json =
        serde_json::from_str(&cluster.world.good("ipam explain --ip 10.0.0.1 --node n1 -o json")).unwrap();
    for document in [cluster.explain(), json] {
        let pools = document["pools"][0].as_object().unwrap();
        for field in document.as_object().unwrap().keys().chain(pools.keys()) {
            assert!(page.contains(&format!("`{field}`")), "{field} is not described");
        }
    }
}
