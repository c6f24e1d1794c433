//! The verdicts of a planner on the pools and blocks that it considers.

use api::{AffinityState, Use};
use ipam::verdict::Verdicts;
use ipam::{AutoAssign, run};
use serde_json::json;

use crate::world::*;

/// The verdicts of a request's last plan, in words.
fn told(world: &World, request: AutoAssign) -> Vec<String> {
    let verdicts = Verdicts::default();
    let _ = block_on(run(&world.store, &world.clock, request.planner_for(&verdicts), WITHIN));
    verdicts.take().iter().map(ToString::to_string).collect()
}

#[test]
fn every_pool_is_judged() {
    let world = World::new();
    world.node("n", &[("rack", "0")]);
    for (name, spec) in [
        ("disabled", json!({"disabled": true})),
        ("manual", json!({"assignmentMode": "Manual"})),
        ("namespace", json!({"namespaceSelector": "team == 'x'"})),
        ("node", json!({"nodeSelector": "rack == '1'"})),
        ("odd", json!({"nodeSelector": "rack =="})),
        ("tunnel", json!({"allowedUses": ["Tunnel"]})),
        ("unreadable", json!({"cidr": "no network"})),
        ("used", json!({})),
    ]
    .into_iter()
    .enumerate()
    .map(|(n, (name, mut spec))| {
        let cidr = json!(format!("10.{n}.0.0/16"));
        spec.as_object_mut().unwrap().entry("cidr").or_insert(cidr);
        (name, spec)
    }) {
        world.pool_with(name, spec);
    }
    world.pool("v6", "fd00::/112", 122);
    let mut got = told(&world, request("n", "h", 1, 0));
    assert!(
        got.iter().any(|line| line.starts_with("pool odd: its selector \"rack ==\" cannot be read")),
        "{got:#?}"
    );
    got.retain(|line| !line.starts_with("pool odd"));
    got.sort();
    let block = world.blocks()[0].cidr;
    let mut wanted = vec![
        "pool disabled: it is disabled".to_string(),
        "pool manual: its assignmentMode is Manual, and the request does not name it".to_string(),
        "pool namespace: its namespaceSelector team == \"x\" leaves the namespace out".to_string(),
        "pool node: its nodeSelector rack == \"1\" leaves the node out".to_string(),
        "pool tunnel: its allowedUses leave Workload out".to_string(),
        "pool unreadable: it cannot be read: IPPool(unreadable): spec.cidr 'no network' is not a network"
            .to_string(),
        "pool used: it is taken from".to_string(),
        format!("block {block}: the host claims it, and it gives 1"),
    ];
    wanted.sort();
    assert_eq!(got, wanted);

    let named = AutoAssign { v4_pools: vec![cidr("10.1.0.0/16")], ..request("n", "i", 1, 0) };
    let got = told(&world, named);
    assert!(got.contains(&"pool manual: it is taken from".to_string()), "{got:#?}");
    assert!(got.contains(&"pool used: the request names other pools".to_string()), "{got:#?}");

    let tunnel = AutoAssign { intended_use: Use::Tunnel, ..AutoAssign::new("n", Use::Tunnel) };
    let got = told(&world, AutoAssign { v4: 1, ..tunnel });
    assert!(got.contains(&"pool tunnel: it is taken from".to_string()), "{got:#?}");
}

/// A pool of eight blocks with four addresses each. Each block has another reason for giving no address,
/// except for the last one.
#[test]
fn every_block_is_judged() {
    let world = World::with_pool("10.0.0.0/27", 30);
    world.reserve(&["10.0.0.4/30", "10.0.0.20/30"]);
    let fill = |name: &str, id: &str, block: u8, n: u8| {
        for ordinal in 0..n {
            world
                .assign(request_ip(
                    name,
                    &format!("{id}{ordinal}"),
                    &format!("10.0.0.{}", block * 4 + ordinal),
                ))
                .unwrap();
        }
    };
    // The host's own blocks: full, reserved, unreadable, stale.
    fill("a", "full", 0, 4);
    fill("a", "reserved", 1, 1);
    fill("a", "stale", 2, 1);
    // The blocks of others: full, in use with free addresses, claimed recently, reserved.
    fill("b", "taken", 3, 4);
    fill("b", "room", 4, 2);
    fill("c", "kept", 5, 1);
    world.clock.advance(1000);
    fill("c", "late", 6, 1);
    world.del("late0");
    fill("c", "last", 7, 4);
    world.affinity("b", "10.0.0.8/30", AffinityState::Confirmed);
    let got = told(&world, request("b", "h", 6, 0));
    for line in [
        "block 10.0.0.8/30: it is not the host's, whose affinity to it is stale",
        "block 10.0.0.12/30: it has no address left",
        "block 10.0.0.16/30: it is the host's, and gives 2",
        "block 10.0.0.0/30: it is another's, who uses it",
        "block 10.0.0.0/30: it has no address left",
        "block 10.0.0.4/30: an IPReservation covers it",
        "block 10.0.0.20/30: an IPReservation covers it",
        "block 10.0.0.28/30: it has no address left",
    ] {
        assert!(got.iter().any(|told| told == line), "{line}\n{got:#?}");
    }
    assert!(
        got.iter().any(|told| told.starts_with("block 10.0.0.24/30: it is another's, claimed at ")),
        "{got:#?}"
    );
    assert!(got.contains(&"block 10.0.0.24/30: it is another's, and gives 4".to_string()), "{got:#?}");

    world.config(|config| config.strict_affinity = true);
    let got = told(&world, request("b", "i", 6, 0));
    assert_eq!(got.last().unwrap(), "No more free affine blocks and strict affinity enabled");
}

/// Without a sink the plan is the same.
#[test]
fn the_sink_changes_nothing() {
    let (silent, told_of) = (World::with_pool("10.0.0.0/28", 30), World::with_pool("10.0.0.0/28", 30));
    for n in 0..20 {
        let request = request(["a", "b", "c"][n % 3], &format!("h{n}"), 1, 0);
        silent.run(request.clone().planner()).unwrap();
        told(&told_of, request);
    }
    assert_eq!(silent.assigned(), told_of.assigned());
    assert_eq!(silent.affinities(), told_of.affinities());
    assert_eq!(silent.assigned().len(), 16);
}
