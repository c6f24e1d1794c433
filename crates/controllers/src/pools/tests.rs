use std::sync::Arc;

use api::{Affinity, Record, Value};
use serde_json::json;

use super::*;

#[derive(Clone, Copy, Default)]
struct Given {
    created: u32,
    disabled: bool,
    deleting: bool,
    finalizer: bool,
    condition: Option<Condition>,
}

fn insert(view: &mut View, key: Key, value: Value) {
    view.insert_record(Arc::new(Record { key, value, revision: 1i64.into() }));
}

fn pool(view: &mut View, name: &str, cidr: &str, given: Given) {
    let mut metadata =
        json!({"name": name, "creationTimestamp": format!("2026-08-01T10:00:{:02}Z", given.created)});
    if given.deleting {
        metadata["deletionTimestamp"] = "2026-08-01T11:00:00Z".into();
    }
    if given.finalizer {
        metadata["finalizers"] = json!(["example.org/x", FINALIZER]);
    }
    let mut json =
        json!({"metadata": metadata, "spec": {"cidr": cidr, "blockSize": 28, "disabled": given.disabled}});
    if let Some(condition) = given.condition {
        json["status"] = json!({"conditions": [{"type": ALLOCATABLE, "status": condition.status(),
            "reason": condition.reason, "message": condition.message}]});
    }
    let resource = Resource::from_json(Kind::IPPool, json).unwrap();
    insert(view, resource.key(), Value::Resource(resource));
}

/// A block of node n1, with or without an address in use.
fn block(view: &mut View, cidr: &str, is_used: bool) {
    let cidr: BlockCidr = cidr.parse().unwrap();
    let owner = Owner::Host("n1".to_string());
    let mut block = ipam::block::create(cidr, &owner, None, "2026-08-01T10:00:00Z".parse().unwrap());
    if is_used {
        let attribute = api::Attribute { handle_id: Some("h".into()), ..api::Attribute::default() };
        block.attributes.push(Arc::new(attribute));
        block.allocations[0] = Some(0);
        block.unallocated.remove(0);
    }
    insert(view, Key::Block(cidr), Value::Block(block));
    insert(view, Key::Affinity { owner, block: cidr }, Value::Affinity(Affinity::default()));
}

fn told(condition: Condition) -> Given {
    Given { condition: Some(condition), finalizer: condition.is_true, ..Given::default() }
}

/// Name, reason, whether it has changed, finalizer.
fn short(view: &View) -> Vec<(String, &'static str, bool, Finalizer)> {
    judge(view)
        .into_iter()
        .map(|one| (one.name, one.condition.reason, one.is_changed, one.finalizer))
        .collect()
}

fn is(
    name: &str,
    reason: &'static str,
    is_changed: bool,
    finalizer: Finalizer,
) -> (String, &'static str, bool, Finalizer) {
    (name.to_string(), reason, is_changed, finalizer)
}

/// Recorded in 047: the older pool has the place, whatever its name.
#[test]
fn new_pools() {
    let mut view = View::new();
    pool(&mut view, "off", "10.30.0.0/24", Given { disabled: true, created: 1, ..Given::default() });
    pool(&mut view, "pool-a", "10.10.0.0/24", Given { created: 2, ..Given::default() });
    pool(&mut view, "a-overlap", "10.10.0.0/25", Given { created: 3, ..Given::default() });
    assert_eq!(
        short(&view),
        [
            is("off", "PoolDisabled", true, Finalizer::Stays),
            is("pool-a", "OK", true, Finalizer::Add),
            is("a-overlap", "CIDROverlap", true, Finalizer::Stays),
        ]
    );
    assert_eq!(judge(&view)[2].overlaps, ["pool-a"]);
}

#[test]
fn what_is_settled_stays() {
    let mut view = View::new();
    // Now the one that has the place is younger than the other.
    pool(&mut view, "first", "10.10.0.0/25", Given { created: 9, ..told(Condition::OK) });
    pool(&mut view, "second", "10.10.0.0/24", told(Condition::OVERLAP));
    pool(&mut view, "new", "10.10.0.128/25", Given { created: 1, ..Given::default() });
    pool(&mut view, "six", "fd00::/64", told(Condition::OK));
    block(&mut view, "10.10.0.0/28", true);
    let judged = judge(&view);
    let settled: Vec<&str> =
        judged.iter().filter(|one| one.is_settled()).map(|one| one.name.as_str()).collect();
    assert_eq!(settled, ["six", "first", "second"]);
    assert_eq!((judged[3].condition, judged[3].finalizer), (Condition::OK, Finalizer::Add));
}

/// A pool that calicoctl deletes is disabled first. It keeps its place until its blocks are gone.
#[test]
fn a_deleted_pool_keeps_its_place() {
    let mut view = View::new();
    let goes = Given { disabled: true, deleting: true, ..told(Condition::OK) };
    pool(&mut view, "pool-a", "10.10.0.0/24", goes);
    pool(&mut view, "a-overlap", "10.10.0.0/25", told(Condition::OVERLAP));
    block(&mut view, "10.10.0.32/28", true);
    block(&mut view, "10.10.0.48/28", false);
    block(&mut view, "10.10.0.128/28", true);
    block(&mut view, "10.99.0.0/28", true);
    let judged = judge(&view);
    assert_eq!(
        short(&view),
        [
            is("pool-a", "PoolDisabled", true, Finalizer::Stays),
            is("a-overlap", "CIDROverlap", false, Finalizer::Stays)
        ]
    );
    // The block that lies in the other pool keeps its owner while it is in use.
    let releases: Vec<(String, bool)> =
        judged[0].releases.iter().map(|one| (one.block.to_string(), one.must_be_empty)).collect();
    let release = |block: &str, must_be_empty| (block.to_string(), must_be_empty);
    assert_eq!(releases, [release("10.10.0.48/28", true), release("10.10.0.128/28", false)]);

    let mut view = View::new();
    pool(&mut view, "pool-a", "10.10.0.0/24", Given { condition: Some(Condition::DISABLED), ..goes });
    pool(&mut view, "a-overlap", "10.10.0.0/25", told(Condition::OVERLAP));
    assert_eq!(short(&view)[0], is("pool-a", "PoolDisabled", false, Finalizer::RemoveOnceEmpty));
    assert_eq!(short(&view)[1].1, "CIDROverlap", "the place is free once the pool is gone");
    let mut view = View::new();
    pool(&mut view, "a-overlap", "10.10.0.0/25", told(Condition::OVERLAP));
    assert_eq!(short(&view), [is("a-overlap", "OK", true, Finalizer::Add)]);
}

/// Between the two steps of calicoctl's deletion the pool is only disabled.
#[test]
fn a_disabled_pool_keeps_its_finalizer_while_it_has_blocks() {
    for (has_block, finalizer) in [(true, Finalizer::Stays), (false, Finalizer::RemoveOnceEmpty)] {
        let mut view = View::new();
        pool(&mut view, "p", "10.10.0.0/24", Given { disabled: true, ..told(Condition::OK) });
        pool(&mut view, "q", "10.10.0.0/25", told(Condition::OVERLAP));
        if has_block {
            block(&mut view, "10.10.0.32/28", true);
        }
        assert_eq!(short(&view)[0], is("p", "PoolDisabled", true, finalizer));
        assert_eq!(short(&view)[1].1, "CIDROverlap");
        assert!(judge(&view)[0].releases.is_empty(), "only a deletion takes affinities");
    }
}

#[test]
fn deletion_without_overlap() {
    let mut view = View::new();
    pool(&mut view, "p", "10.10.0.0/24", Given { deleting: true, ..told(Condition::OK) });
    block(&mut view, "10.10.0.32/28", true);
    assert_eq!(short(&view), [is("p", "Terminating", true, Finalizer::Stays)]);
    assert_eq!(judge(&view)[0].releases.len(), 1);
    // A pool that never had a place goes by itself, and takes nothing from the one that has it (048).
    pool(&mut view, "p", "10.10.0.0/24", told(Condition::OK));
    pool(&mut view, "q", "10.10.0.0/25", Given { deleting: true, ..told(Condition::OVERLAP) });
    assert_eq!(short(&view)[1], is("q", "Terminating", true, Finalizer::Stays));
    assert!(judge(&view)[1].releases.is_empty() && judge(&view)[0].is_settled());
}

/// The finalizer of a pool that another has taken the place of is wrong: two of them cannot have it.
#[test]
fn two_finalizers() {
    let mut view = View::new();
    pool(&mut view, "p", "10.10.0.0/24", told(Condition::OK));
    pool(&mut view, "q", "10.10.0.0/25", Given { finalizer: true, created: 5, ..told(Condition::OVERLAP) });
    assert_eq!(short(&view)[1], is("q", "CIDROverlap", false, Finalizer::Remove));
}

#[test]
fn the_pool_keeps_what_is_others() {
    let mut pool = json!({
        "metadata": {"finalizers": ["example.org/x"]},
        "status": {"conditions": [{"type": "Other", "status": "True"}]},
    });
    Condition::OVERLAP.put_on(&mut pool, "t1");
    Condition::OK.put_on(&mut pool, "t2");
    let conditions = pool["status"]["conditions"].as_array().unwrap();
    assert_eq!(conditions.len(), 2);
    assert_eq!(
        (&conditions[1]["reason"], &conditions[1]["lastTransitionTime"]),
        (&"OK".into(), &"t2".into())
    );
    put_finalizer(&mut pool, true);
    put_finalizer(&mut pool, true);
    assert_eq!(pool["metadata"]["finalizers"], json!(["example.org/x", FINALIZER]));
    put_finalizer(&mut pool, false);
    assert_eq!(pool["metadata"]["finalizers"], json!(["example.org/x"]));
    let mut bare = json!({"metadata": {}});
    Condition::OK.put_on(&mut bare, "t");
    assert_eq!(bare["status"]["conditions"][0]["status"], "True");
}
