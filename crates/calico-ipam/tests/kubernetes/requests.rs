//! The number of requests that a run of the program sends to the API server, by the server's own log, and how
//! many of these wait for each other.

use api::{Block, BlockCidr};
use serde_json::{Value as Json, json};
use servers::kube_server::Request;

use crate::fixture::{Cluster, GROUP, Host, cluster, node, pod, pool, writes};
use crate::harness::Answer;
use crate::slow::{SlowWay, steps};

/// How often each command is run. A busy machine may delay one of several requests that were sent together,
/// which then counts as a step of its own; so the least number of all runs counts.
const RUNS: usize = 3;

/// The requests of a command.
struct Cost {
    steps: usize,
    requests: Vec<Request>,
}

impl Cost {
    fn writes(&self) -> usize {
        writes(&self.requests).len()
    }

    fn shown(&self) -> String {
        let lines = self.requests.iter().map(|r| format!("{} {} {}", r.verb, r.uri, r.code));
        format!("{} steps:\n{}", self.steps, lines.collect::<Vec<_>>().join("\n"))
    }
}

fn cost(cluster: &Cluster, run: impl FnOnce() -> Answer) -> Cost {
    let ((answer, steps), requests) = cluster.counted(|| steps(cluster, run));
    assert_eq!(answer.code, Some(0), "{answer:?}");
    Cost { steps, requests }
}

/// Runs a command several times, each time for another container. Gives the least cost.
fn least(cluster: &Cluster, mut run: impl FnMut(usize) -> Answer) -> Cost {
    let mut costs: Vec<Cost> = (0..RUNS).map(|at| cost(cluster, || run(at))).collect();
    costs.sort_by_key(|cost| cost.steps);
    let all: Vec<usize> = costs.iter().map(Cost::writes).collect();
    assert!(all.iter().all(|writes| *writes == all[0]), "{all:?}");
    costs.swap_remove(0)
}

#[test]
fn few_steps_serve_a_run() {
    let Some(cluster) = cluster() else { return };
    let hosts: Vec<String> = (0..RUNS).map(|at| format!("n{at}")).collect();
    cluster.apply(&hosts.iter().map(|name| node(name)).collect::<Vec<_>>());
    cluster.apply(&[pool(
        "p",
        "10.0.0.0/16",
        json!({"namespaceSelector": "kubernetes.io/metadata.name == 'default'"}),
    )]);
    let way = SlowWay::to(&cluster);
    let run = |command: &str, container: &str, at: usize| {
        let (name, pod) = (&hosts[at], pod("default", container));
        Host::at(&cluster, name, &way.endpoint()).run_with(command, &format!("{container}.{name}"), &pod)
    };

    let first = least(&cluster, |at| run("ADD", "first", at));
    assert!(first.steps <= 8 && first.writes() <= 5, "the first block, {}", first.shown());
    let second = least(&cluster, |at| run("ADD", "second", at));
    assert!(second.steps <= 4 && second.writes() <= 2, "a block with room, {}", second.shown());
    // Writes are sent in order, and after the reads. If there were not more steps than writes, the
    // measurement would be wrong.
    assert!(first.steps > first.writes() && second.steps > second.writes(), "{}", first.shown());
    let names = |cost: &Cost| cost.requests.iter().filter(|r| r.uri == "/api/v1/namespaces/default").count();
    assert_eq!((names(&first), names(&second)), (1, 1), "{}", first.shown());
    let gone = least(&cluster, |at| run("DEL", "first", at));
    assert!(gone.steps <= 5 && gone.writes() <= 3, "a release, {}", gone.shown());
    // A DEL for a container that never had an address.
    let nothing = least(&cluster, |at| run("DEL", "other", at));
    assert!(nothing.steps <= 1 && nothing.writes() == 0, "nothing to release, {}", nothing.shown());
}

/// Finding pools by their names takes no further step.
#[test]
fn names_of_pools_are_looked_up_by_the_way() {
    let Some(cluster) = cluster() else { return };
    cluster.apply(&[node("n1"), pool("p", "10.0.0.0/16", json!({})), pool("q", "10.1.0.0/16", json!({}))]);
    let way = SlowWay::to(&cluster);
    let named = json!({"type": "calico-ipam", "ipv4_pools": ["q"]});
    let host = Host::at(&cluster, "n1", &way.endpoint()).with("ipam", named);
    let answer = host.run("ADD", "first");
    assert!(answer.addresses()[0].starts_with("10.1."), "{answer:?}");
    let second = least(&cluster, |at| host.run("ADD", &format!("c{at}")));
    assert!(second.steps <= 4 && second.writes() <= 2, "{}", second.shown());
}

/// If the settings do not name the API group, one request finds it.
#[test]
fn the_group_is_found_with_one_request() {
    let Some(cluster) = cluster() else { return };
    cluster.apply(&[node("n1"), pool("p", "10.0.0.0/16", json!({}))]);
    let named = Host::new(&cluster, "n1", crate::fixture::PLUGIN);
    assert_eq!(named.run("ADD", "first").addresses().len(), 1);
    let known = cost(&cluster, || named.run("ADD", "known"));
    let unnamed = named.with("calico_api_group", json!(""));
    let found = cost(&cluster, || unnamed.run("ADD", "found"));
    assert_eq!(found.requests.len(), known.requests.len() + 1, "{}", found.shown());
    assert_eq!(found.requests.iter().filter(|r| r.uri == "/apis").count(), 1, "{}", found.shown());
}

fn block_at(at: usize) -> BlockCidr {
    format!("10.0.{}.{}/28", at / 16, at % 16 * 16).parse().unwrap()
}

/// The affinity of another node to a block.
fn affinity(at: usize) -> Json {
    let key = api::Key::Affinity { owner: api::Owner::Host("other".into()), block: block_at(at) };
    let value = api::Value::Affinity(api::Affinity::new(api::AffinityState::Confirmed));
    api::crd::encode(api::crd::Group::V1, &key, &value, None).unwrap()
}

/// A block of another node with all its addresses taken.
fn full_block(at: usize) -> (usize, Json) {
    let cidr = block_at(at);
    let owner = ["node", "pod", "namespace", "timestamp"].map(|name| (name.to_string(), "x".repeat(40)));
    let attribute = |ordinal: u32| api::Attribute {
        handle_id: Some(format!("net.{ordinal:064}")),
        owner: owner.clone().into(),
        ..Default::default()
    };
    let block = Block {
        cidr,
        affinity: Some("host:other".into()),
        affinity_claim_time: None,
        allocations: (0..cidr.size()).map(Some).collect(),
        unallocated: Vec::new(),
        attributes: (0..cidr.size()).map(|o| attribute(o).into()).collect(),
        sequence_number: 1,
        sequence_numbers: Default::default(),
        deleted: false,
        legacy_host_affinity: None,
        residue: None,
    };
    let value = api::Value::Block(block);
    let object = api::crd::encode(api::crd::Group::V1, &api::Key::Block(cidr), &value, None).unwrap();
    (object["spec"].to_string().len(), object)
}

/// A first block needs the names of all blocks, and to which of them somebody has an affinity; what is in the
/// blocks stays where it is.
#[test]
fn a_first_block_moves_no_other() {
    let Some(cluster) = cluster() else { return };
    cluster.apply(&[node("n1"), pool("p", "10.0.0.0/16", json!({}))]);
    let (sizes, blocks): (Vec<usize>, Vec<Json>) = (0..200).map(full_block).unzip();
    cluster.create(&blocks);
    cluster.create(&(0..200).map(affinity).collect::<Vec<_>>());
    let way = SlowWay::to(&cluster);
    let host = Host::at(&cluster, "n1", &way.endpoint());
    let (answer, requests) = cluster.counted(|| host.run("ADD", "c1"));
    assert_eq!(answer.addresses().len(), 1);
    let lists = format!("/apis/{GROUP}/v1/ipamblocks?");
    let lists = requests.iter().filter(|r| r.verb == "list" && r.uri.starts_with(&lists));
    assert_eq!(lists.count(), 1, "{requests:?}");
    let bodies: usize = sizes.iter().sum();
    assert!(way.answered() < bodies / 2, "{} of {bodies} bytes", way.answered());
}
