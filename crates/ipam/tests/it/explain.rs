//! What an explanation says is what then happens.

use std::collections::BTreeSet;

use api::{AffinityState, Family, Use};
use ipam::AutoAssign;
use ipam::explain::{BlockSource, Decider, Explanation, Question, Standing, explain, nodes};
use serde_json::json;
use store::{Depth, Scope, Store};

use crate::world::*;

/// SplitMix64.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

fn question(request: AutoAssign) -> Question {
    Question { request, namespace: None, annotation: None, is_on_kubernetes: false }
}

/// Explains a request, and checks that nothing was written.
fn explained(world: &World, question: &Question) -> Explanation {
    let before = world.store.records();
    let explanation = block_on(explain(&world.store, &world.clock, question, WITHIN)).unwrap();
    assert_eq!(world.store.records(), before, "an explanation writes nothing");
    explanation
}

fn standing(explanation: &Explanation, pool: &str) -> (Standing, String) {
    let judged = explanation.pools.iter().find(|judged| judged.name == pool).unwrap();
    (judged.standing, judged.reason.clone())
}

/// A cluster with pools of many kinds, in which nodes have taken and released addresses.
fn random_world(draws: &mut Draws) -> World {
    let world = World::new();
    for name in ["a", "b", "c"] {
        let rack = draws.of(&["0", "1", "2"]);
        let labels = [("rack", rack), ("spare", "yes")];
        world.node(name, &labels[..1 + draws.below(2) as usize]);
    }
    for n in 0..1 + draws.below(4) {
        let selector = draws.of(&[
            "all()",
            "rack == '0'",
            "rack in {'1', '2'}",
            "!has(spare)",
            "rack == '0' && has(spare)",
        ]);
        let mut spec = json!({
            "cidr": format!("10.{n}.0.0/{}", 25 + draws.below(4)), "blockSize": 28 + draws.below(4), "nodeSelector": selector,
            "disabled": draws.below(8) == 0,
        });
        if draws.below(8) == 0 {
            spec["assignmentMode"] = json!("Manual");
        }
        if draws.below(6) == 0 {
            spec["allowedUses"] = json!(["Tunnel"]);
        }
        world.pool_with(&format!("pool-{n}"), spec);
    }
    if draws.below(3) == 0 {
        world.reserve(&[draws.of(&["10.0.0.0/28", "10.1.0.8/29", "10.0.0.0/25"])]);
    }
    let (strict, cooldown) = (draws.below(3) == 0, draws.of(&[0, 0, 30]));
    let most = if strict { draws.below(4) as i64 } else { 0 };
    world.config(|config| {
        config.strict_affinity = strict;
        config.max_blocks_per_host = most;
        config.cooldown_seconds = cooldown;
    });
    for n in 0..draws.below(60) {
        let host = draws.of(&["a", "b", "c"]);
        match draws.below(4) {
            0 => drop(world.del(&format!("h{}", draws.below(n + 1)))),
            _ => drop(world.run(request(host, &format!("h{n}"), 1, 0).planner())),
        }
        if draws.below(10) == 0 {
            world.clock.advance(draws.of(&[5, 70, 4000]));
        }
    }
    world
}

#[test]
fn the_address_that_is_named_is_the_next() {
    let (mut given, mut refused, mut sources) = (0, 0, BTreeSet::new());
    for seed in 0.. {
        if given == 200 {
            break;
        }
        let mut draws = Draws(seed);
        let world = random_world(&mut draws);
        let host = draws.of(&["a", "b", "c"]);
        let mut wanted = request(host, "next", 1, 0);
        if draws.below(8) == 0 {
            wanted.v4_pools = vec![cidr(draws.of(&["10.0.0.0/26", "10.0.0.0/27"]))];
        }
        let explanation = explained(&world, &question(wanted.clone()));
        let answer = world.run(wanted.planner()).unwrap();
        let got = answer.v4.addresses.first().map(|address| address.addr);
        let named = explanation.next.as_ref().map(|next| next.address);
        assert_eq!(named, got, "seed {seed}: {explanation:#?}");
        match explanation.next {
            Some(next) => {
                given += 1;
                sources.insert(next.source.word());
                let taken: Vec<&str> = explanation
                    .pools
                    .iter()
                    .filter(|p| p.standing == Standing::Taken)
                    .map(|p| p.name.as_str())
                    .collect();
                assert_eq!(taken, [next.pool.as_str()], "seed {seed}");
                assert!(world.blocks().iter().any(|block| block.cidr == next.block), "seed {seed}");
                let written: BTreeSet<_> =
                    explanation.writes.iter().map(|foreseen| foreseen.key.clone()).collect();
                assert!(written.contains(&api::Key::Block(next.block)), "seed {seed}");
            }
            None => {
                refused += 1;
                assert!(explanation.writes.is_empty() && explanation.refusal.is_some(), "seed {seed}");
                assert!(explanation.pools.iter().all(|p| p.standing != Standing::Taken), "seed {seed}");
            }
        }
    }
    assert!((30..600).contains(&refused), "{refused} refused");
    assert_eq!(sources.len(), 3, "{sources:?}");
}

#[test]
fn every_pool_is_judged_by_a_word_and_a_reason() {
    let world = World::new();
    world.node("n", &[("rack", "1")]);
    let condition = |reason: &str| json!([{"type": "Allocatable", "status": "False", "reason": reason, "message": "because"}]);
    for (n, (name, mut spec)) in [
        ("disabled", json!({"disabled": true})),
        ("manual", json!({"assignmentMode": "Manual"})),
        ("namespace", json!({"namespaceSelector": "team == 'x'"})),
        ("node", json!({"nodeSelector": "rack == '0'"})),
        ("odd", json!({"nodeSelector": "rack =="})),
        ("tunnel", json!({"allowedUses": ["Tunnel"]})),
        ("unreadable", json!({"cidr": "no network"})),
        ("used", json!({"nodeSelector": "has(rack)"})),
        ("zone", json!({"nodeSelector": "zone == 'a' && rack == '1'"})),
    ]
    .into_iter()
    .enumerate()
    {
        let network = json!(format!("10.{n}.0.0/16"));
        spec.as_object_mut().unwrap().entry("cidr").or_insert(network);
        world.pool_with(name, spec);
    }
    for (n, name) in ["CIDROverlap", "Terminating", "Broken"].into_iter().enumerate() {
        let document = json!({"metadata": {"name": name.to_lowercase()}, "spec": {"cidr": format!("10.2{n}.0.0/16")},
            "status": {"conditions": condition(name)}});
        let pool = api::Resource::from_json(api::Kind::IPPool, document).unwrap();
        world.store.put(pool.key(), api::Value::Resource(pool));
    }
    world.pool("v6", "fd00::/112", 122);
    let explanation = explained(&world, &question(request("n", "h", 1, 0)));
    for (name, wanted, reason) in [
        ("disabled", Standing::Disabled, "it is disabled"),
        ("manual", Standing::Manual, "assignmentMode is Manual"),
        ("namespace", Standing::NamespaceSelector, r#"team == "x": the namespace has no label team"#),
        ("node", Standing::NodeSelector, r#"rack == "0": the node has rack = "1""#),
        ("odd", Standing::BadSelector, "it selects nobody"),
        ("tunnel", Standing::OtherUse, "its allowedUses are Tunnel, not Workload"),
        ("unreadable", Standing::Unreadable, "no network"),
        ("used", Standing::Taken, "65536 of 65536 addresses are free"),
        ("zone", Standing::NodeSelector, r#"zone == "a": the node has no label zone"#),
        ("cidroverlap", Standing::Overlap, "CIDROverlap: because"),
        ("terminating", Standing::Terminating, "Terminating: because"),
        ("broken", Standing::NotAllocatable, "Broken: because"),
        ("v6", Standing::OtherFamily, "IPv6"),
    ] {
        let (standing, told) = standing(&explanation, name);
        assert!(standing == wanted && told.contains(reason), "{name}: {standing:?}: {told}");
    }
    assert_eq!(explanation.pools.len(), 13);
    assert_eq!(explanation.decided_by, [Decider::NodeSelector, Decider::NamespaceSelector]);
    assert_eq!(explanation.next.as_ref().unwrap().source, BlockSource::Claimed);
    assert_eq!(explanation.labels_asked["rack"], ["0", "1"].map(str::to_string).into());
    assert!(
        explanation.warnings.iter().any(|w| w.contains("namespaceSelector of pool namespace")),
        "{:?}",
        explanation.warnings
    );

    let named = AutoAssign { v4_pools: vec![cidr("10.3.0.0/16")], ..request("n", "i", 1, 0) };
    let by_annotation =
        Question { annotation: Some("the annotation x".to_string()), ..question(named.clone()) };
    for (asked, word, decider) in [
        (question(named), Standing::NotNamed, Decider::Request),
        (by_annotation, Standing::AnnotationNamesOthers, Decider::Annotation),
    ] {
        let explanation = explained(&world, &asked);
        assert_eq!(
            (standing(&explanation, "used").0, explanation.decided_by.as_slice()),
            (word, [decider].as_slice())
        );
        assert_eq!(standing(&explanation, "node").0, Standing::Taken);
        assert!(
            explanation.warnings[0].contains("although its nodeSelector leaves n out"),
            "{:?}",
            explanation.warnings
        );
    }
}

#[test]
fn full_pools_say_what_holds_them() {
    let world = World::with_pool("10.0.0.0/29", 30);
    let next = |host: &str| explained(&world, &question(request(host, "next", 1, 0)));
    for n in 0..4 {
        world.add("a", &format!("h{n}"));
    }
    world.add("b", "other");
    world.config(|config| config.strict_affinity = true);
    let (standing_of, reason) = standing(&next("a"), "pool");
    assert_eq!(standing_of, Standing::StrictAffinity);
    assert!(reason.ends_with("3 of 8 addresses are free"), "{reason}");
    assert_eq!(next("a").remedy.as_deref(), Some("calicoctl ipam configure --strictaffinity=false"));
    world.config(|config| (config.strict_affinity, config.max_blocks_per_host) = (true, 1));
    assert_eq!(standing(&next("a"), "pool").0, Standing::BlockLimit);
    world.config(|config| config.strict_affinity = false);
    assert_eq!(next("a").next.unwrap().source, BlockSource::Borrowed);
    for n in 4..7 {
        world.add("b", &format!("h{n}"));
    }
    let full = next("c");
    assert_eq!(
        standing(&full, "pool"),
        (Standing::Exhausted, "none of 8 addresses is free: 8 are in use".to_string())
    );
    assert!(full.remedy.unwrap().contains(r#""cidr":"10.0.0.8/29""#));
    let reserved = World::with_pool("10.0.0.0/29", 30);
    reserved.reserve(&["10.0.0.0/24"]);
    assert_eq!(
        standing(&explained(&reserved, &question(request("a", "h", 1, 0))), "pool").0,
        Standing::AllReserved
    );
}

#[test]
fn blocks_of_single_addresses_are_warned_of() {
    let world = World::with_pool("10.0.0.0/28", 32);
    let explanation = explained(&world, &question(request("a", "h", 1, 0)));
    assert!(explanation.warnings[0].contains("another address may be next"), "{:?}", explanation.warnings);
}

#[test]
fn the_words_of_pools_are_all_different() {
    let words: BTreeSet<&str> = Standing::ALL.iter().map(|standing| standing.word()).collect();
    assert_eq!(words.len(), Standing::ALL.len());
}

/// A node that is said to reach addresses gets one.
#[test]
fn what_a_node_reaches_it_can_take() {
    for seed in 0..40 {
        let mut draws = Draws(1000 + seed);
        let world = random_world(&mut draws);
        // Everything has cooled down, and every block may be taken over.
        world.clock.advance(100_000);
        let set = ipam::explain::reads().scope(Scope::kind(api::Kind::Node), Depth::Full);
        let view = block_on(world.store.read(&set, WITHIN)).unwrap();
        let reached = nodes::reach(&view, Use::Workload, Family::V4, None);
        assert_eq!(reached.len(), 3);
        for node in reached.iter().take(1) {
            let answer = world.run(request(&node.name, "one", 1, 0).planner()).unwrap();
            let is_given = !answer.v4.addresses.is_empty();
            assert!(node.free == 0 || is_given, "seed {seed}: {node:?}, and {answer:?}");
            assert_eq!(
                node.pools.is_empty(),
                matches!(answer.v4.error, Some(ipam::AutoAssignError::Pools(_))),
                "seed {seed}"
            );
        }
    }
}

/// Blocks that nobody has are no use to a node that may own no more.
#[test]
fn a_node_reaches_no_more_blocks_than_it_may_own() {
    let world = World::with_pool("10.0.0.0/24", 28);
    world.node("b", &[]);
    let free = |strict, limit| {
        world.config(|config| (config.strict_affinity, config.max_blocks_per_host) = (strict, limit));
        let set = ipam::explain::reads().scope(Scope::kind(api::Kind::Node), Depth::Full);
        let view = block_on(world.store.read(&set, WITHIN)).unwrap();
        nodes::reach(&view, Use::Workload, Family::V4, None)[0].free
    };
    assert_eq!([free(true, 2), free(false, 2), free(true, 0), free(true, -1)], [32, 32, 256, 256]);
    world.add("a", "h");
    assert_eq!([free(true, 2), free(true, 1), free(false, 1)], [31, 15, 15]);
    world.add("b", "i");
    assert_eq!([free(true, 1), free(false, 1)], [15, 30]);
}

#[test]
fn a_host_with_a_stale_affinity_is_explained_as_it_is_healed() {
    let world = World::with_pool("10.0.0.0/28", 30);
    world.add("b", "h");
    let block = world.blocks()[0].cidr.to_string();
    world.affinity("a", &block, AffinityState::Confirmed);
    let explanation = explained(&world, &question(request("a", "next", 1, 0)));
    let effects: Vec<_> =
        explanation.writes.iter().map(|foreseen| (foreseen.effect, foreseen.key.etcd_path())).collect();
    assert!(
        effects.iter().any(|(effect, key)| *effect == store::Effect::Deleted && key.contains("/host/a/")),
        "{effects:?}"
    );
}
