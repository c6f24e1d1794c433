use std::collections::BTreeMap;

use api::{Affinity, AffinityState, Attribute, Handle, HandleId, Kind, Owner, Resource, Revision, Value};
use serde_json::json;

use super::*;
use crate::block;
use crate::invariants::{Disagreement, check_block};

mod memory;
mod mutations;

fn record(key: Key, value: Value) -> Arc<Record> {
    Arc::new(Record { key, value, revision: Revision::from(1) })
}

fn now() -> Timestamp {
    Timestamp::from_second(1_785_578_400).unwrap()
}

fn host(name: &str) -> Owner {
    Owner::Host(name.into())
}

fn cidr(text: &str) -> BlockCidr {
    text.parse().unwrap()
}

fn id(text: &str) -> HandleId {
    HandleId::new(text).unwrap()
}

fn block(text: &str, owner: &str) -> Block {
    block::create(cidr(text), &host(owner), None, now())
}

/// Takes addresses of a block, in their order.
fn take(block: &mut Block, handle: &str, count: u32) {
    let attribute = Arc::new(Attribute { handle_id: Some(handle.into()), ..Attribute::default() });
    assert_eq!(
        block::assign(block, count, None, &attribute, &Default::default()).unwrap().len(),
        count as usize
    );
}

fn stored(block: &Block) -> Arc<Record> {
    record(Key::Block(block.cidr), Value::Block(block.clone()))
}

fn affinity(owner: &str, block: &str, state: AffinityState) -> Arc<Record> {
    let key = Key::Affinity { owner: host(owner), block: cidr(block) };
    record(key, Value::Affinity(Affinity::new(state)))
}

fn handle(name: &str, counts: &[(&str, u32)]) -> Arc<Record> {
    let blocks: BTreeMap<_, _> = counts.iter().map(|(b, n)| (cidr(b), *n)).collect();
    record(Key::Handle(id(name)), Value::Handle(Handle { blocks, deleted: false }))
}

fn resource(kind: Kind, name: &str, spec: serde_json::Value) -> Arc<Record> {
    let document = json!({"metadata": {"name": name}, "spec": spec});
    record(Key::global(kind, name), Value::Resource(Resource::from_json(kind, document).unwrap()))
}

fn pool(name: &str, network: &str, size: u8) -> Arc<Record> {
    resource(Kind::IPPool, name, json!({"cidr": network, "blockSize": size}))
}

/// A cluster in which everything holds: two hosts with a block each, three handles, one of which has
/// addresses in both blocks; an address that cools down, and some that a Windows host keeps for itself.
fn sound() -> Vec<Arc<Record>> {
    let mut first = block("10.0.0.0/29", "a");
    take(&mut first, "h", 2);
    take(&mut first, "both", 1);
    take(&mut first, "gone", 1);
    block::release_by_handle(&mut first, "gone", |_| true, now(), 30);
    let reserved = crate::HostReserved {
        at_start: 3,
        at_end: 1,
        handle: block::WINDOWS_RESERVED_HANDLE.into(),
        note: String::new(),
    };
    let mut second = block::create(cidr("10.0.0.8/29"), &host("b"), Some(&reserved), now());
    take(&mut second, "both", 2);
    take(&mut second, "i\rtail", 1);
    vec![
        pool("p", "10.0.0.0/24", 29),
        affinity("a", "10.0.0.0/29", AffinityState::Confirmed),
        affinity("b", "10.0.0.8/29", AffinityState::Confirmed),
        stored(&first),
        stored(&second),
        handle("both", &[("10.0.0.0/29", 1), ("10.0.0.8/29", 2)]),
        handle("h", &[("10.0.0.0/29", 2)]),
        handle("i", &[("10.0.0.8/29", 1)]),
    ]
}

fn run(records: &[Arc<Record>], moment: Moment) -> (Vec<Violation>, Vec<Orphan>) {
    let (mut violations, mut snapshot) = (Vec::new(), Snapshot::new(moment, Some(now())));
    let mut tell = |violation| violations.push(violation);
    records.iter().for_each(|record| snapshot.feed(record, &mut tell));
    let orphans = snapshot.end(&mut tell);
    violations.sort();
    (violations, orphans)
}

fn texts(records: &[Arc<Record>]) -> Vec<String> {
    run(records, Moment::Between).0.iter().map(Violation::to_string).collect()
}

#[test]
fn all_holds_of_a_sound_cluster_in_whatever_order_it_is_listed() {
    let mut records = sound();
    for _ in 0..records.len() {
        assert_eq!(run(&records, Moment::AtRest), (vec![], vec![]));
        records.rotate_left(1);
    }
    records.reverse();
    assert_eq!(run(&records, Moment::AtRest), (vec![], vec![]));
    let blocks: Vec<Block> = records.iter().filter_map(|record| record.block().cloned()).collect();
    let counts = |block: &Block| {
        let counts = capacity::Counts::of(block);
        (counts.allocated, counts.cooling, counts.reserved, counts.free, counts.capacity)
    };
    assert_eq!(blocks.iter().map(counts).collect::<Vec<_>>(), [(3, 0, 4, 1, 8), (3, 1, 0, 4, 8)]);
}

/// Calico's words for each fault, as recorded in 125-ipam-check-broken-blocks.
#[test]
fn faults_of_a_block() {
    let attribute = |released| Arc::new(Attribute { released_at: released, ..Attribute::default() });
    type Break = fn(&mut Block, Arc<Attribute>);
    let rows: [(Break, &[&str]); 8] = [
        (|_, _| {}, &[]),
        (
            |b, _| {
                b.unallocated.remove(0);
                b.allocations[0] = Some(3);
            },
            &["allocation 0 indexes a nonexistent attribute 3"],
        ),
        (|b, a| b.attributes.push(a), &["attribute index 0 exists but is not indexed by an allocation"]),
        (
            |b, _| b.unallocated[0] = 4,
            &["ordinal 4 appears in the Unallocated array but is out of the block"],
        ),
        (|b, _| b.unallocated[0] = 1, &["ordinal 1 appears more than once in Unallocated array"]),
        (
            |b, a| {
                b.attributes.push(a);
                b.allocations[2] = Some(0);
            },
            &[
                "ordinal 2 is allocated but appears in Unallocated",
                "expected 4 addresses in this block, but Unallocated (4) + Allocated (1) = 5",
            ],
        ),
        (
            |b, _| b.unallocated.truncate(3),
            &["expected 4 addresses in this block, but Unallocated (3) + Allocated (0) = 3"],
        ),
        (
            |b, _| {
                let later = Timestamp::from_second(now().as_second() + 1).unwrap();
                b.attributes.push(Arc::new(Attribute { released_at: Some(later), ..Attribute::default() }));
                b.allocations[0] = Some(0);
                b.unallocated.remove(0);
            },
            &["attribute index 0 has releasedAt in the future, suggesting clock skew"],
        ),
    ];
    for (at, (damage, wanted)) in rows.into_iter().enumerate() {
        let mut broken = block("10.0.0.0/30", "a");
        damage(&mut broken, attribute(None));
        let found: Vec<String> =
            check_block(&broken, Some(now())).iter().map(|fault| fault.to_string()).collect();
        assert_eq!(found, wanted, "row {at}");
    }
}

#[test]
fn nested_blocks_overlap() {
    let blocks = ["10.0.0.0/24", "10.0.0.0/26", "10.0.0.64/26", "10.0.0.64/30", "10.0.1.0/26", "fd00::/122"];
    let mut records: Vec<_> = blocks.iter().map(|cidr| stored(&block(cidr, "a"))).collect();
    records.extend(blocks.iter().map(|cidr| affinity("a", cidr, AffinityState::Confirmed)));
    records.push(records[4].clone());
    assert_eq!(
        texts(&records),
        [
            "BlockKey(cidr=10.0.0.0/26): overlaps block 10.0.0.0/24",
            "BlockKey(cidr=10.0.0.64/26): overlaps block 10.0.0.0/24",
            "BlockKey(cidr=10.0.0.64/30): overlaps block 10.0.0.64/26",
            "BlockKey(cidr=10.0.1.0/26): is stored twice",
        ]
    );
}

/// Two addresses of the smallest block are held in the largest one as well; the block between holds nothing.
#[test]
fn an_address_of_two_blocks_has_two_owners() {
    let mut blocks = [block("10.0.0.0/28", "a"), block("10.0.0.0/29", "a"), block("10.0.0.4/30", "a")];
    take(&mut blocks[0], "h", 7);
    take(&mut blocks[2], "i", 3);
    let records: Vec<_> = blocks.iter().map(stored).collect();
    let (found, _) = run(&records, Moment::Between);
    let two: Vec<_> = found.iter().filter(|v| matches!(v, Violation::TwoOwners { .. })).collect();
    assert_eq!(two.len(), 1, "{found:?}");
    assert_eq!(two[0].key(), Some(Key::Block(cidr("10.0.0.4/30"))));
    assert_eq!(
        two[0].to_string(),
        "BlockKey(cidr=10.0.0.4/30): 10.0.0.4 is also held in block 10.0.0.0/28, and 2 more"
    );
}

#[test]
fn affinities_agree_with_blocks() {
    use AffinityState::{Confirmed, Pending, PendingDeletion};
    let cidr = "10.0.0.0/26";
    let of = |name: &str| format!("BlockAffinityKey(cidr={cidr}, host={name}, affinityType=host): ");
    let mut nobodys = block(cidr, "a");
    block::disown(&mut nobodys);
    let lost = format!("BlockKey(cidr={cidr}): is affine to host:a, who has no affinity to it");
    for (records, wanted) in [
        (vec![stored(&block(cidr, "a")), affinity("a", cidr, Confirmed)], vec![]),
        (vec![stored(&block(cidr, "a")), affinity("a", cidr, Pending)], vec![]),
        (vec![affinity("a", cidr, Pending)], vec![]),
        (vec![stored(&nobodys), affinity("a", cidr, PendingDeletion)], vec![]),
        (vec![stored(&nobodys)], vec![]),
        (vec![affinity("a", cidr, Confirmed)], vec![of("a") + "is confirmed, but there is no such block"]),
        (
            vec![stored(&nobodys), affinity("a", cidr, Confirmed)],
            vec![of("a") + "is confirmed, but the block is nobody's"],
        ),
        (
            vec![stored(&block(cidr, "a")), affinity("a", cidr, Confirmed), affinity("b", cidr, Confirmed)],
            vec![of("b") + "is confirmed, but the block is affine to host:a"],
        ),
        (vec![stored(&block(cidr, "a"))], vec![lost]),
    ] {
        assert_eq!(texts(&records), wanted);
    }
}

#[test]
fn blocks_fit_their_pools() {
    let records = [
        pool("a", "10.0.0.0/24", 26),
        pool("b", "10.0.0.0/16", 26),
        stored(&block("10.0.0.0/28", "n")),
        affinity("n", "10.0.0.0/28", AffinityState::Confirmed),
        stored(&block("192.168.0.0/28", "n")),
        affinity("n", "192.168.0.0/28", AffinityState::Confirmed),
    ];
    assert_eq!(
        texts(&records),
        [
            "IPPool(b): overlaps IPPool(a)",
            "BlockKey(cidr=10.0.0.0/28): is no block of IPPool(a), whose blocks are /26",
        ]
    );
}

/// Addresses whose pool is gone, or covers only a part of their block, are told, and are no violation.
#[test]
fn what_lies_in_no_pool_is_an_orphan() {
    let orphan =
        |block, first: &str, count| Orphan { block: cidr(block), first: first.parse().unwrap(), count };
    let without = sound()[1..].to_vec();
    let (violations, orphans) = run(&without, Moment::AtRest);
    assert_eq!(violations, []);
    assert_eq!(orphans, [orphan("10.0.0.0/29", "10.0.0.0", 3), orphan("10.0.0.8/29", "10.0.0.11", 3)]);
    let mut smaller = without;
    smaller.extend([pool("p", "10.0.0.0/31", 31), pool("q", "10.0.0.8/29", 29)]);
    assert_eq!(run(&smaller, Moment::AtRest).1, [orphan("10.0.0.0/29", "10.0.0.2", 1)]);
}

#[test]
fn what_cannot_be_read_is_told() {
    let odd_pool =
        resource(Kind::IPPool, "p", json!({"cidr": "10.0.0.0/24", "nodeSelector": "((", "blockSize": 30}));
    let key = Key::Block(cidr("10.0.0.0/30"));
    let text = r#"{"cidr":"10.0.0.0/30","affinity":"nobody","allocations":[0,null,null,null],"unallocated":[1,2,3],"attributes":[{"handle_id":5}]}"#;
    let odd_block = record(key.clone(), Value::from_stored_text(&key, text).unwrap());
    let (violations, _) = run(&[odd_pool, odd_block], Moment::Between);
    let fields: Vec<_> = violations
        .iter()
        .map(|violation| match violation {
            Violation::Unreadable { key: Some(_), field, .. } => field.as_str(),
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(fields, ["spec.nodeSelector", "affinity", "attributes[0].handle_id"]);

    let error = Value::from_stored_text(&key, "{").unwrap_err();
    let (mut told, mut snapshot) = (Vec::new(), Snapshot::new(Moment::Between, None));
    snapshot.feed_unreadable(Some(&key), &error, &mut |violation| told.push(violation));
    snapshot.feed_unreadable(None, &error, &mut |violation| told.push(violation));
    assert_eq!(told.iter().map(Violation::key).collect::<Vec<_>>(), [Some(key), None]);
    assert!(told[0].to_string().starts_with("BlockKey(cidr=10.0.0.0/30): "), "{}", told[0]);
}
