//! Which pools a request uses.

use api::{Key, Kind, Use};
use ipam::{AutoAssign, Plan, Planner};
use serde_json::{Value, json};
use store::{Batch, Effects, ReadSet, Store};

use crate::world::*;

fn labels(pairs: &[(&str, &str)]) -> std::collections::BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
}

/// Each row: the settings of the pools p0, p1, ... (their networks are added), node labels, namespace labels,
/// the numbers of the pools that the request names, the use; and the pool that is used, or the error.
#[test]
fn the_choice() {
    type Row = (
        Vec<Value>,
        &'static [(&'static str, &'static str)],
        Option<&'static [(&'static str, &'static str)]>,
        &'static [usize],
        Use,
        Result<usize, &'static str>,
    );
    let none = "cannot find a qualified ippool";
    let nothing = "no configured Calico pools for node n";
    let missing = |n: usize| format!("the given pool (10.{n}.0.0/24) does not exist, or is not enabled");
    let missing1: &'static str = missing(1).leak();
    let rows: Vec<Row> = vec![
        (vec![json!({})], &[], None, &[], Use::Workload, Ok(0)),
        (vec![], &[], None, &[], Use::Workload, Err(none)),
        (vec![json!({"disabled": true})], &[], None, &[], Use::Workload, Err(none)),
        (vec![json!({"disabled": true}), json!({})], &[], None, &[], Use::Workload, Ok(1)),
        (
            vec![json!({"disabled": true}), json!({})],
            &[],
            None,
            &[1, 0],
            Use::Workload,
            Err("the given pool (10.0.0.0/24) does not exist, or is not enabled"),
        ),
        (vec![json!({})], &[], None, &[1], Use::Workload, Err(missing1)),
        (vec![json!({}), json!({})], &[], None, &[1, 0], Use::Workload, Ok(1)),
        (
            vec![json!({"nodeSelector": "rack == '1'"}), json!({"nodeSelector": "rack == '0'"})],
            &[("rack", "0")],
            None,
            &[],
            Use::Workload,
            Ok(1),
        ),
        (
            vec![json!({"nodeSelector": "rack == '1'"})],
            &[("rack", "0")],
            None,
            &[],
            Use::Workload,
            Err(nothing),
        ),
        (vec![json!({"nodeSelector": "rack == '1'"})], &[("rack", "0")], None, &[0], Use::Workload, Ok(0)),
        (vec![json!({"assignmentMode": "Manual"}), json!({})], &[], None, &[], Use::Workload, Ok(1)),
        (vec![json!({"assignmentMode": "Manual"})], &[], None, &[], Use::Workload, Err(nothing)),
        (vec![json!({"assignmentMode": "Manual"})], &[], None, &[0], Use::Workload, Ok(0)),
        (
            vec![json!({"allowedUses": ["Tunnel"]}), json!({"allowedUses": ["Workload"]})],
            &[],
            None,
            &[],
            Use::Workload,
            Ok(1),
        ),
        (
            vec![json!({"allowedUses": ["Tunnel"]}), json!({"allowedUses": ["Workload"]})],
            &[],
            None,
            &[],
            Use::Tunnel,
            Ok(0),
        ),
        (
            vec![json!({"allowedUses": ["Tunnel"]})],
            &[],
            None,
            &[],
            Use::Workload,
            Err("cannot find a qualified ippool, no pools match the required use (Workload)"),
        ),
        (
            vec![json!({"namespaceSelector": "env == 'prod'"}), json!({})],
            &[],
            None,
            &[],
            Use::Workload,
            Ok(1),
        ),
        (
            vec![json!({"namespaceSelector": "env == 'prod'"}), json!({})],
            &[],
            Some(&[("env", "prod")]),
            &[],
            Use::Workload,
            Ok(0),
        ),
        (
            vec![json!({"namespaceSelector": "env == 'prod'"})],
            &[],
            Some(&[("env", "test")]),
            &[],
            Use::Workload,
            Err(nothing),
        ),
        (
            vec![json!({"namespaceSelector": "env == 'prod'"})],
            &[],
            Some(&[("env", "test")]),
            &[0],
            Use::Workload,
            Ok(0),
        ),
        (
            vec![
                json!({"namespaceSelector": "env == 'prod' && has(x)", "nodeSelector": "rack == '0'"}),
                json!({}),
            ],
            &[("rack", "0")],
            Some(&[("env", "prod"), ("x", "")]),
            &[],
            Use::Workload,
            Ok(0),
        ),
        (
            vec![json!({"namespaceSelector": "env == 'prod'", "nodeSelector": "rack == '1'"}), json!({})],
            &[("rack", "0")],
            Some(&[("env", "prod")]),
            &[],
            Use::Workload,
            Ok(1),
        ),
    ];
    for (specs, node, namespace, asked, intended_use, wanted) in rows {
        let world = World::new();
        world.node("n", node);
        for (at, spec) in specs.iter().enumerate() {
            let mut spec = spec.clone();
            // The host bits of a pool's network are ignored.
            spec["cidr"] = format!("10.{at}.0.77/24").into();
            world.pool_with(&format!("p{at}"), spec);
        }
        let answer = world.auto(AutoAssign {
            intended_use,
            namespace_labels: namespace.map(labels),
            v4_pools: asked.iter().map(|at| cidr(&format!("10.{at}.0.0/24"))).collect(),
            ..request("n", "h", 1, 0)
        });
        let got = answer.v4.addresses.first().map(|a| a.addr);
        let got = match answer.v4.error {
            Some(error) => Err(error.to_string()),
            None => Ok(got.unwrap()),
        };
        match wanted {
            Ok(at) => assert!(
                got.as_ref().is_ok_and(|addr| cidr(&format!("10.{at}.0.0/24")).contains(*addr)),
                "{specs:?} {got:?}"
            ),
            Err(text) => assert_eq!(got, Err(text.to_string()), "{specs:?}"),
        }
    }
}

#[test]
fn a_pool_whose_selector_cannot_be_read_serves_those_who_name_it() {
    let world = World::with_pool("10.0.0.0/24", 26);
    world.pool_with("z", json!({"cidr": "10.1.0.0/24", "nodeSelector": "rack =="}));
    assert!(cidr("10.0.0.0/24").contains(world.add("a", "g")));
    let named = AutoAssign { v4_pools: vec![cidr("10.1.0.0/24")], ..request("a", "h", 1, 0) };
    assert_eq!(world.auto(named).v4.addresses.len(), 1);
}

#[test]
fn families_are_not_mixed_up() {
    let world = World::with_pool("10.0.0.0/24", 26);
    world.pool("six", "fd00::/120", 122);
    for (v4_pools, v6_pools, error) in [
        (vec!["fd00::/120"], vec![], "provided IPv4 IPPools list contains one or more IPv6 IPPools"),
        (vec![], vec!["10.0.0.0/24"], "provided IPv6 IPPools list contains one or more IPv4 IPPools"),
    ] {
        let pools = |texts: Vec<&str>| texts.into_iter().map(cidr).collect::<Vec<_>>();
        let answer = world.auto(AutoAssign {
            v4_pools: pools(v4_pools),
            v6_pools: pools(v6_pools),
            ..request("a", "h", 1, 1)
        });
        let found = answer.v4.error.or(answer.v6.error).unwrap();
        assert_eq!(found.to_string(), error);
    }
}

/// Named pools are used in the order of the request. An affine block in another pool is not used.
#[test]
fn named_pools_in_their_order() {
    let world = World::with_pool("10.0.0.0/24", 26);
    world.pool("second", "10.1.0.0/24", 26);
    world.add("a", "first");
    let named = |id, n| AutoAssign {
        v4_pools: vec![cidr("10.1.0.0/24"), cidr("10.0.0.0/24")],
        ..request("a", id, n, 0)
    };
    let got = world.auto(named("h", 300)).v4.addresses;
    assert_eq!(got.len(), 300);
    assert_eq!(
        got.iter().filter(|a| cidr("10.1.0.0/24").contains(a.addr)).count(),
        237,
        "its own block came first"
    );
    assert_eq!(world.auto(named("i", 300)).v4.addresses.len(), 211);
}

#[test]
fn when_a_pool_is_deleted_the_next_address_comes_from_another() {
    let world = World::with_pool("10.0.0.0/24", 26);
    world.add("a", "h");
    world.pool("second", "10.1.0.0/24", 26);
    world.delete(Key::global(Kind::IPPool, "pool"));
    assert!(cidr("10.1.0.0/24").contains(world.add("a", "i")));
    world.del("h");
    assert_eq!(world.assigned().len(), 1);
}

#[test]
fn a_node_that_loses_its_pool_gets_nothing_and_another_borrows_its_block() {
    let world = World::new();
    world.pool_with("p", json!({"cidr": "10.0.0.0/26", "nodeSelector": "in == 'yes'"}));
    world.node("host1", &[("in", "yes")]);
    world.node("host2", &[("in", "yes")]);
    world.add("host1", "h");
    world.node("host1", &[("in", "no")]);
    let answer = world.auto(request("host1", "i", 1, 0));
    assert_eq!(answer.v4.error.unwrap().to_string(), "no configured Calico pools for node host1");
    world.add("host2", "j");
    assert_eq!(world.affinities(), ["host1 10.0.0.0/26 Confirmed"]);
}

/// An empty block is not given up only because it has another use, or because the request named another pool.
#[test]
fn blocks_are_not_given_up_for_the_wrong_reason() {
    let world = World::new();
    world.node("a", &[]);
    world.pool_with("w", json!({"cidr": "10.0.0.0/24", "allowedUses": ["Workload"]}));
    world.pool_with("t", json!({"cidr": "10.1.0.0/24", "allowedUses": ["Tunnel"]}));
    world.add("a", "h");
    world.del("h");
    let tunnel = AutoAssign { intended_use: Use::Tunnel, ..request("a", "t", 1, 0) };
    world.auto(tunnel);
    assert_eq!(world.affinities().len(), 2);
    world.pool("other", "10.2.0.0/24", 26);
    world.auto(AutoAssign { v4_pools: vec![cidr("10.2.0.0/24")], ..request("a", "o", 1, 0) });
    assert_eq!(world.affinities().len(), 3);
}

/// Between the read and the write of a request, the pool is disabled or the node gets other labels. Nothing
/// is written, and the next attempt sees the change.
#[test]
fn a_change_between_read_and_write_is_seen() {
    let change_pool = |world: &World| {
        world.pool_with("a", json!({"cidr": "10.0.0.0/24", "disabled": true}));
    };
    let change_node = |world: &World| world.node("n", &[("rack", "1")]);
    let changes: [&dyn Fn(&World); 2] = [&change_pool, &change_node];
    for change in changes {
        let world = World::new();
        world.node("n", &[("rack", "0")]);
        world.pool_with("a", json!({"cidr": "10.0.0.0/24", "nodeSelector": "rack == '0'"}));
        let mut planner = request("n", "h", 1, 0).planner();
        let before = world.store.records().len();
        let batch = batch_of(&world, &mut planner);
        change(&world);
        let report = block_on(world.store.commit(&batch, WITHIN)).unwrap();
        assert!(report.broken_guard.is_some());
        planner.observe(&report);
        assert!(!planner.owes());
        assert_eq!(world.store.records().len(), before);
    }
}

/// The batch that a planner makes in the present state.
fn batch_of<P: Planner>(world: &World, planner: &mut P) -> Batch
where
    P::Error: std::fmt::Debug,
{
    let read = |set: ReadSet| block_on(world.store.read(&set, WITHIN)).unwrap();
    let mut view = read(planner.reads());
    let now = world.clock.now();
    loop {
        match planner.plan(&view, now, 1).unwrap() {
            Plan::Fetch(set) => view.absorb(read(set)),
            Plan::Commit { batch, .. } => return batch,
            Plan::Done(_) => panic!("there is something to write"),
        }
    }
}
